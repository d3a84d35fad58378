"""A rollback whose process died, or whose promote failed, and what happened to PostgreSQL meanwhile."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from mutants import Place
from mutants.move import Killed, Move
from turnback.adapters.sqlite import promote
from turnback.app.runner import Runner
from turnback.core.phases import Intent, Phase


@pytest.fixture
def place(tmp_path: Path, database, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, database, monkeypatch)


@pytest.mark.parametrize(
    ("point", "lifted"),
    [
        ("fence_postgres:record", True),
        ("drain_to_fence:record", True),
        ("gate:record", False),
        ("gate:record", True),
        ("promote_fallback:before", True),
        ("promote_fallback:effect", True),
        ("promote_fallback:record", False),
        ("promote_fallback:record", True),
    ],
)
def test_the_fence_is_set_anew_and_what_was_written_without_it_arrives(
    place: Place, point: str, lifted: bool
) -> None:
    with Move(place) as move:
        move.to_postgres()
        session = place.database.connect(app=True)
        move.at("rollback.stop_application:before", lambda: move.write(session, 9001))
        move.die_at(f"rollback.{point}")
        if lifted:
            move.setup.server.lift_fence(move.plan)
        move.write(session, 9002)
        run = move.engine.resume()
        assert run is not None and run.outcome == "done" and move.phase is Phase.ON_SQLITE
        assert move.acknowledged == ({9001, 9002} if lifted else {9001})
        move.demand_none_lost()
        move.write(session, 9003)
        assert 9003 not in move.acknowledged


def test_a_promote_cut_off_in_the_middle_is_taken_up_again(place: Place) -> None:
    """The file is plain already and has its old name still."""

    def die(*_: object) -> None:
        raise Killed

    with Move(place) as move:
        move.to_postgres()
        move.at(
            "rollback.stop_application:before", lambda: move.write(place.database.connect(app=True), 9001)
        )
        with place.patch.context() as dying:
            dying.setattr(promote, "sync_file", die)
            dying.setattr(Runner, "_failed", die)  # nor does the runner see anything to undo
            with pytest.raises(Killed):
                move.attempt(Intent.ROLLBACK)
        move.engine.release()
        run = move.engine.resume()
        assert run is not None and run.outcome == "done" and move.phase is Phase.ON_SQLITE
        move.demand_none_lost()


def test_a_reader_of_the_fallback_stops_a_rollback_and_leaves_the_way_back_open(place: Place) -> None:
    """A backup of the fallback runs: promote refuses, PostgreSQL serves on, and the next rollback goes through."""
    with Move(place) as move:
        move.to_postgres()
        session = place.database.connect(app=True)
        with closing(apsw.Connection(os.fspath(move.world.sqlite.fallback))) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM person").fetchall()
            place.patch.setattr(promote, "DEFAULT_BUSY_SECONDS", 0.2)
            proper = promote.open_database
            place.patch.setattr(
                promote, "open_database", lambda path, mode: proper(path, mode, busy_seconds=0.2)
            )
            error = move.attempt(Intent.ROLLBACK)
        assert error is not None and move.failed_step() == "promote_fallback"
        assert move.phase is Phase.ON_POSTGRES
        move.write(session, 9001)
        assert move.acknowledged == {9001}
        assert move.attempt(Intent.ROLLBACK) is None
        move.demand_none_lost()
