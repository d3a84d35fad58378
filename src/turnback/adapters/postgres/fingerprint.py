"""The catalogue's fingerprint: what the change stream does not tell (REPLICATION: DDL; HAZARDS R10).

ADD COLUMN ... DEFAULT, ALTER TYPE ... USING and new tables send nothing. So what the plan stands on is read
from the catalogue every few seconds and at the gate, and compared with what it was at cutover.

A new relfilenode alone does not say that values changed: TRUNCATE (which the stream does carry), VACUUM FULL
and CLUSTER give one too. ALTER TABLE ... TYPE ... USING, also to the same type, writes the column's row in
pg_attribute; those three do not. So a table counts as rewritten when both have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.adapters.postgres.connect import Connection
from turnback.adapters.postgres.fence import FENCE_TRIGGER

# One row per table, its parts as JSON. Statistics, sizes and comments are left out: they change without
# meaning. NOT NULL stands in the columns (PostgreSQL 18 also lists it as a constraint, 'n').
_TABLES = """
SELECT c.relname, jsonb_build_object(
  'kind', c.relkind::text,
  'persistence', c.relpersistence::text,
  'replica_identity', c.relreplident::text || coalesce(' ' || (
     SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      WHERE i.indrelid = c.oid AND i.indisreplident), ''),
  'relfilenode', coalesce(pg_relation_filenode(c.oid), 0)::bigint,
  'columns_written', (
     SELECT coalesce(string_agg(a.xmin::text, ' ' ORDER BY a.attnum), '') FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0),
  'partition_of', (
     SELECT i.inhparent::regclass::text FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid LIMIT 1),
  'columns', (
     SELECT coalesce(jsonb_object_agg(a.attname, jsonb_build_object(
              'position', a.attnum,
              'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
              'not_null', a.attnotnull,
              'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
              'identity', a.attidentity::text,
              'generated', a.attgenerated::text)), '{}')
       FROM pg_catalog.pg_attribute a
       LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'constraints', (
     SELECT coalesce(jsonb_object_agg(k.conname, pg_catalog.pg_get_constraintdef(k.oid)), '{}')
       FROM pg_catalog.pg_constraint k
      WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f', 'c', 'x')),
  'triggers', (
     SELECT coalesce(jsonb_object_agg(
              t.tgname, t.tgenabled::text || ' ' || pg_catalog.pg_get_triggerdef(t.oid)), '{}')
       FROM pg_catalog.pg_trigger t
      WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname <> %(fence)s))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'f')
 ORDER BY c.relname
"""

# to_jsonb takes whatever columns this version has: column lists and row filters came with PostgreSQL 15
_PUBLICATION = """
SELECT to_jsonb(p) - 'oid' - 'pubowner' FROM pg_catalog.pg_publication p WHERE p.pubname = %(publication)s
"""
_PUBLISHED = """
SELECT t.schemaname || '.' || t.tablename, to_jsonb(t) - 'pubname' - 'schemaname' - 'tablename'
  FROM pg_catalog.pg_publication_tables t WHERE t.pubname = %(publication)s ORDER BY 1
"""

_WORDS = {
    "columns": "column",
    "constraints": "constraint",
    "triggers": "trigger",
    "replica_identity": "replica identity",
    "partition_of": "parent",
}


def fingerprint(connection: Connection, schema: str, publication: str | None) -> dict[str, Any]:
    """What the way back stands on, as JSON values: {"tables": {name: {...}}, "publication": {...} | None}.

    A table has `columns` (by name: type, not_null, default, identity, generated), `constraints` and
    `triggers` (by name: definition), `replica_identity`, `kind`, `persistence`, `relfilenode`.
    turnback's own fence is not part of it. Raises psycopg.Error; the caller translates.
    """
    tables = connection.execute(_TABLES.encode(), {"schema": schema, "fence": FENCE_TRIGGER}).fetchall()
    found: dict[str, Any] = {"tables": {str(name): parts for name, parts in tables}, "publication": None}
    if publication is not None:
        row = connection.execute(_PUBLICATION, {"publication": publication}).fetchone()
        if row is not None:
            published = connection.execute(_PUBLISHED, {"publication": publication}).fetchall()
            found["publication"] = {
                "settings": row[0],
                "tables": {str(name): parts for name, parts in published},
            }
    return found


def drift(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One sentence for each difference, with the table's name; [] when nothing changed."""
    said: list[str] = []
    was, are = before["tables"], now["tables"]
    for name in sorted(was.keys() | are.keys()):
        if name not in are:
            said.append(f"table {name} was dropped or renamed")
        elif name not in was:
            said.append(f"table {name} is new")
        else:
            said += _table_drift(name, was[name], are[name])
    return said + _publication_drift(before["publication"], now["publication"])


def _table_drift(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    said: list[str] = []
    for part in ("columns", "constraints", "triggers"):
        word = _WORDS[part]
        for item in sorted(was[part].keys() | now[part].keys()):
            if item not in now[part]:
                said.append(f"table {name}: {word} {item} was dropped or renamed")
            elif item not in was[part]:
                said.append(f"table {name}: {word} {item} is new")
            elif was[part][item] != now[part][item]:
                said.append(f"table {name}: {word} {item} changed{_what(was[part][item], now[part][item])}")
    for part in ("kind", "persistence", "replica_identity", "partition_of"):
        if was[part] != now[part]:
            said.append(f"table {name}: {_WORDS.get(part, part)} changed: {was[part]} -> {now[part]}")
    rewritten = all(was[part] != now[part] for part in ("relfilenode", "columns_written"))
    if rewritten and not said:
        said.append(f"table {name} was rewritten")
    return said


def _publication_drift(was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    if was == now:
        return []
    if was is None or now is None:
        return ["the publication was dropped" if now is None else "the publication is new"]
    said = []
    for name in sorted(was["tables"].keys() | now["tables"].keys()):
        if name not in now["tables"]:
            said.append(f"table {name} was taken out of the publication")
        elif name not in was["tables"]:
            said.append(f"table {name} was added to the publication")
        elif (
            was["tables"][name] != now["tables"][name]
        ):  # its columns (which `columns` says too), its row filter
            said.append(f"table {name}: what the publication sends of it changed")
    if was["settings"] != now["settings"]:
        said.append(f"the publication changed{_what(was['settings'], now['settings'])}")
    return said


def _what(was: object, now: object) -> str:
    """The parts of a description that differ: ": type integer -> bigint"."""
    if not isinstance(was, dict) or not isinstance(now, dict):
        return f": {was} -> {now}"
    parts = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))
    return ": " + ", ".join(f"{k} {was.get(k)} -> {now.get(k)}" for k in parts)
