"""Functions that give the same on both engines (SQLite documentation: lang_corefunc)."""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from turnback.core.expressions.comparisons import UNSURE, ascii_lower, ascii_upper, folded
from turnback.core.expressions.terms import Term, Unknown, boolean, constant, integer, text, unified
from turnback.core.plan import ColumnPlan
from turnback.core.sqltext import literal

_SUFFIX: Final = re.compile(r"(Z|[+-]\d\d:\d\d)?")

# The storage class of every value that a codec carries.
_CLASS: Final = {
    "integer": "integer",
    "boolean": "integer",
    "epoch": "integer",
    "text": "text",
    "timestamp_text": "text",
    "date_text": "text",
    "json_text": "text",
    "uuid_text": "text",
    "blob": "blob",
    "uuid_blob": "blob",
}


def lower(term: Term) -> Term:
    """SQLite folds ASCII only, as PostgreSQL does in the C collation."""
    if isinstance(term.value, str):
        return constant(ascii_lower(term.value))
    return _text(f'lower({text(term).sql} COLLATE "C")')


def upper(term: Term) -> Term:
    if isinstance(term.value, str):
        return constant(ascii_upper(term.value))
    return _text(f'upper({text(term).sql} COLLATE "C")')


def length(term: Term) -> Term:
    if term.column is not None and term.column.codec == "blob":
        return Term(f"octet_length({term.sql})", "integer", narrow=True)
    return Term(f"length({text(term).sql})", "integer", narrow=True)


def substring(term: Term, start: Term, count: Term | None) -> Term:
    """From the front by constants; from the end without a count. Elsewhere the engines count otherwise."""
    operand = text(term).sql
    first = _position(start)
    if count is None:
        if first > 0:
            return _text(f"substr({operand}, {first})")
        if first < 0:
            return _text(f"right({operand}, {-first})")
    elif first > 0 and _position(count) >= 0:
        return _text(f"substr({operand}, {first}, {_position(count)})")
    raise Unknown("substr() from a place that is not counted alike")


