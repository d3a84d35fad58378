"""SQLite values as PostgreSQL constants."""

from __future__ import annotations

import re

from turnback.core.codecs import codec_for
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.core.schema import Affinity
from turnback.core.sqltext import literal
from turnback.errors import CannotCarry

_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_REAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def render(value: SqliteValue, plan: ColumnPlan) -> str:
    """The SQLite value as a PostgreSQL constant of the column's type. Raises CannotCarry."""
    if value is None:
        return "NULL"
    text = codec_for(plan).encode(value)
    if plan.codec == "boolean":
        return "true" if text == "t" else "false"
    if plan.codec in ("integer", "number") and not text.startswith("-"):
        return text
    return literal(text) if plan.pg_type == "text" else f"{literal(text)}::{plan.pg_type}"


def with_affinity(value: SqliteValue, kind: Affinity) -> SqliteValue:
    """What SQLite stores when that value is written to a column (documentation: datatype3, 3 and 4.2)."""
    if isinstance(value, str) and kind in ("INTEGER", "NUMERIC", "REAL"):
        if _INTEGER.fullmatch(value) and -(1 << 63) <= int(value) < 1 << 63:
            value = int(value)
        elif _REAL.fullmatch(value):
            value = float(value)
    if kind == "TEXT" and isinstance(value, int):
        return str(value)
    if kind == "TEXT" and isinstance(value, float):
        raise CannotCarry("a real number in a text column: its spelling depends on the SQLite version")
    if kind == "REAL" and isinstance(value, int):
        return float(value)
    if (
        kind in ("INTEGER", "NUMERIC")
        and isinstance(value, float)
        and value.is_integer()
        and abs(value) < 1 << 51
    ):
        return int(value)
    return value
