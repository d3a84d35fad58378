"""The schema that turnback makes (create mode): what a PostgreSQL user would choose, wherever every value
survives the round trip, else a wider type, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from turnback.core.candidates import for_create, is_known_codec
from turnback.core.choices import Choices
from turnback.core.defaults import default_sample
from turnback.core.findings import Finding
from turnback.core.mapping_columns import (
    Columns,
    is_complete,
    leave_table_out,
    toml_key,
)
from turnback.core.mapping_expressions import translated_checks, with_default
from turnback.core.mapping_foreign_keys import align_references, made_foreign_keys
from turnback.core.mapping_generated import made_generated
from turnback.core.mapping_indexes import made_indexes
from turnback.core.mapping_names import Relations, column_name
from turnback.core.mapping_scope import scope
from turnback.core.mapping_source import Source
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import SqliteSchema, SqliteTable

MAX_COLUMNS = 1600  # PostgreSQL documentation: Limits


def map_create(
    schema: SqliteSchema,
    profiles: Mapping[str, TableProfile],
    choices: Choices,
    trial: Trial,
    *,
    postgres_schema: str = "public",
) -> tuple[Plan, tuple[Finding, ...]]:
    """The plan, and everything that is to be said about it. A table with a refused column is not in it."""
    found = scope(schema, choices, "create")
    source = Source(schema, profiles, choices, trial, found.findings)
    tables = _tables(source, found.tables, postgres_schema)
    plan = Plan("create", postgres_schema, tables, tuple(found.excluded), virtual=tuple(found.virtual))
    return plan, tuple(found.findings)


def _tables(source: Source, tables: list[SqliteTable], postgres_schema: str) -> tuple[TablePlan, ...]:
    relations = Relations()
    columns: dict[str, Columns] = {}
    for table in tables:
        relations.take_table(source, table)
        columns[table.name] = _columns(source, table)
    for table in tables:
        align_references(source, table, columns)
    complete = [t for t in tables if is_complete(t, columns[t.name])]
    plans = [_table(source, t, columns[t.name], relations, postgres_schema) for t in complete]
    return tuple(
        replace(plan, foreign_keys=made_foreign_keys(source, table, columns, plans))
        for table, plan in zip(complete, plans, strict=True)
    )


def _table(
    source: Source, table: SqliteTable, settled: Columns, relations: Relations, postgres_schema: str
) -> TablePlan:
    """The table without its foreign keys, for which all tables must be known."""
    columns = {name: with_default(source, table, plan) for name, plan in settled.items()}
    generated = made_generated(source, table, columns)
    every = columns | {g.column.sqlite: g.column for g in generated}
    checks = translated_checks(source, table, every)
    made = made_indexes(source, table, every, relations, postgres_schema)
    return TablePlan(
        sqlite=table.name,
        postgres=source.postgres_name(table),
        columns=tuple(columns.values()),
        key=made.identity.key,
        replica_identity=made.identity.replica_identity,
        identity_index=made.identity.identity_index,
        without_rowid=table.without_rowid,
        autoincrement=table.autoincrement,
        primary_key=tuple(columns[c].postgres for c in table.primary_key),
        uniques=made.uniques,
        indexes=made.indexes,
        checks=checks,
        generated=generated,
        expressions=made.expressions,
    )


def _columns(source: Source, table: SqliteTable) -> Columns:
    """The columns that found a codec, under their PostgreSQL names; the others are said."""
    choice = source.choice(table)
    compared = {c for index in table.indexes for k in index.columns if (c := k.name)}
    compared |= set(table.primary_key) | {c for fk in table.foreign_keys for c in fk.columns}
    candidates = {}
    for column in table.columns:
        if column.generated:
            continue
        own = choice.column(column.name)
        if own.codec and not is_known_codec(own.codec):
            source.say(
                "choice",
                "choice",
                f"{table.name}.{column.name}: there is no codec {own.codec}",
                table,
                column.name,
                settle="`codec` takes a name of the reference's list of codecs",
            )
        candidates[column.name] = for_create(
            column,
            source.facts(table, column.name),
            own,
            comparable=column.name in compared,
            default_sample=default_sample(column),
        )
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
    if len(candidates) > MAX_COLUMNS:
        source.say(
            "F42",
            "refused",
            f"{table.name} has {len(candidates)} columns, and PostgreSQL holds {MAX_COLUMNS}",
            table,
            settle=leave_table_out(table.name),
        )
    settled = source.settle(table, candidates)
    return {name: _column(source, table, plan) for name, plan in settled.items()}


def _column(source: Source, table: SqliteTable, plan: ColumnPlan) -> ColumnPlan:
    """With its name, NOT NULL and identity; where PostgreSQL compares or refuses otherwise is said."""
    column = next(c for c in table.columns if c.name == plan.sqlite)
    name = column_name(source, table, plan.sqlite)
    if column.collation != "BINARY":
        source.say(
            "F31",
            "carries",
            f"{table.name}.{plan.sqlite}: SQLite compares it by {column.collation}, PostgreSQL exactly; "
            "queries that rely on it need lower()",
            table,
            plan.sqlite,
        )
    nulls = source.facts(table, plan.sqlite).nulls
    in_key = plan.sqlite in table.primary_key
    if nulls and (in_key or column.not_null):
        what = "part of the primary key" if in_key else "declared NOT NULL"
        source.refuse_nulls(
            table,
            plan.sqlite,
            f"{table.name}.{plan.sqlite} is {what}, and {nulls} values are NULL",
            "give these rows a value, or delete them",
        )
    return replace(
        plan,
        postgres=name,
        not_null=column.not_null or in_key,
        identity=plan.sqlite == table.rowid_alias and plan.pg_type == "bigint",
    )
