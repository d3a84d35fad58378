"""Keys: what is unique on both sides, and what identifies a row on the way back."""

from __future__ import annotations

from typing import NamedTuple

from turnback.core.mapping.columns import Columns
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, ReplicaIdentity
from turnback.core.schema import PostgresTable, SqliteIndex, SqliteTable
from turnback.core.toml_lines import toml_key


class RowIdentity(NamedTuple):
    """As TablePlan has it: `key` in SQLite names, the index by its name in PostgreSQL."""

    key: tuple[str, ...]
    replica_identity: ReplicaIdentity
    identity_index: str | None = None


WHOLE_ROW = RowIdentity((), "full")


def is_plain(index: SqliteIndex) -> bool:
    """Over columns only, compared byte by byte."""
    return all(k.name is not None and k.collation == "BINARY" for k in index.columns)


def is_key(index: SqliteIndex) -> bool:
    """Unique over all rows, as PostgreSQL compares."""
    return index.unique and not index.partial and is_plain(index)


def made_identity(source: Source, table: SqliteTable, unique: RowIdentity | None) -> RowIdentity:
    """Create mode: the primary key, else the given unique index, else whole rows by choice."""
    if table.primary_key:
        return RowIdentity(table.primary_key, "default")
    if unique is not None:
        return unique
    if not source.choice(table).full:
        _ask_for_whole_rows(source, table, "no primary key and no unique key of NOT NULL columns")
    return WHOLE_ROW


def met_identity(source: Source, table: SqliteTable, target: PostgresTable, columns: Columns) -> RowIdentity:
    """Existing mode. PostgreSQL uses a primary key that is not deferrable, or an index that is unique,
    immediate, not partial, and over NOT NULL columns (documentation: ALTER TABLE, REPLICA IDENTITY).
    """
    if source.choice(table).full:
        return WHOLE_ROW
    sqlite_names = {plan.postgres: name for name, plan in columns.items()}
    not_null = {c.name for c in target.columns if c.not_null}
    usable = [
        RowIdentity(c.columns, "default")
        for c in target.constraints
        if c.kind == "primary_key" and not c.deferrable
    ]
    usable += [
        RowIdentity(i.columns, "index", i.name)
        for i in target.indexes
        if i.unique and i.immediate and not i.partial and set(i.columns) <= not_null
    ]
    for names, replica, index in usable:
        if all(n in sqlite_names for n in names):
            key = tuple(sqlite_names[n] for n in names)
            if _is_unique(table, key):
                return RowIdentity(key, replica, index)
    _ask_for_whole_rows(
        source, table, "no usable key" if not usable else "no key that is unique on both sides"
    )
    return WHOLE_ROW


# Codecs that give equal values in PostgreSQL for equal values in SQLite alone. Of the others two values may
# be equal there: 1.1 and 1.10, 24:00:00 and 1 day.
_EXACT = frozenset(
    {"integer", "real", "number", "boolean", "text", "blob", "timestamp_text", "date_text", "epoch"}
    | {"uuid_text", "uuid_blob", "text_bytes", "time_text"}
)


def holds_apart(column: ColumnPlan) -> bool:
    """Are two values of the column equal in PostgreSQL only where SQLite has them equal byte by byte?"""
    if column.codec not in _EXACT or column.options.get("respell"):
        return False
    return (
        column.codec != "text" or column.pg_type == "text" or column.pg_type.startswith("character varying")
    )


def check_uniques(source: Source, table: SqliteTable, target: PostgresTable, columns: Columns) -> None:
    """Existing mode: what PostgreSQL holds unique and SQLite does not, the rows must already be.

    Partial indexes, expressions, NULLS NOT DISTINCT, types that hold more equal: the server is asked.
    """
    sqlite_names = {plan.postgres: name for name, plan in columns.items()}
    for index in target.indexes:
        if index.partial or index.nulls_not_distinct or not set(index.columns) <= set(sqlite_names):
            continue
        if not index.unique:
            continue
        names = tuple(sqlite_names[n] for n in index.columns)
        if folds := respelled_columns(names, columns):
            refuse_respelled(
                source,
                table,
                folds[0],
                f"{table.name}: {', '.join(folds)} belongs to the unique index {index.name}",
            )
        if _is_unique(table, names) or not all(holds_apart(columns[n]) for n in names):
            continue
        misfits = source.trial.duplicates(table, names)
        if misfits.count:
            source.say(
                "unique",
                "refused",
                f"{table.name}: {misfits.count} groups of rows have equal ({', '.join(names)}), "
                f"which PostgreSQL's {index.name} refuses",
                table,
                count=misfits.count,
                keys=misfits.keys,
                settle="make them differ, or drop the unique index in PostgreSQL",
            )


def respelled_columns(names: tuple[str, ...], columns: Columns) -> list[str]:
    return [n for n in names if columns[n].options.get("respell")]


def refuse_respelled(source: Source, table: SqliteTable, column: str, belongs: str) -> None:
    """Two spellings of one value are two keys in SQLite and one in PostgreSQL."""
    source.say(
        "F35",
        "refused",
        f"{belongs}; its values must have one spelling",
        table,
        column,
        settle="write all values in one spelling in SQLite, and take `respell` out",
    )


def _ask_for_whole_rows(source: Source, table: SqliteTable, why: str) -> None:
    source.say(
        "R8",
        "choice",
        f"{table.name} has {why}: on the way back whole rows have to identify rows",
        table,
        settle=f'[tables.{toml_key(table.name)}]\nreplica_identity = "full"',
    )


def _is_unique(table: SqliteTable, columns: tuple[str, ...]) -> bool:
    """Does SQLite itself hold these columns unique, compared byte by byte?"""
    wanted = set(columns)
    if table.rowid_alias is not None and table.rowid_alias in wanted:
        return True
    return any(is_key(i) and {k.name for k in i.columns} <= wanted for i in table.indexes)
