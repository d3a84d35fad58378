"""Some rows of one PostgreSQL snapshot as the Python objects that psycopg's own loaders make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, cast

from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from turnback.adapters.postgres.connect import connect, translated
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.sqltext import identifier, qualified

_INFINITE = (b"infinity", b"-infinity")


class _Date(DateLoader):
    """psycopg has no object for infinity: it stays the word."""

    def load(self, data: Any) -> date:
        return cast(date, bytes(data).decode()) if bytes(data) in _INFINITE else super().load(data)


class _Timestamp(TimestampLoader):
    def load(self, data: Any) -> datetime:
        return cast(datetime, bytes(data).decode()) if bytes(data) in _INFINITE else super().load(data)


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Any) -> datetime:
        return cast(datetime, bytes(data).decode()) if bytes(data) in _INFINITE else super().load(data)


class SnapshotSample:
    """A PostgresSample (app.sample) over one REPEATABLE READ, READ ONLY transaction."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._connection = connect(dsn, application_name="turnback sample")
        adapters = self._connection.adapters
        for name in ("json", "jsonb"):  # as text: equal keys and 1.10 are judged by core.independent
            adapters.register_loader(name, TextLoader)
        adapters.register_loader("date", _Date)
        adapters.register_loader("timestamp", _Timestamp)
        adapters.register_loader("timestamptz", _Timestamptz)
        try:
            with translated(dsn):
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._connection.execute("SELECT 1")  # BEGIN alone takes no snapshot
        except BaseException:
            self._connection.close()
            raise

    def count(self, table: TablePlan) -> int:
        ((rows,),) = self._rows(f"SELECT count(*) FROM {self._name(table)}")
        assert isinstance(rows, int)
        return rows

    def by_key(self, table: TablePlan, key: Sequence[object]) -> list[tuple[object, ...]]:
        columns = [table.columns[p] for p in table.key_positions()]
        condition = " AND ".join(
            f"{_escaped(identifier(c.postgres))} = CAST(%s AS {_escaped(c.pg_type)})" for c in columns
        )
        return self._rows(f"{_escaped(self._select(table))} WHERE {condition}", key)

    def everything(self, table: TablePlan) -> list[tuple[object, ...]]:
        return self._rows(self._select(table))

    def close(self) -> None:
        self._connection.close()

    def _select(self, table: TablePlan) -> str:
        terms = ", ".join(_term(c) for c in table.columns)
        return f"SELECT {terms} FROM {self._name(table)}"

    def _rows(self, sql: str, bound: Sequence[object] | None = None) -> list[tuple[object, ...]]:
        with translated(self._dsn):
            return self._connection.execute(sql.encode(), bound).fetchall()

    def _name(self, table: TablePlan) -> str:
        return qualified(self._schema, table.postgres)


def _term(column: ColumnPlan) -> str:
    """A `verbatim` column may have any type: what PostgreSQL prints of it is what is compared."""
    name = identifier(column.postgres)
    return f"{name}::text" if column.codec == "verbatim" else name


def _escaped(sql: str) -> str:
    """A per cent sign that is no placeholder, for a query that has some."""
    return sql.replace("%", "%%")
