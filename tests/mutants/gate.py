"""What stands between drain and switch: the token, and each item of the gate."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import apsw

from mutants import Mutant, Place, always, demand, no_findings
from mutants.move import INSERT, TEAM, Move
from turnback.adapters.postgres import fingerprint
from turnback.adapters.postgres.fence import PostgresFence
from turnback.adapters.postgres.side import PostgresServer
from turnback.adapters.sqlite.fallback import Fallback
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.app import gate, steps_rollback
from turnback.app.capture import Capture
from turnback.app.sides import World
from turnback.core.phases import Intent, Phase

PUBLICATION = "turnback"
BEFORE_THE_STOP = "rollback.stop_application:before"
BEFORE_THE_GATE = "rollback.gate:before"


def a_slow_fallback(place: Place) -> None:
    """Capture hangs with one transaction while the next commits, until somebody waits for it: both arrive."""
    proper = Fallback.apply
    held: list[bool] = []

    def apply(fallback: Fallback, *arguments: Any) -> None:
        capture = move.world.capture
        assert capture is not None
        held.append(True)
        while not capture._asked and not capture._stopping.is_set():
            time.sleep(0.01)
        proper(fallback, *arguments)

    def write_two() -> None:
        session = place.database.connect(app=True)
        move.write(session, 9001)
        while not held:
            time.sleep(0.01)
        move.write(session, 9002)

    with Move(place) as move:
        move.to_postgres()
        place.patch.setattr(Fallback, "apply", apply)
        move.at(BEFORE_THE_STOP, write_two)
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        demand(error is None, f"the rollback was refused: {error}")
        assert move.acknowledged == {9001, 9002}


def an_older_fallback_behind_the_drain(place: Place) -> None:
    """Somebody puts an older copy of the fallback back: the gate sees its position."""
    with Move(place) as move:
        move.to_postgres()
        fallback = move.world.sqlite.fallback
        older = place.folder / "older.db"
        copy(fallback, older)

        def put_back() -> None:
            assert move.world.capture is not None
            move.world.capture.stop()
            copy(older, fallback)

        move.at(BEFORE_THE_STOP, lambda: move.write(place.database.connect(app=True), 9001))
        move.at(BEFORE_THE_GATE, put_back)
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        move.demand_stayed_on_postgres(error)


def copy(here: os.PathLike[str], there: os.PathLike[str]) -> None:
    """By SQLite's backup: no other way of reading keeps the locks of this process."""
    with closing(apsw.Connection(os.fspath(here))) as source:
        with closing(apsw.Connection(os.fspath(there))) as target:
            target.set_busy_timeout(5000)
            with target.backup("main", source, "main") as backup:
                backup.step()


def a_fence_that_somebody_lifted(place: Place) -> None:
    """After its proof and before the gate."""
    with Move(place) as move:
        move.to_postgres()
        old = place.database.connect(app=True)
        move.at(BEFORE_THE_GATE, lambda: move.setup.server.lift_fence(move.plan))
        move.at("rollback.promote_fallback:effect", lambda: move.write(old, 9001))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        move.demand_stayed_on_postgres(error)


def a_table_rewritten_without_a_word(place: Place) -> None:
    """ALTER TYPE ... USING changes every row and sends nothing."""
    with Move(place) as move:
        move.to_postgres()
        rewrite = b"ALTER TABLE person ALTER COLUMN score TYPE double precision USING score + 1"
        move.at(BEFORE_THE_GATE, lambda: move.admin().execute(rewrite))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_stayed_on_postgres(error)


def a_table_that_was_never_published(place: Place) -> None:
    """It left the publication before the slot was made: the catalogue's fingerprint knows it no other way."""
    with Move(place) as move:
        move.to_migrated()
        move.at("cutover.create_publication:effect", lambda: unpublish(move))
        cutover = move.attempt(Intent.CUTOVER)
        if cutover is None:
            move.write(place.database.connect(app=True), 9001)
            move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        assert cutover is not None and move.phase is Phase.MIGRATED and move.failed_step() == "last_proof"


