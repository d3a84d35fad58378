"""The PostgreSQL fence: refused for old and new sessions, waited for writers, named who is in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from conftest import FORGETFUL, SMALL, binaries
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.adapters.postgres.fence import FENCE_SQLSTATE, PostgresFence
from turnback.errors import NotReady, ProofFailed, ServerError

TABLES = ("users", "odd", "events")

SCHEMA = """
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE odd (id bigint GENERATED ALWAYS AS IDENTITY, double bigint GENERATED ALWAYS AS (2) STORED);
CREATE TABLE events (at int NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE ledger (version text);
INSERT INTO users (name) VALUES ('a');
INSERT INTO events VALUES (1, 'x');
"""

WRITES = (
    "INSERT INTO users (name) VALUES ('b')",
    "UPDATE users SET name = 'c'",
    "DELETE FROM users",
    "TRUNCATE users",
    "INSERT INTO users (name) VALUES ('b') ON CONFLICT DO NOTHING",
    "COPY users (name) FROM STDIN",
    "INSERT INTO events VALUES (2, 'y')",
    "UPDATE events_1 SET what = 'y'",
    "TRUNCATE events_1",
    "INSERT INTO odd DEFAULT VALUES",
)


@pytest.fixture
def fence(database) -> Iterator[PostgresFence]:
    database.connect(app=True).execute(SCHEMA)
    made = PostgresFence(
        database.admin_dsn,
        database.app_dsn,
        "public",
        TABLES,
        lock_timeout_seconds=0.3,
        known_excluded=("ledger",),
    )
    yield made
    made.close()


def refused(connection: psycopg.Connection, statement: str) -> bool:
    try:
        with connection.cursor() as cursor:
            if statement.startswith("COPY"):
                with cursor.copy(statement) as copy:
                    copy.write("x\n")
            else:
                cursor.execute(statement)
    except psycopg.Error as e:
        return e.sqlstate == FENCE_SQLSTATE
    return False


def test_every_kind_of_write_is_refused_in_old_and_new_sessions(database, fence) -> None:
    old = database.connect(app=True)
    old.execute("SELECT count(*) FROM users")
    fence.open_canary()
    assert not fence.is_raised()
    fence.raise_()
    fence.prove()
    assert fence.is_raised()
    for connection in (old, database.connect(app=True), database.connect()):
        assert [w for w in WRITES if not refused(connection, w)] == []
    # ENABLE ALWAYS: not even a session that suspends triggers gets through
    admin = database.connect()
    admin.execute("SET session_replication_role = replica")
    assert refused(admin, WRITES[0])
    assert old.execute("SELECT name FROM users").fetchall() == [("a",)]  # reads go on
    old.execute("INSERT INTO ledger VALUES ('1')")  # excluded by name


def test_a_transaction_that_began_before_the_fence_cannot_write_after_it(database, fence) -> None:
    begun = database.connect(app=True, autocommit=False)
    begun.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    begun.execute("SELECT 1")
    fence.raise_()
    assert refused(begun, "INSERT INTO users (name) VALUES ('late')")


def test_lift_gives_writes_back_and_both_may_be_repeated(database, fence) -> None:
    fence.raise_()
    fence.raise_()
    fence.prove()
    fence.lift()
    fence.lift()
    assert not fence.is_raised()
    app = database.connect(app=True)
    app.execute("INSERT INTO users (name) VALUES ('b')")
    app.execute("INSERT INTO events_1 VALUES (3, 'z')")
    with pytest.raises(ProofFailed, match="table odd lacks the fence"):
        fence.prove()


def test_prove_sees_a_fence_that_was_disabled_or_hollowed_out(database, fence) -> None:
    fence.raise_()
    admin = database.connect()
    admin.execute("ALTER TABLE events_1 DISABLE TRIGGER turnback_fence")
    with pytest.raises(ProofFailed, match="events_1"):
        fence.prove()
    fence.raise_()
    fence.prove()
    admin.execute(
        "CREATE OR REPLACE FUNCTION turnback.refuse_write() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'"
    )
    with pytest.raises(ProofFailed, match="was accepted"):
        fence.prove()


def test_refused_for_another_reason_is_no_proof(database, fence) -> None:
    fence.raise_()
    database.connect().execute(
        "CREATE OR REPLACE FUNCTION turnback.refuse_write() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'something else'; END $$"
    )
    with pytest.raises(ProofFailed, match="refused for another reason: something else"):
        fence.prove()


@pytest.mark.parametrize("of", ["DATABASE {0}", "ROLE app IN DATABASE {0}"])
def test_a_database_that_is_read_only_by_default_is_fenced(database, fence, of: str) -> None:
    """Somebody made it so in an outage; it is no fence, any session may switch it off for itself."""
    fence.open_canary()
    database.connect().execute(f"ALTER {of.format(database.name)} SET default_transaction_read_only = on")
    fence.raise_()
    fence.prove()
    fence.lift()
    with pytest.raises(ProofFailed, match="lacks the fence"):
        fence.prove()


def test_missing_rights_of_the_application_count_as_refused(database, fence) -> None:
    database.connect().execute(
        "ALTER TABLE users OWNER TO CURRENT_USER; REVOKE ALL ON users FROM app; GRANT SELECT ON users TO app"
    )
    fence.raise_()
    fence.prove()


def test_a_short_writer_is_waited_for_and_its_commit_is_before_the_fence(database, fence) -> None:
    writer = database.connect(app=True, autocommit=False)
    writer.execute("INSERT INTO users (name) VALUES ('in flight')")
    committed = threading.Timer(0.1, writer.commit)
    committed.start()
    fence.raise_()
    committed.join()
    names = database.connect().execute("SELECT name FROM users ORDER BY id").fetchall()
    assert names == [("a",), ("in flight",)]


def test_a_forgotten_transaction_is_terminated(database, fence) -> None:
    idle = database.connect(app=True, autocommit=False)
    idle.execute("UPDATE users SET name = 'never committed'")
    fence.raise_()
    fence.prove()
    with pytest.raises(psycopg.OperationalError):
        idle.execute("SELECT 1")
    assert database.connect().execute("SELECT name FROM users").fetchall() == [("a",)]


def test_whom_it_may_not_terminate_is_named_without_the_text_of_the_query(database, fence) -> None:
    own = psycopg.connect(database.admin_dsn, application_name="turnback copy")
    try:
        own.execute("UPDATE users SET name = 'secret value'")
        with pytest.raises(ServerError) as caught:
            fence.raise_()
    finally:
        own.close()
    text = str(caught.value) + caught.value.hint
    assert "turnback copy" in text and "idle in transaction" in text and "pid " in text
    assert "secret value" not in text
    assert not fence.is_raised()
    fence.raise_()


def test_a_plain_owner_cannot_terminate_others_but_fences_its_own_tables(database) -> None:
    """No superuser: ownership and CREATE on the database are enough."""
    admin = database.connect()
    admin.execute(f'GRANT CREATE ON DATABASE "{database.name}" TO app')
    database.connect(app=True).execute(SCHEMA)
    fence = PostgresFence(database.app_dsn, None, "public", [*TABLES, "ledger"], lock_timeout_seconds=0.3)
    blocker = database.connect(autocommit=False)
    blocker.execute("UPDATE users SET name = 'x'")
    try:
        with pytest.raises(ServerError, match=f"pid {blocker.info.backend_pid}"):
            fence.raise_()
        blocker.rollback()
        fence.raise_()
        fence.prove()
        assert refused(admin, "DELETE FROM users")
    finally:
        fence.close()


def test_a_table_that_the_plan_lacks_is_refused(database, fence) -> None:
    database.connect(app=True).execute("CREATE TABLE surprise (x int)")
    with pytest.raises(NotReady, match="surprise"):
        fence.raise_()
    assert not fence.is_raised()


def test_a_table_of_the_plan_that_is_gone_is_refused(database, fence) -> None:
    database.connect(app=True).execute("DROP TABLE odd")
    with pytest.raises(NotReady, match="lacks odd"):
        fence.raise_()


def test_prepared_transactions_are_refused_by_name(tmp_path) -> None:
    running = EmbeddedPostgres(
        tmp_path / "prepared",
        binaries=binaries(),
        settings=SMALL | FORGETFUL | {"max_prepared_transactions": "2"},
    )
    running.ensure_running()
    try:
        with closing(psycopg.connect(running.admin_dsn(), autocommit=True)) as admin:
            admin.execute("CREATE TABLE users (name text)")
            admin.execute("BEGIN; INSERT INTO users VALUES ('x'); PREPARE TRANSACTION 'left open'")
            fence = PostgresFence(running.admin_dsn(), None, "public", ["users"], lock_timeout_seconds=0.3)
            with closing(fence):
                with pytest.raises(ServerError, match="left open"):
                    fence.raise_()
                admin.execute("ROLLBACK PREPARED 'left open'")
                fence.raise_()
                fence.prove()
    finally:
        running.remove()


def test_the_canary_that_was_terminated_counts_as_refused(database, fence) -> None:
    fence.open_canary()
    fence.raise_()
    database.connect().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnback canary'"
    )
    fence.prove()


def test_lift_waits_for_readers_and_never_ends_them(database, fence) -> None:
    fence.raise_()
    reader = database.connect(app=True, autocommit=False)
    reader.execute("SELECT * FROM users")
    with pytest.raises(ServerError, match="in the way"):
        fence.lift()
    assert reader.execute("SELECT 1").fetchone() == (1,)
    assert fence.is_raised()
