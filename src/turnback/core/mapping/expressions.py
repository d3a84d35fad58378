"""Expressions in the SQLite schema that the PostgreSQL schema is to hold too: defaults and checks."""

from __future__ import annotations

from dataclasses import replace

from turnback.core.conditions import ALWAYS, translate_condition
from turnback.core.defaults import Untranslatable, translate_default
from turnback.core.expressions.names import UTF_16
from turnback.core.mapping.columns import Columns
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan
from turnback.core.schema import SqliteTable
from turnback.core.sqlite_sql import check_bodies
from turnback.core.toml_lines import leave_behind_lines


def with_default(source: Source, table: SqliteTable, plan: ColumnPlan) -> ColumnPlan:
    """The column with its default; a default that is not carried is said."""
    column = next(c for c in table.columns if c.name == plan.sqlite)
    name = f"{table.name}.{plan.sqlite}.default"
    if plan.identity or column.default_sql is None:
        return plan
    if source.is_left_behind(name):
        source.say("F3", "carries", f"{name} is left behind by choice", table, plan.sqlite)
        return plan
    try:
        return replace(plan, default_sql=translate_default(column, plan))
    except Untranslatable as e:
        source.say(
            "F3",
            "choice",
            f"{table.name}.{plan.sqlite}: the default {column.default_sql} is not carried: {e}",
            table,
            plan.sqlite,
            settle=leave_behind_lines(name),
        )
        return plan


def translated_checks(source: Source, table: SqliteTable, columns: Columns) -> tuple[str, ...]:
    """The table's checks as PostgreSQL expressions; what is not translated is said."""
    bodies = check_bodies(table.sql)
    name = f"{table.name}.check"
    translated = [
        (body, translate_condition(body, columns, collations(source, table), table=table.name))
        for body in bodies
    ]
    lost = [body for body, condition in translated if condition is None]
    if lost and source.is_left_behind(name):
        source.say("F41", "carries", f"{len(lost)} checks of {table.name} are left behind by choice", table)
    elif lost:
        source.say(
            "F41",
            "choice",
            f"{table.name}: not translated: " + "; ".join(f"CHECK ({' '.join(b.split())})" for b in lost),
            table,
            count=len(lost),
            settle=leave_behind_lines(name),
        )
    return tuple(c for _, c in translated if c is not None and c != ALWAYS)


def collations(source: Source, table: SqliteTable) -> dict[str, str]:
    """What its columns are compared by, for expressions.of_table."""
    utf_8 = source.schema.settings.encoding == "UTF-8"
    return {c.name: c.collation if utf_8 else UTF_16 for c in table.columns}
