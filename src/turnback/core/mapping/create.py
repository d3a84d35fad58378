"""The schema that turnback makes (create mode): what a PostgreSQL user would choose, wherever every value
survives the round trip, else a wider type, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.mapping.columns import Columns, is_complete
from turnback.core.mapping.expressions import translated_checks, with_default
from turnback.core.mapping.foreign_keys import align_references, made_foreign_keys
from turnback.core.mapping.generated import made_generated, refuse_generated
from turnback.core.mapping.indexes import made_indexes
from turnback.core.mapping.last_ids import made_last_ids
from turnback.core.mapping.made_columns import extensions, made_columns
from turnback.core.mapping.names import Relations
from turnback.core.mapping.scope import scope
from turnback.core.mapping.source import Source
from turnback.core.mapping.views import made_views
from turnback.core.plan import Plan, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import SqliteSchema, SqliteTable


def map_create(
    schema: SqliteSchema,
    profiles: Mapping[str, TableProfile],
    choices: Choices,
    trial: Trial,
    *,
    postgres_schema: str = "public",
    lacking: frozenset[str] = frozenset(),
) -> tuple[Plan, tuple[Finding, ...]]:
    """The plan, and everything that is to be said about it. A table with a refused column is not in it."""
    found = scope(schema, choices, "create")
    source = Source(schema, profiles, choices, trial, found.findings, lacking)
    relations = Relations()
    tables = _tables(source, found.tables, relations, postgres_schema)
    made_last_ids(source, tables)
    views = made_views(source, tables, relations, postgres_schema)
    plan = Plan(
        "create",
        postgres_schema,
        tables,
        tuple(found.excluded),
        views=views,
        virtual=tuple(found.virtual),
        extensions=extensions(tables),
    )
    return plan, tuple(found.findings)


def _tables(
    source: Source, tables: list[SqliteTable], relations: Relations, postgres_schema: str
) -> tuple[TablePlan, ...]:
    columns: dict[str, Columns] = {}
    for table in tables:
        relations.take_table(source, table)
        columns[table.name] = made_columns(source, table, postgres_schema)
    align_references(source, tables, columns)
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
    if made.identity.replica_identity == "full":
        refuse_generated(source, table, generated)
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
