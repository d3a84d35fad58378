"""One expression of SQLite as one of PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from turnback.core.expressions import functions
from turnback.core.expressions.comparisons import Operator, compared
from turnback.core.expressions.names import Names
from turnback.core.expressions.terms import NULL, Term, Unknown, boolean, constant, integer, truth, unified
from turnback.core.expressions.terms import text as as_text
from turnback.core.sqlite_sql import has_unary_plus

ALWAYS: Final = "true"

_COMPARE: Final[dict[type[exp.Expr], Operator]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}
_ARITHMETIC: Final[dict[type[exp.Expr], str]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_LESS: Final = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_EQUALS: Final = (
    *(exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is),
    *(exp.In, exp.Like, exp.Glob, exp.Between, exp.Escape),
)
_TIGHTER: Final = (
    *(*_LESS, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod),
    *(exp.BitwiseAnd, exp.BitwiseOr, exp.DPipe, exp.Neg, exp.Collate),
)
_BITS: Final[dict[type[exp.Expr], str]] = {exp.BitwiseAnd: "&", exp.BitwiseOr: "|"}


def parsed(sql: str) -> exp.Expr:
    """The expression's tree. Raises Unknown."""
    if has_unary_plus(sql):
        raise Unknown("a unary plus, which takes a column's affinity away")
    try:
        statement = sqlglot.parse_one(f"SELECT {sql}", dialect="sqlite")
    except SqlglotError as e:
        raise Unknown("it cannot be read") from e
    if not isinstance(statement, exp.Select) or set(given(statement)) != {"expressions"}:
        raise Unknown("it is more than an expression")
    expression: exp.Expression
    (expression, *others) = statement.expressions
    if others:
        raise Unknown("it is more than an expression")
    refuse_doubtful(expression)
    return expression


def refuse_doubtful(tree: exp.Expr) -> None:
    """SQLite reads = IS IN LIKE BETWEEN as one level, from left to right, below < (documentation: lang_expr),
    and sqlglot does not. Raises Unknown where that makes a difference and no parentheses tell.
    """
    for node in tree.walk():
        for name, value in node.args.items():
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, exp.Expr) and _is_doubtful(node, name, child):
                    raise Unknown("operators whose order is not plain without parentheses")


def _is_doubtful(node: exp.Expr, name: str, child: exp.Expr) -> bool:
    if isinstance(node, exp.Escape) and isinstance(child, exp.Like):
        return False
    if isinstance(node, _EQUALS):
        return isinstance(child, exp.Not) or (name != "this" and isinstance(child, _EQUALS))
    if isinstance(node, _TIGHTER):
        if isinstance(node, _LESS) and isinstance(child, _LESS):
            return name != "this"
        if isinstance(node, tuple(_BITS)) and isinstance(child, tuple(_BITS)):
            return name != "this"
        return isinstance(child, (*_EQUALS, *_LESS, exp.Not))
    return False


def given(node: exp.Expr) -> list[str]:
    """The names of the arguments that the node has."""
    return [name for name, value in node.args.items() if value not in (None, False, [])]


