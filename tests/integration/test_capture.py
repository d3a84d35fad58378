"""Capture as a whole: PostgreSQL, the threads, the SQLite file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import apsw
import psycopg
import pytest

import patience
from capturing import Both, column, table
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.connect import connect
from turnback.core.changes import Begin
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.errors import NotReady, ServerGone
from turnback.ports import Keepalive, StreamItem

ID = column("id", "integer", "INTEGER")
NAME = column("name", "text", "TEXT")
PLAN = Plan("create", "public", (table("t", ("id",), ID, NAME),))


@pytest.fixture
def both(database, tmp_path):
    world = Both(
        database,
        tmp_path,
        PLAN,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t(id bigint PRIMARY KEY, name text)",
    )
    world.open_up()
    return world


def until(condition) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def test_commits_arrive_in_milliseconds_and_lag_is_zero_again(both):
    with both.capturing() as capture:
        both.drain(capture)
        before = datetime.now(UTC)
        for i in range(50):
            both.pg.execute("INSERT INTO t VALUES (%s, 'x')", [i])
        both.drain(capture)
        assert len(both.rows("t")) == 50
        until(lambda: capture.status().lag_bytes == 0 and capture.status().lag_seconds == 0)
        status = capture.status()
        assert status.state == "streaming" and status.error is None
        assert status.transactions >= 51
        assert status.last_contact_at is not None and status.last_contact_at >= before
        both.assert_equal()
    assert capture.status().state == "stopped"
    assert capture.status().error is None


def test_contact_is_fresh_while_nothing_happens(both):
    with both.capturing() as capture:
        both.drain(capture)
        until(lambda: capture.status().lag_bytes == 0)
        asked = datetime.now(UTC)
        until(lambda: (capture.status().last_contact_at or asked) > asked)


def test_neighbours_wal_is_let_go(both, database, server, monkeypatch):
    """REPLICATION: never acknowledging lets a busy neighbour fill the server's disk."""
    monkeypatch.setattr("turnback.app.capture.STORE_SECONDS", 0.2)
    both.pg.execute("CREATE TABLE neighbour(x text)")
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
        row = both.pg.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
        until(lambda: slots.confirmed_flush(database.admin_dsn, both.slot) >= row[0])
        until(lambda: capture.status().lag_bytes == 0)
    with closing(both.fallback()) as fallback:
        # Stored before it was acknowledged: a new start is not refused.
        assert fallback.position().applied_lsn >= slots.confirmed_flush(database.admin_dsn, both.slot)
    with both.capturing():
        pass


def test_token_applied_by_an_earlier_process(both):
    with both.capturing() as capture:
        lsn = both.emit("gate-1")
        assert capture.wait_for("gate-1", lsn, 10)
    with both.capturing() as capture:
        assert capture.wait_for("gate-1", lsn, 10)
        assert not capture.wait_for("gate-2", lsn, 0.3)


def test_terminated_connection_comes_back_and_nothing_is_missing_or_double(both, database):
    with both.capturing() as capture:
        for i in range(30):
            both.pg.execute("INSERT INTO t VALUES (%s, 'x')", [i])
            if i % 10 == 5:
                both.pg.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                    "WHERE slot_name = %s AND active_pid IS NOT NULL",
                    [both.slot],
                )
        both.drain(capture)
        both.assert_equal()


def test_server_killed_and_started_again(durable_server, tmp_path):
    """The fallback is never ahead of what the server has, nor behind once it is back."""
    from conftest import Database

    name = "app"
    database = Database(name, durable_server.admin_dsn(name), durable_server.app_dsn(name))
    both = Both(
        database,
        tmp_path,
        PLAN,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t(id bigint PRIMARY KEY, name text)",
    )
    both.open_up()
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO t VALUES (1, 'before')")
        both.drain(capture)
        contact = capture.status().last_contact_at
        durable_server.stop()
        until(lambda: capture.status().state == "reconnecting")
        assert contact is not None and capture.status().error
        durable_server.ensure_running()
        both.pg = database.connect()
        both.pg.execute("INSERT INTO t VALUES (2, 'after')")
        both.drain(capture)
        assert both.rows("t") == [(1, "before"), (2, "after")]
    database.close()


# ---- refused before streaming --------------------------------------------------------------------


def stopped(capture) -> str:
    capture.start()
    try:
        with pytest.raises(NotReady) as refused:
            capture.wait_streaming(20)
        assert capture.status().state == "stopped"
        assert capture.status().hint
        return str(refused.value)
    finally:
        capture.stop()


@pytest.mark.parametrize("change", [{"identifier": "7"}, {"timeline": 9}])
def test_another_server_or_timeline(both, database, change):
    system = replace(slots.identify_system(database.admin_dsn), **change)
    assert "this is server" in stopped(both.capture(identify=lambda: system))


