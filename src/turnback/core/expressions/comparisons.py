"""Comparisons: affinities, collations and NULL as SQLite has them (documentation: datatype3, 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from turnback.core.expressions.constants import render, with_affinity
from turnback.core.expressions.terms import (
    EXACT_IN_REAL,
    Term,
    Unknown,
    boolean,
    constant,
    integer,
    same_type,
)
from turnback.core.plan import ColumnPlan
from turnback.errors import CannotCarry

Operator = Literal["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]

MIRRORED: Final[dict[Operator, Operator]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_EQUALITY: Final = ("=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")

# Codecs whose values PostgreSQL has equal, and in this order, where SQLite has. A list, not a rule: json_text
# has several spellings of a value, affine has two classes.
_EQUAL: Final = ("blob", "epoch", "date_text", "timestamp_text", "uuid_text", "uuid_blob", "number")
_ORDERED: Final = ("blob", "epoch", "date_text", "timestamp_text", "number")
UNSURE: Final = ("respell", "truncate", "zone", "infinity", "nan", "words")


def compared(left: Term, operator: Operator, right: Term) -> Term:
    """The PostgreSQL condition. Raises Unknown, CannotCarry."""
    if "null" in (left.kind, right.kind):
        return _with_null(left, operator, right)
    if right.is_constant and not left.is_constant:
        return _with_constant(left, operator, right)
    if left.is_constant and not right.is_constant:
        return _with_constant(right, MIRRORED.get(operator, operator), left)
    kinds = {left.kind, right.kind}
    if kinds == {"text"}:
        return _texts(left, operator, right)
    if kinds in ({"real"}, {"integer"}):
        return boolean(f"({left.sql} {operator} {right.sql})")
    if kinds == {"boolean"} and operator in _EQUALITY:
        return boolean(f"({left.sql} {operator} {right.sql})")
    if kinds <= {"integer", "boolean"}:
        return boolean(f"({integer(left).sql} {operator} {integer(right).sql})")
    if kinds == {"column"} and same_type(left.column, right.column):
        assert left.column is not None
        _comparable(left.column, operator)
        return boolean(f"({left.sql} {operator} {right.sql})")
    raise Unknown(f"{left.kind} compared with {right.kind}")


def folded(term: Term, collation: str) -> str:
    """The text whose bytes are equal where the collation has the texts equal, and ordered as it orders them.

    NOCASE folds the 26 ASCII letters, which is what lower() does in the C collation (HAZARDS F31).
    """
    value = term.value
    match collation.upper():
        case "BINARY":
            return term.sql
        # PostgreSQL computes constants of a generated column before it knows their collation, and fails.
        case "NOCASE" if isinstance(value, str):
            return constant(ascii_lower(value)).sql
        case "NOCASE":
            return f'lower({term.sql} COLLATE "C")'
        case "RTRIM":
            return f"rtrim({term.sql}, ' ')"
    raise Unknown(f"the collation {collation}")


def ascii_lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def ascii_upper(text: str) -> str:
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


def ordered(term: Term) -> str:
    """The term as PostgreSQL orders it like SQLite. Raises Unknown."""
    match term.kind:
        case "integer" | "real":
            return term.sql
        case "boolean":
            return integer(term).sql
        case "text":
            return f'({folded(term, term.collation)} COLLATE "C")'
        case "column" if term.column is not None:
            _comparable(term.column, "<")
            return term.sql
    raise Unknown(f"the order of {term.kind}")


def _texts(left: Term, operator: Operator, right: Term) -> Term:
    if not _same_affinity(left, right):
        raise Unknown("text beside a column of numeric affinity")
    if left.collated and right.collated and left.collation != right.collation:
        raise Unknown("two collations")
    if left.collated or not right.collated:
        # The left operand's collation goes before the right one's, where it is a column.
        collation = left.collation if left.collated or left.affinity is not None else right.collation
    else:
        collation = right.collation
    a, b = folded(left, collation), folded(right, collation)
    if operator not in _EQUALITY:
        a = f'({a} COLLATE "C")'
    return boolean(f"({a} {operator} {b})")


def _same_affinity(left: Term, right: Term) -> bool:
    """Does SQLite compare the two texts as they are? A numeric affinity on one side alone converts them."""
    numeric = [t.affinity in ("INTEGER", "REAL", "NUMERIC") for t in (left, right)]
    return numeric[0] == numeric[1]


def _with_null(left: Term, operator: Operator, right: Term) -> Term:
    if left.kind == right.kind or operator not in ("IS DISTINCT FROM", "IS NOT DISTINCT FROM"):
        if operator.startswith("IS"):
            return boolean("false" if operator == "IS DISTINCT FROM" else "true")
        return boolean("NULL::boolean")
    term = right if left.kind == "null" else left
    return boolean(f"({term.sql} {'IS NOT NULL' if operator == 'IS DISTINCT FROM' else 'IS NULL'})")


def _with_constant(term: Term, operator: Operator, other: Term) -> Term:
    value = other.value
    if other.kind == "column" and term.kind != "column":
        raise Unknown("a blob compared with something else")
    if term.affinity is not None:
        if (
            isinstance(value, str)
            and term.affinity == "BLOB"
            and term.kind != "text"
            and term.kind != "column"
        ):
            raise Unknown("without an affinity nothing of another class is equal")
        converted = with_affinity(value, term.affinity)
        # Numbers are compared as they are: REAL affinity does not round an integer first.
        value = converted if isinstance(value, str) or isinstance(converted, str) else value
    match term.kind:
        case "boolean":
            return _boolean(term, operator, value)
        case "integer":
            value = _whole(value)
            return boolean(f"({term.sql} {operator} {constant(value).sql})")
        case "real":
            if not isinstance(value, float) and not (isinstance(value, int) and abs(value) <= EXACT_IN_REAL):
                raise Unknown("a real compared with something else")
            return boolean(f"({term.sql} {operator} {constant(float(value)).sql})")
        case "text":
            if not isinstance(value, str):
                raise Unknown("text compared with something else")
            text = constant(value)
            if other.collated:
                text = replace(text, collation=other.collation, collated=True)
            return _texts(Term(term.sql, "text", "TEXT", term.collation, term.collated), operator, text)
        case "column" if term.column is not None:
            _comparable(term.column, operator)
            if (
                term.affinity == "BLOB"
                and isinstance(value, str)
                and term.column.codec in ("epoch", "number")
            ):
                raise Unknown("without an affinity nothing of another class is equal")
            if term.column.codec == "number" and term.affinity is not None:
                value = with_affinity(value, term.affinity)
            return boolean(f"({term.sql} {operator} {render(value, term.column)})")
    raise Unknown(f"{term.kind} compared with a constant")


def _boolean(term: Term, operator: Operator, value: object) -> Term:
    value = _whole(value)
    if value in (0, 1) and operator in _EQUALITY:
        return boolean(f"({term.sql} {operator} {'true' if value else 'false'})")
    return boolean(f"({integer(term).sql} {operator} {constant(value).sql})")


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_IN_REAL:
        return int(value)
    if isinstance(value, int):
        return value
    raise CannotCarry("an integer compared with something else")


def grouped(term: Term) -> str:
    """The term as both engines make groups of it, all values of which are written in one way. Raises
    Unknown.
    """
    match term.kind:
        case "integer" | "boolean":
            return term.sql
        case "text" if term.collation == "BINARY":
            return term.sql
        case "column" if term.column is not None and term.column.codec != "number":
            _comparable(term.column, "=")
            return term.sql
    raise Unknown(f"groups of {term.kind}, or by a collation")


def _comparable(column: ColumnPlan, operator: Operator) -> None:
    known = _EQUAL if operator in _EQUALITY else _ORDERED
    if column.codec not in known or any(column.options.get(o) for o in UNSURE):
        raise Unknown(f"a comparison of {column.pg_type}")