def a_table_that_left_the_publication(place: Place) -> None:
    """After cutover: what is written to it from then on does not arrive."""
    with Move(place) as move:
        move.to_postgres()

        def unpublish_and_write() -> None:
            unpublish(move)
            move.write(place.database.connect(app=True), 9001)

        move.at(BEFORE_THE_STOP, unpublish_and_write)
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        move.demand_stayed_on_postgres(error)


def unpublish(move: Move) -> None:
    move.admin().execute(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE person".encode())


def a_fallback_that_somebody_wrote_to(place: Place) -> None:
    """A row that capture has brought is changed in the fallback alone."""
    with Move(place) as move:
        move.to_postgres()
        move.at(BEFORE_THE_STOP, lambda: move.write(place.database.connect(app=True), 9001))
        move.at(BEFORE_THE_GATE, lambda: move.in_fallback("UPDATE person SET name = 'x' WHERE id = 9001"))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        move.demand_stayed_on_postgres(error)


def a_child_without_its_parent(place: Place) -> None:
    """A superuser's session without triggers loads an orphan: equal on both sides, and wrong."""
    with Move(place) as move:
        move.to_postgres()
        admin = move.admin()
        admin.execute("SET session_replication_role = replica")
        move.at(BEFORE_THE_STOP, lambda: admin.execute(INSERT.format(9001, TEAM + 90).encode()))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_stayed_on_postgres(error)
        assert "foreign key" in str(error)


def _no_token(place: Place) -> None:
    place.patch.setattr(Capture, "wait_for", always)


def _no_position(place: Place) -> None:
    proper = gate.check_gate

    def check_gate(world: World, token: Mapping[str, Any], fingerprint: Any) -> dict[str, str]:
        return proper(world, {**token, "fence_lsn": 0}, fingerprint)

    place.patch.setattr(steps_rollback, "check_gate", check_gate)


def _no_token_and_no_position(place: Place) -> None:
    _no_token(place)
    _no_position(place)


def _no_publication(place: Place) -> None:
    place.patch.setattr(PostgresServer, "publication_difference", no_findings)


def _no_publication_nor_its_fingerprint(place: Place) -> None:
    _no_publication(place)
    place.patch.setattr(fingerprint, "_publication_drift", no_findings)


SWITCHED = "switched to SQLite all the same"

MUTANTS = {
    "the token of the gate": Mutant(
        "the drain does not wait until the token is applied",
        _no_token,
        a_slow_fallback,
        "the rollback was refused: .*before the fence",
    ),
    "the token and the position": Mutant(
        "the drain does not wait, and the gate does not look where the fallback stands",
        _no_token_and_no_position,
        a_slow_fallback,
        r"lost: \[9002\] are not in SQLite",
    ),
    "gate: position": Mutant(
        "any position of the fallback will do",
        _no_position,
        an_older_fallback_behind_the_drain,
        r"lost: \[9001\] are not in SQLite",
    ),
    "gate: fence still raised": Mutant(
        "the gate takes the fence for raised",
        lambda place: place.patch.setattr(PostgresFence, "is_raised", always),
        a_fence_that_somebody_lifted,
        r"lost: \[9001\] are not in SQLite",
    ),
    "gate: catalogue fingerprint": Mutant(
        "no drift is ever found",
        lambda place: place.patch.setattr(PostgresServer, "drift", no_findings),
        a_table_rewritten_without_a_word,
        SWITCHED,
    ),
    "gate: publication": Mutant(
        "the publication is not compared with the plan",
        _no_publication,
        a_table_that_was_never_published,
        r"lost: \[9001\] are not in SQLite",
    ),
    "gate: publication and its fingerprint": Mutant(
        "the publication is not compared with the plan, nor with what it was at cutover",
        _no_publication_nor_its_fingerprint,
        a_table_that_left_the_publication,
        r"lost: \[9001\] are not in SQLite",
    ),
    "gate: touched rows compared": Mutant(
        "the changed rows are not compared",
        lambda place: place.patch.setattr(gate, "compare_keys", lambda *_: []),
        a_fallback_that_somebody_wrote_to,
        SWITCHED,
    ),
    "gate: foreign keys of touched rows": Mutant(
        "no foreign key is checked",
        lambda place: place.patch.setattr(SqliteFiles, "foreign_key_violations", no_findings),
        a_child_without_its_parent,
        SWITCHED,
    ),
}
