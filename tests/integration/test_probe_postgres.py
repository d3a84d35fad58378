"""The probes of PostgreSQL, on a real one: what they read, where they fail, and that they never hang."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import patience
from conftest import FORGETFUL, SMALL, Database, binaries
from turnback.adapters.postgres.bounded import BoundedSession, Refused
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.adapters.postgres.own_probe import ServerProbe
from turnback.adapters.postgres.view import ActivityProbe, SlotProbe
from turnback.errors import ConfigError, ProbeError, ServerGone

SECRET = "s3cret-of-a-test"


def server_probe(
    database: Database, *, app: str | None = None, write: bool = True, seconds: float = 5
) -> ServerProbe:
    return ServerProbe(
        lambda: app or database.app_dsn, lambda: database.admin_dsn, "turnback", write, 5, seconds
    )


def disown(database: Database) -> None:
    """The application's role does not own the database, and so may not make a schema."""
    database.connect().execute(f"ALTER DATABASE {database.name} OWNER TO CURRENT_USER".encode())


@contextmanager
def mute_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_connects_reads_and_writes_its_own_row(database: Database) -> None:
    probe = server_probe(database)
    first, second = probe.observe(), probe.observe()
    assert (first["ok"], first["step"], second["step"]) == (True, "write", "write"), (first, second)
    admin = database.connect()
    rows = admin.execute("SELECT name, now() - written_at < '1 minute' FROM turnback.guard_probe").fetchall()
    assert rows == [("turnback", True)]
    assert admin.execute("SELECT relpersistence FROM pg_class WHERE relname = 'guard_probe'").fetchone() == (
        "p",
    ), "an unlogged table would not notice a server whose WAL has no room"


def test_its_table_is_in_no_publication_of_turnbacks(database: Database) -> None:
    from turnback.adapters.postgres.slot import publication_statement
    from turnback.core.plan import Plan

    admin = database.connect()
    admin.execute(publication_statement(Plan("create", "public", ()), "turnback").encode())
    assert server_probe(database).observe()["ok"]
    assert admin.execute("SELECT tablename FROM pg_publication_tables").fetchall() == []


def test_without_the_right_to_write_it_reads_and_says_so(database: Database) -> None:
    disown(database)
    probe = ServerProbe(lambda: database.app_dsn, lambda: database.app_dsn, "turnback", True, 5, 5)
    value = probe.observe()  # the application's role may not make the schema
    assert (value["ok"], value["step"]) == (True, "read")
    assert "writing is not tried" in value["detail"] and "permission denied" in value["detail"]
    assert probe.observe()["detail"] == value["detail"]


def test_a_right_that_came_later_is_used_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disown(database)
    dsns = [database.app_dsn]
    probe = ServerProbe(lambda: database.app_dsn, lambda: dsns[-1], "turnback", True, 5, 5)
    assert probe.observe()["step"] == "read"
    dsns.append(database.admin_dsn)
    assert probe.observe()["step"] == "read"
    monkeypatch.setattr("turnback.adapters.postgres.own_probe.AGAIN_SECONDS", 0.0)
    probe._again_at = 0.0
    assert probe.observe()["step"] == "write"


def test_a_server_that_takes_no_writes_has_failed(database: Database) -> None:
    probe = server_probe(database)
    assert probe.observe()["ok"]
    admin = database.connect()
    admin.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on".encode())
    value = probe.observe()
    assert (value["ok"], value["step"]) == (False, "write") and "read-only" in value["detail"]
    assert server_probe(database, write=False).observe()["ok"], "reading alone still works"


def test_a_lock_on_its_own_table_says_nothing_of_the_server(database: Database) -> None:
    """Whoever took it: the application does not know that table."""
    probe = server_probe(database, seconds=1)
    probe.observe()
    with database.connect(autocommit=False) as locker:
        locker.execute("LOCK TABLE turnback.guard_probe IN ACCESS EXCLUSIVE MODE")
        value = probe.observe()
        assert (value["ok"], value["step"]) == (True, "read") and "locked" in value["detail"], value
        locker.rollback()
    assert (value := probe.observe())["step"] == "write" and "locked" not in value["detail"], "at once"


