"""What meets what (existing mode): which table and column of PostgreSQL belongs to which of SQLite."""

from __future__ import annotations

from dataclasses import dataclass, field

from turnback.core.mapping.generated import met_generated
from turnback.core.mapping.source import Source
from turnback.core.plan import ConstantPlan, Excluded, GeneratedPlan, TablePlan
from turnback.core.schema import (
    PostgresColumn,
    PostgresSchema,
    PostgresTable,
    SqliteColumn,
    SqliteTable,
    affinity,
)
from turnback.core.toml_lines import column_lines, leave_behind_lines, leave_table_out, toml_key

Met = dict[str, PostgresTable]  # by SQLite table
Pairs = dict[str, PostgresColumn]  # by SQLite column


def met_tables(source: Source, tables: list[SqliteTable], postgres: PostgresSchema) -> Met:
    """The tables of both sides that belong together; those that PostgreSQL lacks are said."""
    met: Met = {}
    for table in tables:
        wanted = source.postgres_name(table)
        name = _meeting(wanted, [t.name for t in postgres.tables])
        if name is None:
            source.say(
                "F36",
                "choice",
                f"{table.name}: PostgreSQL has no table {postgres.name}.{wanted}",
                table,
                settle=f"{leave_table_out(table.name)}\nor the name of the table that it becomes:\n"
                f'[tables.{toml_key(table.name)}]\npostgres = "..."',
            )
        elif any(t.name == name for t in met.values()):
            source.say("F17", "choice", f"{table.name}: another table already becomes {name}", table)
        else:
            met[table.name] = postgres.table(name)
    return met


@dataclass(slots=True)
class Meeting:
    """How the columns of one table meet. `complete`: nothing of it stands in the way of the table."""

    pairs: Pairs = field(default_factory=dict)
    sqlite_constants: list[ConstantPlan] = field(default_factory=list)
    postgres_constants: list[ConstantPlan] = field(default_factory=list)
    generated: list[GeneratedPlan] = field(default_factory=list)
    complete: bool = True


def met_columns(source: Source, table: SqliteTable, target: PostgresTable) -> Meeting:
    """Stored columns of both sides that belong together; the others are said."""
    choice = source.choice(table)
    names = [c.name for c in target.columns]
    meeting = Meeting()
    for column in table.columns:
        own = choice.column(column.name)
        name = _meeting(own.postgres or column.name, names)
        other = None if name is None else next(c for c in target.columns if c.name == name)
        if column.generated:
            _generated(source, table, column, other, meeting)
        elif other is None:
            _only_on_sqlite(source, table, column, target, meeting)
        elif other.generated:
            meeting.complete = False
            source.say(
                "F32",
                "refused",
                f"{table.name}.{column.name} holds values, and PostgreSQL generates {other.name}",
                table,
                column.name,
                settle=leave_table_out(table.name),
            )
        else:
            meeting.pairs[column.name] = other
            if own.constant is not None:
                source.say(
                    "choice",
                    "choice",
                    f"{table.name}.{column.name} has a constant, and PostgreSQL has that column",
                    table,
                    column.name,
                    settle=f"take `constant` out of {_columns_key(table, column.name)}",
                )
    _only_on_postgres(source, table, target, meeting)
    return meeting


def _only_on_sqlite(
    source: Source, table: SqliteTable, column: SqliteColumn, target: PostgresTable, meeting: Meeting
) -> None:
    """The column stays in the SQLite file; rows made in PostgreSQL need a value for it there."""
    name = f"{table.name}.{column.name}"
    constant = source.choice(table).column(column.name).constant
    fills_itself = column.default_sql is not None or not column.not_null
    if _in_key(table, column.name):
        meeting.complete = False
        source.say(
            "F36",
            "refused",
            f"{name} belongs to a key, and PostgreSQL's table {target.name} has no such column",
            table,
            column.name,
            settle="add it to the PostgreSQL schema, or say its name there:\n"
            + column_lines(table.name, column.name, 'postgres = "..."'),
        )
    elif constant is not None and (problem := _unfit(table, column, constant)):
        meeting.complete = False
        source.say(
            "F36",
            "choice",
            f"{name}: its constant in turnback.toml {problem}, and SQLite would not store it as it is",
            table,
            column.name,
            settle=f"correct `constant` in {_columns_key(table, column.name)}",
        )
    elif constant is not None:
        value = int(constant) if isinstance(constant, bool) else constant
        meeting.sqlite_constants.append(ConstantPlan(column.name, value))
        _stays(source, table, column.name, f"{value!r}, the constant of turnback.toml")
    elif source.is_left_behind(name) and fills_itself:
        _stays(source, table, column.name, "its default" if column.default_sql is not None else "NULL")
    else:
        meeting.complete = False
        sample = {"INTEGER": "0", "REAL": "0.0", "NUMERIC": "0"}.get(affinity(column.declared_type), '""')
        filled = f"\nor with its default or NULL:\n{leave_behind_lines(name)}" if fills_itself else ""
        source.say(
            "F36",
            "choice",
            f"{name}: PostgreSQL's table {target.name} has no such column",
            table,
            column.name,
            settle="add it to the PostgreSQL schema, or say its name there:\n"
            + column_lines(table.name, column.name, 'postgres = "..."')
            + "\nor leave it in the SQLite file alone: rows made in PostgreSQL come back with a constant:\n"
            + column_lines(table.name, column.name, f"constant = {sample}")
            + filled,
        )


