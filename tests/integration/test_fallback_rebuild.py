"""A new fallback, when the old one or its slot is lost (HAZARDS R12, R13)."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import replace

import apsw
import psycopg
import pytest

import patience
import trips
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.slot import SlotState, warning_of
from turnback.app import capture as capturing
from turnback.app.runner import Runner
from turnback.app.status import assemble
from turnback.app.verify import compare
from turnback.core.lsn import Lsn
from turnback.core.phases import Intent, Phase
from turnback.errors import NotReady, TurnbackError, WayBackLost
from two_sides import Silent

trip = trips.trip

FILE = """
CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, note JSON);
CREATE TABLE member (id INTEGER PRIMARY KEY AUTOINCREMENT, team_id INTEGER REFERENCES team (id), name TEXT, score REAL);
CREATE TABLE tagged (team_id INTEGER, tag TEXT, PRIMARY KEY (team_id, tag)) WITHOUT ROWID;
INSERT INTO team VALUES (1, 'red', '{"a": 1}'), (2, 'blue', '{"b":2}'), (3, 'green', NULL);
WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 500)
  INSERT INTO member (team_id, name, score) SELECT 1 + value % 3, 'name ' || value, value / 7.0 FROM n;
INSERT INTO tagged VALUES (1, 'x'), (2, 'y');
"""
WRITES = (
    "UPDATE member SET score = 99 WHERE id = 5",
    "DELETE FROM member WHERE id = 6",
    "INSERT INTO member (id, team_id, name) VALUES (9001, 2, 'written on PostgreSQL')",
    "INSERT INTO tagged VALUES (3, 'z')",
)


def until(condition, seconds: float | None = None):
    deadline = time.monotonic() + (seconds or patience.SECONDS)
    while not (got := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return got


def capture(t):
    return t._capturing.world.capture


def restart_capture(t) -> None:
    t._capturing.release()
    t._capturing.ensure_capture()


def stopped(t):
    return until(lambda: (s := capture(t).status()).state == "stopped" and s)


def drop_slot(t) -> None:
    t._capturing.release()
    until(lambda: not t.in_postgres("SELECT 1 FROM pg_replication_slots WHERE active AND database = current_database()"))
    t.in_postgres("SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE database = current_database()")


def admin(t, statement: str) -> None:
    with t.database.connect() as session:
        session.execute(statement.encode())


def equal(t) -> bool:
    """The fallback and PostgreSQL, as they are now."""
    with closing(t.setup.sqlite.reader("fallback")) as sqlite, closing(t.setup.server.reader()) as postgres:
        return compare(t.setup.plan(), sqlite, postgres, Silent(), check_round_trip=True).equal


def status(t):
    """As `turnback status` shows it, from what the guard would report."""
    s = capture(t).status()
    now = t.setup.clock.now()
    live = {"at": now.isoformat(), "capture": {"state": s.state, "error": s.error, "hint": s.hint, "lost": s.lost, "warning": s.warning}}
    return assemble(t.setup.state(), {"pid": 1, "command": "guard"}, live, now)


@pytest.mark.hazard("R12", "carried")
def test_r12_a_lost_slot_is_no_way_back_until_the_fallback_is_rebuilt(trip) -> None:
    t = trip(FILE)
    t.there()
    drop_slot(t)
    t.write(*WRITES)
    t._capturing.ensure_capture()
    lost = stopped(t)
    assert lost.lost and "is gone" in lost.error and "turnback fallback rebuild" in lost.hint
    said = status(t)
    assert said.ready is False and said.reasons[0].startswith("no way back") and said.next_command == "turnback fallback rebuild"
    t._capturing.release()
    with pytest.raises(TurnbackError):
        t.back()
    assert t.phase is Phase.ON_POSTGRES
    t._capturing.release()
    t.run(Intent.REBUILD)
    done = t.setup.state().runs[-1].done
    assert done["correct_rows"]["rows"] == {"member": 3, "tagged": 1} and done["start_capture"]["streaming"]
    assert status(t).ready
    t.write("UPDATE member SET name = 'after the rebuild' WHERE id = 7")
    t.back()
    assert t.in_sqlite("SELECT id, score FROM member WHERE id IN (5, 6, 9001)") == [(5, 99.0), (9001, None)]
    assert t.in_sqlite("SELECT name FROM member WHERE id = 7") == [("after the rebuild",)]
    # law 2: what nobody changed has its bytes, the spelling of its JSON too
    assert t.in_sqlite("SELECT note FROM team ORDER BY id") == [('{"a": 1}',), ('{"b":2}',), (None,)]
    assert not list(t.folder.glob("*.rebuild*"))


@pytest.mark.hazard("R13", "carried")
def test_r13_a_damaged_fallback_is_found_when_it_is_read_and_rebuilt(trip) -> None:
    t = trip(FILE)
    t.there()
    t.write(*WRITES)
    until(lambda: not capture(t).status().lag_bytes)
    t._capturing.release()
    damage(t.setup.sqlite.fallback)
    t._capturing.ensure_capture()
    t.write("UPDATE member SET name = name || '!'", "UPDATE team SET name = name || '!'")
    lost = stopped(t)
    assert lost.lost and "damaged" in lost.error and "turnback fallback rebuild" in lost.hint
    t.run(Intent.REBUILD)
    t.back()
    assert t.in_sqlite("SELECT count(*) FROM member WHERE name LIKE '%!'") == [(500,)]
    assert t.in_sqlite("PRAGMA integrity_check") == [("ok",)]


def damage(path) -> None:
    """Every page but the first few is overwritten on the disk; what the journal holds is folded in before."""
    with closing(apsw.Connection(os.fspath(path))) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (page,) = file.execute("PRAGMA page_size").fetchone()
        (first,) = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'member'").fetchone()
        (team,) = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'team'").fetchone()
    with path.open("r+b") as raw:
        for number in (first, team):
            raw.seek((number - 1) * page)
            raw.write(b"\xff" * page)


@pytest.mark.hazard("R13", "carried")
def test_r13_a_damaged_fallback_that_nothing_reads_is_found_by_the_check(trip, monkeypatch) -> None:
    monkeypatch.setattr(capturing, "CHECK_SECONDS", (0.1, 60.0))
    t = trip(FILE)
    t.there()
    assert until(lambda: capture(t).status().state == "streaming")
    t._capturing.release()
    damage(t.setup.sqlite.fallback)
    t._capturing.ensure_capture()
    lost = stopped(t)
    assert lost.lost and "damaged" in lost.error


@pytest.mark.hazard("R13", "carried")
def test_r13_changed_content_is_found_by_verify_and_rebuilt(trip) -> None:
    t = trip(FILE)
    t.there()
    t.write(*WRITES)
    until(lambda: not capture(t).status().lag_bytes)
    with closing(apsw.Connection(os.fspath(t.setup.sqlite.fallback))) as file:
        file.set_busy_timeout(5000)
        file.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        file.execute("UPDATE member SET name = 'flipped bits' WHERE id = 42")
    assert not equal(t)
    t.run(Intent.REBUILD)
    assert equal(t)
    t.back()
    assert t.in_sqlite("SELECT name FROM member WHERE id = 42") == [("name 42",)]


def test_r12_a_fallback_that_is_gone(trip) -> None:
    t = trip(FILE)
    t.there()
    t._capturing.release()
    t.setup.sqlite.fallback.unlink()
    t._capturing.ensure_capture()
    assert stopped(t).lost
    t.run(Intent.REBUILD)
    t.back()
    assert t.phase is Phase.ON_SQLITE


def test_unique_values_that_changed_places_are_rebuilt(trip) -> None:
    t = trip(FILE)
    t.there()
    drop_slot(t)
    t.write(
        "UPDATE team SET name = 'x' WHERE id = 1", "UPDATE team SET name = 'red' WHERE id = 2",
        "UPDATE team SET name = 'blue' WHERE id = 3", "UPDATE team SET name = 'green' WHERE id = 1",
    )
    t.run(Intent.REBUILD)
    t.back()
    assert t.in_sqlite("SELECT name FROM team ORDER BY id") == [("green",), ("red",), ("blue",)]


def test_a_rebuild_after_schema_drift_is_refused_and_the_slot_stays(trip) -> None:
    t = trip(FILE)
    t.there()
    admin(t, "ALTER TABLE member ADD COLUMN more text")
    t._capturing.release()
    with pytest.raises(NotReady, match="schema changed since cutover"):
        t.run(Intent.REBUILD)
    assert t.in_postgres("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(1,)]
    assert not list(t.folder.glob("*.rebuild*")) and t.setup.state().open_run is None
    admin(t, "ALTER TABLE member DROP COLUMN more")
    t.run(Intent.REBUILD)
    assert status(t).ready


def test_a_lost_publication_is_made_again(trip) -> None:
    t = trip(FILE)
    t.there()
    t._capturing.release()
    admin(t, "DROP PUBLICATION turnback")
    t.write(*WRITES)
    t.run(Intent.REBUILD)
    t.write("UPDATE member SET name = 'streamed' WHERE id = 8")
    t.back()
    assert t.in_sqlite("SELECT name FROM member WHERE id IN (8, 9001) ORDER BY id") == [("streamed",), ("written on PostgreSQL",)]


def test_a_failed_rebuild_leaves_no_slot_that_fills_the_disk(trip, monkeypatch) -> None:
    t = trip(FILE)
    t.there()

    def fail(*_, **__):
        raise NotReady("on purpose")

    with monkeypatch.context() as failing:
        failing.setattr("turnback.app.steps_rebuild.correct", fail)
        with pytest.raises(NotReady, match="on purpose"):
            t.run(Intent.REBUILD)
    assert t.in_postgres("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(0,)]
    t._capturing.ensure_capture()
    stopped(t)
    said = status(t)
    assert said.next_command == "turnback fallback rebuild" and not said.ready
    t.run(Intent.REBUILD)
    t.back()


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize(
    "point", [pytest.param("before", marks=pytest.mark.long), "effect", pytest.param("record", marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "step", ["stop_capture", "copy_original", "renew_slot", "correct_rows", "put_in_place", "start_capture"]
)
def test_a_rebuild_cut_off_at_any_step_is_taken_up_again(trip, monkeypatch, step: str, point: str) -> None:
    t = trip(FILE)
    t.there()
    drop_slot(t)
    t.write(*WRITES)
    engine, create = t._capturing, slots.create_slot

    def die(name: str) -> None:
        if name == f"rebuild.{step}:{point}":
            raise Killed

    exported = []

    def create_slot(*words, **named):
        exported.append(create(*words, **named))
        return exported[-1]

    with monkeypatch.context() as dying:
        dying.setattr(slots, "create_slot", create_slot)
        dying.setattr(Runner, "_failed", lambda *_: (_ for _ in ()).throw(Killed()))  # no undoing either
        engine.world.failpoint = die
        with pytest.raises(Killed):
            t.run(Intent.REBUILD)
    for one in exported:  # the process's end lets it go
        one.close()
    engine.world.failpoint = lambda _: None
    engine.release()
    said = assemble(t.setup.state(), None, None, t.setup.clock.now())
    assert not said.ready and said.next_command == "turnback resume"
    run = engine.resume()
    assert run is not None and run.outcome == "done"
    t.write("INSERT INTO tagged VALUES (7, 'late')")
    until(lambda: equal(t))
    t.back()
    assert t.in_sqlite("SELECT count(*) FROM tagged") == [(4,)]


STATE = SlotState(Lsn(10), Lsn(1), "reserved", None, True, 1000)


@pytest.mark.hazard("R12", "carried")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"safe_wal_size": 5000}, ""),
        ({"safe_wal_size": 900}, "more than half of max_slot_wal_keep_size: 900 bytes more"),
        ({"wal_status": "extended"}, "more than max_wal_size: the server's disk is the only limit"),
        ({"wal_status": "extended", "safe_wal_size": 5}, "5 bytes more and it is lost"),
        ({"wal_status": "unreserved", "safe_wal_size": 0}, "about to be lost"),
    ],
)
def test_r12_warnings_before_the_slot_is_lost(changes: dict[str, object], says: str) -> None:
    said = warning_of(replace(STATE, **changes), "s")
    assert says in said and bool(said) == bool(says)


@pytest.mark.hazard("R12", "carried")
@pytest.mark.long
def test_r12_a_slot_that_the_server_invalidates_is_warned_of_and_then_lost(tmp_path, monkeypatch) -> None:
    """max_slot_wal_keep_size on a server of its own."""
    from conftest import FORGETFUL, SMALL, Database, binaries
    from turnback.adapters.postgres.embedded import EmbeddedPostgres

    server = EmbeddedPostgres(
        tmp_path / "server", binaries=binaries(),
        settings=SMALL | FORGETFUL | {"max_slot_wal_keep_size": "64MB", "max_wal_size": "32MB", "min_wal_size": "32MB"},
    )
    server.ensure_running()
    try:
        database = Database("app", server.admin_dsn("app"), server.app_dsn("app"))
        monkeypatch.setenv("APP_URL", database.app_dsn)
        monkeypatch.setenv("ADMIN_URL", database.admin_dsn)
        with trips.Trip(tmp_path / "t", database, FILE) as t:
            t.there()
            t._capturing.release()
            with closing(psycopg.connect(database.admin_dsn, autocommit=True)) as admin:
                admin.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.fill (x text)")
                warned = ""
                for _ in range(40):
                    admin.execute("INSERT INTO elsewhere.fill SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
                    admin.execute("SELECT pg_switch_wal()")
                    admin.execute("CHECKPOINT")
                    try:
                        warned = t.setup.server.retention_warning() or warned
                    except WayBackLost:
                        break
                else:
                    raise AssertionError("never lost")
                assert warned
            t.write(*WRITES)
            t._capturing.ensure_capture()
            assert stopped(t).lost
            t.run(Intent.REBUILD)
            t.back()
            assert t.in_sqlite("SELECT count(*) FROM member") == [(500,)]
        database.close()
    finally:
        server.remove()
