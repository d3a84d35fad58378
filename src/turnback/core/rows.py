"""What a row is made of on either side.

A row is a tuple in the column order of its TablePlan. On the sqlite side its items are SQLite's five
storage classes; on the postgres side they are the text that the type's output function gives under the
pinned session settings (what COPY TO and pgoutput send), or None for NULL.
"""

from __future__ import annotations

from typing import Final

SqliteValue = None | int | float | str | bytes
SqliteRow = tuple[SqliteValue, ...]

PostgresText = str | None
PostgresRow = tuple[PostgresText, ...]


class Unchanged:
    """A TOASTed value that an UPDATE left alone: PostgreSQL sends 'u' instead of it (HAZARDS R6)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()


def storage_class(value: SqliteValue) -> str:
    """What SQLite's typeof() says of the value."""
    match value:
        case None:
            return "null"
        case int():
            return "integer"
        case float():
            return "real"
        case str():
            return "text"
        case bytes():
            return "blob"


def identical(a: SqliteValue, b: SqliteValue) -> bool:
    """Same storage class and same bits: 1 is not 1.0, 0.0 is not -0.0, a NaN is itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return a == b