# What a STRICT table stores in a column of a type (SQLite documentation: STRICT Tables).
_STRICT: dict[str, tuple[type, ...]] = {
    "INT": (int,),
    "INTEGER": (int,),
    "REAL": (int, float),
    "TEXT": (str, int, float),
    "BLOB": (),
    "ANY": (str, int, float),
}


def _unfit(table: SqliteTable, column: SqliteColumn, constant: str | int | float | bool) -> str:
    """Why SQLite would not store the constant; "" where it would."""
    if isinstance(constant, int) and not -(2**63) <= constant < 2**63:
        return "is outside 64 bits"
    if table.strict and not isinstance(constant, _STRICT.get(column.declared_type.upper(), ())):
        return f"is no {column.declared_type}, which a STRICT table asks for"
    return ""


def _stays(source: Source, table: SqliteTable, column: str, filled: str) -> None:
    source.say(
        "F36",
        "carries",
        f"{table.name}.{column} stays in the SQLite file, its values as they are; "
        f"rows made in PostgreSQL come back with {filled}",
        table,
        column,
    )


def _in_key(table: SqliteTable, column: str) -> bool:
    """One value for many rows cannot be in what is unique."""
    return column in table.primary_key or any(
        i.unique and any(k.name in (column, None) for k in i.columns) for i in table.indexes
    )


def _generated(
    source: Source,
    table: SqliteTable,
    column: SqliteColumn,
    other: PostgresColumn | None,
    meeting: Meeting,
) -> None:
    name = f"{table.name}.{column.name}"
    if other is None:
        source.say(
            "F32", "carries", f"{name} is generated on SQLite only, and not carried", table, column.name
        )
    elif other.generated and source.is_left_behind(name):
        source.say("F32", "carries", f"{name}: generated, and left behind by choice", table, column.name)
    elif other.generated:
        plan = met_generated(column, other)
        if plan is None:
            what = f"both sides generate it; not compared: {other.type_name}"
        else:
            meeting.generated.append(plan)
            what = "both sides generate it; compared after loading"
        source.say("F32", "carries", f"{name}: {what}", table, column.name)
    else:
        source.say(
            "F32",
            "refused",
            f"{name} is generated, and PostgreSQL's column of that name holds values",
            table,
            column.name,
            settle=f"make it a generated column in PostgreSQL too, or leave the table out:\n"
            f"{leave_table_out(table.name)}",
        )


def only_on_postgres(plan: TablePlan, target: PostgresTable) -> list[Excluded]:
    """The columns that PostgreSQL alone has: capture sees them, and passes them over (HAZARDS R10: any other
    column that the plan lacks is drift).
    """
    carried = {c.postgres for c in plan.columns}
    return [
        Excluded(f"{target.name}.{c.name}", "postgres", "PostgreSQL alone has the column")
        for c in target.columns
        if c.name not in carried and not c.generated
    ]


def _only_on_postgres(source: Source, table: SqliteTable, target: PostgresTable, meeting: Meeting) -> None:
    constants = source.choice(table).constants
    taken = {c.name for c in meeting.pairs.values()}
    known = {c.name for c in table.columns}
    for name in constants:
        column = next((c for c in target.columns if c.name == name), None)
        if column is None or column.generated or name in taken:
            why = "has no such column" if column is None else "generates it" if column.generated else ""
            source.say(
                "choice",
                "choice",
                f"{table.name}: a constant for {name}, "
                + (f"and PostgreSQL's table {target.name} {why}" if why else "which SQLite has too"),
                table,
                name,
                settle=f"take {name} out of [tables.{toml_key(table.name)}.constants]",
            )
    for column in target.columns:
        if column.name in taken or column.generated:
            continue
        if column.name in constants:
            meeting.postgres_constants.append(ConstantPlan(column.name, _text(constants[column.name])))
            source.say(
                "F37",
                "carries",
                f"{table.name}: PostgreSQL's column {column.name} gets the constant of turnback.toml in the "
                "rows that are loaded; what is written to it does not come back to SQLite",
                table,
                column.name,
            )
            continue
        if column.name in known:
            continue
        fills_itself = column.default_sql is not None or column.identity
        if column.not_null and not fills_itself:
            source.say(
                "F37",
                "choice",
                f"{table.name}: PostgreSQL's column {column.name} is NOT NULL without a default, "
                "and SQLite has no such column",
                table,
                column.name,
                settle="give it a default in PostgreSQL, say what the rows that are loaded get there:\n"
                f"[tables.{toml_key(table.name)}.constants]\n{toml_key(column.name)} = ...\n"
                "or which SQLite column it is:\n"
                f'[tables.{toml_key(table.name)}.columns.COLUMN]\npostgres = "{column.name}"',
            )
        else:
            fill = "its default" if fills_itself else "NULL"
            source.say(
                "F37",
                "carries",
                f"{table.name}: PostgreSQL's column {column.name} gets {fill}; "
                "what is written to it does not come back to SQLite",
                table,
                column.name,
            )


def _text(value: str | int | float | bool) -> str:
    """What PostgreSQL's types read. Whether that column's type does, the server is asked."""
    if isinstance(value, bool):
        return "t" if value else "f"
    return value if isinstance(value, str) else repr(value)


def _columns_key(table: SqliteTable, column: str) -> str:
    return f"[tables.{toml_key(table.name)}.columns.{toml_key(column)}]"


def _meeting(wanted: str, names: list[str]) -> str | None:
    """The exact name, else the only one that differs in case alone."""
    if wanted in names:
        return wanted
    near = [n for n in names if n.lower() == wanted.lower()]
    return near[0] if len(near) == 1 else None
