"""Conditions of CHECK constraints and partial indexes, from SQLite to PostgreSQL: exact, or not at all.

What is known here means the same on both engines, three-valued logic included: comparisons of one column
with constants, IN, BETWEEN, IS NULL, AND, OR, NOT, length() of text, json_valid() of a JSON column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from turnback.core.defaults import render, with_affinity
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.core.sqltext import identifier
from turnback.errors import CannotCarry

ALWAYS: Final = "true"

_COMPARE: dict[type[exp.Expr], str] = {exp.EQ: "=", exp.NEQ: "<>"}
_ORDER: dict[type[exp.Expr], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_ORDERED_ALIKE = ("integer", "real", "number", "epoch", "date_text")


class _Unknown(Exception):
    """Not one of the forms that mean the same on both engines."""


def translate_condition(sql: str, columns: Mapping[str, ColumnPlan], *, of_check: bool = True) -> str | None:
    """The PostgreSQL condition, None where it is not translated.

    In a CHECK, where unknown passes as true does, `ALWAYS` says that the column's type implies the condition.

    `columns` has the table's carried columns by their SQLite name; those with another collation than BINARY
    must be left out.
    """
    by_name = {name.lower(): column for name, column in columns.items()}
    try:
        return _Translation(by_name, of_check).condition(sqlglot.parse_one(sql, dialect="sqlite"))
    except (SqlglotError, _Unknown, CannotCarry):
        return None


class _Translation:
    def __init__(self, columns: Mapping[str, ColumnPlan], may_be_implied: bool) -> None:
        self._columns = columns
        self._may_be_implied = may_be_implied

    def condition(self, node: exp.Expr) -> str:
        columns = self._columns
        match node:
            case exp.Paren():
                inner = self.condition(node.this)
                return inner if inner == ALWAYS else f"({inner})"
            case exp.And():
                parts = [p for p in (self.condition(node.left), self.condition(node.right)) if p != ALWAYS]
                return " AND ".join(parts) or ALWAYS
            case exp.Or():
                parts = [self.condition(node.left), self.condition(node.right)]
                return ALWAYS if ALWAYS in parts else f"({parts[0]} OR {parts[1]})"
            case exp.Not():
                # Below NOT unknown is not as good as true.
                return f"NOT ({_Translation(columns, False).condition(node.this)})"
            case exp.Is() if isinstance(node.expression, exp.Null):
                return f"{identifier(_column(node.this, columns).postgres)} IS NULL"
            case exp.In():
                column, values = _in(node, columns)
                if column.codec == "boolean" and set(values) == {"true", "false"}:
                    return self._implied()
                return f"{identifier(column.postgres)} IN ({', '.join(values)})"
            case exp.Between():
                column = _ordered(node.this, columns)
                low, high = (_constant(node.args[end], column) for end in ("low", "high"))
                return f"{identifier(column.postgres)} BETWEEN {low} AND {high}"
            case exp.Column():
                column = _column(node, columns)
                if column.codec != "boolean":
                    raise _Unknown
                return identifier(column.postgres)
            case exp.Anonymous() if node.name.lower() == "json_valid" and len(node.expressions) == 1:
                if _column(node.expressions[0], columns, json=True).codec != "json_text":
                    raise _Unknown
                return self._implied()
        return _comparison(node, columns)

    def _implied(self) -> str:
        if not self._may_be_implied:
            raise _Unknown
        return ALWAYS


def _comparison(node: exp.Expr, columns: Mapping[str, ColumnPlan]) -> str:
    operator = _COMPARE.get(type(node)) or _ORDER.get(type(node))
    if operator is None or not isinstance(node, exp.Binary):
        raise _Unknown
    left, right = node.left, node.right
    if isinstance(left, exp.Literal | exp.Neg):
        left, right, operator = right, left, _MIRRORED[operator]
    if isinstance(left, exp.Length):
        column = _column(left.this, columns)
        value = _value(right)
        if column.codec != "text" or not isinstance(value, int):
            raise _Unknown
        return f"length({identifier(column.postgres)}) {operator} {value}"
    column = _column(left, columns) if operator in ("=", "<>") else _ordered(left, columns)
    return f"{identifier(column.postgres)} {operator} {_constant(right, column)}"


def _in(node: exp.In, columns: Mapping[str, ColumnPlan]) -> tuple[ColumnPlan, list[str]]:
    column = _column(node.this, columns)
    if not node.expressions or node.args.get("query") is not None:
        raise _Unknown
    return column, list(dict.fromkeys(_constant(e, column) for e in node.expressions))


def _column(node: exp.Expr | None, columns: Mapping[str, ColumnPlan], *, json: bool = False) -> ColumnPlan:
    while isinstance(node, exp.Paren):
        node = node.this
    if not isinstance(node, exp.Column) or node.table:
        raise _Unknown
    column = columns.get(node.name.lower())
    if column is None or (column.codec == "json_text" and not json):
        raise _Unknown
    return column


def _ordered(node: exp.Expr, columns: Mapping[str, ColumnPlan]) -> ColumnPlan:
    """The column, when PostgreSQL orders its type as SQLite orders its values."""
    column = _column(node, columns)
    if column.codec not in _ORDERED_ALIKE:
        raise _Unknown
    return column


def _constant(node: exp.Expr, column: ColumnPlan) -> str:
    value = _value(node)
    if isinstance(value, str) and column.affinity == "BLOB":
        raise _Unknown  # without an affinity SQLite compares across classes, and nothing is equal
    return render(with_affinity(value, column.affinity), column)  # type: ignore[arg-type]


def _value(node: exp.Expr) -> SqliteValue:
    sign = 1
    if isinstance(node, exp.Neg):
        node, sign = node.this, -1
    if isinstance(node, exp.Literal) and not node.is_string:
        text = node.name
        return sign * (int(text) if text.isdigit() else float(text))
    if isinstance(node, exp.Literal) and sign == 1:
        return node.name
    if isinstance(node, exp.Boolean):
        return int(node.this)
    raise _Unknown
