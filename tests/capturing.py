"""A table or two on both sides, with a slot between them, for the tests of capture."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

import patience
from turnback.adapters.clock import SystemClock
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.stream import SlotStream
from turnback.adapters.sqlite.fallback import Fallback
from turnback.app.capture import Capture
from turnback.app.transactions import Assembler
from turnback.core.codecs.row import RowCodec
from turnback.core.lsn import Lsn
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.schema import affinity
from turnback.core.sqltext import identifiers, qualified
from turnback.ports import Keepalive, Position, StreamItem

PUBLICATION = "turnback"

_PG_TYPES = {
    "integer": "bigint",
    "real": "double precision",
    "number": "numeric",
    "boolean": "boolean",
    "text": "text",
    "blob": "bytea",
    "json_text": "jsonb",
    "uuid_text": "uuid",
}


def column(name: str, codec: str, declared: str, pg_type: str = "", **options: object) -> ColumnPlan:
    if codec == "json_text":
        options.setdefault("binary", True)
    return ColumnPlan(
        name, name, pg_type or _PG_TYPES[codec], codec, options=options, affinity=affinity(declared)
    )


def table(name: str, key: tuple[str, ...], *columns: ColumnPlan, **more: object) -> TablePlan:
    more.setdefault("replica_identity", "default" if key else "full")
    return TablePlan(sqlite=name, postgres=name, columns=columns, key=key, **more)


class Both:
    """One database, one fallback file, one slot."""

    def __init__(self, database, folder: Path, plan: Plan, sqlite_sql: str, postgres_sql: str) -> None:
        self.database = database
        self.plan = plan
        self.path = folder / "fallback.db"
        self.slot = f"slot_{database.name}"
        with closing(apsw.Connection(os.fspath(self.path))) as file:
            for _ in file.execute(sqlite_sql):
                pass
        self.pg = database.connect()
        self.pg.execute(postgres_sql)

    def open_up(self) -> None:
        """What is in both now is equal; from here on changes are captured."""
        dsn = self.database.admin_dsn
        with closing(connect(dsn)) as admin:
            slots.set_replica_identity(admin, self.plan)
            slots.create_publication(admin, self.plan, PUBLICATION)
        with closing(slots.create_slot(dsn, self.slot, timeout_seconds=20)) as made:
            system = slots.identify_system(dsn)
            position = Position(self.slot, system.identifier, system.timeline, made.consistent_point, 0)
        Fallback.initialise(self.path, self.plan, position)

    def fallback(self) -> Fallback:
        return Fallback(self.path, self.plan, busy_seconds=10)

    def stream(self, start: Lsn) -> SlotStream:
        return SlotStream(self.database.admin_dsn, self.slot, PUBLICATION, start)

    def capture(
        self,
        check_drift: Callable[[], list[str]] = list,
        identify: Callable[[], slots.System] | None = None,
        **more: object,
    ) -> Capture:
        dsn = self.database.admin_dsn
        return Capture(
            self.fallback,
            self.stream,
            identify or (lambda: slots.identify_system(dsn)),
            lambda: slots.confirmed_flush(dsn, self.slot),
            check_drift,
            SystemClock(),
            **more,
        )

    @contextmanager
    def capturing(self, **more: object) -> Iterator[Capture]:
        capture = self.capture(**more)
        capture.start()
        try:
            capture.wait_streaming(20)
            yield capture
        finally:
            capture.stop()

    def emit(self, token: str) -> Lsn:
        row = self.pg.execute(
            "WITH l AS MATERIALIZED (SELECT pg_current_wal_insert_lsn() AS lsn) "
            "SELECT (lsn - '0/0')::bigint, pg_logical_emit_message(true, 'turnback', %s) FROM l",
            [token],
        ).fetchone()
        return Lsn(int(row[0]))

    def drain(self, capture: Capture) -> None:
        token = f"drain-{time.monotonic_ns()}"
        arrived = capture.wait_for(token, self.emit(token), patience.SECONDS)
        assert arrived, capture.status()

    def pump(self) -> None:
        """Everything up to now into the fallback, without threads; raises what apply raises."""
        token = f"pump-{time.monotonic_ns()}"
        self.emit(token)
        with closing(self.fallback()) as fallback:
            with closing(self.stream(fallback.position().applied_lsn)) as stream:
                assembler = Assembler(fallback.folder)
                try:
                    self._pump(fallback, stream, assembler, token)
                finally:
                    assembler.close()

    def _pump(self, fallback: Fallback, stream: SlotStream, assembler: Assembler, token: str) -> None:
        deadline = time.monotonic() + patience.SECONDS
        while fallback.seen_token(token) is None:
            assert time.monotonic() < deadline, "nothing arrives"
            for item in stream.receive(0.2):
                assert isinstance(item, StreamItem | Keepalive)
                if isinstance(item, StreamItem):
                    done = assembler.add(item.message)
                    if done is not None:
                        fallback.apply([done], stream.keepalive)
                        stream.acknowledge(done.commit.end_lsn)

    def rows(self, name: str, columns: str = "*") -> list[tuple]:
        """Of the fallback; typeof and value come from a reader of its own."""
        with closing(apsw.Connection(os.fspath(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
            return file.execute(f'SELECT {columns} FROM "{name}"').fetchall()

    def assert_equal(self) -> None:
        """Both sides hold the same rows, compared in PostgreSQL's canonical text."""
        for t in self.plan.tables:
            codec = RowCodec(t)
            with closing(connect(self.database.admin_dsn)) as admin:
                texts = ", ".join(f"{identifiers([c.postgres])}::text" for c in t.columns)
                there = admin.execute(
                    f"SELECT {texts} FROM {qualified('public', t.postgres)}".encode()
                ).fetchall()
            here = self.rows(t.sqlite, identifiers(c.sqlite for c in t.columns))
            on_postgres = sorted((codec.canonical(row) for row in there), key=repr)
            on_sqlite = sorted((codec.canonical(codec.encode(row)) for row in here), key=repr)
            assert on_sqlite == on_postgres, f"table {t.sqlite} differs"
