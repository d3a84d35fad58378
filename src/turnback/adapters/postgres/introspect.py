"""One schema of a PostgreSQL database, read from the catalogue.

The session's search_path is empty (connect.PINNED), so that format_type() and pg_get_constraintdef()
qualify every name outside pg_catalog.
"""

from __future__ import annotations

from typing import Any, Literal

from turnback.adapters.postgres.connect import Connection, translated
from turnback.core.findings import MAX_KEYS
from turnback.core.mapping.ledgers import ledger
from turnback.core.schema import (
    MAX_COUNTED,
    PostgresColumn,
    PostgresConstraint,
    PostgresIndex,
    PostgresSchema,
    PostgresSequence,
    PostgresTable,
)
from turnback.core.sqltext import identifier, identifiers, qualified
from turnback.errors import ServerError

TypeKind = Literal["base", "enum", "domain", "array", "composite", "range", "other"]
Kind = Literal["table", "partitioned", "partition", "foreign"]
Persistence = Literal["permanent", "unlogged", "temporary"]
ConstraintKind = Literal["primary_key", "unique", "foreign_key", "check", "exclusion"]

_TYPE_KIND: dict[str, TypeKind] = {
    "b": "base",
    "e": "enum",
    "d": "domain",
    "c": "composite",
    "r": "range",
    "m": "range",
}
_KIND: dict[str, Kind] = {"r": "table", "p": "partitioned", "f": "foreign"}
_PERSISTENCE: dict[str, Persistence] = {"p": "permanent", "u": "unlogged", "t": "temporary"}
_CONSTRAINT: dict[str, ConstraintKind] = {
    "p": "primary_key",
    "u": "unique",
    "f": "foreign_key",
    "c": "check",
    "x": "exclusion",
}
_IDENTITY: dict[str, Literal["", "always", "by_default"]] = {"": "", "a": "always", "d": "by_default"}
_ACTION = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

_TABLES = b"""
SELECT c.oid, c.relname, c.relkind::text, c.relispartition, c.relpersistence::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'f')
ORDER BY c.relname
"""