def trimmed(term: Term, characters: Term | None, position: str) -> Term:
    name = {"": "btrim", "BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}[position]
    removed = "' '" if characters is None else text(characters).sql
    return _text(f"{name}({text(term).sql}, {removed})")


def replaced(term: Term, what: Term, by: Term) -> Term:
    if not what.value:
        raise Unknown("replace() of something that may be empty")  # SQLite then ignores a NULL behind it
    return _text(f"replace({text(term).sql}, {text(what).sql}, {text(by).sql})")


def position(term: Term, what: Term) -> Term:
    return Term(f"strpos({text(term).sql}, {text(what).sql})", "integer", narrow=True)


def absolute(term: Term) -> Term:
    if term.operand().kind == "real":
        # SQLite leaves -0.0 as it is.
        return Term(
            f"(CASE WHEN {term.sql} < 0 THEN 0 - {term.sql} ELSE {term.sql} END)", "real", loose=term.loose
        )
    return Term(f"abs({integer(term).sql})", "integer")


def coalesced(terms: list[Term]) -> Term:
    parts, kind = unified(terms)
    return _like(kind, f"coalesce({', '.join(parts)})")


def extreme(name: str, terms: list[Term]) -> Term:
    """min(a, b) and max(a, b): NULL where one is NULL, and PostgreSQL leaves NULL out."""
    parts, kind = unified(terms)
    if kind.kind not in ("integer", "text") or any(t.collation != "BINARY" for t in terms):
        raise Unknown(f"{name}() of {kind.kind}")
    if kind.kind == "text":
        if any(t.affinity in ("INTEGER", "REAL", "NUMERIC") for t in terms):
            raise Unknown("text of numeric affinity")
        parts = [f'({p} COLLATE "C")' for p in parts]
    nulls = " OR ".join(f"{p} IS NULL" for p in parts)
    return _like(kind, f"(CASE WHEN {nulls} THEN NULL ELSE {name}({', '.join(parts)}) END)")


def type_of(term: Term) -> Term:
    """A column's codec tells the class of all its values."""
    column = term.column
    known = _CLASS | ({} if term.loose else {"real": "real"})
    if column is None or column.codec not in known or any(column.options.get(o) for o in ("words", "nan")):
        raise Unknown("typeof() of a value whose class is not known")
    name = known[column.codec]
    return _text(f"(CASE WHEN {term.sql} IS NULL THEN 'null' ELSE {literal(name)} END)")


def date(term: Term) -> Term:
    """The day of a column that holds days or moments; of a moment with an offset the day in UTC."""
    column = term.column
    if column is None or column.codec not in ("date_text", "timestamp_text") or term.kind != "column":
        raise Unknown("date() of something else than a date or a timestamp")
    if any(column.options.get(o) for o in UNSURE):
        raise Unknown("date() of values in several spellings")
    if (
        not _SUFFIX.fullmatch(str(column.options.get("suffix", "")))
        or int(column.options.get("fraction", 0)) > 3
    ):
        raise Unknown("date() of an offset that SQLite does not read, or of digits that it rounds")
    zoned = column.pg_type.endswith("with time zone")
    moment = f"({term.sql} AT TIME ZONE 'UTC')" if zoned else term.sql
    day = ColumnPlan("", "", "date", "date_text", affinity="TEXT")
    return Term(term.sql if column.codec == "date_text" else f"{moment}::date", "column", column=day)


def like(term: Term, pattern: Term, escape: str = "") -> Term:
    """SQLite's LIKE folds ASCII letters on both sides and has no escape character of its own."""
    if len(escape) > 1 or escape.isalpha() or escape in ("%", "_"):
        raise Unknown("an escape character that is a letter")
    if escape and (not isinstance(pattern.value, str) or _ends_in(pattern.value, escape)):
        raise Unknown("a pattern that is not known, or ends in the escape character")
    here, there = (folded(text(t), "NOCASE") for t in (term, pattern))
    return boolean(f"({here} LIKE {there} ESCAPE {literal(escape)})")


def glob(term: Term, pattern: Term) -> Term:
    """A constant pattern without [...]: the same in the words of LIKE, which is exact in PostgreSQL."""
    wanted = pattern.value
    if not isinstance(wanted, str) or "[" in wanted:
        raise Unknown("GLOB with a pattern that is not constant, or has [...]")
    escaped = "".join("\\" + c if c in "\\%_" else {"*": "%", "?": "_"}.get(c, c) for c in wanted)
    return boolean(f"({text(term).sql} LIKE {literal(escaped)} ESCAPE '\\')")


def cast(term: Term, to: exp.DataType) -> Term:
    """Only where nothing is rounded or parsed. The cast has the affinity of a column of that type."""
    term.operand()
    match to.this:
        case exp.DType.INT | exp.DType.BIGINT | exp.DType.SMALLINT | exp.DType.TINYINT:
            if term.kind == "real":
                return Term(f"trunc({term.sql})::bigint", "integer", "INTEGER")
            return Term(integer(term).sql, "integer", "INTEGER")
        case exp.DType.TEXT | exp.DType.VARCHAR | exp.DType.CHAR:
            return Term(text(term).sql, "text", "TEXT", term.collation)
        case exp.DType.DOUBLE | exp.DType.FLOAT:
            if term.kind == "real":
                return Term(term.sql, "real", "REAL")
            return Term(f"({integer(term).sql})::double precision", "real", "REAL")
    raise Unknown(f"CAST to {to.this.value}")


def _ends_in(pattern: str, escape: str) -> bool:
    return (len(pattern) - len(pattern.rstrip(escape))) % 2 == 1


def _position(term: Term) -> int:
    if not isinstance(term.value, int) or abs(term.value) >= 1 << 31:
        raise Unknown("a position that is not a constant")
    return term.value


def _text(sql: str) -> Term:
    return Term(sql, "text")


def _like(kind: Term, sql: str) -> Term:
    return Term(sql, kind.kind, column=kind.column, loose=kind.loose)
