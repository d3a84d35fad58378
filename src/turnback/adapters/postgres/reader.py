"""Reads the rows of one PostgreSQL snapshot, as the text that the types' output functions print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from turnback.adapters.postgres.connect import connect, translated
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.rows import PostgresRow
from turnback.core.sqltext import identifier, literal, qualified

_KEYS_AT_ONCE = 1000


class SnapshotReader:
    """A PostgresReader over one REPEATABLE READ, READ ONLY transaction.

    `snapshot` is the name of an exported snapshot (PostgreSQL documentation: Snapshot Synchronization
    Functions); without one, the snapshot is taken when this is made. One connection: read a `rows` or
    `by_keys` to its end, or close it, before the next call.
    """

    def __init__(self, dsn: str, schema: str, *, snapshot: str | None = None) -> None:
        self._dsn = dsn
        self._schema = schema
        self._connection = connect(dsn, application_name="turnback reader")
        try:
            with translated(dsn):
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if snapshot is not None:
                    self._connection.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}".encode())
                self._connection.execute("SELECT 1")  # BEGIN alone takes no snapshot
        except BaseException:
            self._connection.close()
            raise

    def count(self, table: TablePlan) -> int:
        """How many rows the table has."""
        with translated(self._dsn):
            row = self._connection.execute(f"SELECT count(*) FROM {self._name(table)}".encode()).fetchone()
        assert row is not None and isinstance(row[0], int)
        return row[0]

    def rows(self, table: TablePlan) -> Iterator[PostgresRow]:
        """Every row, in no particular order."""
        # COPY (SELECT ...) and not COPY table: only that reads a partitioned table, and it names its columns.
        sql = f"COPY (SELECT {_columns(table)} FROM {self._name(table)}) TO STDOUT"
        with translated(self._dsn), self._connection.cursor() as cursor, cursor.copy(sql.encode()) as copy:
            yield from copy.rows()

    def by_keys(self, table: TablePlan, keys: Sequence[PostgresRow]) -> Iterator[PostgresRow]:
        """The rows with these keys, in no particular order; a key that is not there gives nothing."""
        columns = [c for k in table.key for c in table.columns if c.sqlite == k]
        arrays = ", ".join(f"%s::{_plain(c.pg_type)}[]" for c in columns)
        names = [f"k{i}" for i in range(len(columns))]
        matches = " AND ".join(
            f"t.{_plain(identifier(c.postgres))} = k.{n}" for c, n in zip(columns, names, strict=True)
        )
        selected = ", ".join(_plain(_value(table, c, "t.")) for c in table.columns)
        sql = (
            f"SELECT {selected} FROM {_plain(self._name(table))} AS t "
            f"JOIN unnest({arrays}) AS k({', '.join(names)}) ON {matches}"
        )
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            bound = [list(values) for values in zip(*keys[start : start + _KEYS_AT_ONCE], strict=True)]
            with translated(self._dsn), self._connection.cursor() as cursor:
                cursor.execute(sql.encode(), bound)
                result = cursor.pgresult
                assert result is not None
                # get_value is the output function's text; psycopg's own loading would give Python values.
                for i in range(result.ntuples):
                    raw = [result.get_value(i, j) for j in range(result.nfields)]
                    yield tuple([None if v is None else v.decode() for v in raw])

    def close(self) -> None:
        """Ends the transaction and the session."""
        self._connection.close()

    def _name(self, table: TablePlan) -> str:
        return qualified(self._schema, table.postgres)


def _columns(table: TablePlan) -> str:
    return ", ".join(_value(table, c) for c in table.columns)


def _value(table: TablePlan, column: ColumnPlan, prefix: str = "") -> str:
    """The column, or the plan's expression that goes by its name."""
    computed = (e.postgres_sql for e in table.expressions if e.column.postgres == column.postgres)
    return next(computed, prefix + identifier(column.postgres))


def _plain(sql: str) -> str:
    """A per cent sign that is no placeholder, for a query that has some."""
    return sql.replace("%", "%%")
