"""Foreign keys of the rows that capture changed, and of the children of changed parents.

PRAGMA foreign_key_check reads whole tables; between stop and serving only the change may cost
(REPLICATION: The gate).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import apsw

from turnback.adapters.sqlite.raw_text import CarriedColumns
from turnback.core.codecs import codec_for
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteValue
from turnback.core.schema import SqliteForeignKey, SqliteSchema, SqliteTable
from turnback.core.sqltext import identifier, identifiers


def foreign_key_violations(
    connection: apsw.Connection,
    schema: SqliteSchema,
    plan: Plan,
    touched: Mapping[str, Sequence[PostgresRow]],
    own_rows_only: Collection[str] = (),
) -> list[str]:
    """Sentences, at most one per foreign key. `touched` has keys in plan.key order, by SQLite table name.

    `own_rows_only`: foreign keys of which the children of touched parents are not looked for.
    """
    found: list[str] = []
    for name, keys in touched.items():
        table = plan.table(name)
        if table.key:
            _fill(connection, name, table, keys)
    try:
        for child in schema.tables:
            for fk in child.foreign_keys:
                if not binds(plan, child.name, fk):
                    continue
                children_too = reference_name(child.name, fk) not in own_rows_only
                found += _orphans(connection, child.name, fk, plan, touched, children_too)
    finally:
        for name in touched:
            connection.execute(f"DROP TABLE IF EXISTS temp.{identifier('touched ' + name)}")
    return found


def large_unindexed_references(
    connection: apsw.Connection,
    schema: SqliteSchema,
    plan: Plan,
    touched: Mapping[str, Sequence[PostgresRow]],
    limit: int,
) -> list[str]:
    """The foreign keys to touched parents that no index leads along, in tables of more than `limit` rows."""
    keys = {name.lower(): set(plan.table(name).key) for name in touched}
    return [
        reference_name(child.name, fk)
        for child in schema.tables
        for fk in child.foreign_keys
        if fk.parent.lower() in keys
        and not (_indexed(child, fk) and keys[fk.parent.lower()] == set(fk.parent_columns))
        and _larger(connection, child.name, limit)
    ]


def binds(plan: Plan, child: str, fk: SqliteForeignKey) -> bool:
    """False for a foreign key that PostgreSQL does not have: left behind by choice because rows break it, or
    not in the schema that was met. What breaks it is no fault of the copy (HAZARDS F28).
    """
    tables = {t.sqlite.lower(): t for t in plan.tables}
    table, parent = tables.get(child.lower()), tables.get(fk.parent.lower())
    if table is None or parent is None:
        return True
    own = {c.sqlite.lower(): c.postgres for c in table.columns}
    other = {c.sqlite.lower(): c.postgres for c in parent.columns}
    pairs = {
        (own.get(a.lower()), other.get(b.lower())) for a, b in zip(fk.columns, fk.parent_columns, strict=True)
    }
    return any(
        k.parent == parent.postgres and pairs == set(zip(k.columns, k.parent_columns, strict=True))
        for k in table.foreign_keys
    )


def reference_name(child: str, fk: SqliteForeignKey) -> str:
    """How a foreign key is named here: SQLite's need not have names of their own."""
    return f"{child} ({', '.join(fk.columns)})"


def _indexed(child: SqliteTable, fk: SqliteForeignKey) -> bool:
    """Whether an index starts with one of the columns, in a collation that a comparison for equality uses."""
    collations = {c.name: c.collation for c in child.columns}
    if child.rowid_alias in fk.columns:
        return True
    return any(
        first.name in fk.columns and not index.partial and first.collation == collations[first.name]
        for index in child.indexes
        for first in index.columns[:1]
        if first.name is not None
    )


def _larger(connection: apsw.Connection, table: str, limit: int) -> bool:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {identifier(table)} LIMIT ?)"
    row = connection.execute(sql, (limit + 1,)).fetchone()
    assert row is not None
    return int(str(row[0])) > limit


def _fill(connection: apsw.Connection, name: str, table: TablePlan, keys: Sequence[PostgresRow]) -> None:
    by_name = {c.sqlite: c for c in table.columns}
    codecs = [codec_for(by_name[k]) for k in table.key]
    temp = f"temp.{identifier('touched ' + name)}"
    connection.execute(f"CREATE TEMP TABLE {identifier('touched ' + name)} ({identifiers(table.key)})")
    columns, positions = CarriedColumns(connection, table), table.key_positions()
    marks = ", ".join(columns.marks[p] for p in positions)

    def rows() -> list[tuple[SqliteValue, ...]]:
        return [
            tuple(
                None if t is None else columns.bound_at(p, c.decode(t))
                for p, c, t in zip(positions, codecs, key, strict=True)
            )
            for key in keys
        ]

    connection.executemany(f"INSERT INTO {temp} VALUES ({marks})", rows())


def _orphans(
    connection: apsw.Connection,
    child: str,
    fk: SqliteForeignKey,
    plan: Plan,
    touched: Mapping[str, Sequence[PostgresRow]],
    children_too: bool,
) -> list[str]:
    # The parent's column first: a foreign key is compared in the parent's collation, which its index has.
    refers = " AND ".join(
        f"p.{identifier(b)} = c.{identifier(a)}" for a, b in zip(fk.columns, fk.parent_columns, strict=True)
    )
    given = " AND ".join(f"c.{identifier(a)} IS NOT NULL" for a in fk.columns)
    orphan = f"{given} AND NOT EXISTS (SELECT 1 FROM {identifier(fk.parent)} p WHERE {refers})"
    questions: list[str] = []
    if child in touched:
        key = plan.table(child).key
        if key:
            same = " AND ".join(f"c.{identifier(k)} IS t.{identifier(k)}" for k in key)
            questions.append(
                f"SELECT count(*) FROM temp.{identifier('touched ' + child)} t "
                f"CROSS JOIN {identifier(child)} c ON {same} WHERE {orphan}"
            )
        else:
            questions.append(f"SELECT count(*) FROM {identifier(child)} c WHERE {orphan}")
    parent = next((n for n in touched if n.lower() == fk.parent.lower()), None)
    if parent is not None and children_too:
        key = plan.table(parent).key
        if key and set(fk.parent_columns) == set(key):
            same = " AND ".join(
                f"c.{identifier(a)} = t.{identifier(b)}"
                for a, b in zip(fk.columns, fk.parent_columns, strict=True)
            )
            stands = " AND ".join(f"p.{identifier(b)} = t.{identifier(b)}" for b in fk.parent_columns)
            # Only of parents that are gone: one that stands may have any number of children.
            questions.append(
                f"SELECT count(*) FROM temp.{identifier('touched ' + parent)} t "
                f"CROSS JOIN {identifier(child)} c ON {same} "
                f"WHERE NOT EXISTS (SELECT 1 FROM {identifier(fk.parent)} p WHERE {stands}) AND {orphan}"
            )
        else:  # refers to another unique key of the parent: its former value is not known here
            questions.append(f"SELECT count(*) FROM {identifier(child)} c WHERE {orphan}")
    for question in questions:
        row = connection.execute(question).fetchone()
        assert row is not None
        if row[0]:
            return [
                f"{row[0]} rows of {child} ({', '.join(fk.columns)}) refer to no row of "
                f"{fk.parent} ({', '.join(fk.parent_columns)})"
            ]
    return []