def test_a_write_that_hangs_ends_in_time_and_leaves_no_session(database: Database) -> None:
    probe = server_probe(database, seconds=0.5)
    probe.observe()
    admin = database.connect()
    admin.execute(
        "CREATE FUNCTION turnback.hang() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(300); RETURN NEW; END $$; "
        "CREATE TRIGGER hang BEFORE INSERT ON turnback.guard_probe FOR EACH ROW EXECUTE FUNCTION turnback.hang()"
    )
    began = time.monotonic()
    value = probe.observe()
    assert (value["ok"], value["step"]) == (False, "write"), value
    assert time.monotonic() - began < patience.SECONDS
    deadline = time.monotonic() + patience.SECONDS
    while admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'turnback probe'"
    ).fetchone() != (0,):
        assert time.monotonic() < deadline, "the session on the server outlives the probe's"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": SECRET}, "password authentication failed"),
        ({"dbname": "no_such_database"}, "no_such_database"),
        ({"user": "nobody_at_all", "password": SECRET}, "nobody_at_all"),
        ({"host": "127.0.0.1", "port": "1"}, "refused"),
    ],
)
def test_a_session_that_is_refused_is_a_failed_check(
    database: Database, change: dict[str, str], said: str
) -> None:
    value = server_probe(database, app=make_conninfo(database.app_dsn, **change)).observe()
    assert (value["ok"], value["step"]) == (False, "connect")
    assert said in value["detail"] and SECRET not in str(value)


def test_an_address_that_cannot_be_resolved_is_no_check(database: Database) -> None:
    def missing() -> str:
        raise ConfigError("the environment variable APP_URL is not set")

    with pytest.raises(ProbeError, match="APP_URL"):
        ServerProbe(missing, missing, "turnback", True, 5, 5).observe()


def test_a_server_that_is_mute_is_not_waited_for() -> None:
    with mute_server() as port:
        dsn = f"host=127.0.0.1 port={port} user=app password={SECRET} dbname=app sslmode=disable"
        probe = ServerProbe(lambda: dsn, lambda: dsn, "turnback", True, 5, 0.3)
        began = time.monotonic()
        value = probe.observe()
        assert time.monotonic() - began < patience.SECONDS
    assert not value["ok"] and value["step"] == "connect" and "no answer within 0.3 s" in value["detail"]
    assert SECRET not in str(value)


