"""What a migration lost: a SQLite file against the PostgreSQL database that somebody made of it.

Lenient where it is honest: 1 is true, a number in a text column is the same number, an epoch and a timestamp
are the same instant (text without a zone is taken as UTC). No code of turnback is used.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import apsw
import psycopg

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRUE = {"1", "true", "t", "yes", "y", "on"}
FALSE = {"0", "false", "f", "no", "n", "off"}
INTEGERS = {"int2", "int4", "int8"}
MOMENTS = {"timestamp", "timestamptz", "date"}


@dataclass
class Losses:
    """Counts; `said` has up to three examples of values in words."""

    tables: int = 0
    rows: int = 0
    nulled: int = 0
    changed: int = 0
    columns: int = 0
    renamed: int = 0
    structure: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    @property
    def values(self) -> int:
        return self.nulled + self.changed

    def data_lost(self) -> bool:
        return bool(self.tables or self.rows or self.values or self.columns)


def losses(path: Path, dsn: str) -> Losses:
    found = Losses()
    with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
        with closing(psycopg.connect(dsn, autocommit=True)) as server:
            server.execute("SET TimeZone = 'UTC'")
            server.execute("SET DateStyle = 'ISO'")
            server.execute("SET extra_float_digits = 1")
            there = {r[0]: r[1] for r in server.execute(_TABLES)}
            for _, name, kind, *_ in file.execute("PRAGMA main.table_list").fetchall():
                if kind == "table" and not name.startswith("sqlite_"):
                    _table(file, server, name, there, found)
            for kind in ("view", "trigger"):
                ((here,),) = file.execute(
                    "SELECT count(*) FROM sqlite_schema WHERE type = ?", (kind,)
                ).fetchall()
                now = server.execute(_COUNTS[kind]).fetchone()
                assert now is not None
                found.structure[kind] += max(0, int(here) - int(now[0]))
    found.structure = +found.structure
    return found


_TABLES = """SELECT c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'turnback')"""
_COUNTS = {
    "view": "SELECT count(*) FROM pg_views WHERE schemaname = 'public'",
    "trigger": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
}


def _find(name: str, names: dict[str, Any]) -> str | None:
    """The name that it has there: itself, in small letters, cut to 63 bytes, or a name made for it."""
    short = name.encode()[:63].decode(errors="ignore")
    candidates = [name, name.lower(), short, short.lower(), re.sub(r"[^\w]", "_", name.lower())]
    found = next((c for c in candidates if c in names), None)
    alike = [n for n in names if len(name.encode()) > 63 and n[:40] == name[:40]]
    return found if found is not None else (alike[0] if len(alike) == 1 else None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(
    file: apsw.Connection, server: psycopg.Connection, name: str, there: dict[str, Any], found: Losses
) -> None:
    columns = [r for r in file.execute(f"PRAGMA table_xinfo({_quoted(name)})") if r[6] in (0, 2, 3)]
    ((rows,),) = file.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchall()
    target = _find(name, there)
    if target is None:
        found.tables += 1
        found.rows += int(rows)
        return
    found.renamed += target != name
    oid = there[target]
    types = {
        str(n): str(t)
        for n, t in server.execute(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
            " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
            [oid],
        )
    }
    pairs = []
    for column in columns:
        other = _find(column[1], types)
        if other is None:
            found.columns += 1
        else:
            found.renamed += other != column[1]
            pairs.append((column[1], other, types[other], bool(column[5])))
    _rows(file, server, name, (str(there[target]), target), pairs, found)
    _structure(file, server, name, oid, target, columns, found)


# ---- values ----------------------------------------------------------------------------------------


def _rows(
    file: apsw.Connection,
    server: psycopg.Connection,
    name: str,
    target: tuple[str, str],
    pairs: list[tuple[str, str, str, bool]],
    found: Losses,
) -> None:
    ours = ", ".join(
        f"CASE typeof({q}) WHEN 'text' THEN CAST({q} AS BLOB) ELSE {q} END, typeof({q})"
        for q in (_quoted(p[0]) for p in pairs)
    )
    theirs = ", ".join(f"{_quoted(p[1])}::text" for p in pairs)
    place = server.execute("SELECT %s::oid::regclass::text", [target[0]]).fetchone()
    assert place is not None
    encoding = str(file.pragma("encoding"))
    here = [
        [_value(row[i], row[i + 1], encoding) for i in range(0, len(row), 2)]
        for row in file.execute(f"SELECT {ours} FROM {_quoted(name)}")
    ]
    now = [list(r) for r in server.execute(f"SELECT {theirs} FROM {place[0]}".encode())]
    key = [i for i, p in enumerate(pairs) if p[3]]
    if not key:
        key = list(range(len(pairs)))
    kinds = [p[2] for p in pairs]
    by_key: dict[tuple[str, ...], list[list[Any]]] = {}
    for row in now:
        by_key.setdefault(tuple(_key_there(row[i], kinds[i]) for i in key), []).append(row)
    for row in here:
        twins = by_key.get(tuple(_key_here(row[i], kinds[i]) for i in key))
        if not twins:
            found.rows += 1
            continue
        # Several rows may have one key (NULLs): the one that says the same, if there is one.
        twin = next((t for t in twins if all(map(means, row, t, kinds))), twins[0])
        twins.remove(twin)
        for value, text, pair in zip(row, twin, pairs, strict=True):
            if value is not None and text is None:
                found.nulled += 1
            elif not means(value, text, pair[2]):
                found.changed += 1
            else:
                continue
            if len(found.said) < 3:
                found.said.append(
                    f"{name}.{pair[0]}: {str(value)[:40]!r} became {str(text)[:40]!r} ({pair[2]})"
                )


def _value(raw: Any, kind: str, encoding: str) -> Any:
    """Text as str, or as _NotText where its bytes are none."""
    if kind != "text":
        return raw
    try:
        return bytes(raw).decode(encoding)
    except UnicodeDecodeError:
        return _NotText(raw)


class _NotText(bytes):
    """Text whose bytes are none in the file's encoding."""


