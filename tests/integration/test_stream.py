"""The replication connection itself: what arrives, signs of life, and how it ends."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pytest
from psycopg import conninfo

from capturing import Both, column, table
from conftest import FORGETFUL, SMALL, binaries
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.adapters.postgres.stream import SlotStream
from turnback.core.changes import Commit, Insert
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.errors import NotReady, ServerError, ServerGone, WayBackLost
from turnback.ports import Keepalive, StreamItem

PLAN = Plan("create", "public", (table("t", ("id",), column("id", "integer", "INTEGER")),))


@pytest.fixture
def both(database, tmp_path):
    world = Both(
        database,
        tmp_path,
        PLAN,
        "CREATE TABLE t(id INTEGER PRIMARY KEY)",
        "CREATE TABLE t(id bigint PRIMARY KEY)",
    )
    world.open_up()
    return world


def collect(stream: SlotStream, enough) -> list[StreamItem | Keepalive]:
    seen: list[StreamItem | Keepalive] = []
    deadline = time.monotonic() + 60
    while not enough(seen):
        assert time.monotonic() < deadline, seen
        seen += stream.receive(0.2)
    return seen


def committed(items) -> bool:
    """A row has come, and its COMMIT: PostgreSQL 14 also sends transactions without anything published."""
    messages = [i.message for i in items if isinstance(i, StreamItem)]
    rows = [n for n, m in enumerate(messages) if isinstance(m, Insert)]
    return bool(rows) and any(isinstance(m, Commit) for m in messages[rows[0] :])


def test_text_does_not_depend_on_the_databases_settings(both, database):
    """REPLICATION: pinned on the connection, else the database's own settings change what arrives."""
    for setting in (
        "datestyle = 'German'",
        "bytea_output = 'escape'",
        "extra_float_digits = -5",
        "timezone = 'Asia/Tokyo'",
        "intervalstyle = 'iso_8601'",
    ):
        both.pg.execute(f'ALTER DATABASE "{database.name}" SET {setting}')
    both.pg.execute("CREATE TABLE v(id int PRIMARY KEY, d timestamptz, b bytea, f float8, i interval)")
    both.pg.execute("ALTER PUBLICATION turnback ADD TABLE v")
    both.pg.execute(
        "INSERT INTO v VALUES (1, '2024-02-03 04:05:06.7+00', '\\x00ff5c', 0.1::float8 + 0.2, '1 day')"
    )
    with closing(both.stream(Lsn(0))) as stream:
        items = collect(stream, committed)
    (new,) = [i.message.new for i in items if isinstance(i, StreamItem) and isinstance(i.message, Insert)]
    assert new == ("1", "2024-02-03 04:05:06.7+00", "\\x00ff5c", "0.30000000000000004", "1 day")


def test_signs_of_life_keep_the_connection_while_something_large_is_applied(both, database):
    """Without them the server ends it after wal_sender_timeout."""
    both.pg.execute(f"ALTER DATABASE \"{database.name}\" SET wal_sender_timeout = '1s'")
    with closing(both.stream(Lsn(0))) as stream:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            time.sleep(0.05)
            stream.keepalive()
        both.pg.execute("INSERT INTO t VALUES (1)")
        collect(stream, committed)
    with closing(both.stream(Lsn(0))) as stream:
        time.sleep(2.5)
        with pytest.raises(ServerGone):
            collect(stream, lambda _: False)


def test_an_idle_server_is_asked_where_it_stands(both):
    with closing(both.stream(Lsn(0))) as stream:
        items = collect(stream, lambda seen: len(seen) >= 3)
        assert all(isinstance(i, Keepalive) for i in items)
        assert items[-1].wal_end > 0
        # Microseconds since 2000-01-01, about now.
        assert abs(items[-1].server_time_us / 1e6 + 946_684_800 - time.time()) < 60


def test_acknowledged_position_moves_the_slot_and_only_that(both, database):
    both.pg.execute("INSERT INTO t VALUES (1)")
    with closing(both.stream(Lsn(0))) as stream:
        items = collect(stream, committed)
        (end,) = [
            i.message.end_lsn for i in items if isinstance(i, StreamItem) and isinstance(i.message, Commit)
        ]
        collect(stream, lambda seen: any(isinstance(i, Keepalive) for i in seen))
        assert slots.confirmed_flush(database.admin_dsn, both.slot) < end
        stream.acknowledge(end)
        deadline = time.monotonic() + 60
        while slots.confirmed_flush(database.admin_dsn, both.slot) < end:
            assert time.monotonic() < deadline
            stream.receive(0.05)
    while (state := slots.slot_state(both.pg, both.slot)) is None or state.active:
        assert time.monotonic() < deadline, "the server's end of the closed stream stays"
        time.sleep(0.02)
    with closing(both.stream(end)) as stream:
        both.pg.execute("INSERT INTO t VALUES (2)")
        items = collect(stream, committed)
    rows = [i.message.new for i in items if isinstance(i, StreamItem) and isinstance(i.message, Insert)]
    assert rows == [("2",)]