def test_a_frozen_backend_is_not_waited_for(database: Database) -> None:
    """statement_timeout is kept by the server: where that is stopped, only our own deadline ends the wait."""
    with BoundedSession(database.admin_dsn, 1.0) as session:
        ((pid,),) = session.query("SELECT pg_backend_pid()")
        os.kill(int(str(pid)), signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(ServerGone, match="no answer within 1 s"):
                session.query("SELECT 1")
            assert time.monotonic() - began < patience.SECONDS
        finally:
            os.kill(int(str(pid)), signal.SIGCONT)


def test_a_bounded_session_gives_rows_as_text_and_errors_with_their_code(database: Database) -> None:
    with BoundedSession(database.admin_dsn, 5) as session:
        assert session.query("SELECT 1, NULL, 'ä'") == [("1", None, "ä")]
        assert session.query("SELECT $1::text || '!'", ["a'b"]) == [("a'b!",)]
        assert session.query("SELECT 1; SELECT 2") == [("2",)]
        with pytest.raises(Refused) as caught:
            session.query("SELECT * FROM nowhere")
        assert caught.value.sqlstate == "42P01"
        assert session.query("SELECT 3") == [("3",)], "an error ends the statement, not the session"
        wide = "x" * 5_000_000
        assert session.query("SELECT length($1)", [wide]) == [("5000000",)]


# ---- PostgreSQL's own view -------------------------------------------------------------------------


def activity(database: Database) -> ActivityProbe:
    return ActivityProbe(lambda: database.admin_dsn, lambda: "app", 10)


def test_connections_are_counted_without_its_own(database: Database) -> None:
    before = activity(database).observe()
    database.connect(app=True)
    after = activity(database).observe()
    assert after["connections"] - before["connections"] == 1
    assert after["role_connections"] - before["role_connections"] == 1
    admin = database.connect()
    reserved = sum(
        int(value)
        for (value,) in admin.execute(
            "SELECT setting FROM pg_settings WHERE name IN ('superuser_reserved_connections', 'reserved_connections')"
        )
    )
    (maximum,) = admin.execute(
        "SELECT setting::int FROM pg_settings WHERE name = 'max_connections'"
    ).fetchone()
    assert after["max_connections"] == maximum - reserved


def test_the_limit_of_a_role_is_read(database: Database) -> None:
    assert activity(database).observe()["role_limit"] is None
    admin = database.connect()
    admin.execute("ALTER ROLE app CONNECTION LIMIT 7")
    try:
        assert activity(database).observe()["role_limit"] == 7
    finally:
        admin.execute("ALTER ROLE app CONNECTION LIMIT -1")


def test_who_waits_for_a_lock_and_how_old_the_oldest_transaction_is(database: Database) -> None:
    holder = database.connect(autocommit=False)
    holder.execute("CREATE TABLE t (id int)")
    holder.commit()
    holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    waiter = database.connect()
    thread = threading.Thread(target=lambda: waiter.execute("SELECT * FROM t"))
    thread.start()
    try:
        deadline = time.monotonic() + patience.SECONDS
        while (value := activity(database).observe())["waiting"] != 1:
            assert time.monotonic() < deadline, value
        time.sleep(0.2)
        assert 0.2 < activity(database).observe()["oldest_transaction_seconds"] < 60
    finally:
        holder.rollback()
        thread.join()
    assert activity(database).observe()["waiting"] == 0
    assert activity(database).observe()["deadlocks"] == 0


def test_the_slot_with_its_wal(database: Database) -> None:
    probe = SlotProbe(lambda: database.admin_dsn, "turnback", 10)
    assert probe.observe() == {"wal_status": None, "safe_wal_size": None, "retained_bytes": 0}
    admin = database.connect()
    admin.execute("SELECT pg_create_logical_replication_slot('turnback', 'pgoutput')")
    first = probe.observe()
    assert first["wal_status"] == "reserved" and first["retained_bytes"] >= 0
    admin.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000)), pg_switch_wal()")
    assert probe.observe()["retained_bytes"] > first["retained_bytes"]


@pytest.mark.parametrize("probe", [ActivityProbe, SlotProbe])
def test_a_view_of_a_server_that_is_away_is_no_data(probe: type) -> None:
    dsn = f"host=127.0.0.1 port=1 user=app password={SECRET} dbname=app"
    made = (
        ActivityProbe(lambda: dsn, lambda: "app", 10)
        if probe is ActivityProbe
        else SlotProbe(lambda: dsn, "turnback", 10)
    )
    with pytest.raises(ProbeError) as caught:
        made.observe()
    assert SECRET not in str(caught.value) and "127.0.0.1:1" in str(caught.value)


def test_a_full_server_is_a_failed_check(tmp_path: Path) -> None:
    """The connection table is full for the application: its role is refused, and the view says why."""
    few = {"max_connections": "5", "superuser_reserved_connections": "2", "max_wal_senders": "0"}
    server = EmbeddedPostgres(
        tmp_path / "full",
        binaries=binaries(),
        settings=SMALL | FORGETFUL | few | {"wal_level": "minimal"},
    )
    server.ensure_running()
    taken = []
    try:
        taken = [psycopg.connect(server.app_dsn()) for _ in range(3)]
        probe = ServerProbe(server.app_dsn, server.admin_dsn, "turnback", True, 5, 5)
        value = probe.observe()
        assert (value["ok"], value["step"]) == (False, "connect") and "slots" in value["detail"]
        seen = ActivityProbe(server.admin_dsn, lambda: "app", 10).observe()
        assert seen["connections"] >= seen["max_connections"] == 3
        taken.pop().close()
        deadline = time.monotonic() + patience.SECONDS
        while not (value := probe.observe())["ok"]:
            assert time.monotonic() < deadline, value
            time.sleep(0.05)
    finally:
        for connection in taken:
            connection.close()
        server.remove()