_COLUMNS = b"""
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), t.typtype::text,
       t.typcategory = 'A', a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text,
       a.attgenerated <> '',
       CASE WHEN t.typtype = 'd' THEN
         (WITH RECURSIVE below(type, modifier, kind, depth) AS (
            SELECT t.oid, a.atttypmod, t.typtype, 0
            UNION ALL
            SELECT b.oid, d.typtypmod, b.typtype, below.depth + 1
            FROM below JOIN pg_type d ON d.oid = below.type JOIN pg_type b ON b.oid = d.typbasetype
            WHERE below.kind = 'd')
          SELECT format_type(type, modifier) FROM below ORDER BY depth DESC LIMIT 1)
       ELSE '' END
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_LABELS = b"""
SELECT format_type(t.oid, NULL), array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid GROUP BY t.oid
"""

# Not-null constraints (contype 'n', from PostgreSQL 18 on) are the column's own not_null.
_CONSTRAINTS = b"""
SELECT k.conrelid, k.conname, k.contype::text, pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred,
       k.convalidated,
       coalesce((SELECT array_agg(a.attname::text ORDER BY u.place)
                 FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number), '{}'),
       coalesce(p.relname, ''), k.confupdtype::text, k.confdeltype::text,
       coalesce((SELECT array_agg(a.attname::text ORDER BY u.place)
                 FROM unnest(k.confkey) WITH ORDINALITY AS u(number, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number), '{}')
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class p ON p.oid = k.confrelid
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'f') AND k.contype IN ('p', 'u', 'f', 'c', 'x')
ORDER BY k.conrelid, k.conname
"""

_INDEXES = b"""
SELECT i.indrelid, x.relname, i.indisunique, i.indpred IS NOT NULL, i.indimmediate,
       pg_get_indexdef(i.indexrelid), coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       (SELECT array_agg(coalesce(a.attname::text, '') ORDER BY u.place)
        FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS u(number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
        WHERE u.place <= i.indnkeyatts)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class x ON x.oid = i.indexrelid
WHERE n.nspname = %s AND i.indisvalid
ORDER BY i.indrelid, x.relname
"""

_TRIGGERS = b"""
SELECT g.tgrelid, g.tgname
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND NOT g.tgisinternal AND g.tgname NOT LIKE 'turnback%%'
ORDER BY g.tgrelid, g.tgname
"""

_SEQUENCES = b"""
SELECT c.relname, t.relname, a.attname, s.seqincrement, s.seqmax,
       (SELECT coalesce(array_agg(ARRAY[ut.relname::text, ua.attname::text] ORDER BY 1), '{}')
        FROM pg_depend u
        JOIN pg_attrdef f ON f.oid = u.objid
        JOIN pg_class ut ON ut.oid = f.adrelid AND ut.relnamespace = n.oid
        JOIN pg_attribute ua ON ua.attrelid = f.adrelid AND ua.attnum = f.adnum
        WHERE u.classid = 'pg_attrdef'::regclass AND u.refclassid = 'pg_class'::regclass
              AND u.refobjid = c.oid)
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
LEFT JOIN pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE n.nspname = %s
ORDER BY c.relname
"""


def read_schema(connection: Connection, schema: str) -> PostgresSchema:
    """Tables, with partitions and foreign tables told by their kind, and sequences.

    Raises ServerError: no such schema, or no right to look whether a table has rows.
    """
    with translated(connection.info.dsn):
        if not _rows(connection, b"SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
            raise ServerError(
                f"PostgreSQL has no schema {schema}", hint="check [postgres] schema, or create that schema"
            )
        enums: list[Any] = connection.execute(_LABELS).fetchall()
        labels: dict[str, tuple[str, ...]] = {name: tuple(values) for name, values in enums}
        columns: dict[int, list[PostgresColumn]] = {}
        for oid, name, type_name, kind, array, not_null, default, identity, generated, base in _rows(
            connection, _COLUMNS, schema
        ):
            type_kind = "array" if array else _TYPE_KIND.get(kind, "other")
            columns.setdefault(oid, []).append(
                PostgresColumn(
                    name=name,
                    type_name=type_name,
                    type_kind=type_kind,
                    not_null=not_null,
                    default_sql=None if generated else default,
                    identity=_IDENTITY[identity],
                    generated=generated,
                    labels=labels.get(base or type_name, ()) if type_kind in ("enum", "domain") else (),
                    base_type=base,
                )
            )
        constraints: dict[int, list[PostgresConstraint]] = {}
        for oid, name, kind, definition, deferrable, deferred, validated, own, *reference in _rows(
            connection, _CONSTRAINTS, schema
        ):
            parent, on_update, on_delete, parent_columns = reference
            constraints.setdefault(oid, []).append(
                PostgresConstraint(
                    name=name,
                    kind=_CONSTRAINT[kind],
                    columns=tuple(own),
                    definition=definition,
                    deferrable=deferrable,
                    deferred=deferred,
                    validated=validated,
                    parent=parent,
                    parent_columns=tuple(parent_columns),
                    on_update=_ACTION.get(on_update, ""),
                    on_delete=_ACTION.get(on_delete, ""),
                )
            )
        indexes: dict[int, list[PostgresIndex]] = {}
        for oid, name, unique, partial, immediate, definition, nulls_not_distinct, keys in _rows(
            connection, _INDEXES, schema
        ):
            indexes.setdefault(oid, []).append(
                PostgresIndex(name, tuple(keys), unique, partial, immediate, definition, nulls_not_distinct)
            )
        triggers: dict[int, list[str]] = {}
        for oid, name in _rows(connection, _TRIGGERS, schema):
            triggers.setdefault(oid, []).append(name)
        found = _rows(connection, _TABLES, schema)
        names = [name for _, name, *_ in found]
        tables = []
        for oid, name, kind, partition, persistence in found:
            own = tuple(columns.get(oid, ()))
            held = tuple(constraints.get(oid, ()))
            key = next((c.columns for c in held if c.kind == "primary_key"), ())
            row_count, row_keys = _rows_there(connection, schema, name, key) if kind != "f" else (0, ())
            is_ledger = ledger(name, [c.name for c in own], names)
            tables.append(
                PostgresTable(
                    name=name,
                    columns=own,
                    constraints=held,
                    indexes=tuple(indexes.get(oid, ())),
                    triggers=tuple(triggers.get(oid, ())),
                    kind="partition" if partition else _KIND[kind],
                    persistence=_PERSISTENCE[persistence],
                    has_rows=row_count > 0,
                    row_count=row_count,
                    row_keys=row_keys,
                    heads=None
                    if is_ledger is None or not set(is_ledger.heads) <= {c.name for c in own}
                    else _heads(connection, schema, name, is_ledger.heads),
                )
            )
        sequences = tuple(
            PostgresSequence(
                name,
                None if table is None else (table, column),
                increment,
                tuple((t, c) for t, c in drawn_by if (t, c) != (table, column)),
                last,
            )
            for name, table, column, increment, last, drawn_by in _rows(connection, _SEQUENCES, schema)
        )
        return PostgresSchema(schema, tuple(tables), sequences)


def _rows_there(
    connection: Connection, schema: str, table: str, key: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """How many rows, MAX_COUNTED at most, and the keys of the first ones."""
    name = qualified(schema, table)
    counted = connection.execute(
        f"SELECT count(*) FROM (SELECT FROM {name} LIMIT {MAX_COUNTED}) AS t".encode()
    ).fetchone()
    count = 0 if counted is None else int(str(counted[0]))
    if not count or not key:
        return count, ()
    shown = connection.execute(
        f"SELECT {', '.join(f'{identifier(k)}::text' for k in key)} FROM {name} "
        f"ORDER BY {identifiers(key)} LIMIT {MAX_KEYS}".encode()
    ).fetchall()
    return count, tuple(", ".join(f"{k}={v}" for k, v in zip(key, row, strict=True)) for row in shown)


def _heads(
    connection: Connection, schema: str, table: str, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], ...] | None:
    """The migrations that a ledger names; None where no column names one."""
    if not columns:
        return None
    texts = ", ".join(f"{identifier(c)}::text" for c in columns)
    rows = connection.execute(f"SELECT {texts} FROM {qualified(schema, table)}".encode()).fetchall()
    return tuple(sorted(tuple(str(v) for v in row) for row in rows if None not in row))


def _rows(connection: Connection, sql: bytes, schema: str) -> list[Any]:
    return connection.execute(sql, (schema,)).fetchall()