def _key_there(text: str | None, kind: str) -> str:
    if text is None:
        return "NULL"
    if kind in ("float4", "float8", "numeric"):
        return repr(float(text))
    return text


def _key_here(value: Any, kind: str) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            if kind == "uuid" and len(value) == 16:
                return str(uuid.UUID(bytes=value))
            return "\\x" + value.hex() if kind == "bytea" else value.decode(errors="replace")
        case str():
            if kind == "bytea":
                return "\\x" + value.encode().hex()
            return value.lower() if kind == "uuid" else value
    if kind == "bool":
        return "true" if value else "false"
    return repr(float(value)) if kind in ("float4", "float8", "numeric") else str(value)


def means(value: Any, text: str | None, kind: str) -> bool:
    """Whether PostgreSQL's text of that type says what SQLite's value says."""
    if value is None or text is None:
        return value is None and text is None
    try:
        return _means(value, text, kind)
    except (ValueError, InvalidOperation, OverflowError):
        return False


def _means(value: Any, text: str, kind: str) -> bool:
    if isinstance(value, bytes):
        if kind == "uuid":
            return uuid.UUID(text).bytes == value
        return (bytes.fromhex(text[2:]) if kind == "bytea" else text.encode()) == value
    if kind == "bytea":
        return isinstance(value, str) and bytes.fromhex(text[2:]) == value.encode()
    if kind == "bool":
        return str(value).lower() in (TRUE if text == "true" else FALSE)
    if kind in MOMENTS:
        return _same_moment(value, text, kind)
    if isinstance(value, str):
        if kind == "uuid":
            return uuid.UUID(text) == uuid.UUID(value)
        if kind in ("json", "jsonb"):
            return text == value or _json(text) == _json(value)
        return text == value
    if isinstance(value, int):
        return Decimal(text) == value
    return float(text) == value


def _json(text: str) -> Any:
    """With every key that is there twice, in any order; numbers by value."""
    return json.loads(
        text, object_pairs_hook=lambda p: sorted(p, key=repr), parse_float=Decimal, parse_int=Decimal
    )


def _same_moment(value: Any, text: str, kind: str) -> bool:
    there = _moment(text)
    if isinstance(value, str):
        if kind == "date" and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return date.fromisoformat(text) == date.fromisoformat(value)
        digits = re.search(r"\.(\d{7,})", value)
        return digits is None and there == _moment(value)
    return any(there == EPOCH + timedelta(microseconds=round(value * unit)) for unit in (1, 1_000, 1_000_000))


