"""The columns of a table that the application has made in PostgreSQL (existing mode): types come from the
catalogue, the storage classes that are there choose the codec.
"""

from __future__ import annotations

from dataclasses import replace

from turnback.core.candidates.case import Case, Offer
from turnback.core.candidates.existing import for_type
from turnback.core.candidates.moments import detect_unit
from turnback.core.mapping.frameworks import Framework, framework_of
from turnback.core.mapping.offers import checked, say_trap
from turnback.core.mapping.pairs import Met
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan
from turnback.core.schema import PostgresColumn, SqliteColumn, SqliteTable
from turnback.core.toml_lines import leave_table_out
from turnback.core.type_names import parse_type

# timestamp(3) holds milliseconds and nothing else
_UNIT_BY_DIGITS: dict[tuple[int, ...], str] = {(0,): "s", (3,): "ms"}


def common_unit(source: Source, met: Met) -> str | None:
    """The one unit that all filled integer columns share that become moments; for the empty ones."""
    units = set()
    for name, target in met.items():
        moments = {c.name.lower() for c in target.columns if parse_type(_type_of(c))[0] == "timestamp"}
        for column, facts in source.profiles[name].columns.items():
            if facts.classes == {"integer"} and column.lower() in moments:
                units.add(source.choices.table(name).column(column).unit or detect_unit(facts))
    return units.pop() if len(units) == 1 else None


def say_framework(source: Source, met: Met) -> None:
    """What the framework's ledger tells of zones and durations, where a column needs it; said once."""
    framework = framework_of(source.schema.tables)
    if framework is None:
        return
    zone = source.choices.zone is None and framework.zone is not None and _needs_zone(source, met)
    duration = framework.interval_unit is not None and _has_durations(source, met)
    said = []
    if zone:
        said.append(f"texts without an offset that become timestamptz are meant in {framework.zone}")
    if duration:
        said.append(f"integers that become interval count {framework.interval_unit}")
    if said:
        source.note(
            "F7" if zone else "R5",
            f"{framework.ledger} is {framework.name}'s: {'; '.join(said)}",
            settle=f'[sqlite]\nzone = "{framework.zone}"' if zone else "",
        )


def offered(
    source: Source, table: SqliteTable, column: SqliteColumn, target: PostgresColumn, unit: str | None
) -> Offer | None:
    """For one column; None when the reason has been said. `unit` is for columns whose values show none."""
    own = source.choice(table).column(column.name)
    framework = framework_of(source.schema.tables)
    zone, why = _zone(own.zone, source.choices.zone, framework)
    type_name = _type_of(target)
    case = Case(
        column,
        source.facts(table, column.name),
        own,
        zone=zone,
        zone_why=why,
        unit=unit or _UNIT_BY_DIGITS.get(parse_type(type_name)[1]),
        interval_unit=framework.interval_unit if framework else None,
    )
    is_enum = target.type_kind == "enum"
    offer = checked(source, table, case, lambda: for_type(case, type_name, is_enum=is_enum))
    if offer is None or offer.candidates or offer.problem is not None:
        return offer
    chosen = f" by the codec {own.codec}" if own.codec else ""
    classes = " and ".join(sorted(case.facts.classes)) or "NULL"
    source.say(
        "R5",
        "refused",
        f"{table.name}.{column.name}: {classes} values are not carried into {target.type_name}{chosen}",
        table,
        column.name,
        count=case.facts.values,
        settle=f"change the PostgreSQL type, or leave the table out:\n{leave_table_out(table.name)}",
    )
    return None


def met_column(
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
    say_trap(source, table, plan, other.labels)
    if plan.pg_type != other.type_name:
        plan = replace(
            plan,
            pg_type=other.type_name,
            base_type=plan.pg_type,
            why=f"{plan.why}: {other.type_name} is {plan.pg_type}",
        )
    return replace(plan, postgres=other.name, identity=other.identity != "" or other.name in owned)


def _type_of(target: PostgresColumn) -> str:
    """A domain is what stands below it."""
    return target.base_type or target.type_name


def _zone(own: str | None, declared: str | None, framework: Framework | None) -> tuple[str | None, str]:
    if own or declared:
        return own or declared, f"text without an offset means {own or declared}, as turnback.toml says"
    if framework is not None and framework.zone:
        return framework.zone, f"text without an offset means {framework.zone}, as {framework.name} writes it"
    return None, ""


def _needs_zone(source: Source, met: Met) -> bool:
    for name, target in met.items():
        zoned = {
            c.name.lower() for c in target.columns if parse_type(_type_of(c))[::2] == ("timestamp", True)
        }
        for column, facts in source.profiles[name].columns.items():
            own = source.choices.table(name).column(column)
            local = any(f.sound and f.separator and not f.suffix for f in facts.moments)
            if column.lower() in zoned and local and own.zone is None:
                return True
    return False


def _has_durations(source: Source, met: Met) -> bool:
    for name, target in met.items():
        spans = {c.name.lower() for c in target.columns if parse_type(_type_of(c))[0].startswith("interval")}
        for column, facts in source.profiles[name].columns.items():
            if column.lower() in spans and facts.classes == {"integer"}:
                return True
    return False


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
