"""What a part of an expression is worth on both engines: its SQL in PostgreSQL and its kind in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.core.schema import Affinity
from turnback.core.sqltext import literal

# "boolean": true and false in PostgreSQL, 1 and 0 in SQLite. "column": a type of its own (a moment, a uuid,
# a blob) that is only compared with its like. Any other kind is the storage class.
Kind = Literal["integer", "real", "text", "boolean", "null", "column"]

LARGEST_INTEGER: Final = (1 << 63) - 1
EXACT_IN_REAL: Final = 1 << 53


class Unknown(Exception):
    """Not one of the forms that mean the same on both engines. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Term:
    sql: str  # PostgreSQL; an operand as it stands
    kind: Kind
    affinity: Affinity | None = None  # of a column or a CAST; other expressions have none
    collation: str = "BINARY"  # of a column, or of COLLATE
    collated: bool = False  # by COLLATE
    is_constant: bool = False
    value: SqliteValue = None  # of a constant
    column: ColumnPlan | None = None  # whose codec the value has
    narrow: bool = False  # an integer that PostgreSQL would compute in 32 bits
    loose: bool = False  # "real" in PostgreSQL, and in SQLite perhaps an integer of the same value

    def operand(self) -> Term:
        """As a part of something that COLLATE does not reach through."""
        if self.collated:
            raise Unknown("COLLATE inside of an expression")
        return self


NULL: Final = Term("NULL", "null", is_constant=True)


def constant(value: SqliteValue) -> Term:
    """A literal. Raises Unknown for a blob and for a number that has no SQL literal."""
    match value:
        case None:
            return NULL
        case bool():
            return constant(int(value))
        case int() if abs(value) <= LARGEST_INTEGER:
            sql = str(value) if value >= 0 else f"({value})"
            return Term(sql, "integer", is_constant=True, value=value, narrow=True)
        case float() if value == value and abs(value) != float("inf"):
            return Term(f"{literal(repr(value))}::double precision", "real", is_constant=True, value=value)
        case str():
            return Term(f"{literal(value)}::text", "text", is_constant=True, value=value)
        case bytes():
            return Term(f"'\\x{value.hex()}'::bytea", "column", is_constant=True, value=value)
    raise Unknown("a constant that PostgreSQL does not have")


def integer(term: Term) -> Term:
    """The number that SQLite has there, 64 bits wide. Raises Unknown."""
    match term.operand().kind:
        case "boolean":
            return Term(f"({term.sql})::integer::bigint", "integer")
        case "integer":
            return replace(term, sql=f"{term.sql}::bigint", narrow=False) if term.narrow else term
    raise Unknown(f"{term.kind} where an integer is meant")


def text(term: Term) -> Term:
    """The text that SQLite makes of it, as || does. Raises Unknown."""
    match term.operand().kind:
        case "text":
            return term
        case "integer" | "boolean":
            return Term(f"{integer(term).sql}::text", "text")
        case "null":
            return Term("NULL::text", "text")
    raise Unknown(f"{term.kind} as text")


def truth(term: Term) -> str:
    """The PostgreSQL condition that is true, false or unknown where SQLite takes the value for that."""
    match term.operand().kind:
        case "boolean":
            return term.sql
        case "integer" | "real":
            return f"({term.sql} <> 0)"
        case "null":
            return "NULL::boolean"
    raise Unknown(f"{term.kind} as a condition")


def boolean(sql: str) -> Term:
    return Term(sql, "boolean")


def unified(terms: Sequence[Term]) -> tuple[list[str], Term]:
    """The terms in one PostgreSQL type, and a term of that type (its sql is not meant). Raises Unknown."""
    for term in terms:
        term.operand()
    filled = [t for t in terms if t.kind != "null"]
    kinds = {t.kind for t in filled}
    if not filled:
        raise Unknown("nothing but NULL")
    if kinds == {"column"}:
        first = filled[0]
        if any(t.is_constant or not same_type(t.column, first.column) for t in filled):
            raise Unknown("values of different types")
        return [t.sql for t in terms], Term("", "column", column=first.column)
    if kinds == {"text"}:
        return [t.sql for t in terms], Term("", "text")
    if kinds == {"boolean"}:
        return [t.sql for t in terms], Term("", "boolean")
    if kinds <= {"integer", "boolean"}:
        return [t.sql if t.kind == "null" else integer(t).sql for t in terms], Term("", "integer")
    if kinds == {"real"}:
        return [t.sql for t in terms], Term("", "real", loose=any(t.loose for t in filled))
    if kinds == {"real", "integer"}:
        loose = [as_real(t) if t.kind == "integer" else t for t in terms]
        return [t.sql for t in loose], Term("", "real", loose=True)
    raise Unknown("values of different classes")


def as_real(term: Term) -> Term:
    """An integer constant as the real of the same value. Raises Unknown."""
    if not isinstance(term.value, int) or abs(term.value) > EXACT_IN_REAL:
        raise Unknown("integers beside reals")
    return replace(constant(float(term.value)), loose=True)


def same_type(a: ColumnPlan | None, b: ColumnPlan | None) -> bool:
    """The same type, reached in the same way."""
    return (
        a is not None and b is not None and (a.pg_type, a.codec, a.options) == (b.pg_type, b.codec, b.options)
    )