def _moment(text: str) -> datetime:
    if re.search(r"[+-]\d\d$", text) and ":" in text:
        text += ":00"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# ---- structure -------------------------------------------------------------------------------------


def _structure(
    file: apsw.Connection,
    server: psycopg.Connection,
    name: str,
    oid: int,
    target: str,
    columns: list[Any],
    found: Losses,
) -> None:
    """Fewer there than here is a loss, kind by kind."""
    q = _quoted(name)
    indexes = file.execute(f"PRAGMA index_list({q})").fetchall()  # seq, name, unique, origin, partial
    keys = {r[0]: (r[6], r[5]) for r in file.execute(f"PRAGMA foreign_key_list({q})")}
    ((sql,),) = file.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)
    ).fetchall()
    here = Counter(
        {
            "primary key": int(any(c[5] for c in columns)),
            "unique": sum(1 for i in indexes if i[2] and i[3] != "pk"),
            "index": sum(1 for i in indexes if not i[2]),
            "partial index": sum(1 for i in indexes if i[4]),
            "foreign key": len(keys),
            "check": len(re.findall(r"\bCHECK\s*\(", str(sql), re.I)),
            "default": sum(
                1 for c in columns if c[4] is not None and str(c[4]).upper() != "NULL" and c[6] == 0
            ),
            "not null": sum(1 for c in columns if c[3] and not c[5]),
            "generated column": sum(1 for c in columns if c[6]),
        }
    )
    row = server.execute(_STRUCTURE, {"oid": oid}).fetchone()
    assert row is not None
    there = Counter(dict(zip(here, row, strict=True)))
    found.structure += here - there
    actions = Counter(v for pair in keys.values() for v in pair if v != "NO ACTION")
    kept = server.execute(
        "SELECT confdeltype::text, confupdtype::text FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid = %s",
        [oid],
    ).fetchall()
    named = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
    lost = actions - Counter(named[a] for pair in kept for a in pair if a in named)
    if len(kept) >= len(keys):
        found.structure["foreign key action"] += lost.total()
    _next_id(file, server, name, target, columns, str(sql), found)


_STRUCTURE = """SELECT
 (SELECT count(*) FROM pg_constraint WHERE conrelid = %(oid)s AND contype = 'p'),
 (SELECT count(*) FROM pg_index WHERE indrelid = %(oid)s AND indisunique AND NOT indisprimary),
 (SELECT count(*) FROM pg_index WHERE indrelid = %(oid)s AND NOT indisunique),
 (SELECT count(*) FROM pg_index WHERE indrelid = %(oid)s AND indpred IS NOT NULL),
 (SELECT count(*) FROM pg_constraint WHERE conrelid = %(oid)s AND contype = 'f'),
 (SELECT count(*) FROM pg_constraint WHERE conrelid = %(oid)s AND contype = 'c'),
 (SELECT count(*) FROM pg_attribute
  WHERE attrelid = %(oid)s AND attnum > 0 AND atthasdef AND attgenerated = ''),
 (SELECT count(*) FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND attnotnull
   AND NOT EXISTS (SELECT FROM pg_constraint
                   WHERE conrelid = %(oid)s AND contype = 'p' AND attnum = ANY (conkey))),
 (SELECT count(*) FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND attgenerated <> '')"""


def _next_id(
    file: apsw.Connection,
    server: psycopg.Connection,
    name: str,
    target: str,
    columns: list[Any],
    sql: str,
    found: Losses,
) -> None:
    """AUTOINCREMENT: the next id is the one that SQLite would give."""
    if "AUTOINCREMENT" not in sql.upper():
        return
    (column,) = [c[1] for c in columns if c[5]]
    given = file.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (name,)).fetchall()[0][0] or 0
    highest = file.execute(f"SELECT max({_quoted(column)}) FROM {_quoted(name)}").fetchall()[0][0] or 0
    sequence = server.execute(
        "SELECT pg_get_serial_sequence(%s, %s)",
        [_quoted(target), column.lower() if target == name.lower() else column],
    ).fetchone()
    assert sequence is not None
    if sequence[0] is None:
        found.structure["next id"] += 1
        return
    upcoming = server.execute(f"SELECT last_value + is_called::int FROM {sequence[0]}".encode()).fetchone()
    assert upcoming is not None
    found.structure["next id"] += upcoming[0] != max(int(given), int(highest)) + 1
