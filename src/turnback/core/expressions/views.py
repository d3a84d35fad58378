"""One view of SQLite as one of PostgreSQL: plain SELECTs of tables that are carried (HAZARDS F41)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from turnback.core.expressions.comparisons import grouped, ordered
from turnback.core.expressions.names import of_column
from turnback.core.expressions.results import result
from turnback.core.expressions.terms import Term, Unknown, integer
from turnback.core.expressions.translate import Translation, given, refuse_doubtful
from turnback.core.plan import ColumnPlan
from turnback.core.sqlite_sql import has_unary_plus
from turnback.core.sqltext import identifier
from turnback.errors import CannotCarry

_CLAUSES: Final = {
    *("expressions", "from_", "joins", "where", "group", "having", "order", "distinct"),
}
_AGGREGATES: Final = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


@dataclass(frozen=True, slots=True)
class Relation:
    """What a view may read: a table or an earlier view."""

    sql: str  # PostgreSQL, qualified
    columns: tuple[ColumnPlan, ...]  # in SQLite's order; `sqlite` and `postgres` are their names
    collations: Mapping[str, str]
    hidden: tuple[str, ...] = ()  # columns of SQLite that PostgreSQL lacks


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the view."""

    name: str
    term: Term
    sql: str
    plan: ColumnPlan


def _output(name: str, term: Term) -> Output:
    sql, plan = result(term)
    return Output(name, term, sql, plan)


def translated_view(sql: str, relations: Mapping[str, Relation]) -> tuple[str, list[Output]]:
    """The SELECT in PostgreSQL's words, without names of its columns, and the columns.

    `relations` by their SQLite name in lower case. Raises Unknown, CannotCarry.
    """
    if has_unary_plus(sql):
        raise Unknown("a unary plus, which takes a column's affinity away")
    try:
        statement = sqlglot.parse_one(sql, dialect="sqlite")
    except SqlglotError as e:
        raise Unknown("it cannot be read") from e
    if not isinstance(statement, exp.Create) or not isinstance(statement.expression, exp.Select):
        raise Unknown("it is no plain SELECT")
    if statement.args.get("properties"):
        raise Unknown("a temporary view")
    refuse_doubtful(statement.expression)
    body, outputs = _Select(relations).translated(statement.expression)
    if isinstance(statement.this, exp.Schema):
        names = [e.name for e in statement.this.expressions]
        if len(names) != len(outputs):
            raise Unknown("it names another number of columns than it has")
        outputs = [replace(o, name=n) for o, n in zip(outputs, names, strict=True)]
    if len({o.name.lower() for o in outputs}) < len(outputs):
        raise Unknown("two of its columns have one name")
    return body, outputs


