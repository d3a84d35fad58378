"""What tests stand on: a real PostgreSQL per worker, a fresh database per test.

TURNBACK_TEST_PG_BIN names the bin folder of another PostgreSQL version to run the same tests on.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from guarded import Guarded, Migrated
from starter import STARTER
from turnback.adapters.postgres.embedded import EmbeddedPostgres

# A failing property prints the blob that replays it (@reproduce_failure).
settings.register_profile("turnback", print_blob=True, derandomize=False, deadline=None)
settings.load_profile("turnback")

# A shell that starts tests in its background makes them ignore SIGINT, and all that they start: a command that is
# to be interrupted would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every test of the command starts Python some times: it reads what was compiled, whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TEMPLATE = "turnback_template"
SMALL = {"shared_buffers": "16MB", "max_wal_size": "256MB", "lc_messages": "C"}
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}  # a test server's disk need not survive the machine

_numbers = itertools.count(1)


@dataclass
class Database:
    """A database of one test: `admin_dsn` is a superuser's, `app_dsn` the role's that owns schema public."""

    name: str
    admin_dsn: str
    app_dsn: str
    _open: list[psycopg.Connection] = field(default_factory=list)

    def connect(self, *, app: bool = False, autocommit: bool = True) -> psycopg.Connection:
        """A plain session, as an application would open it; closed when the test ends."""
        connection = psycopg.connect(self.app_dsn if app else self.admin_dsn, autocommit=autocommit)
        self._open.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def binaries() -> Path | None:
    chosen = os.environ.get("TURNBACK_TEST_PG_BIN")
    return Path(chosen) if chosen else None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One running PostgreSQL for this worker, wal_level=logical, without fsync."""
    running = EmbeddedPostgres(
        tmp_path_factory.mktemp("server"), binaries=binaries(), settings=SMALL | FORGETFUL
    )
    running.ensure_running()
    try:
        with closing(psycopg.connect(running.admin_dsn("postgres"), autocommit=True)) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE app OWNER app").format(sql.Identifier(TEMPLATE))
            )
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="session", autouse=True)
def starter() -> Iterator[None]:
    """What starts the command for this worker ends with it."""
    yield
    STARTER.close()


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test's own, with fsync, to be killed at will. Its database is `app`."""
    running = EmbeddedPostgres(tmp_path / "durable", binaries=binaries(), settings=SMALL)
    running.ensure_running()
    try:
        yield running
    finally:
        running.remove()


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    """A fresh, empty database, and no slot left behind."""
    name = f"test_{next(_numbers)}"
    with closing(psycopg.connect(server.admin_dsn("postgres"), autocommit=True)) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER app").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
        made = Database(name, server.admin_dsn(name), server.app_dsn(name))
        try:
            yield made
        finally:
            made.close()
            drop_slots(admin, name)
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    """The example application in the phase `migrated`, made once for this worker."""
    with closing(psycopg.connect(server.admin_dsn("postgres"), autocommit=True)) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE guarded TEMPLATE {} OWNER app").format(sql.Identifier(TEMPLATE))
        )
    return Migrated(tmp_path_factory.mktemp("migrated") / "a", server, "guarded")


@pytest.fixture
def guarded(migrated: Migrated, tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Makes guarded copies of it; their processes and databases end with the test."""
    with ExitStack() as ending:

        def make(over: dict[str, Any] | None = None, **options: Any) -> Guarded:
            number = next(_numbers)
            made = Guarded(tmp_path / f"guarded-{number}", migrated, f"guarded_{number}", over, **options)
            ending.callback(made.close)
            return made

        yield make


def drop_slots(admin: psycopg.Connection, database: str) -> None:
    """Drops the database's slots, whoever streams from them: DROP DATABASE refuses while one is left."""
    deadline = time.monotonic() + 60
    while True:
        slots = admin.execute(
            "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [database]
        ).fetchall()
        if not slots:
            return
        for slot, pid in slots:
            if pid is not None:
                admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            else:
                admin.execute("SELECT pg_drop_replication_slot(%s)", [slot])
        assert time.monotonic() < deadline, f"slots that cannot be dropped: {slots}"
        time.sleep(0.02)
