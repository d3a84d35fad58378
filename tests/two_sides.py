"""A SQLite file and its plan, for tests of reading, loading and comparing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from turnback.adapters.postgres.load import Loader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.copy import copy_tables
from turnback.core.ddl import build_constraints, create_schema
from turnback.core.plan import ColumnPlan, Plan, TablePlan


class Silent:
    """A Progress that only counts."""

    def __init__(self) -> None:
        self.advanced = 0

    def begin(self, what: str, total: int | None = None) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.advanced += amount

    def end(self) -> None:
        pass


def no_failure(name: str) -> None:
    """A failpoint that does nothing."""


def sqlite_file(path: Path, *statements: str) -> Path:
    with closing(apsw.Connection(str(path))) as connection:
        for statement in statements:
            for _ in connection.execute(statement):
                pass
    return path


def fill(path: Path, table: str, rows: Iterable[Sequence[object]]) -> None:
    rows = list(rows)
    marks = ", ".join("?" * len(rows[0]))
    with closing(apsw.Connection(str(path))) as connection, connection:
        connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)


def run_sql(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as connection:
        return list(connection.execute(sql))


def table_plan(
    name: str, *columns: ColumnPlan, key: tuple[str, ...] = ("id",), without_rowid: bool = False
) -> TablePlan:
    return TablePlan(name, name, columns, key, "default" if key else "full", without_rowid=without_rowid)


def load(path: Path, plan: Plan, admin_dsn: str) -> None:
    """As migrate does it, in create mode."""
    with closing(Loader(admin_dsn, plan, run_token="run")) as loader, closing(FileReader(path)) as reader:
        loader.prepare(create_schema(plan))
        copy_tables(plan, reader, loader, Silent(), no_failure)
        loader.execute(build_constraints(plan), once="constraints")


def plan_of(*tables: TablePlan, mode: str = "create") -> Plan:
    return Plan("existing" if mode == "existing" else "create", "public", tables)


def integer(name: str, **more: object) -> ColumnPlan:
    return ColumnPlan(name, name, "bigint", "integer", **more)  # type: ignore[arg-type]


def text(name: str) -> ColumnPlan:
    return ColumnPlan(name, name, "text", "text")


def real(name: str) -> ColumnPlan:
    return ColumnPlan(name, name, "double precision", "real")


def blob(name: str) -> ColumnPlan:
    return ColumnPlan(name, name, "bytea", "blob")


def boolean(name: str) -> ColumnPlan:
    return ColumnPlan(name, name, "boolean", "boolean")
