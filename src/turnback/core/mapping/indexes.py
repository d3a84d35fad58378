"""The indexes and unique constraints that turnback makes (create mode), and which of them identifies rows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sqlglot import exp

from turnback.core.expressions import Term, Translation, Unknown, of_table, parsed
from turnback.core.expressions.comparisons import folded
from turnback.core.expressions.names import of_column
from turnback.core.expressions.results import result
from turnback.core.mapping.columns import Columns
from turnback.core.mapping.expressions import collations
from turnback.core.mapping.keys import (
    RowIdentity,
    is_key,
    is_plain,
    made_identity,
    refuse_respelled,
    respelled_columns,
)
from turnback.core.mapping.names import Relations
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, ExpressionPlan, IndexPlan
from turnback.core.profile import Misfits
from turnback.core.schema import SqliteIndex, SqliteIndexColumn, SqliteTable
from turnback.core.sqlite_sql import index_condition, index_terms, tokens, unquoted
from turnback.core.sqltext import identifier, qualified
from turnback.core.toml_lines import leave_behind_lines, leave_table_out
from turnback.errors import CannotCarry

MAX_INDEXED_BYTES = 2600  # a B-tree entry holds 2,704 bytes, headers included
MAX_INDEXED_COLUMNS = 32  # PostgreSQL documentation: Limits


class Indexes(NamedTuple):
    uniques: tuple[tuple[str, ...], ...]  # PostgreSQL names
    indexes: tuple[IndexPlan, ...]
    identity: RowIdentity
    expressions: tuple[ExpressionPlan, ...]


def made_indexes(
    source: Source, table: SqliteTable, columns: Columns, relations: Relations, schema: str
) -> Indexes:
    """Plain UNIQUE stays a constraint, except the one that identifies rows: the replica identity names an
    index. What is not carried is said.
    """
    uniques: list[tuple[str, ...]] = []
    indexes: list[IndexPlan] = []
    expressions: list[ExpressionPlan] = []
    identity: RowIdentity | None = None
    generated = {c.name for c in table.columns if c.generated}
    for index in table.indexes:
        if _is_left(source, table, index, columns):
            continue
        names = tuple(k.name for k in index.columns if k.name is not None)
        if index.unique:
            for name in respelled_columns(names, columns):
                refuse_respelled(
                    source, table, name, f"{table.name}.{name} belongs to the unique key {index.name}"
                )
        identifies = (
            not table.primary_key
            and identity is None
            and is_key(index)
            and all(columns[n].not_null and n not in generated for n in names)
        )
        if index.origin == "primary_key" and is_plain(index):
            continue
        if index.origin == "unique" and is_plain(index) and not identifies:
            uniques.append(tuple(columns[n].postgres for n in names))
            continue
        made, proven = _index(source, table, index, columns, relations, schema)
        indexes.append(made)
        expressions += proven
        if identifies:
            identity = RowIdentity(names, "index", made.name)
    return Indexes(
        tuple(dict.fromkeys(uniques)),
        tuple(indexes),
        made_identity(source, table, identity),
        tuple(expressions),
    )


def _is_left(source: Source, table: SqliteTable, index: SqliteIndex, columns: Columns) -> bool:
    """Left behind by choice, or not carried, which is said."""
    code = "F29" if index.partial else "F30"
    if source.is_left_behind(index.name):
        source.say(code, "carries", f"index {index.name} is left behind by choice", table)
        return True
    problem, misfits = _problem(source, table, index, columns)
    if not problem:
        return False
    if _uses(index, source.lacking):
        return True  # said, with the index's name
    must = index.origin == "primary_key"
    source.say(
        code,
        "refused" if must else "choice",
        f"{'primary key' if must else 'unique index' if index.unique else 'index'} {index.name} "
        f"of {table.name} {problem}",
        table,
        count=misfits.count or None,
        keys=misfits.keys,
        settle=leave_table_out(table.name) if must else leave_behind_lines(index.name),
    )
    return True


def _uses(index: SqliteIndex, names: frozenset[str]) -> bool:
    words = {unquoted(t).lower() for t in tokens(index.sql or "")}
    return bool(names & (words | {k.collation.lower() for k in index.columns}))


def _problem(source: Source, table: SqliteTable, index: SqliteIndex, columns: Columns) -> tuple[str, Misfits]:
    """Why PostgreSQL cannot have that index, and the rows that are the reason; "" when it can."""
    names = [k.name for k in index.columns if k.name is not None]
    if any(n not in columns for n in names):
        return "has a column that is not carried", Misfits()
    if len(index.columns) > MAX_INDEXED_COLUMNS:
        return f"has {len(index.columns)} columns, and PostgreSQL takes {MAX_INDEXED_COLUMNS}", Misfits()
    try:
        whole = Translated(source, table, index, columns)
    except (Unknown, CannotCarry) as e:
        what = "partial" if index.partial else "over an expression"
        sql = " ".join((index.sql or "").split())
        return f"is not translated ({e}); it is {what}: {sql}", Misfits()
    except UnknownCollation as e:
        return f"compares by {e}", Misfits()
    too_long = [e for e, size in whole.sizes(source) if size > MAX_INDEXED_BYTES]
    misfits = Misfits()
    if sum(_longest(source, table, n) for n in names) > MAX_INDEXED_BYTES:
        stored = [n for n in names if n in source.profiles[table.name].columns]
        too_long += [n for n in names if n not in stored and _longest(source, table, n) > MAX_INDEXED_BYTES]
        misfits = source.trial.larger(table, stored, MAX_INDEXED_BYTES - 8 * len(stored))
        too_long += stored if misfits.count else []
    if too_long:
        return (
            f"has values of {', '.join(too_long)} over {MAX_INDEXED_BYTES} bytes, "
            "more than PostgreSQL's B-tree takes"
        ), misfits
    return "", misfits


def _longest(source: Source, table: SqliteTable, name: str) -> int:
    """Bytes; of a generated column what all columns together could give."""
    profile = source.profiles[table.name].columns
    return profile[name].max_bytes if name in profile else sum(c.max_bytes for c in profile.values())


class UnknownCollation(Exception):
    """The collation that has no counterpart."""


class Translated:
    """An index's terms and its condition in PostgreSQL's words. Raises Unknown, CannotCarry,
    UnknownCollation.
    """

    def __init__(self, source: Source, table: SqliteTable, index: SqliteIndex, columns: Columns) -> None:
        self._table = table
        self._translation = Translation(
            of_table(columns.values(), collations(source, table), table=table.name)
        )
        self._sources: list[tuple[str, set[str]]] = []  # expressions, and the columns in them
        self.expressions: list[ExpressionPlan] = []  # to be proven
        texts = index_terms(index.sql) if index.sql else ()
        self.terms = []
        for i, part in enumerate(index.columns):
            if part.name is None:
                term = self._expression(index, texts[i])
            else:
                plan = columns[part.name]
                term = of_column(plan, identifier(plan.postgres))
                if plan.pg_type == "citext" and part.collation == "NOCASE":
                    term = replace(term, kind="column")
                elif plan.pg_type == "citext":
                    raise Unknown("it tells letters apart that citext does not")
            self.terms.append(f"{_keyed(term, part)} DESC" if part.descending else _keyed(term, part))
        self.where = self._condition(index) if index.partial else ""

    def sizes(self, source: Source) -> list[tuple[str, int]]:
        """Each expression, and how many bytes the texts that it is made of have at most."""
        lower = {c.name.lower(): c.name for c in self._table.columns}
        return [
            (sql, sum(_longest(source, self._table, lower[n]) for n in names if n in lower))
            for sql, names in self._sources
        ]

    def _expression(self, index: SqliteIndex, sql: str) -> Term:
        tree = parsed(sql)
        term = self._translation.term(tree)
        postgres_sql, plan = result(term)
        name = f"{index.name}: {sql}"
        self.expressions.append(
            ExpressionPlan(
                replace(plan, sqlite=name, postgres=name, not_null=False, identity=False, default_sql=None),
                f"({sql})",
                postgres_sql,
            )
        )
        self._sources.append((sql, {c.name.lower() for c in tree.find_all(exp.Column)}))
        return replace(term, sql=f"({term.sql})")

    def _condition(self, index: SqliteIndex) -> str:
        sql = index_condition(index.sql or "")
        condition = self._translation.condition(parsed(sql))
        name = f"{index.name}: WHERE"
        self.expressions.append(
            ExpressionPlan(
                ColumnPlan(name, name, "boolean", "boolean"),
                f"CASE WHEN ({sql}) THEN 1 WHEN NOT ({sql}) THEN 0 END",
                condition,
            )
        )
        return condition


def _keyed(term: Term, part: SqliteIndexColumn) -> str:
    """The term as an index compares it: text by its collation. NOCASE folds the 26 ASCII letters, which is
    what lower() does in the C collation, so a unique index over that means the same (HAZARDS F31).
    """
    if part.collation not in ("BINARY", "NOCASE", "RTRIM"):
        raise UnknownCollation(part.collation)
    return folded(term, part.collation) if term.kind == "text" else term.sql


def _index(
    source: Source,
    table: SqliteTable,
    index: SqliteIndex,
    columns: Columns,
    relations: Relations,
    schema: str,
) -> tuple[IndexPlan, list[ExpressionPlan]]:
    """A whole CREATE INDEX, and what of it is to be proven."""
    translated = Translated(source, table, index, columns)
    wanted = index.name
    if index.origin != "create":
        names = [columns[k.name].postgres for k in index.columns if k.name]
        wanted = f"{source.postgres_name(table)}_{'_'.join(names)}_key"
    name = relations.take(wanted)
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {translated.where}" if index.partial else ""
    target = qualified(schema, source.postgres_name(table))
    definition = f"CREATE {unique}INDEX {identifier(name)} ON {target} ({', '.join(translated.terms)}){where}"
    return IndexPlan(name, definition), translated.expressions
