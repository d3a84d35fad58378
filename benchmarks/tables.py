"""Two tables on both sides, of turnback's own making: a narrow one and a wide one with JSON."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import apsw
import psycopg

from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core import ddl
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.rows import SqliteRow

JSON_CHARACTERS = 500  # about
START_MS = 1_767_225_600_000  # 2026-01-01

NARROW = TablePlan(
    sqlite="narrow",
    postgres="narrow",
    columns=(
        ColumnPlan("id", "id", "bigint", "integer", affinity="INTEGER", not_null=True),
        ColumnPlan("amount", "amount", "double precision", "real", affinity="REAL"),
        ColumnPlan("name", "name", "text", "text", affinity="TEXT"),
        ColumnPlan("done", "done", "boolean", "boolean", affinity="NUMERIC"),
    ),
    key=("id",),
    replica_identity="default",
    primary_key=("id",),
)
WIDE = TablePlan(
    sqlite="wide",
    postgres="wide",
    columns=(
        ColumnPlan("id", "id", "bigint", "integer", affinity="INTEGER", not_null=True),
        ColumnPlan(
            "document",
            "document",
            "jsonb",
            "json_text",
            {"binary": True, "respell": True},
            affinity="TEXT",
        ),
        ColumnPlan(
            "made",
            "made",
            "timestamp with time zone",
            "epoch",
            {"unit": "ms", "zoned": True},
            affinity="INTEGER",
        ),
        ColumnPlan("title", "title", "text", "text", affinity="TEXT"),
    ),
    key=("id",),
    replica_identity="default",
    primary_key=("id",),
)
_SQLITE = {
    "narrow": "CREATE TABLE narrow (id INTEGER PRIMARY KEY, amount REAL, name TEXT, done BOOLEAN)",
    "wide": "CREATE TABLE wide (id INTEGER PRIMARY KEY, document TEXT, made INTEGER, title TEXT)",
}


class Silent:
    """A Progress that shows nothing."""

    def begin(self, what: str, total: int | None = None) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ground:
    """An embedded server, and a folder for SQLite files; both are gone afterwards."""

    server: EmbeddedPostgres
    folder: Path

    @property
    def dsn(self) -> str:
        return self.server.admin_dsn()

    def execute(self, *statements: str) -> None:
        """As superuser, one after the other."""
        with closing(psycopg.connect(self.dsn, autocommit=True)) as session:
            for statement in statements:
                session.execute(statement.encode())

    def tables(self, *tables: TablePlan) -> Plan:
        """Makes them in PostgreSQL, bare and empty."""
        plan = Plan("create", "public", tables)
        self.execute(*ddl.drop_schema(plan), *ddl.create_schema(plan))
        return plan

    def file(self, table: TablePlan, rows: int) -> Path:
        """A SQLite file with so many rows of the table; the same rows each time."""
        path = self.folder / f"{table.sqlite}.db"
        path.unlink(missing_ok=True)
        dice = random.Random(1)
        make = _narrow if table is NARROW else _wide
        with closing(apsw.Connection(os.fspath(path))) as file:
            for _ in file.execute(_SQLITE[table.sqlite]):
                pass
            with file:
                marks = ", ".join("?" * len(table.columns))
                file.executemany(
                    f"INSERT INTO {table.sqlite} VALUES ({marks})",
                    (make(dice, i) for i in range(1, rows + 1)),
                )
        return path


@contextmanager
def ground() -> Iterator[Ground]:
    """A server with turnback's own settings, fsync included."""
    with tempfile.TemporaryDirectory(prefix="turnback-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "state", settings={"max_wal_size": "4GB"})
        try:
            server.ensure_running()
            yield Ground(server, Path(folder))
        finally:
            server.remove()


def seconds(work: Callable[[], object]) -> float:
    """How long the work took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def against(rows: int, ours: list[float], floor: list[float]) -> dict[str, float]:
    """Of runs made in pairs: medians as rows/s, and the median of the pairs' ratios (1: as the floor)."""
    return {
        "rows": rows,
        "rows_per_second": round(rows / median(ours)),
        "floor_rows_per_second": round(rows / median(floor)),
        "ratio": round(median(f / o for o, f in zip(ours, floor, strict=True)), 3),
    }


def _narrow(dice: random.Random, i: int) -> SqliteRow:
    return i, dice.gauss(0, 1000), f"name {i % 1000}", i % 2


def _wide(dice: random.Random, i: int) -> SqliteRow:
    items = [
        {"n": dice.randrange(1000), "text": f"größe {dice.random():.6f}"}
        for _ in range(JSON_CHARACTERS // 40)
    ]
    document = json.dumps({"items": items, "id": i, "flag": None}, separators=(",", ":"), ensure_ascii=False)
    return i, document, START_MS + i * 137, f"title {i}"
