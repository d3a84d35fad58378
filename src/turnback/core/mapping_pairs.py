"""What meets what (existing mode): which table and column of PostgreSQL belongs to which of SQLite."""

from __future__ import annotations

from turnback.core.mapping_columns import column_lines, leave_table_out, toml_key
from turnback.core.mapping_source import Source
from turnback.core.schema import PostgresColumn, PostgresSchema, PostgresTable, SqliteColumn, SqliteTable

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


def met_columns(source: Source, table: SqliteTable, target: PostgresTable) -> Pairs:
    """Stored columns of both sides that belong together; the others are said."""
    choice = source.choice(table)
    names = [c.name for c in target.columns]
    pairs: Pairs = {}
    for column in table.columns:
        own = choice.column(column.name)
        name = _meeting(own.postgres or column.name, names)
        other = None if name is None else next(c for c in target.columns if c.name == name)
        if column.generated:
            _generated(source, table, column, other)
        elif other is None:
            source.say(
                "F36",
                "choice",
                f"{table.name}.{column.name}: PostgreSQL's table {target.name} has no such column",
                table,
                column.name,
                settle="add it to the PostgreSQL schema, or say its name there:\n"
                + column_lines(table.name, column.name, 'postgres = "..."'),
            )
        elif other.generated:
            source.say(
                "F32",
                "refused",
                f"{table.name}.{column.name} holds values, and PostgreSQL generates {other.name}",
                table,
                column.name,
                settle=leave_table_out(table.name),
            )
        else:
            pairs[column.name] = other
    _only_on_postgres(source, table, target, pairs)
    return pairs


def _generated(
    source: Source, table: SqliteTable, column: SqliteColumn, other: PostgresColumn | None
) -> None:
    name = f"{table.name}.{column.name}"
    if other is None or other.generated:
        where = "SQLite only" if other is None else "both sides"
        source.say("F32", "carries", f"{name} is generated on {where}, and not carried", table, column.name)
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


def _only_on_postgres(source: Source, table: SqliteTable, target: PostgresTable, pairs: Pairs) -> None:
    taken = {c.name for c in pairs.values()}
    known = {c.name for c in table.columns}
    for column in target.columns:
        if column.name in taken or column.generated or column.name in known:
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
                settle="give it a default in PostgreSQL, or say which SQLite column it is: "
                f'[tables.{toml_key(table.name)}.columns.COLUMN] postgres = "{column.name}"',
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


def _meeting(wanted: str, names: list[str]) -> str | None:
    """The exact name, else the only one that differs in case alone."""
    if wanted in names:
        return wanted
    near = [n for n in names if n.lower() == wanted.lower()]
    return near[0] if len(near) == 1 else None
