"""The schema of a SQLite file, read with PRAGMAs; nothing is parsed that SQLite itself can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import apsw

from turnback.adapters.sqlite.database import pragma, quoted, translated
from turnback.core.schema import (
    FileSettings,
    SqliteColumn,
    SqliteForeignKey,
    SqliteIndex,
    SqliteIndexColumn,
    SqliteObject,
    SqliteSchema,
    SqliteTable,
)
from turnback.core.sqlite_sql import deferred_references

_OWN = ("sqlite_", "_turnback")
_GENERATED: dict[int, Literal["", "virtual", "stored"]] = {2: "virtual", 3: "stored"}
_ORIGIN: dict[str, Literal["create", "unique", "primary_key"]] = {
    "c": "create",
    "u": "unique",
    "pk": "primary_key",
}


def read_schema(connection: apsw.Connection, path: Path) -> SqliteSchema:
    """Tables, views, triggers and the file's settings. SQLite's own and turnback's tables are left out.

    Raises SourceError.
    """
    with translated(path):
        listed = {row[1]: row for row in connection.execute("PRAGMA main.table_list")}
        statements = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_schema").fetchall()
        names = [str(name) for kind, name, _, _ in statements if kind == "table" and not _is_own(str(name))]
        sql = {str(name): str(text or "") for kind, name, _, text in statements if kind == "table"}
        tables = tuple(_table(connection, listed[name], sql[name], names) for name in names)
        objects = tuple(
            SqliteObject("view" if kind == "view" else "trigger", str(name), str(table), str(text))
            for kind, name, table, text in statements
            if kind in ("view", "trigger") and not _is_own(str(name))
        )
        return SqliteSchema(tables, objects, _settings(connection))


def _is_own(name: str) -> bool:
    return name.lower().startswith(_OWN)


def _table(
    connection: apsw.Connection, listed: tuple[object, ...], sql: str, names: list[str]
) -> SqliteTable:
    _, name, kind, _, without_rowid, strict = listed
    assert isinstance(name, str)
    if kind in ("virtual", "shadow"):
        # A virtual table's module need not be loaded, and its columns are never carried.
        return SqliteTable(
            name=name,
            columns=(),
            primary_key=(),
            rowid_alias=None,
            without_rowid=bool(without_rowid),
            strict=False,
            autoincrement=False,
            indexes=(),
            foreign_keys=(),
            kind="virtual" if kind == "virtual" else "shadow",
            sql=sql,
        )
    columns = _columns(connection, name)
    indexes = _indexes(connection, name)
    keyed = sorted((c for c in columns if c.primary_key_position), key=lambda c: c.primary_key_position)
    rowid_alias = None
    # `INTEGER PRIMARY KEY DESC` is no alias of the rowid; it shows by having an index of its own.
    if (
        len(keyed) == 1
        and keyed[0].declared_type.upper() == "INTEGER"
        and not without_rowid
        and not any(i.origin == "primary_key" for i in indexes)
    ):
        rowid_alias = keyed[0].name
    autoincrement = rowid_alias is not None and bool(connection.column_metadata("main", name, rowid_alias)[4])
    return SqliteTable(
        name=name,
        columns=columns,
        primary_key=tuple(c.name for c in keyed),
        rowid_alias=rowid_alias,
        without_rowid=bool(without_rowid),
        strict=bool(strict),
        autoincrement=autoincrement,
        indexes=indexes,
        foreign_keys=_foreign_keys(connection, name, columns, sql, names),
        kind="table",
        sql=sql,
    )


def _columns(connection: apsw.Connection, table: str) -> tuple[SqliteColumn, ...]:
    columns = []
    for _, name, declared, not_null, default, position, hidden in connection.execute(
        f"PRAGMA main.table_xinfo({quoted(table)})"
    ):
        assert isinstance(name, str) and isinstance(hidden, int) and isinstance(position, int)
        columns.append(
            SqliteColumn(
                name=name,
                declared_type=str(declared or ""),
                not_null=bool(not_null),
                default_sql=None if default is None else str(default),
                primary_key_position=position,
                generated=_GENERATED.get(hidden, ""),
                collation=str(connection.column_metadata("main", table, name)[1]).upper(),
            )
        )
    return tuple(columns)


def _indexes(connection: apsw.Connection, table: str) -> tuple[SqliteIndex, ...]:
    indexes = []
    listed = connection.execute(f"PRAGMA main.index_list({quoted(table)})").fetchall()
    for _, name, unique, origin, partial in sorted(listed, key=lambda row: -int(str(row[0]))):
        columns = tuple(
            SqliteIndexColumn(
                None if column is None else str(column), bool(descending), str(collation).upper()
            )
            for _, _, column, descending, collation, is_key in connection.execute(
                f"PRAGMA main.index_xinfo({quoted(str(name))})"
            )
            if is_key
        )
        text = connection.execute(
            "SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND name = ?", (name,)
        )
        row = text.fetchone()
        sql = None if row is None or row[0] is None else str(row[0])
        indexes.append(
            SqliteIndex(str(name), bool(unique), bool(partial), _ORIGIN[str(origin)], columns, sql)
        )
    return tuple(indexes)


def _foreign_keys(
    connection: apsw.Connection, table: str, columns: tuple[SqliteColumn, ...], sql: str, names: list[str]
) -> tuple[SqliteForeignKey, ...]:
    """In the order of the table's SQL. PRAGMA foreign_key_list counts from the last one backwards."""
    keys: dict[int, list[tuple[object, ...]]] = {}
    for row in connection.execute(f"PRAGMA main.foreign_key_list({quoted(table)})"):
        keys.setdefault(int(str(row[0])), []).append(row)
    deferred = deferred_references(sql)
    found = []
    for number in sorted(keys, reverse=True):
        rows = sorted(keys[number], key=lambda row: int(str(row[1])))
        parent = _exact(str(rows[0][2]), names)
        parent_names = connection.execute(f"PRAGMA main.table_xinfo({quoted(parent)})").fetchall()
        if rows[0][4] is None:  # REFERENCES parent, without columns: its primary key (HAZARDS F27)
            keyed = sorted((c for c in parent_names if c[5]), key=lambda c: int(str(c[5])))
            parent_columns = tuple(str(c[1]) for c in keyed)
        else:
            parent_columns = tuple(_exact(str(row[4]), [str(c[1]) for c in parent_names]) for row in rows)
        position = len(keys) - 1 - number
        found.append(
            SqliteForeignKey(
                columns=tuple(_exact(str(row[3]), [c.name for c in columns]) for row in rows),
                parent=parent,
                parent_columns=parent_columns,
                on_update=str(rows[0][5]),
                on_delete=str(rows[0][6]),
                deferred=position < len(deferred) and deferred[position],
            )
        )
    return tuple(found)


def _exact(name: str, names: list[str]) -> str:
    """The name as its owner spells it: SQLite compares names without case (ASCII only)."""
    if name in names:
        return name
    folded = name.encode().lower()  # of bytes: ASCII letters only
    return next((n for n in names if n.encode().lower() == folded), name)


def _settings(connection: apsw.Connection) -> FileSettings:
    return FileSettings(
        page_size=int(pragma(connection, "page_size")),
        encoding=str(pragma(connection, "encoding")),
        auto_vacuum=int(pragma(connection, "auto_vacuum")),
        journal_mode=str(pragma(connection, "journal_mode")),
        user_version=int(pragma(connection, "user_version")),
        application_id=int(pragma(connection, "application_id")),
    )
