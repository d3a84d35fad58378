"""Foreign keys of the rows that capture changed, and of the children of changed parents.

PRAGMA foreign_key_check reads whole tables; between stop and serving only the change may cost
(REPLICATION: The gate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from turnback.core.codecs import codec_for
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteValue
from turnback.core.schema import SqliteForeignKey, SqliteSchema
from turnback.core.sqltext import identifier, identifiers


def foreign_key_violations(
    connection: apsw.Connection,
    schema: SqliteSchema,
    plan: Plan,
    touched: Mapping[str, Sequence[PostgresRow]],
) -> list[str]:
    """Sentences, at most one per foreign key. `touched` has keys in plan.key order, by SQLite table name."""
    found: list[str] = []
    for name, keys in touched.items():
        table = plan.table(name)
        if table.key:
            _fill(connection, name, table, keys)
    try:
        for child in schema.tables:
            for fk in child.foreign_keys:
                found += _orphans(connection, child.name, fk, plan, touched)
    finally:
        for name in touched:
            connection.execute(f"DROP TABLE IF EXISTS temp.{identifier('touched ' + name)}")
    return found


def _fill(connection: apsw.Connection, name: str, table: TablePlan, keys: Sequence[PostgresRow]) -> None:
    by_name = {c.sqlite: c for c in table.columns}
    codecs = [codec_for(by_name[k]) for k in table.key]
    temp = f"temp.{identifier('touched ' + name)}"
    connection.execute(f"CREATE TEMP TABLE {identifier('touched ' + name)} ({identifiers(table.key)})")
    marks = ", ".join("?" * len(table.key))

    def rows() -> list[tuple[SqliteValue, ...]]:
        return [
            tuple(None if t is None else c.decode(t) for c, t in zip(codecs, key, strict=True))
            for key in keys
        ]

    connection.executemany(f"INSERT INTO {temp} VALUES ({marks})", rows())


def _orphans(
    connection: apsw.Connection,
    child: str,
    fk: SqliteForeignKey,
    plan: Plan,
    touched: Mapping[str, Sequence[PostgresRow]],
) -> list[str]:
    refers = " AND ".join(
        f"c.{identifier(a)} = p.{identifier(b)}" for a, b in zip(fk.columns, fk.parent_columns, strict=True)
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
    if parent is not None:
        key = plan.table(parent).key
        if key and set(fk.parent_columns) == set(key):
            same = " AND ".join(
                f"c.{identifier(a)} = t.{identifier(b)}"
                for a, b in zip(fk.columns, fk.parent_columns, strict=True)
            )
            questions.append(
                f"SELECT count(*) FROM temp.{identifier('touched ' + parent)} t "
                f"JOIN {identifier(child)} c ON {same} WHERE {orphan}"
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
