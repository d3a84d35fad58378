"""Names in PostgreSQL: what they may be, and which are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from turnback.core.mapping.source import Source
from turnback.core.schema import SqliteTable
from turnback.core.toml_lines import column_lines, toml_key, toml_string

MAX_NAME_BYTES = 63  # NAMEDATALEN - 1 (PostgreSQL documentation: Identifiers and Key Words)
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


class Relations:
    """Tables and indexes of one PostgreSQL schema: they share one namespace."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def take_table(self, source: Source, table: SqliteTable) -> None:
        """The table's name is taken; that it cannot have it is said."""
        name = source.postgres_name(table)
        lines = f"[tables.{toml_key(table.name)}]\npostgres = {toml_string(shortened(name))}"
        if problem := _problem(name):
            source.say("F17", "choice", f"table {table.name}: the name {problem}", table, settle=lines)
        elif name in self._names:
            source.say(
                "F17", "choice", f"table {table.name}: another table is named {name} too", table, settle=lines
            )
        self._names.add(name)

    def take(self, wanted: str) -> str:
        """The name that a relation gets which wants this one."""
        name = free_name(wanted, self._names)
        self._names.add(name)
        return name


def column_name(source: Source, table: SqliteTable, column: str) -> str:
    """The name that the column has in PostgreSQL; that it cannot have it is said."""
    name = source.choice(table).column(column).postgres or column
    problem = "is that of a system column of PostgreSQL" if name in SYSTEM_COLUMNS else _problem(name)
    if problem:
        source.say(
            "F17",
            "choice",
            f"{table.name}.{column}: the name {problem}",
            table,
            column,
            settle=column_lines(table.name, column, f"postgres = {toml_string(shortened(name + '_'))}"),
        )
    return name


def free_name(wanted: str, taken: Collection[str], separator: str = "_") -> str:
    """The name, or one near to it that ends in a number, of at most 63 bytes and not taken."""
    name, number = shortened(wanted), 1
    while name in taken:
        number += 1
        name = shortened(f"{wanted}{separator}{number}")
    return name


def shortened(name: str) -> str:
    """At most 63 bytes; a longer name keeps its start and gets a mark of the whole."""
    raw = name.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: MAX_NAME_BYTES - 9].decode(errors="ignore") + "_" + mark


def _problem(name: str) -> str:
    if not name:
        return "is empty, which PostgreSQL does not take"
    if "\0" in name:
        return "has a NUL character"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"has {len(name.encode())} bytes, more than PostgreSQL's {MAX_NAME_BYTES}"
    return ""