class _Select:
    def __init__(self, relations: Mapping[str, Relation]) -> None:
        self._relations = relations
        self._scope: dict[str, tuple[str, Relation]] = {}  # by name or alias in lower case
        self._translation = _Aggregating(self._named)

    def translated(self, select: exp.Select) -> tuple[str, list[Output]]:
        unknown = set(given(select)) - _CLAUSES
        if unknown or "from_" not in given(select):
            raise Unknown(f"a SELECT with {', '.join(sorted(unknown)) or 'no FROM'}")
        source = self._from(select)
        groups = self._groups(select)
        outputs, keys = self._outputs(select)
        grouped = groups is not None or any(select.find_all(*_AGGREGATES))
        if grouped:
            self._only_grouped(keys, groups or [])
        words = ["SELECT DISTINCT" if select.args.get("distinct") else "SELECT"]
        if select.args.get("distinct"):
            self._distinct(select, outputs)
        words.append(", ".join(o.sql for o in outputs))
        words.append(f"FROM {source}")
        if where := select.args.get("where"):
            if any(where.find_all(*_AGGREGATES)):
                raise Unknown("an aggregate in WHERE")
            words.append(f"WHERE {self._translation.condition(where.this)}")
        if groups:
            words.append(f"GROUP BY {', '.join(groups)}")
        if having := select.args.get("having"):
            self._only_grouped_in(having.this, groups or [])
            words.append(f"HAVING {self._translation.condition(having.this)}")
        if order := select.args.get("order"):
            if select.args.get("distinct") or grouped:
                raise Unknown("ORDER BY of groups")
            words.append(f"ORDER BY {', '.join(self._ordered(o, outputs) for o in order.expressions)}")
        return " ".join(words), outputs

    # ---- FROM ------------------------------------------------------------------------------------

    def _from(self, select: exp.Select) -> str:
        source = self._relation(select.args["from_"].this)
        for join in select.args.get("joins") or []:
            if set(given(join)) - {"this", "side", "kind", "on"} or not join.args.get("on"):
                raise Unknown("a JOIN without ON")
            side, kind = str(join.args.get("side") or ""), str(join.args.get("kind") or "")
            if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER"):
                raise Unknown(f"{side} {kind} JOIN")
            joined = self._relation(join.this)
            on = self._translation.condition(join.args["on"])
            source += f" {'LEFT JOIN' if side else 'JOIN'} {joined} ON {on}"
        return source

    def _relation(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Table) or set(given(node)) - {"this", "alias"}:
            raise Unknown("FROM something else than a table")
        relation = self._relations.get(node.name.lower())
        if relation is None:
            raise Unknown(f"{node.name} is not carried")
        alias = node.alias or node.name
        if alias.lower() in self._scope:
            raise Unknown(f"two tables called {alias}")
        self._scope[alias.lower()] = (alias, relation)
        return f"{relation.sql} AS {identifier(alias)}"

    def _named(self, qualifier: str, name: str) -> Term:
        found = [
            self._term(alias, relation, column)
            for key, (alias, relation) in self._scope.items()
            for column in relation.columns
            if qualifier.lower() in ("", key) and column.sqlite.lower() == name.lower()
        ]
        hidden = [r for k, (_, r) in self._scope.items() if qualifier.lower() in ("", k)]
        if len(found) != 1 or any(name.lower() == h.lower() for r in hidden for h in r.hidden):
            raise Unknown(f"{name} is not one column that is carried")
        return found[0]

    @staticmethod
    def _term(alias: str, relation: Relation, column: ColumnPlan) -> Term:
        sql = f"{identifier(alias)}.{identifier(column.postgres)}"
        return of_column(column, sql, relation.collations.get(column.sqlite, "BINARY"))

    # ---- SELECT ----------------------------------------------------------------------------------

    def _outputs(self, select: exp.Select) -> tuple[list[Output], list[exp.Expr]]:
        """The columns, and the expressions that they come from (a * has none)."""
        outputs: list[Output] = []
        sources: list[exp.Expr] = []
        for node in select.expressions:
            if isinstance(node, exp.Star) or (
                isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
            ):
                table = node.args.get("table")
                wanted = table.name.lower() if isinstance(table, exp.Identifier) else ""
                if wanted and wanted not in self._scope:
                    raise Unknown(f"{wanted}.* of no table")
                for key, (alias, relation) in self._scope.items():
                    if wanted in ("", key):
                        if relation.hidden:
                            raise Unknown(f"* with {', '.join(relation.hidden)}, which PostgreSQL lacks")
                        outputs += [
                            _output(c.sqlite, self._term(alias, relation, c)) for c in relation.columns
                        ]
                sources.append(node)
                continue
            inner = node.this if isinstance(node, exp.Alias) else node
            if not isinstance(node, exp.Alias | exp.Column):
                raise Unknown("a column without a name")
            term = self._translation.term(inner)
            name = node.alias if isinstance(node, exp.Alias) else self._own_name(inner)
            outputs.append(_output(name, term))
            sources.append(inner)
        return outputs, sources

    def _own_name(self, node: exp.Expr) -> str:
        """A column without an alias has the name that its table gives it."""
        column = self._named(node.table if isinstance(node, exp.Column) else "", node.name).column
        return node.name if column is None else column.sqlite

    def _distinct(self, select: exp.Select, outputs: list[Output]) -> None:
        if set(given(select.args["distinct"])):
            raise Unknown("DISTINCT ON")
        for output in outputs:
            grouped(output.term)

    # ---- groups ----------------------------------------------------------------------------------

    def _groups(self, select: exp.Select) -> list[str] | None:
        group = select.args.get("group")
        if group is None:
            return None
        if set(given(group)) != {"expressions"}:
            raise Unknown("GROUP BY in that form")
        return [grouped(self._translation.term(self._meant(n, select))) for n in group.expressions]

    def _meant(self, node: exp.Expr, select: exp.Select) -> exp.Expr:
        """A number is the place of an output; a name is a column, else an output."""
        if isinstance(node, exp.Literal):
            place = int(node.name) if node.name.isdigit() else 0
            if not 0 < place <= len(select.expressions) or select.is_star:
                raise Unknown("GROUP BY of a number")
            return _unaliased(select.expressions[place - 1])
        named = [
            e.this
            for e in select.expressions
            if isinstance(e, exp.Alias)
            and isinstance(node, exp.Column)
            and e.alias.lower() == node.name.lower()
        ]
        if not named or node.args.get("table"):
            return node
        if any(c.sqlite.lower() == node.name.lower() for _, r in self._scope.values() for c in r.columns):
            raise Unknown("GROUP BY of a name that is an alias and a column")
        chosen: exp.Expression = named[0]
        return chosen

    def _only_grouped(self, sources: list[exp.Expr], groups: list[str]) -> None:
        """A bare column has in SQLite the value of some row of the group."""
        for node in sources:
            self._only_grouped_in(node, groups)

    def _only_grouped_in(self, node: exp.Expr, groups: list[str]) -> None:
        if isinstance(node, _AGGREGATES):
            return
        if isinstance(node, exp.Star):
            raise Unknown("* of groups")
        with suppress(Unknown, CannotCarry):  # else a part that is no expression by itself
            if self._translation.term(node).sql in groups:
                return
        if isinstance(node, exp.Column):
            raise Unknown(f"{node.name} is no part of the group")
        for part in node.iter_expressions():
            self._only_grouped_in(part, groups)

    # ---- ORDER BY --------------------------------------------------------------------------------

    def _ordered(self, node: exp.Expr, outputs: list[Output]) -> str:
        """SQLite has NULL before every value. An output's name goes before a column's."""
        if not isinstance(node, exp.Ordered) or isinstance(node.this, exp.Literal):
            raise Unknown("ORDER BY in that form")
        inner = node.this
        named = [
            o.term for o in outputs if isinstance(inner, exp.Column) and o.name.lower() == inner.name.lower()
        ]
        term = named[0] if named and not inner.table else self._translation.term(inner)
        descending = bool(node.args.get("desc"))
        nulls_first = node.args.get("nulls_first")
        if nulls_first is not None and bool(nulls_first) == descending:
            raise Unknown("ORDER BY with NULLS")
        return f"{ordered(term)} {'DESC NULLS LAST' if descending else 'ASC NULLS FIRST'}"


