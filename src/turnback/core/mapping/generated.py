"""Columns that SQLite generates, as columns that PostgreSQL generates (HAZARDS F32)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlglot import exp

from turnback.core.expressions import Translation, Unknown, of_table, parsed
from turnback.core.expressions.results import stored
from turnback.core.mapping.columns import Columns
from turnback.core.mapping.expressions import collations
from turnback.core.mapping.names import column_name
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, GeneratedPlan
from turnback.core.schema import PostgresColumn, SqliteColumn, SqliteTable, affinity
from turnback.core.sqlite_sql import generated_expressions
from turnback.core.toml_lines import leave_behind_lines
from turnback.errors import CannotCarry

_PLAIN: Final[dict[str, tuple[str, dict[str, str | int | bool]]]] = {
    "smallint": ("integer", {"bits": 16}),
    "integer": ("integer", {"bits": 32}),
    "bigint": ("integer", {"bits": 64}),
    "double precision": ("real", {}),
    "text": ("text", {}),
    "character varying": ("text", {}),
    "boolean": ("boolean", {}),
}


def made_generated(source: Source, table: SqliteTable, columns: Columns) -> tuple[GeneratedPlan, ...]:
    """Create mode: those whose expression is translated; the others are said."""
    expressions = generated_expressions(table.sql)
    made = []
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        if not column.generated:
            continue
        if source.is_left_behind(name):
            source.say("F32", "carries", f"{name}: generated, and left behind by choice", table, column.name)
            continue
        expression = expressions.get(column.name, "")
        try:
            made.append(_generated(source, table, column, expression, columns))
        except (Unknown, CannotCarry) as e:
            source.say(
                "F32",
                "choice",
                f"{name} is generated as {' '.join(expression.split())}, which is not translated ({e}); "
                "left behind, SQLite goes on making it",
                table,
                column.name,
                settle=leave_behind_lines(name),
            )
    return tuple(made)


def refuse_generated(source: Source, table: SqliteTable, generated: tuple[GeneratedPlan, ...]) -> None:
    """PostgreSQL 18 refuses UPDATE and DELETE where whole rows identify rows and a column of them is not
    published, as generated columns are not (documentation: CREATE PUBLICATION).
    """
    for column in generated:
        name = f"{table.name}.{column.column.sqlite}"
        source.say(
            "F32",
            "choice",
            f"{name} is generated, and whole rows have to identify rows of {table.name}, which PostgreSQL "
            "does not do with a generated column; left behind, SQLite goes on making it",
            table,
            column.column.sqlite,
            settle=leave_behind_lines(name),
        )


def _generated(
    source: Source, table: SqliteTable, column: SqliteColumn, expression: str, columns: Columns
) -> GeneratedPlan:
    names = of_table(columns.values(), collations(source, table), table=table.name)
    tree = parsed(expression)
    generated = {c.name.lower() for c in table.columns if c.generated}
    for name in sorted(c.name for c in tree.find_all(exp.Column) if c.name.lower() in generated):
        raise Unknown(f"{name} is generated too, and PostgreSQL generates from stored columns alone")
    term, plan = stored(Translation(names).term(tree), column.declared_type)
    return GeneratedPlan(
        replace(
            plan,
            sqlite=column.name,
            postgres=column_name(source, table, column.name),
            not_null=column.not_null,
            identity=False,
            default_sql=None,
            why=f"generated as {' '.join(expression.split())}",
        ),
        term,
    )


def met_generated(column: SqliteColumn, other: PostgresColumn) -> GeneratedPlan | None:
    """Existing mode: how what both sides generate is compared; None where it is not, for its type.

    Its values are in no census: the plain types have the one codec that their values can have.
    """
    base = other.type_name.partition("(")[0]
    codec, options = _PLAIN.get(base, ("", {}))
    if not codec:
        return None
    plan = ColumnPlan(
        column.name,
        other.name,
        other.type_name,
        codec,
        dict(options),
        affinity(column.declared_type),
        why="both sides generate it",
    )
    return GeneratedPlan(plan)