def test_older_fallback_file(both, database):
    """REPLICATION: it would silently skip what the slot has let go of."""
    old = both.path.read_bytes()
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO t VALUES (1, 'x')")
        both.drain(capture)
        until(lambda: slots.confirmed_flush(database.admin_dsn, both.slot) >= capture.status().applied_lsn)
    both.path.write_bytes(old)
    assert "older file" in stopped(both.capture())


@pytest.mark.hazard("R12", "refused", why="what the slot held is gone: the way back has to be rebuilt")
def test_missing_slot(both, database):
    slots.drop_slot(database.admin_dsn, both.slot)
    slots.drop_slot(database.admin_dsn, both.slot)
    assert "is gone" in stopped(both.capture())


def test_missing_publication(both):
    """PostgreSQL 18 would stream nothing and say nothing."""
    both.pg.execute("DROP PUBLICATION turnback")
    assert "publication turnback is gone" in stopped(both.capture())


def test_another_plans_fallback(both):
    both.plan = Plan("create", "public", (table("t", ("id",), ID),))
    assert "another plan" in stopped(both.capture())


@pytest.mark.hazard("R10", "refused", why="the plan does not know the new schema")
def test_drift_stops_capture_and_says_so(both):
    found: list[str] = []
    with both.capturing(check_drift=lambda: found, drift_every_seconds=0.05) as capture:
        both.drain(capture)
        found.append("table t: column c is new")
        until(lambda: capture.status().state == "stopped")
        assert capture.status().error == "schema drift: table t: column c is new"
        assert not capture.wait_for("never", Lsn(0), 5)


def test_a_check_that_fails_is_said_and_does_not_stop(both):
    broken = [NotReady("no right to look", hint="grant it")]

    def check() -> list[str]:
        if broken:
            raise broken[0]
        return []

    with both.capturing(check_drift=check, drift_every_seconds=0.05) as capture:
        until(lambda: capture.status().error is not None)
        assert capture.status().state == "streaming"
        broken.clear()
        until(lambda: capture.status().error is None)


def test_a_fault_of_turnback_is_not_hidden(both, monkeypatch):
    monkeypatch.setattr("threading.excepthook", lambda _: None)

    def broken(_: Lsn):
        raise ZeroDivisionError

    capture = both.capture()
    capture._open_stream = broken
    capture.start()
    until(lambda: capture.status().state == "stopped")
    assert "ZeroDivisionError" in (capture.status().error or "")
    capture.stop()


def test_a_transaction_that_cannot_be_carried_stops_capture_before_it(both):
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO t VALUES (1, 'one')")
        with closing(apsw.Connection(str(both.path))) as file:
            file.execute("PRAGMA busy_timeout=5000")
            file.execute("INSERT INTO t VALUES (2, 'not from here')")
        both.drain(capture)
        both.pg.execute("INSERT INTO t VALUES (2, 'two')")
        until(lambda: capture.status().state == "stopped")
        assert "UNIQUE" in (capture.status().error or "")
    assert both.rows("t") == [(1, "one"), (2, "not from here")]


def test_sequences_are_kept_in_the_fallback(both):
    with both.capturing(read_sequences=lambda: {"t": 41}, drift_every_seconds=0.05) as capture:
        both.drain(capture)
        until(lambda: both.rows("_turnback_sequence") == [("t", 41)])


def test_synchronous_commit_waits_for_the_fallback(both, database):
    """As a synchronous standby: COMMIT returns only when the row is in the SQLite file."""
    with both.capturing() as capture:
        both.drain(capture)
        both.pg.execute("ALTER SYSTEM SET synchronous_standby_names = '\"turnback capture\"'")
        try:
            both.pg.execute("SELECT pg_reload_conf()")
            until(
                lambda: (
                    both.pg.execute(
                        "SELECT sync_state FROM pg_stat_replication "
                        "WHERE application_name = 'turnback capture'"
                    ).fetchone()
                    == ("sync",)
                )
            )
            session = database.connect()
            for i in range(20):
                session.execute("INSERT INTO t VALUES (%s, 's')", [i])
                assert len(both.rows("t")) == i + 1
        finally:
            both.pg.execute("ALTER SYSTEM RESET synchronous_standby_names")
            both.pg.execute("SELECT pg_reload_conf()")


def test_large_transaction_is_spooled_and_the_server_hears_of_us(both, database, monkeypatch):
    """HAZARDS R15, small: beyond IN_MEMORY it goes through a file that has no name."""
    monkeypatch.setattr("turnback.app.transactions.IN_MEMORY", 500)
    both.pg.execute("INSERT INTO t VALUES (0, 'x')")
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 5250) i")
        both.pg.execute("UPDATE t SET id = -id WHERE id > 5000")
        both.drain(capture)
        both.assert_equal()
    assert not [p for p in both.path.parent.iterdir() if "spool" in p.name]


