"""The columns of a table that turnback makes (create mode)."""

from __future__ import annotations

import re
from dataclasses import replace

from turnback.core.candidates.case import Case, Offer
from turnback.core.candidates.create import for_create
from turnback.core.defaults import default_sample
from turnback.core.mapping.columns import Columns
from turnback.core.mapping.names import column_name
from turnback.core.mapping.offers import checked, say_trap
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.schema import SqliteColumn, SqliteTable
from turnback.core.sqlite_sql import (
    check_bodies,
    generated_expressions,
    index_condition,
    index_terms,
    tokens,
    unquoted,
)
from turnback.core.sqltext import identifier
from turnback.core.toml_lines import column_lines, leave_table_out, toml_key

MAX_COLUMNS = 1600  # PostgreSQL documentation: Limits
CITEXT = "citext"

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)


def made_columns(source: Source, table: SqliteTable, schema: str) -> Columns:
    """The columns that found a codec, under their PostgreSQL names; the others are said. `schema`: where an
    extension's types are.
    """
    choice = source.choice(table)
    compared = {c for index in table.indexes for k in index.columns if (c := k.name)}
    compared |= set(table.primary_key) | {c for fk in table.foreign_keys for c in fk.columns}
    offers: dict[str, Offer] = {}
    stored = [c for c in table.columns if not c.generated]
    for_text = _taken_for_text(table)
    for column in stored:
        offer = _offer(source, table, column, for_text, comparable=column.name in compared)
        if offer is not None:
            offers[column.name] = offer
    for name in choice.columns:
        if name not in {c.name for c in table.columns}:
            source.say(
                "choice",
                "choice",
                f"turnback.toml chooses something for {table.name}.{name}, which the SQLite table lacks",
                table,
                name,
                settle=f"take [tables.{toml_key(table.name)}.columns.{toml_key(name)}] out",
            )
    if len(stored) > MAX_COLUMNS:
        source.say(
            "F42",
            "refused",
            f"{table.name} has {len(stored)} columns, and PostgreSQL holds {MAX_COLUMNS}",
            table,
            settle=leave_table_out(table.name),
        )
    settled = source.settle(table, offers)
    return {name: _made(source, table, plan, schema) for name, plan in settled.items()}


def extensions(tables: tuple[TablePlan, ...]) -> tuple[str, ...]:
    """What the columns' types need."""
    needs = any(c.pg_type.endswith(f".{CITEXT}") for t in tables for c in t.columns)
    return (CITEXT,) if needs else ()


def _offer(
    source: Source,
    table: SqliteTable,
    column: SqliteColumn,
    taken_for_text: frozenset[str],
    *,
    comparable: bool,
) -> Offer | None:
    own = source.choice(table).column(column.name)
    case = Case(
        column,
        source.facts(table, column.name),
        own,
        sample=default_sample(column) or "",
        zone=own.zone or source.choices.zone,
        handled_as_text=column.name.lower() in taken_for_text,
    )
    offer = checked(source, table, case, lambda: for_create(case, comparable=comparable))
    if offer is not None and any(c.pg_type == CITEXT for c in offer.candidates):
        wide = source.trial.keys(table, column.name, "wide")
        if wide:
            source.say(
                "F31",
                "refused",
                f"{table.name}.{column.name}: citext folds more letters than the 26 that SQLite folds, "
                "and there are such values",
                table,
                column.name,
                keys=wide,
                settle="take `pg_type` out",
            )
            return None
    return offer


def _taken_for_text(table: SqliteTable) -> frozenset[str]:
    """The columns, in lower case, that a check, an index's expression or condition, or a generated column
    names, or whose default is a text of its own: what these say of text need not hold for another type.
    """
    expressions = [*check_bodies(table.sql), *generated_expressions(table.sql).values()]
    for index in table.indexes:
        if index.partial or any(k.name is None for k in index.columns):
            expressions += [*index_terms(index.sql or ""), index_condition(index.sql or "")]
    named = {unquoted(t).lower() for e in expressions for t in tokens(e)}
    own_default = {
        c.name.lower()
        for c in table.columns
        if c.default_sql is not None and not default_sample(c) and c.default_sql.strip().upper() != "NULL"
    }
    return frozenset(named | own_default)


def _made(source: Source, table: SqliteTable, plan: ColumnPlan, schema: str) -> ColumnPlan:
    """With its name, NOT NULL and identity; where PostgreSQL compares or refuses otherwise is said."""
    column = next(c for c in table.columns if c.name == plan.sqlite)
    name = column_name(source, table, plan.sqlite)
    if column.collation != "BINARY":
        _say_collation(source, table, column, plan)
    nulls = source.facts(table, plan.sqlite).nulls
    in_key = plan.sqlite in table.primary_key
    if nulls and (in_key or column.not_null):
        what = "part of the primary key" if in_key else "declared NOT NULL"
        source.refuse_nulls(
            table,
            plan.sqlite,
            f"{table.name}.{plan.sqlite} is {what}, and {nulls} values are NULL",
            f"give these rows a value, delete them, or leave the table out:\n{leave_table_out(table.name)}",
        )
    say_trap(source, table, plan)
    if plan.pg_type == CITEXT:
        plan = replace(
            plan, pg_type=f"{schema if _PLAIN_NAME.fullmatch(schema) else identifier(schema)}.citext"
        )
    return replace(
        plan,
        postgres=name,
        not_null=column.not_null or in_key,
        identity=plan.sqlite == table.rowid_alias and plan.pg_type == "bigint",
    )


def _say_collation(source: Source, table: SqliteTable, column: SqliteColumn, plan: ColumnPlan) -> None:
    """HAZARDS F31."""
    if plan.pg_type == CITEXT:
        message = "it becomes citext, which folds the same letters as long as all are ASCII"
    else:
        message = "PostgreSQL exactly; queries that rely on it need lower()"
    foldable = column.collation == "NOCASE" and plan.codec == "text" and plan.pg_type == "text"
    by_choice = foldable and not source.trial.keys(table, column.name, "wide")
    source.say(
        "F31",
        "carries",
        f"{table.name}.{column.name}: SQLite compares it by {column.collation}, {message}",
        table,
        column.name,
        settle=column_lines(table.name, column.name, 'pg_type = "citext"') if by_choice else "",
    )
