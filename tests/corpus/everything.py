"""all.db: whatever is carried without a question, in one file."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import apsw

ROWS = 60
BEGIN = datetime(2024, 3, 31, 1, 59, 58, tzinfo=UTC)

INTEGERS = (0, 1, -1, 2**15, -(2**31), 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))
REALS = (0.5, -0.1, 0.1234567890123, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e23, 3.0, float("inf"), float("-inf"))
TEXTS = ("", "x", " ", "tab\tnew\nline\r", "\\N", "\\.", "NULL", "'quoted' \"twice\"", "grüße", "日本語", "🎉🏳️‍🌈", "e\u0301", "\ufeffbom", "\u202eright", "a" * 5000, "007", "1.10", "true")
BLOBS = (b"", b"\x00", b"\x00\xff[", b"\\x00", bytes(range(256)), b"\xde\xad" * 3000, b"text")
JSONS = ('{"a": 1}', "[]", "[1, 2, null]", '"text"', "null", "true", '{"a": {"b": [1.5, "x"]}}')
ODD_JSONS = ('{"a":1,"a":2}', '{"a": 1.10}', '{"b":1,"a":2}', '{ "a" : 1 }', '"\\u00e9"', "1e2")

SCHEMA = """
PRAGMA user_version = 42;
PRAGMA application_id = 271828;
CREATE TABLE classes (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC);
CREATE TABLE odd_types (id INTEGER PRIMARY KEY, a, b "TEXT[]", c "byte[]", d int(5), e UNSIGNED BIG INT, f DOUBLE PRECISION,
  g NATIVE CHARACTER(70), h WHATEVER, i VARCHAR(3), j TINYINT, k CLOB, l FLOAT, m DECIMAL(10, 2));
CREATE TABLE mixed (id INTEGER PRIMARY KEY, numbers NUMERIC, anything INTEGER, reals REAL);
CREATE TABLE moments (id INTEGER PRIMARY KEY, day DATE, naive DATETIME, micro DATETIME, iso TIMESTAMP, s DATETIME, ms DATETIME, us DATETIME,
  plain_ms INTEGER, wrong DATETIME, julian REAL);
