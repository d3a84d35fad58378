"""Text that crosses as its bytes: columns of the codec text_bytes (HAZARDS F8, F9).

apsw gives and takes text as valid UTF-8 only. In these columns it goes through a BLOB in both directions:
CAST(c AS BLOB) gives the bytes of a text in the file's encoding, CAST(? AS TEXT) makes a text of such bytes
and looks at none of them (SQLite documentation: CAST expressions).
"""

from __future__ import annotations

from typing import Final

import apsw

from turnback.adapters.sqlite.database import pragma
from turnback.core.codecs.text_bytes import NAME
from turnback.core.plan import TablePlan
from turnback.core.rows import SqliteRow, SqliteValue
from turnback.core.sqltext import identifier

# Each encoding with what keeps bytes that are not valid in it: in Python's str they stand as surrogates.
# Only UTF-8 keeps every byte; of UTF-16 the codec then takes and refuses what it can and cannot hold.
_ENCODINGS: Final = {
    "UTF-8": ("utf-8", "surrogateescape"),
    "UTF-16le": ("utf-16-le", "surrogatepass"),
    "UTF-16be": ("utf-16-be", "surrogatepass"),
}


class RawText:
    """The bytes of text in one file's encoding, as a str that loses nothing, and back."""

    __slots__ = ("_encoding", "_errors")

    def __init__(self, connection: apsw.Connection) -> None:
        self._encoding, self._errors = _ENCODINGS[str(pragma(connection, "encoding"))]

    def text(self, octets: SqliteValue) -> str:
        """A single byte at the end of UTF-16 becomes half of a surrogate pair, which the codec refuses."""
        assert isinstance(octets, bytes)
        odd = len(octets) % 2 if self._encoding != "utf-8" else 0
        text = octets[: len(octets) - odd].decode(self._encoding, self._errors)
        return text + "\ud800" if odd else text

    def octets(self, text: str) -> bytes:
        return text.encode(self._encoding, self._errors)


def raw_term(name: str) -> str:
    """A column's value with the bytes of a text as a blob; typeof() alone then tells it from a blob."""
    c = identifier(name)
    return f"CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END"


class CarriedColumns:
    """How the plan's columns of one table are read and bound.

    `terms`: what a SELECT lists, whose rows `read` makes rows of the plan; `marks`: one parameter for each
    column, for values that went through `bound`. A column may be an expression of the plan's, too.
    """

    __slots__ = ("_raw", "_text", "_width", "marks", "plain", "terms")

    def __init__(self, connection: apsw.Connection, table: TablePlan) -> None:
        self._text = RawText(connection)
        self._width = len(table.columns)
        self._raw = tuple(p for p, c in enumerate(table.columns) if c.codec == NAME)
        self.plain = not self._raw
        names = [c.sqlite for c in table.columns]
        computed = {e.column.sqlite: e.sqlite_sql for e in table.expressions}
        terms = [
            raw_term(n) if p in self._raw else computed.get(n, identifier(n)) for p, n in enumerate(names)
        ]
        self.terms = ", ".join([*terms, *(f"typeof({identifier(names[p])})" for p in self._raw)])
        self.marks = tuple("CAST(? AS TEXT)" if p in self._raw else "?" for p in range(self._width))

    def read(self, row: SqliteRow) -> SqliteRow:
        """A row of `terms` as a row of the plan."""
        if self.plain:
            return row
        values = list(row[: self._width])
        for p, kind in zip(self._raw, row[self._width :], strict=True):
            if kind == "text":
                values[p] = self._text.text(values[p])
        return tuple(values)

    def bound(self, row: SqliteRow) -> SqliteRow:
        """The row with the bytes where `marks` casts."""
        if self.plain:
            return row
        return tuple([self.bound_at(p, v) for p, v in enumerate(row)])

    def bound_at(self, position: int, value: SqliteValue) -> SqliteValue:
        """One value of that column."""
        if position in self._raw and isinstance(value, str):
            return self._text.octets(value)
        return value