def _unaliased(node: exp.Expr) -> exp.Expr:
    inner = node.this if isinstance(node, exp.Alias) else node
    assert isinstance(inner, exp.Expr)
    return inner


class _Aggregating(Translation):
    """With the aggregates that give the same on both engines."""

    def term(self, node: exp.Expr) -> Term:
        if not isinstance(node, _AGGREGATES):
            return super().term(node)
        if set(given(node)) - {"this", "big_int"}:
            raise Unknown(f"{type(node).__name__.lower()}() in that form")
        if isinstance(node, exp.Count):
            return self._count(node)
        term = super().term(node.this).operand()
        match node:
            case exp.Sum():  # an overflow is an error in both
                return Term(f"sum({integer(term).sql})::bigint", "integer")
            case exp.Avg():
                value = integer(term).sql
                return Term(
                    f"(sum({value})::bigint::double precision / nullif(count({value}), 0)::double precision)",
                    "real",
                )
        name = "min" if isinstance(node, exp.Min) else "max"
        if term.kind == "text" and (
            term.collation != "BINARY" or term.affinity not in (None, "TEXT", "BLOB")
        ):
            raise Unknown(f"{name}() by a collation")
        if term.kind not in ("integer", "boolean", "text"):
            raise Unknown(f"{name}() of {term.kind}")
        return Term(f"{name}({ordered(term)})", "text" if term.kind == "text" else "integer")

    def _count(self, node: exp.Count) -> Term:
        if isinstance(node.this, exp.Star):
            return Term("count(*)", "integer")
        if isinstance(node.this, exp.Distinct):
            (inner,) = node.this.expressions
            term = super().term(inner)
            grouped(term)
            return Term(f"count(DISTINCT {term.sql})", "integer")
        return Term(f"count({super().term(node.this).sql})", "integer")
