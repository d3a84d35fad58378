"""Limits that the server's owner sets on sessions do not end turnback's: a copy and a long transaction take
the time that they take."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from capturing import Both, column, table
from conftest import Database
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.connect import connect
from turnback.core.changes import Commit
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.ports import StreamItem

PLAN = Plan(
    "create",
    "public",
    (table("t", ("id",), column("id", "integer", "INTEGER"), column("body", "text", "TEXT")),),
)


def limited(database: Database, setting: str, since: int) -> None:
    with database.connect() as admin:
        if admin.info.server_version < since * 10000:
            pytest.skip(f"this limit came with PostgreSQL {since}")
        admin.execute(f'ALTER DATABASE "{database.name}" SET {setting}'.encode())


@pytest.mark.parametrize(
    ("setting", "since", "statements"),
    [
        ("statement_timeout = '100ms'", 14, ("SELECT pg_sleep(0.5)",)),
        ("idle_in_transaction_session_timeout = '100ms'", 14, ("BEGIN", "", "SELECT 1")),
        ("idle_session_timeout = '100ms'", 14, ("SELECT 1", "", "SELECT 1")),
        ("transaction_timeout = '100ms'", 17, ("BEGIN", "SELECT pg_sleep(0.5)", "COMMIT")),
    ],
)
def test_no_limit_of_the_database_ends_a_session(
    database: Database, setting: str, since: int, statements: tuple[str, ...]
) -> None:
    limited(database, setting, since)
    with closing(connect(database.admin_dsn)) as session:
        for statement in statements:
            if statement:
                session.execute(statement.encode())
            else:
                time.sleep(0.5)  # five times the limit, in which the session does nothing


def test_a_snapshot_outlives_the_limit_of_transactions(database: Database) -> None:
    limited(database, "transaction_timeout = '100ms'", 17)
    with closing(connect(database.admin_dsn)) as reader:
        slot = slots.create_slot(database.admin_dsn, f"slot_{database.name}", timeout_seconds=60)
        with closing(slot):
            time.sleep(0.5)
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f"SET TRANSACTION SNAPSHOT '{slot.snapshot_name}'".encode())
            reader.execute("COMMIT")


def test_a_transaction_that_takes_longer_to_send_than_transactions_may_take(
    database: Database, tmp_path: Path
) -> None:
    """The walsender decodes it in a transaction of its own: ended there, it would be sent again for ever."""
    schema = "CREATE TABLE t(id {} PRIMARY KEY, body text)"
    both = Both(database, tmp_path, PLAN, schema.format("INTEGER"), schema.format("bigint"))
    both.open_up()
    # More than any socket holds, so that the server is in the middle of it as long as nobody reads.
    both.pg.execute("INSERT INTO t SELECT n, repeat('x', 10000) FROM generate_series(1, 3000) AS n")
    limited(database, "transaction_timeout = '100ms'", 17)
    with closing(both.stream(Lsn(0))) as stream:
        time.sleep(0.5)
        deadline, ended = time.monotonic() + 60, False
        while not ended:
            assert time.monotonic() < deadline
            ended = any(
                isinstance(i, StreamItem) and isinstance(i.message, Commit) for i in stream.receive(1)
            )
