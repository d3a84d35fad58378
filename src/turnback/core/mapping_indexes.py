"""The indexes and unique constraints that turnback makes (create mode), and which of them identifies rows."""

from __future__ import annotations

from typing import NamedTuple

from turnback.core.mapping_columns import Columns, leave_behind_lines, leave_table_out
from turnback.core.mapping_expressions import translated_condition
from turnback.core.mapping_keys import (
    RowIdentity,
    is_key,
    is_plain,
    made_identity,
    refuse_respelled,
    respelled_columns,
)
from turnback.core.mapping_names import Relations
from turnback.core.mapping_source import Source
from turnback.core.plan import IndexPlan
from turnback.core.schema import SqliteIndex, SqliteTable
from turnback.core.sqlite_sql import index_condition
from turnback.core.sqltext import identifier, qualified

MAX_INDEXED_BYTES = 2600  # a B-tree entry holds 2,704 bytes, the other columns and headers included


class Indexes(NamedTuple):
    uniques: tuple[tuple[str, ...], ...]  # PostgreSQL names
    indexes: tuple[IndexPlan, ...]
    identity: RowIdentity


def made_indexes(
    source: Source, table: SqliteTable, columns: Columns, relations: Relations, schema: str
) -> Indexes:
    """Plain UNIQUE stays a constraint, except the one that identifies rows: the replica identity names an
    index. What is not carried is said.
    """
    uniques: list[tuple[str, ...]] = []
    indexes: list[IndexPlan] = []
    identity: RowIdentity | None = None
    for index in table.indexes:
        if _is_left(source, table, index, columns):
            continue
        names = tuple(k.name for k in index.columns if k.name is not None)
        if index.unique:
            for name in respelled_columns(names, columns):
                refuse_respelled(
                    source, table, name, f"{table.name}.{name} belongs to the unique key {index.name}"
                )
        identifies = (
            not table.primary_key
            and identity is None
            and is_key(index)
            and all(columns[n].not_null for n in names)
        )
        if index.origin == "primary_key" and is_plain(index):
            continue
        if index.origin == "unique" and is_plain(index) and not identifies:
            uniques.append(tuple(columns[n].postgres for n in names))
            continue
        made = _index(source, table, index, columns, relations, schema)
        indexes.append(made)
        if identifies:
            identity = RowIdentity(names, "index", made.name)
    return Indexes(tuple(dict.fromkeys(uniques)), tuple(indexes), made_identity(source, table, identity))


def _is_left(source: Source, table: SqliteTable, index: SqliteIndex, columns: Columns) -> bool:
    """Left behind by choice, or not carried, which is said."""
    code = "F29" if index.partial else "F30"
    if source.is_left_behind(index.name):
        source.say(code, "carries", f"index {index.name} is left behind by choice", table)
        return True
    problem = _problem(source, table, index, columns)
    if not problem:
        return False
    must = index.origin == "primary_key"
    source.say(
        code,
        "refused" if must else "choice",
        f"{'primary key' if must else 'unique index' if index.unique else 'index'} {index.name} "
        f"of {table.name} {problem}",
        table,
        settle=leave_table_out(table.name) if must else leave_behind_lines(index.name),
    )
    return True


def _problem(source: Source, table: SqliteTable, index: SqliteIndex, columns: Columns) -> str:
    names = [k.name for k in index.columns if k.name is not None]
    if len(names) < len(index.columns):
        return "is over an expression"
    if any(n not in columns for n in names):
        return "has a column that is not carried"
    if odd := {k.collation for k in index.columns} - {"BINARY", "NOCASE"}:
        return f"compares by {', '.join(sorted(odd))}"
    if too_long := [n for n in names if source.facts(table, n).max_bytes > MAX_INDEXED_BYTES]:
        return (
            f"has values of {', '.join(too_long)} over {MAX_INDEXED_BYTES} bytes, "
            "more than PostgreSQL's B-tree takes"
        )
    if index.partial and translated_condition(table, index, columns) is None:
        return f"is partial, and its condition is not translated: {index_condition(index.sql or '')}"
    return ""


def _index(
    source: Source,
    table: SqliteTable,
    index: SqliteIndex,
    columns: Columns,
    relations: Relations,
    schema: str,
) -> IndexPlan:
    """A whole CREATE INDEX. NOCASE folds the 26 ASCII letters, which is what lower() does in the C
    collation, so a unique index over that means the same (HAZARDS F31).
    """
    terms = []
    for part in index.columns:
        assert part.name is not None
        term = identifier(columns[part.name].postgres)
        if part.collation == "NOCASE" and columns[part.name].codec == "text":
            term = f'lower({term} COLLATE "C")'
        terms.append(f"{term} DESC" if part.descending else term)
    wanted = index.name
    if index.origin != "create":
        names = [columns[k.name].postgres for k in index.columns if k.name]
        wanted = f"{source.postgres_name(table)}_{'_'.join(names)}_key"
    name = relations.take(wanted)
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {translated_condition(table, index, columns)}" if index.partial else ""
    target = qualified(schema, source.postgres_name(table))
    return IndexPlan(name, f"CREATE {unique}INDEX {identifier(name)} ON {target} ({', '.join(terms)}){where}")
