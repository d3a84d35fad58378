"""The schema that the application's own ORM has made (existing mode): types come from the catalogue, the
storage classes that are there choose the codec, and what does not fit is said by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from turnback.core.candidates.case import Offer
from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.mapping.foreign_keys import align_references, met_foreign_keys
from turnback.core.mapping.keys import check_uniques, met_identity
from turnback.core.mapping.last_ids import met_last_ids
from turnback.core.mapping.ledgers import compare_ledgers, ledger
from turnback.core.mapping.met_columns import common_unit, met_column, offered, say_framework
from turnback.core.mapping.pairs import met_columns, met_tables, only_on_postgres
from turnback.core.mapping.scope import scope
from turnback.core.mapping.source import Source
from turnback.core.mapping.target import is_usable, met_sequences, refers_to_seed_rows
from turnback.core.plan import Excluded, Plan, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import (
    PostgresSchema,
    PostgresTable,
    SqliteSchema,
    SqliteTable,
)
from turnback.core.toml_lines import leave_table_out


def map_existing(
    schema: SqliteSchema,
    profiles: Mapping[str, TableProfile],
    postgres: PostgresSchema,
    choices: Choices,
    trial: Trial,
) -> tuple[Plan, tuple[Finding, ...]]:
    """The plan, and everything that is to be said about it. A table with a refused column is not in it."""
    found = scope(schema, choices, "existing")
    source = Source(schema, profiles, choices, trial, found.findings)
    compare_ledgers(source, found.ledgers, postgres)
    met = met_tables(source, found.tables, postgres)
    unit = common_unit(source, met)
    say_framework(source, met)
    plans = [
        plan
        for name, target in met.items()
        if (plan := _table(source, schema.table(name), target, postgres, unit)) is not None
    ]
    plans = _aligned(source, plans)
    tables = tuple(replace(p, foreign_keys=met_foreign_keys(source, p, met[p.sqlite], plans)) for p in plans)
    names = {t.name for t in met.values()}
    there = [t.name for t in postgres.tables]
    for table in postgres.tables:
        if table.name not in names and table.kind != "partition":
            is_ledger = ledger(table.name, [c.name for c in table.columns], there)
            why = "a migration ledger" if is_ledger else "the SQLite file has no such table"
            found.excluded.append(Excluded(table.name, "postgres", why))
            found.findings.append(
                Finding("F36", "carries", f"PostgreSQL's table {table.name} is left alone: {why}", table.name)
            )
    for plan in tables:
        found.excluded += only_on_postgres(plan, met[plan.sqlite])
    sequences = met_sequences(found.findings, choices, tables, postgres)
    met_last_ids(source, tables, postgres, sequences)
    refers_to_seed_rows(found.findings, tables, postgres)
    whole = Plan(
        "existing",
        postgres.name,
        tables,
        tuple(found.excluded),
        sequences=sequences,
        virtual=tuple(found.virtual),
    )
    return whole, tuple(found.findings)


def _aligned(source: Source, plans: list[TablePlan]) -> list[TablePlan]:
    """Referring columns carried as what they refer to."""
    columns = {p.sqlite: {c.sqlite: c for c in p.columns} for p in plans}
    align_references(source, [source.schema.table(p.sqlite) for p in plans], columns, types=False)
    return [replace(p, columns=tuple(columns[p.sqlite].values())) for p in plans]


def _table(
    source: Source, table: SqliteTable, target: PostgresTable, postgres: PostgresSchema, unit: str | None
) -> TablePlan | None:
    """The table without its foreign keys, for which all tables must be known; None when it is refused."""
    if not is_usable(source, table, target):
        return None
    meeting = met_columns(source, table, target)
    pairs = meeting.pairs
    offers: dict[str, Offer] = {}
    for column in table.columns:
        if column.name in pairs:
            offer = offered(source, table, column, pairs[column.name], unit)
            if offer is not None:
                offers[column.name] = offer
    fed = {place for s in postgres.sequences for place in (s.owner, *s.drawn_by) if place is not None}
    owned = {column for name, column in fed if name == target.name}
    columns = {
        name: met_column(source, table, plan, pairs[name], owned)
        for name, plan in source.settle(table, offers).items()
    }
    if not meeting.complete or len(columns) < len(pairs):
        return None
    identity = met_identity(source, table, target, columns)
    check_uniques(source, table, target, columns)
    if identity.replica_identity == "full" and any(c.generated for c in target.columns):
        source.say(
            "F32",
            "refused",
            f"{target.name} has a generated column, and whole rows have to identify its rows, "
            "which PostgreSQL does not do with a generated column",
            table,
            settle="give it a primary key on both sides, or leave the table out:\n"
            + leave_table_out(table.name),
        )
    if target.triggers:
        source.say(
            "F41",
            "carries",
            f"{target.name} has triggers in PostgreSQL ({', '.join(target.triggers)}): "
            "suspended for the load",
            table,
        )
    return TablePlan(
        sqlite=table.name,
        postgres=target.name,
        columns=tuple(columns.values()),
        key=identity.key,
        replica_identity=identity.replica_identity,
        identity_index=identity.identity_index,
        without_rowid=table.without_rowid,
        autoincrement=table.autoincrement,
        primary_key=next((c.columns for c in target.constraints if c.kind == "primary_key"), ()),
        sqlite_constants=tuple(meeting.sqlite_constants),
        postgres_constants=tuple(meeting.postgres_constants),
        generated=tuple(meeting.generated),
        clear_first=target.has_rows,
        seed_rows=target.row_count if target.has_rows else 0,
    )
