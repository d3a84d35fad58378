"""Some rows of one SQLite file as they are stored, for the sample; shares no code with the reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from turnback.adapters.sqlite.database import open_database, pragma, translated
from turnback.core.plan import TablePlan
from turnback.core.rows import SqliteRow, SqliteValue
from turnback.core.sqltext import identifier
from turnback.errors import SourceError

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_ENCODINGS = {
    "UTF-8": ("utf-8", "surrogateescape"),
    "UTF-16le": ("utf-16-le", "surrogatepass"),
    "UTF-16be": ("utf-16-be", "surrogatepass"),
}
_TYPES: dict[str, type] = {"null": type(None), "integer": int, "real": float, "blob": bytes}


class FileSample:
    """A SqliteSample (app.sample) over one read transaction."""

    def __init__(self, path: Path, *, extensions: Sequence[str] = ()) -> None:
        self._path = path
        self._connection = open_database(path, "read", extensions=extensions)
        with translated(path):
            self._encoding, self._errors = _ENCODINGS[str(pragma(self._connection, "encoding"))]
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def count(self, table: TablePlan) -> int:
        ((rows,),) = self._all(f"SELECT count(*) FROM {identifier(table.sqlite)}", ())
        assert isinstance(rows, int)
        return rows

    def pick(self, table: TablePlan, ordinals: Sequence[int]) -> Iterator[SqliteRow]:
        """One pass over the table: between two picked rows SQLite itself steps, where there is a row id."""
        name = None if table.without_rowid else self._rowid(table)
        terms, source = _terms(table), identifier(table.sqlite)
        before = -1
        if name is None:
            with translated(self._path):
                rows = iter(self._connection.execute(f"SELECT {terms} FROM {source}"))
                for ordinal in ordinals:
                    for row in islice(rows, ordinal - before - 1, ordinal - before):
                        yield self._values(row)
                    before = ordinal
            return
        last: Any = None
        for ordinal in ordinals:
            beyond, bound = ("", ()) if last is None else (f" WHERE {name} > ?", (last,))
            offset = ordinal - before - 1
            sql = f"SELECT {name}, {terms} FROM {source}{beyond} ORDER BY {name} LIMIT 1 OFFSET {offset}"
            for row in self._all(sql, bound):
                last = row[0]
                yield self._values(row[1:])
            before = ordinal

    def by_key(self, table: TablePlan, key: SqliteRow) -> list[SqliteRow]:
        return [r for r in self._where(table, table.key, key) if _picked(r, table) == key]

    def holds(self, table: TablePlan, row: SqliteRow) -> bool:
        return row in list(self._where(table, [c.sqlite for c in table.columns], row))

    def close(self) -> None:
        self._connection.close()

    def _where(self, table: TablePlan, names: Sequence[str], values: SqliteRow) -> Iterator[SqliteRow]:
        marks = ["CAST(? AS TEXT)" if isinstance(v, str) else "?" for v in values]
        condition = " AND ".join(f"{identifier(n)} IS {m}" for n, m in zip(names, marks, strict=True))
        bound = [v.encode(self._encoding, self._errors) if isinstance(v, str) else v for v in values]
        sql = f"SELECT {_terms(table)} FROM {identifier(table.sqlite)} WHERE {condition}"
        yield from map(self._values, self._all(sql, tuple(bound)))

    def _all(self, sql: str, bound: SqliteRow) -> list[tuple[Any, ...]]:
        with translated(self._path):
            return list(self._connection.execute(sql, bound))

    def _values(self, row: tuple[Any, ...]) -> SqliteRow:
        """From pairs of (typeof, raw): what SQLite says of the class and what Python has must agree."""
        values: list[SqliteValue] = []
        pairs: Iterator[tuple[str, Any]] = zip(row[::2], row[1::2], strict=True)
        for kind, raw in pairs:
            if kind == "text":
                values.append(raw.decode(self._encoding, self._errors))
                continue
            if type(raw) is not _TYPES[kind]:
                raise SourceError(f"{self._path}: a value of class {kind} was read as {type(raw).__name__}")
            values.append(cast(SqliteValue, raw))  # its class was just looked at
        return tuple(values)

    def _rowid(self, table: TablePlan) -> str | None:
        taken = {
            str(n).lower() for (n,) in self._all("SELECT name FROM pragma_table_xinfo(?)", (table.sqlite,))
        }
        return next((n for n in _ROWID_NAMES if n not in taken), None)


def _terms(table: TablePlan) -> str:
    """typeof and value of each column; text as its bytes."""
    names = [identifier(c.sqlite) for c in table.columns]
    return ", ".join(
        f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names
    )


def _picked(row: SqliteRow, table: TablePlan) -> SqliteRow:
    return tuple(row[p] for p in table.key_positions())