# ---- the slot ------------------------------------------------------------------------------------


def test_slot_creation_names_what_it_waits_for_and_leaves_nothing(database):
    blocker = database.connect(autocommit=False)
    blocker.execute("SET application_name = 'nightly job'")
    blocker.execute("CREATE TABLE x(i int)")
    with pytest.raises(NotReady, match=r"pid \d+ \(nightly job"):
        slots.create_slot(database.admin_dsn, "waiting", timeout_seconds=0.5)
    with closing(connect(database.admin_dsn)) as admin:
        until(lambda: slots.slot_state(admin, "waiting") is None)
    blocker.rollback()
    with closing(slots.create_slot(database.admin_dsn, "waiting", timeout_seconds=20)) as made:
        with closing(psycopg.connect(database.admin_dsn)) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f"SET TRANSACTION SNAPSHOT '{made.snapshot_name}'")
            assert made.consistent_point > 0


def test_the_exported_snapshot_meets_the_stream(both, database):
    """What is before the slot is in the snapshot, what is after it in the stream, nothing in both."""
    both.pg.execute("INSERT INTO t VALUES (1, 'early')")
    slots.drop_slot(database.admin_dsn, both.slot)
    with closing(slots.create_slot(database.admin_dsn, both.slot, timeout_seconds=20)) as made:
        both.pg.execute("INSERT INTO t VALUES (2, 'late')")
        with closing(psycopg.connect(database.admin_dsn)) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f"SET TRANSACTION SNAPSHOT '{made.snapshot_name}'")
            assert reader.execute("SELECT id FROM t").fetchall() == [(1,)]
    with closing(both.stream(made.consistent_point)) as stream:
        seen = []
        until(lambda: seen.extend(stream.receive(0.1)) or any("late" in repr(i) for i in seen))
        assert "early" not in repr(seen)


def test_replica_identity_is_set_and_restored(database):
    plan = Plan(
        "create",
        "public",
        (
            table("a", ("k",), column("k", "text", "TEXT"), replica_identity="index", identity_index="a_k"),
            table("b", (), NAME),
            table("c", ("id",), ID),
        ),
    )
    with closing(connect(database.admin_dsn)) as admin:
        admin.execute("CREATE TABLE public.a(k text NOT NULL); CREATE UNIQUE INDEX a_k ON public.a(k)")
        admin.execute("CREATE TABLE public.b(name text); ALTER TABLE public.b REPLICA IDENTITY NOTHING")
        admin.execute("CREATE TABLE public.c(id bigint PRIMARY KEY)")
        former = slots.set_replica_identity(admin, plan)
        now = {f["table"]: (f["identity"], f["index"]) for f in slots.replica_identity(admin, plan)}
        assert now == {"a": ("i", "a_k"), "b": ("f", None), "c": ("d", None)}
        slots.create_publication(admin, plan, "pub")
        assert slots.publication_tables(admin, "pub") == {("public", n) for n in "abc"}
        slots.drop_publication(admin, "pub")
        slots.drop_publication(admin, "pub")
        assert slots.publication_tables(admin, "pub") == set()
        slots.restore_replica_identity(admin, former, "public")
        assert slots.replica_identity(admin, plan) == former


def test_slot_in_use_is_tried_again(both):
    with closing(both.stream(Lsn(0))):
        with pytest.raises(ServerGone, match="active"):
            both.stream(Lsn(0))


class Scripted:
    """A stream that says what the test wants, then falls silent."""

    def __init__(self, *items: StreamItem | Keepalive) -> None:
        self.items = list(items)
        self.acknowledged: list[int] = []

    def receive(self, timeout: float) -> list[StreamItem | Keepalive]:
        if self.items:
            return [self.items.pop(0)]
        time.sleep(min(timeout, 0.01))
        return []

    def acknowledge(self, lsn: Lsn) -> None:
        self.acknowledged.append(lsn)

    def keepalive(self) -> None: ...

    def close(self) -> None: ...


def test_a_keepalive_inside_a_transaction_is_no_position(both):
    """What the server has sent by then is not here whole: stored, it would be skipped after a crash."""
    with closing(both.fallback()) as fallback:
        start = fallback.position().applied_lsn
    far = Lsn(start + (1 << 30))
    inside = Scripted(StreamItem(far, far, 0, Begin(far, 0, 1)), Keepalive(far, 0, True))
    outside = Scripted(Keepalive(far, 0, True))
    for stream, stored in ((inside, start), (outside, far)):
        capture = both.capture()
        capture._open_stream = lambda _, stream=stream: stream
        capture.start()
        until(lambda stream=stream: not stream.items)
        time.sleep(0.1)
        capture.stop()
        with closing(both.fallback()) as fallback:
            assert fallback.position().applied_lsn == stored
        assert stream.acknowledged == ([] if stored == start else [far])