def test_a_backlog_comes_in_bounded_batches(both):
    both.pg.execute("INSERT INTO t SELECT generate_series(1, 20000)")
    with closing(both.stream(Lsn(0))) as stream:
        seen = 0
        while seen < 20002:
            items = stream.receive(5)
            assert len(items) <= 5000
            seen += sum(isinstance(i, StreamItem) for i in items)


def test_the_end_of_the_connection_is_server_gone(both):
    with closing(both.stream(Lsn(0))) as stream:
        both.pg.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        with pytest.raises(ServerGone, match="stream ended"):
            collect(stream, lambda _: False)


def test_no_password_in_any_message(both, database):
    wrong = conninfo.make_conninfo(database.admin_dsn, password="s3cret-word")
    with pytest.raises(ServerError) as refused:
        SlotStream(wrong, both.slot, "turnback", Lsn(0))
    assert "s3cret" not in str(refused.value) + refused.value.hint
    nowhere = conninfo.make_conninfo(database.admin_dsn, host="/nonexistent", password="s3cret-word")
    with pytest.raises(ServerGone) as gone:
        SlotStream(nowhere, both.slot, "turnback", Lsn(0))
    assert "s3cret" not in str(gone.value) + gone.value.hint


def test_a_slot_that_lost_wal_is_refused(both, database):
    """HAZARDS R12: never a silent gap."""
    try:
        both.pg.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        both.pg.execute("SELECT pg_reload_conf()")
        for _ in range(4):
            both.pg.execute("INSERT INTO t SELECT 1 WHERE false")
            both.pg.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))")
            both.pg.execute("SELECT pg_switch_wal()")
        both.pg.execute("CHECKPOINT")
        with pytest.raises(NotReady, match="lost WAL"):
            slots.confirmed_flush(database.admin_dsn, both.slot)
        with pytest.raises(NotReady):
            both.stream(Lsn(0))
    finally:
        both.pg.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        both.pg.execute("SELECT pg_reload_conf()")


def test_a_slot_that_nobody_read_for_too_long_is_refused(both, database):
    """HAZARDS R12: idle_replication_slot_timeout, which came with PostgreSQL 18."""
    if both.pg.info.server_version < 180000:
        pytest.skip("PostgreSQL 18 is the first that gives up a slot for being idle")
    try:
        both.pg.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
        both.pg.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 60
        while True:  # a checkpoint does it
            both.pg.execute("CHECKPOINT")
            state = slots.slot_state(both.pg, both.slot)
            assert state is not None and time.monotonic() < deadline
            if state.wal_status == "lost":
                break
            time.sleep(0.1)
        with pytest.raises(WayBackLost, match="lost WAL"):
            slots.confirmed_flush(database.admin_dsn, both.slot)
        with pytest.raises(WayBackLost):
            both.stream(Lsn(0))
    finally:
        both.pg.execute("ALTER SYSTEM RESET idle_replication_slot_timeout")
        both.pg.execute("SELECT pg_reload_conf()")


def test_slot_state(both, database):
    state = slots.slot_state(both.pg, both.slot)
    assert state is not None and not state.active and state.wal_status == "reserved"
    with closing(both.stream(Lsn(0))):
        state = slots.slot_state(both.pg, both.slot)
        assert state is not None and state.active and state.retained_bytes >= 0
    assert slots.slot_state(both.pg, "other") is None


def test_a_slot_of_that_name_is_there_already(both, database):
    with pytest.raises(ServerError, match="already exists"):
        slots.create_slot(database.admin_dsn, both.slot, timeout_seconds=5)


def test_prepared_transactions_are_named(tmp_path):
    server = EmbeddedPostgres(
        tmp_path / "server",
        binaries=binaries(),
        settings=SMALL | FORGETFUL | {"max_prepared_transactions": "2"},
    )
    server.ensure_running()
    try:
        dsn = server.admin_dsn("app")
        with closing(psycopg.connect(dsn, autocommit=True)) as session:
            session.execute("BEGIN")
            session.execute("CREATE TABLE p(i int)")
            session.execute("PREPARE TRANSACTION 'left over'")
            with pytest.raises(NotReady, match="prepared transaction 'left over'"):
                slots.create_slot(dsn, "waiting", timeout_seconds=0.5)
            session.execute("ROLLBACK PREPARED 'left over'")
            assert slots.slot_state(session, "waiting") is None
    finally:
        server.remove()