CREATE TABLE documents (id INTEGER PRIMARY KEY, a JSON, b JSON, c TEXT);
CREATE TABLE ids (id UUID PRIMARY KEY, other UUID, raw GUID, code TEXT NOT NULL UNIQUE);
CREATE TABLE flags (id INTEGER PRIMARY KEY, a BOOLEAN NOT NULL DEFAULT false, b BOOL DEFAULT 1, c INTEGER NOT NULL DEFAULT true);
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, a INT NOT NULL, b REAL, c TEXT, d BLOB) STRICT;
CREATE TABLE keyed (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE strict_keyed (k TEXT PRIMARY KEY, v INT) STRICT, WITHOUT ROWID;
CREATE TABLE blob_key (k BLOB PRIMARY KEY NOT NULL, v TEXT);
CREATE TABLE real_key (k REAL PRIMARY KEY NOT NULL, v TEXT);
CREATE TABLE unique_only (u TEXT NOT NULL UNIQUE, v INTEGER);
CREATE TABLE auto_filled (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
CREATE TABLE auto_empty (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
CREATE TABLE auto_emptied (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
CREATE TABLE empty (id INTEGER PRIMARY KEY, v TEXT);
CREATE TABLE "order" ("Id" INTEGER PRIMARY KEY, "references" TEXT, "a b" TEXT, "it's" TEXT, "große" TEXT, "q""q" TEXT, "select" INTEGER);
CREATE TABLE "Ünïcødé tæble" ("from" TEXT PRIMARY KEY NOT NULL, "50%" INTEGER, "a.b" REAL);
CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT NOT NULL, parent INTEGER REFERENCES region);
CREATE TABLE person (id INTEGER PRIMARY KEY, region INTEGER NOT NULL REFERENCES region (id) ON DELETE CASCADE ON UPDATE CASCADE,
  boss INTEGER REFERENCES person (id) ON DELETE SET NULL, account INTEGER REFERENCES account DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE account (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person ON DELETE RESTRICT, code TEXT, part INTEGER,
  FOREIGN KEY (code, part) REFERENCES keyed (a, b));
CREATE TABLE defaults (id INTEGER PRIMARY KEY, i INTEGER DEFAULT -5, r REAL DEFAULT 1.5e3, t TEXT DEFAULT 'it''s', q TEXT DEFAULT "x y",
  b BLOB DEFAULT x'00ff', n TEXT DEFAULT NULL, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, day DATE DEFAULT CURRENT_DATE,
  epoch INTEGER DEFAULT (unixepoch()), text_epoch INTEGER DEFAULT (strftime('%s', 'now')));
CREATE TABLE checked (id INTEGER PRIMARY KEY, a INTEGER CHECK (a BETWEEN 1 AND 99), b TEXT CHECK (b IN ('x', 'y')),
  c INTEGER NOT NULL, CHECK (a IS NULL OR c >= a));
CREATE TABLE indexed (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, gone TEXT, email TEXT COLLATE NOCASE UNIQUE);
CREATE INDEX plain ON indexed (a, b);
CREATE INDEX falling ON indexed (a DESC, c);
CREATE UNIQUE INDEX live ON indexed (b) WHERE gone IS NULL;
CREATE INDEX partial ON indexed (c) WHERE a > 3 AND b IS NOT NULL;
CREATE TABLE summed (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, s INTEGER GENERATED ALWAYS AS (a + b) STORED, v INTEGER AS (a * 2) VIRTUAL);
CREATE VIEW tall AS SELECT id, a, b FROM indexed WHERE a > 3;
"""

_GAPS = range(0, 10_000, 97)


def everything(file: apsw.Connection) -> None:
    for _ in file.execute(SCHEMA):
        pass
    chance = random.Random(1)
    with file:
        for table, rows in _rows(chance):
            _fill(file, table, rows)
    for _ in file.execute("DELETE FROM auto_emptied"):
        pass


def _fill(file: apsw.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    name = '"' + table.replace('"', '""') + '"'
    columns = [
        '"' + r[1].replace('"', '""') + '"' for r in file.execute(f"PRAGMA table_xinfo({name})") if r[6] == 0
    ]
    file.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)


def _rows(chance: random.Random) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    def some(values: Sequence[object]) -> object:
        return chance.choice((*values, None))

    def each(values: Sequence[object], i: int) -> object:
        """Every one of them, and NULL."""
        return None if i % (len(values) + 1) == len(values) else values[i % (len(values) + 1)]

    at = [BEGIN + timedelta(seconds=97 * i, microseconds=1 + 7919 * i % 999_983) for i in range(ROWS)]
    seconds = [int(t.timestamp()) for t in at]
    yield "classes", [
        (i, each(INTEGERS, i), each(REALS, i), each(TEXTS, i), each(BLOBS, i), each((1, 2.5, -7, 1e3), i)) for i in range(ROWS)
    ]
    yield "odd_types", [
        (i, some(TEXTS), some(TEXTS), some(BLOBS), some(INTEGERS), some(INTEGERS), some(REALS), some(TEXTS), i, "longer than three",
         i % 256, some(TEXTS), some(REALS), round(i * 1.07, 2)) for i in range(ROWS)
    ]
    yield "mixed", [
        (i, each((1, 2.5, "abc", "x y"), i), each((7, "seven", 12.5), i), each((1.5, "none", 2.0), i)) for i in range(ROWS)
    ]
    yield "moments", [
        (i, f"{t:%Y-%m-%d}", f"{t:%Y-%m-%d %H:%M:%S}", f"{t:%Y-%m-%d %H:%M:%S.%f}", f"{t:%Y-%m-%dT%H:%M:%S}.{t.microsecond // 1000:03}Z",
         s, s * 1000 + i, s * 1_000_000 + i, s * 1000 + i, each((f"{t:%Y-%m-%d %H:%M:%S}", "2024-02-30 00:00:00", ""), i), 2460400.5 + i / 7)
        for i, (t, s) in enumerate(zip(at, seconds, strict=True))
    ]
    yield "documents", [(i, each(JSONS, i), each(ODD_JSONS, i), each(JSONS, i)) for i in range(ROWS)]
    uuids = [uuid.UUID(int=chance.getrandbits(128), version=4) for _ in range(3 * ROWS)]
    yield "ids", [
        (str(uuids[i]), str(uuids[ROWS + i]).upper(), uuids[2 * ROWS + i].bytes, f"code {i}") for i in range(ROWS)
    ]
    yield "flags", [(i, i % 2, each((1, 0), i), i % 2) for i in range(ROWS)]
    yield "strict_one", [(i, i, some(REALS), some(TEXTS), some(BLOBS)) for i in range(ROWS)]
    yield "keyed", [("abc"[i % 3], i, some(TEXTS)) for i in range(ROWS)]
    yield "strict_keyed", [(f"k{i}", some(INTEGERS)) for i in range(ROWS)]
    yield "blob_key", [(bytes([i, 0, 255 - i]), some(TEXTS)) for i in range(ROWS)]
    yield "real_key", [(i / 7, some(TEXTS)) for i in range(ROWS)]
    yield "unique_only", [(f"ü{i}", some(INTEGERS)) for i in range(ROWS)]
    yield "auto_filled", [(i, some(TEXTS)) for i in _GAPS]
    yield "auto_emptied", [(10, "gone")]
    yield "order", [(i, *(some(TEXTS) for _ in range(5)), i) for i in range(ROWS)]
    yield "Ünïcødé tæble", [(f"é{i}", i, i / 3) for i in range(ROWS)]
    yield "region", [(i, f"region {i}", i // 2 if i else None) for i in range(ROWS)]
    yield "person", [(i, i % 7, i - 1 if i else None, (i + 1) % ROWS) for i in range(ROWS)]
    yield "account", [(i, i, "abc"[i % 3], i) for i in range(ROWS)]
    yield "defaults", [
        (i, i, i / 7, some(TEXTS), some(TEXTS), some(BLOBS), None, "2024-02-03 04:05:06", "2024-02-03", s, s) for i, s in enumerate(seconds)
    ]
    yield "checked", [(i, each((1, 50, 99), i), each(("x", "y"), i), 100) for i in range(ROWS)]
    yield "indexed", [(i, i % 11, f"b{i // 2}", i / 7, None if i % 2 else "gone", f"Person{i}@Example.org") for i in range(ROWS)]
    yield "summed", [(i, each((1, 2, -3), i), i) for i in range(ROWS)]
