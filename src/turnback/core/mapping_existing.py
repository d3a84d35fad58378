"""The schema that the application's own ORM has made (existing mode): types come from the catalogue, the
storage classes that are there choose the codec, and what does not fit is said by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from turnback.core.candidates import detect_unit, for_type, parse_type
from turnback.core.choices import Choices, ColumnChoice
from turnback.core.findings import Finding
from turnback.core.mapping_columns import column_lines, leave_table_out
from turnback.core.mapping_foreign_keys import met_foreign_keys
from turnback.core.mapping_keys import check_uniques, met_identity
from turnback.core.mapping_ledgers import compare_ledgers, ledger
from turnback.core.mapping_pairs import Met, met_columns, met_tables
from turnback.core.mapping_scope import scope
from turnback.core.mapping_source import Source
from turnback.core.mapping_target import is_usable, met_sequences, refers_to_seed_rows
from turnback.core.plan import ColumnPlan, Excluded, Plan, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import (
    PostgresColumn,
    PostgresSchema,
    PostgresTable,
    SqliteColumn,
    SqliteSchema,
    SqliteTable,
    affinity,
)

# timestamp(3) holds milliseconds and nothing else
_UNIT_BY_DIGITS: dict[tuple[int, ...], str] = {(0,): "s", (3,): "ms"}


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
    unit = _common_unit(source, met)
    plans = [
        plan
        for name, target in met.items()
        if (plan := _table(source, schema.table(name), target, postgres, unit)) is not None
    ]
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
    refers_to_seed_rows(found.findings, tables, postgres)
    whole = Plan(
        "existing",
        postgres.name,
        tables,
        tuple(found.excluded),
        sequences=met_sequences(found.findings, choices, tables, postgres),
        virtual=tuple(found.virtual),
    )
    return whole, tuple(found.findings)


def _common_unit(source: Source, met: Met) -> str | None:
    """The one unit that all filled integer columns share that become moments; for the empty ones."""
    units = set()
    for name, target in met.items():
        moments = {c.name.lower() for c in target.columns if parse_type(c.type_name)[0] == "timestamp"}
        for column, facts in source.profiles[name].columns.items():
            if facts.classes == {"integer"} and column.lower() in moments:
                units.add(source.choices.table(name).column(column).unit or detect_unit(facts))
    return units.pop() if len(units) == 1 else None


def _table(
    source: Source, table: SqliteTable, target: PostgresTable, postgres: PostgresSchema, unit: str | None
) -> TablePlan | None:
    """The table without its foreign keys, for which all tables must be known; None when it is refused."""
    if not is_usable(source, table, target):
        return None
    meeting = met_columns(source, table, target)
    pairs = meeting.pairs
    candidates: dict[str, tuple[ColumnPlan, ...]] = {}
    for column in table.columns:
        if column.name in pairs:
            offered = _candidates(source, table, column, pairs[column.name], unit)
            if offered:
                candidates[column.name] = offered
    fed = {place for s in postgres.sequences for place in (s.owner, *s.drawn_by) if place is not None}
    owned = {column for name, column in fed if name == target.name}
    columns = {
        name: _column(source, table, plan, pairs[name], owned)
        for name, plan in source.settle(table, candidates).items()
    }
    if not meeting.complete or len(columns) < len(pairs):
        return None
    identity = met_identity(source, table, target, columns)
    check_uniques(source, table, target, columns)
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
        clear_first=target.has_rows,
        seed_rows=target.row_count if target.has_rows else 0,
    )


def _candidates(
    source: Source, table: SqliteTable, column: SqliteColumn, target: PostgresColumn, unit: str | None
) -> tuple[ColumnPlan, ...]:
    """For one column; empty when the reason has been said. `unit` is for columns whose values show none."""
    facts = source.facts(table, column.name)
    own = source.choice(table).column(column.name)
    base = parse_type(target.type_name)[0]
    counts_time = base == "timestamp" and (
        facts.classes == {"integer"} or (not facts.classes and affinity(column.declared_type) == "INTEGER")
    )
    if counts_time and own.unit is None and detect_unit(facts) is None:
        assumed = unit or _UNIT_BY_DIGITS.get(parse_type(target.type_name)[1])
        if facts.values == 0 and assumed is not None:
            own = replace(own, unit=assumed)
        else:
            what = "no value shows" if facts.values == 0 else "the values do not agree on"
            source.say(
                "F4",
                "choice",
                f"{table.name}.{column.name}: integers that become {target.type_name}; {what} their unit",
                table,
                column.name,
                count=facts.values,
                settle=column_lines(table.name, column.name, 'unit = "ms"'),
            )
            return ()
    offered: tuple[ColumnPlan, ...] = ()
    if target.type_kind in ("base", "enum"):
        is_enum = target.type_kind == "enum"
        offered = for_type(column, facts, own, target.type_name, is_enum=is_enum)
    if own.codec:
        offered = tuple(c for c in offered if c.codec == own.codec)
    if offered:
        return offered
    _no_codec(source, table, column, target, own)
    return ()


def _no_codec(
    source: Source, table: SqliteTable, column: SqliteColumn, target: PostgresColumn, own: ColumnChoice
) -> None:
    facts = source.facts(table, column.name)
    kind = "" if target.type_kind == "base" else f", {_article(target.type_kind)}"
    classes = " and ".join(sorted(facts.classes)) or "NULL"
    if facts.classes == {"text"} and parse_type(target.type_name)[0] == "timestamp":
        message = f"the texts have no form that {target.type_name} comes back to: {facts.min_text!r}"
        code, count = "F7", facts.texts
    else:
        chosen = f" by the codec {own.codec}" if own.codec else ""
        message = f"{classes} values are not carried into {target.type_name}{kind}{chosen}"
        code, count = "R5", facts.values
    source.say(
        code,
        "refused",
        f"{table.name}.{column.name}: {message}",
        table,
        column.name,
        count=count,
        keys=source.trial.keys(table, column.name, "text") if code == "F7" else (),
        settle=f"change the PostgreSQL type, or leave the table out:\n{leave_table_out(table.name)}",
    )


def _column(
    source: Source, table: SqliteTable, plan: ColumnPlan, other: PostgresColumn, owned: set[str]
) -> ColumnPlan:
    """With its PostgreSQL name and identity; `owned` are the target's columns that own a sequence."""
    nulls = source.facts(table, plan.sqlite).nulls
    if other.not_null and nulls:
        source.refuse_nulls(
            table,
            plan.sqlite,
            f"{table.name}.{plan.sqlite}: {nulls} values are NULL, and PostgreSQL's {other.name} is NOT NULL",
            "give these rows a value, or let the PostgreSQL column take NULL",
        )
    if other.type_kind == "enum":
        _labels(source, table, plan, other)
    if plan.codec == "epoch" and plan.options.get("truncate"):
        source.say(
            "R1",
            "carries",
            f"{table.name}.{plan.sqlite}: what PostgreSQL holds beyond {plan.options['unit']} "
            "does not come back to SQLite",
            table,
            plan.sqlite,
        )
    return replace(plan, postgres=other.name, identity=other.identity != "" or other.name in owned)


def _labels(source: Source, table: SqliteTable, plan: ColumnPlan, other: PostgresColumn) -> None:
    misfits = source.trial.outside(table, plan.sqlite, other.labels)
    if misfits.count:
        source.say(
            "R5",
            "refused",
            f"{table.name}.{plan.sqlite}: {misfits.count} values are no label of {other.type_name}",
            table,
            plan.sqlite,
            count=misfits.count,
            keys=misfits.keys,
            settle=f"ALTER TYPE {other.type_name} ADD VALUE, or change the values",
        )


def _article(type_kind: str) -> str:
    return f"{'an' if type_kind[0] in 'aeiou' else 'a'} {type_kind}"
