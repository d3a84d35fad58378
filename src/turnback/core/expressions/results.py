"""What a translated expression is where its value stands by itself: its PostgreSQL type and its codec."""

from __future__ import annotations

from dataclasses import replace

from turnback.core.expressions.terms import Term, Unknown, integer, text
from turnback.core.plan import ColumnPlan
from turnback.core.schema import Affinity, affinity


def stored(term: Term, declared_type: str) -> tuple[str, ColumnPlan]:
    """The SQL and the nameless column that hold what SQLite stores there: the affinity changes the class.

    Raises Unknown.
    """
    kind: Affinity = affinity(declared_type)
    if term.operand().kind == "boolean":
        if "BOOL" in declared_type.upper():
            return term.sql, _column("boolean", "boolean", kind)
        term = integer(term)
    match term.kind, kind:
        case "integer", "INTEGER" | "NUMERIC" | "BLOB":
            return integer(term).sql, replace(_column("bigint", "integer", kind), options={"bits": 64})
        case "integer", "REAL":
            return f"({term.sql})::double precision", _column("double precision", "real", kind)
        case ("integer", "TEXT") | ("text", "TEXT" | "BLOB"):
            return text(term).sql, _column("text", "text", kind)
        case "real", "REAL":
            return f"({term.sql} + 0)", _column("double precision", "real", kind)  # SQLite stores -0.0 as 0.0
        case "real", "NUMERIC" | "INTEGER":
            return term.sql, _column("double precision", "real", kind)
        case "real", "BLOB" if not term.loose:
            return term.sql, _column("double precision", "real", kind)
        case "column", _ if term.column is not None and (
            term.column.affinity == kind or term.column.codec in ("date_text", "timestamp_text")
        ):  # such text never looks like a number
            return term.sql, replace(term.column, affinity=kind)
    raise Unknown(f"{term.kind} in a column of {kind} affinity")


def result(term: Term) -> tuple[str, ColumnPlan]:
    """The same for a value that no column stores, so that no affinity changes it. Raises Unknown."""
    column = term.operand().column
    if column is not None:
        return term.sql, column
    return stored(term, "")


def _column(pg_type: str, codec: str, kind: Affinity) -> ColumnPlan:
    return ColumnPlan("", "", pg_type, codec, affinity=kind)
