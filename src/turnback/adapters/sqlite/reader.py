"""Reads the rows of one SQLite file, all in one read transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import apsw

from turnback.adapters.sqlite.database import open_database, translate
from turnback.adapters.sqlite.raw_text import CarriedColumns
from turnback.core.codecs.text_bytes import NAME as TEXT_BYTES
from turnback.core.plan import TablePlan
from turnback.core.rows import SqliteRow
from turnback.core.sqltext import identifier
from turnback.errors import CannotCarry, SourceError
from turnback.ports import Batch, ScanKey

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


class FileReader:
    """A SqliteReader over one file, in the state that it had when this was opened.

    Opened read-only; what other processes write afterwards is not seen. Text that is not valid UTF-8 raises
    CannotCarry with table, column and key (HAZARDS F9), but where the plan carries it as its bytes.
    """

    def __init__(self, path: Path, *, extensions: Sequence[str] = ()) -> None:
        self._path = path
        self._connection = open_database(path, "read", extensions=extensions)
        self._scans: dict[str, _Scan] = {}
        self._columns: dict[tuple[str, ...], CarriedColumns] = {}  # by table and columns
        # BEGIN alone reads nothing: the first SELECT is what fixes the state.
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def count(self, table: TablePlan, *, at_most: int | None = None) -> int:
        """How many rows the table has; no more than `at_most` are looked at."""
        counted = identifier(table.sqlite)
        if at_most is not None:
            counted = f"(SELECT 1 FROM {counted} LIMIT {at_most})"
        for (rows,) in self._rows(table, f"SELECT count(*) FROM {counted}", ()):
            assert isinstance(rows, int)
            return rows
        raise AssertionError("count(*) gives a row")

    def batches(self, table: TablePlan, *, after: ScanKey | None = None, size: int = 5000) -> Iterator[Batch]:
        """The table's rows in scan order, `size` at a time, behind `after`."""
        scan = self._scan(table)
        columns = self._carried(table)
        where = f" WHERE {scan.beyond}" if after is not None else ""
        rows = self._rows(
            table,
            f"SELECT {scan.key}, {columns.terms} FROM {identifier(table.sqlite)}{where} "
            f"ORDER BY {scan.order}",
            after or (),
        )
        width = scan.width
        while chunk := list(islice(rows, size)):
            values = [row[width:] for row in chunk]
            yield Batch(values if columns.plain else list(map(columns.read, values)), chunk[-1][:width])

    def by_keys(self, table: TablePlan, keys: Sequence[SqliteRow]) -> Iterator[SqliteRow]:
        """The rows with these keys, in the keys' order; a key that is not there gives nothing."""
        columns = self._carried(table)
        positions = table.key_positions()
        condition = " AND ".join(
            f"{identifier(table.columns[p].sqlite)} = {columns.marks[p]}" for p in positions
        )
        sql = f"SELECT {columns.terms} FROM {identifier(table.sqlite)} WHERE {condition}"
        for key in keys:
            bound = tuple([columns.bound_at(p, v) for p, v in zip(positions, key, strict=True)])
            for row in map(columns.read, self._rows(table, sql, bound)):
                # The column's collation may find another spelling of the key: that is not the row meant.
                if tuple(row[p] for p in positions) == tuple(key):
                    yield row

    def close(self) -> None:
        """Ends the read transaction and closes the file."""
        self._connection.close()

    def _rows(self, table: TablePlan, sql: str, bound: SqliteRow) -> Iterator[SqliteRow]:
        try:
            yield from self._connection.execute(sql, bound)
        except apsw.Error as e:
            raise translate(e, self._path) from e
        except UnicodeDecodeError:
            raise self._undecodable(table) from None

    def _undecodable(self, table: TablePlan) -> CannotCarry:
        """Finds the first value that could not be decoded. Slow, and only on the way to an error."""
        scan = self._scan(table)
        hint = f'set codec = "{TEXT_BYTES}" for it in turnback.toml, or repair the value'
        for column in table.columns:
            if column.codec == TEXT_BYTES or any(e.column == column for e in table.expressions):
                continue
            name = identifier(column.sqlite)
            sql = (
                f"SELECT CAST({name} AS BLOB), CAST({scan.readable} AS BLOB) FROM {identifier(table.sqlite)} "
                f"WHERE typeof({name}) = 'text'"
            )
            for raw, key in self._connection.execute(sql):
                assert isinstance(raw, bytes)
                assert isinstance(key, bytes)
                try:
                    raw.decode()
                except UnicodeDecodeError as e:
                    return CannotCarry(
                        f"{table.sqlite}.{column.sqlite}: text that is not valid UTF-8 at byte {e.start} "
                        f"(row {key.decode(errors='backslashreplace')})",
                        hint=hint,
                    )
        return CannotCarry(f"{table.sqlite}: text that is not valid UTF-8", hint=hint)

    def _carried(self, table: TablePlan) -> CarriedColumns:
        known = (table.sqlite, *(c.sqlite for c in table.columns))
        if known not in self._columns:
            self._columns[known] = CarriedColumns(self._connection, table)
        return self._columns[known]

    def _scan(self, table: TablePlan) -> _Scan:
        if table.sqlite not in self._scans:
            self._scans[table.sqlite] = _scan(self._connection, table)
        return self._scans[table.sqlite]


@dataclass(frozen=True, slots=True)
class _Scan:
    """How a table is gone through: SQL fragments, and how many columns its scan key has."""

    key: str
    order: str
    beyond: str  # the condition "behind this key"
    width: int
    readable: str  # one expression that shows the key in a message


def _scan(connection: apsw.Connection, table: TablePlan) -> _Scan:
    if table.without_rowid:
        return _primary_key_scan(connection, table)
    row = connection.execute("SELECT type FROM sqlite_schema WHERE name = ?", (table.sqlite,)).fetchone()
    if row is not None and row[0] == "view":
        return _Scan("0", "1", "0", 1, "'of a view'")  # no row of it can be found again
    taken = {
        str(name).lower()
        for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table.sqlite,))
    }
    name = next((n for n in _ROWID_NAMES if n not in taken), None)
    if name is None:
        raise SourceError(
            f"{table.sqlite}: columns named rowid, oid and _rowid_ hide the table's row id",
            hint="rename one of these columns, or exclude the table",
        )
    return _Scan(name, name, f"{name} > ?", 1, name)


def _primary_key_scan(connection: apsw.Connection, table: TablePlan) -> _Scan:
    """In the primary key's own collations: a key's order and its uniqueness must be the same relation."""
    index = connection.execute(
        "SELECT name FROM pragma_index_list(?) WHERE origin = 'pk'", (table.sqlite,)
    ).fetchall()
    columns = [
        (str(name), str(collation))
        for name, collation in connection.execute(
            "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", (index[0][0],)
        )
    ]
    raw = {c.sqlite for c in table.columns if c.codec == TEXT_BYTES}  # their keys are kept as bytes
    collated = ", ".join(f"{identifier(n)} COLLATE {identifier(c)}" for n, c in columns)
    marks = ", ".join("CAST(? AS TEXT)" if n in raw else "?" for n, _ in columns)
    return _Scan(
        key=", ".join(f"CAST({identifier(n)} AS BLOB)" if n in raw else identifier(n) for n, _ in columns),
        order=collated,
        beyond=f"({collated}) > ({marks})",
        width=len(columns),
        readable=" || ', ' || ".join(f"quote({identifier(n)})" for n, _ in columns),
    )