class Translation:
    """Every method raises Unknown, or CannotCarry, for what is not the same on both engines."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def check(self, node: exp.Expr) -> str:
        """A CHECK's condition, where unknown passes as true does. ALWAYS: the types imply it."""
        match node:
            case exp.Paren():
                return self.check(node.this)
            case exp.And():
                parts = [p for p in (self.check(node.left), self.check(node.right)) if p != ALWAYS]
                return f"({' AND '.join(parts)})" if len(parts) > 1 else "".join(parts) or ALWAYS
            case exp.Or():
                parts = [self.check(node.left), self.check(node.right)]
                return ALWAYS if ALWAYS in parts else f"({' OR '.join(parts)})"
        return ALWAYS if self._is_implied(node) else self.condition(node)

    def condition(self, node: exp.Expr) -> str:
        """A PostgreSQL boolean that is true, false and unknown where SQLite's value counts as that."""
        return truth(self.term(node))

    def term(self, node: exp.Expr) -> Term:
        """The value that the expression has, as PostgreSQL computes it."""
        if isinstance(node, exp.Binary) and type(node) in _COMPARE:
            return compared(self.term(node.left), _COMPARE[type(node)], self.term(node.right))
        if isinstance(node, exp.Binary) and type(node) in _ARITHMETIC:
            return self._arithmetic(node)
        if isinstance(node, exp.Binary) and type(node) in _BITS:
            left, right = (integer(self.term(n)).sql for n in (node.left, node.right))
            return Term(f"({left} {_BITS[type(node)]} {right})", "integer")
        match node:
            case exp.Paren():
                return self.term(node.this)
            case exp.Column():
                if set(given(node)) - {"this", "table"}:
                    raise Unknown("a name of more than two parts")
                return self._names(node.table, node.name)
            case exp.Literal() | exp.Boolean() | exp.HexString() | exp.Null():
                return _literal(node)
            case exp.Neg():
                return self._negated(node)
            case exp.And() | exp.Or():
                word = "AND" if isinstance(node, exp.And) else "OR"
                return boolean(f"({self.condition(node.left)} {word} {self.condition(node.right)})")
            case exp.Not():
                return boolean(f"(NOT {self.condition(node.this)})")
            case exp.Is():
                return self._is(node)
            case exp.In() if set(given(node)) == {"this", "expressions"}:
                return self._in(node)
            case exp.Between() if set(given(node)) == {"this", "low", "high"}:
                value = self.term(node.this)
                low = compared(value, ">=", self.term(node.args["low"]))
                high = compared(value, "<=", self.term(node.args["high"]))
                return boolean(f"({low.sql} AND {high.sql})")
            case exp.Collate():
                return self._collated(node)
            case exp.Case():
                return self._case(node)
            case exp.If():
                otherwise = self.term(node.args["false"]) if node.args.get("false") else NULL
                return self._chosen([(self.condition(node.this), self.term(node.args["true"]))], otherwise)
        return self._function(node)

    def _function(self, node: exp.Expr) -> Term:
        def arguments(*names: str) -> list[Term]:
            """The node's arguments, when it has no others."""
            present = set(given(node)) - {"safe", "typed", "_type", "ignore_nulls", "position", "negate"}
            if present - set(names):
                raise Unknown(f"{type(node).__name__.lower()}() in that form")
            return [self.term(node.args[n]).operand() for n in names if n in present]

        match node:
            case exp.DPipe():
                left, right = arguments("this", "expression")
                return Term(f"({as_text(left).sql} || {as_text(right).sql})", "text")
            case exp.Lower():
                return functions.lower(*arguments("this"))
            case exp.Upper():
                return functions.upper(*arguments("this"))
            case exp.Length():
                return functions.length(*arguments("this"))
            case exp.Substring():
                value, start, *count = arguments("this", "start", "length")
                return functions.substring(value, start, count[0] if count else None)
            case exp.Trim():
                value, *removed = arguments("this", "expression")
                place = str(node.args.get("position") or "")
                return functions.trimmed(value, removed[0] if removed else None, place)
            case exp.Replace():
                return functions.replaced(*arguments("this", "expression", "replacement"))
            case exp.StrPosition():
                return functions.position(*arguments("this", "substr"))
            case exp.Abs():
                return functions.absolute(*arguments("this"))
            case exp.Coalesce():
                return functions.coalesced([self.term(n) for n in (node.this, *node.expressions)])
            case exp.Nullif():
                value, other = arguments("this", "expression")
                return self._chosen([(_same_without_affinity(value, other), NULL)], value)
            case exp.Greatest() | exp.Least():
                name = "greatest" if isinstance(node, exp.Greatest) else "least"
                return functions.extreme(name, [self.term(n) for n in (node.this, *node.expressions)])
            case exp.Date():
                return functions.date(*arguments("this"))
            case exp.Typeof():
                return functions.type_of(*arguments("this"))
            case exp.Cast() if set(given(node)) <= {"this", "to", "_type"}:
                return functions.cast(self.term(node.this), node.args["to"])
            case exp.Escape() if isinstance(node.this, exp.Like):
                return self._like(node.this, str(self.term(node.expression).value))
            case exp.Like():
                return self._like(node, "")
            case exp.Glob():
                return functions.glob(*arguments("this", "expression"))
        raise Unknown(node.sql("sqlite"))

    # ---- operators -------------------------------------------------------------------------------

    def _arithmetic(self, node: exp.Binary) -> Term:
        """Integers are 64 bits wide: where SQLite would go on with a real, PostgreSQL gives an error. A
        division by zero is NULL in SQLite; so is NaN.
        """
        operator = _ARITHMETIC[type(node)]
        left, right = (self.term(n).operand() for n in (node.left, node.right))
        if "null" in (left.kind, right.kind):
            raise Unknown("arithmetic with NULL")
        kinds = {left.kind, right.kind}
        if kinds <= {"integer", "boolean"}:
            a, b = integer(left).sql, integer(right).sql
            divisor = f"nullif({b}, 0)" if operator in ("/", "%") else b
            return Term(f"({a} {operator} {divisor})", "integer")
        if operator == "%" or not kinds <= {"integer", "boolean", "real"}:
            raise Unknown(f"{operator} of {left.kind} and {right.kind}")
        if not any(t.kind == "real" and not t.loose for t in (left, right)):
            raise Unknown("arithmetic of numbers that may be integers or reals")
        a, b = (t.sql if t.kind == "real" else integer(t).sql for t in (left, right))
        divisor = f"nullif({b}, 0)" if operator == "/" else b
        return Term(f"nullif({a} {operator} {divisor}, 'NaN'::double precision)", "real")

    def _negated(self, node: exp.Neg) -> Term:
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            if node.this.name == str(1 << 63):
                raise Unknown("the least integer")
            return constant(-_number(node.this.name))
        inner = self.term(node.this).operand()
        if inner.kind == "real" and not inner.loose:
            return Term(f"(0 - {inner.sql})", "real")  # SQLite subtracts: -0.0 is 0.0
        return Term(f"(0 - {integer(inner).sql})", "integer")

    def _is(self, node: exp.Is) -> Term:
        value = self.term(node.this)
        if isinstance(node.expression, exp.Null):
            return boolean(f"({value.sql} IS NULL)")
        if isinstance(node.expression, exp.Boolean):
            return boolean(f"({truth(value)} IS {'TRUE' if node.expression.this else 'FALSE'})")
        return compared(value, "IS NOT DISTINCT FROM", self.term(node.expression))

    def _in(self, node: exp.In) -> Term:
        """The values of the list have no affinity of their own."""
        value = self.term(node.this)
        listed = [self.term(e) for e in node.expressions]
        if any(not t.is_constant for t in listed) or not listed:
            raise Unknown("IN with something else than constants")
        conditions = list(dict.fromkeys(compared(value, "=", t).sql for t in listed))
        start = f"({value.sql} = "
        if all(c.startswith(start) for c in conditions):
            return boolean(f"({value.sql} IN ({', '.join(c[len(start) : -1] for c in conditions)}))")
        return boolean(f"({' OR '.join(conditions)})")

    def _collated(self, node: exp.Collate) -> Term:
        value = self.term(node.this).operand()
        if value.kind != "text":
            raise Unknown(f"COLLATE of {value.kind}")
        name = node.expression.name.upper()
        return Term(
            value.sql, "text", value.affinity, name, True, value.is_constant, value.value, value.column
        )

    def _case(self, node: exp.Case) -> Term:
        subject = self.term(node.this) if node.this else None
        branches = []
        for branch in node.args["ifs"]:
            met = (
                self.condition(branch.this)
                if subject is None
                else compared(subject, "=", self.term(branch.this)).sql
            )
            branches.append((met, self.term(branch.args["true"])))
        default = node.args.get("default")
        return self._chosen(branches, NULL if default is None else self.term(default))

    def _chosen(self, branches: list[tuple[str, Term]], otherwise: Term) -> Term:
        parts, kind = unified([*(t for _, t in branches), otherwise])
        when = " ".join(f"WHEN {met} THEN {part}" for (met, _), part in zip(branches, parts, strict=False))
        sql = f"(CASE {when} ELSE {parts[-1]} END)"
        return Term(sql, kind.kind, column=kind.column, loose=kind.loose)

    def _like(self, node: exp.Like, escape: str) -> Term:
        found = functions.like(self.term(node.this).operand(), self.term(node.expression).operand(), escape)
        return boolean(f"(NOT {found.sql})") if node.args.get("negate") else found

    def _is_implied(self, node: exp.Expr) -> bool:
        """By the column's PostgreSQL type: IN (0, 1) of a boolean, json_valid() of json."""
        match node:
            case exp.In() if isinstance(node.this, exp.Column):
                column = self.term(node.this)
                values = {t.value for t in map(self.term, node.expressions) if t.kind != "null"}
                return column.kind == "boolean" and {0, 1} <= values
            case exp.Anonymous() if node.name.lower() == "json_valid" and len(node.expressions) == 1:
                argument = self.term(node.expressions[0])
                return argument.column is not None and argument.column.codec == "json_text"
        return False


def _same_without_affinity(left: Term, right: Term) -> str:
    """nullif() knows no affinity, where a column's = has one."""
    if left.collation != "BINARY" or right.collation != "BINARY":
        raise Unknown("nullif() by a collation")
    kinds = {left.kind, right.kind}
    if not (len(kinds) == 1 or kinds <= {"integer", "boolean", "null"}):
        raise Unknown("nullif() of values of different classes")
    return compared(replace(left, affinity=None), "=", replace(right, affinity=None)).sql


def _literal(node: exp.Expr) -> Term:
    match node:
        case exp.Null():
            return NULL
        case exp.Boolean():
            return constant(int(node.this))
        case exp.HexString():
            return constant(bytes.fromhex(str(node.this)))
        case exp.Literal() if node.is_string:
            return constant(node.name)
    return constant(_number(node.name))


def _number(text: str) -> int | float:
    if text.isdigit() and int(text) < 1 << 63:
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise Unknown(f"the number {text}") from None
