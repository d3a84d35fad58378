"""Odd files, names, schemas and values: each is carried exactly, or is a clear finding before anything is written."""

from __future__ import annotations

import os
import re
from contextlib import closing

import apsw
import pytest

from trips import findings, same, trip  # noqa: F401 (a fixture)
from turnback.core.findings import blocking
from turnback.errors import SourceError

ODD = """we"ird 'n%s{}\n name"""
COLUMN = """co"l'%s %(x)s {0}\n"""
KEYED = "CREATE TABLE t (id INTEGER PRIMARY KEY, {});"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def there_and_back(moved) -> None:
    """Every value comes back from PostgreSQL; nothing is different."""
    before = moved.image(rowids=False)
    moved.there()
    moved.write_every_row_anew()
    moved.back()
    same(before, moved.image(rowids=False))


CARRIED = {
    "names with quotes, percent signs, braces and line breaks": (
        f"CREATE TABLE {quoted(ODD)} ({quoted(COLUMN)} TEXT DEFAULT 'a''b%s' CHECK ({quoted(COLUMN)} <> '%s'), \"a.b\" INTEGER PRIMARY KEY AUTOINCREMENT);"
        f"CREATE INDEX \"i%s\"\"x\" ON {quoted(ODD)} (\"a.b\", {quoted(COLUMN)}); INSERT INTO {quoted(ODD)} VALUES ('a', 1)"
    ),
    "names of 63 bytes": f'CREATE TABLE {"t" * 63} (id INTEGER PRIMARY KEY, {"c" * 63} TEXT, "{"é" * 31}" TEXT); INSERT INTO {"t" * 63} VALUES (1, 1, 2)',
    "reserved words": 'CREATE TABLE "user" (id INTEGER PRIMARY KEY, "order" TEXT, "end" TEXT); CREATE TABLE "group" ("select" INTEGER PRIMARY KEY, "all" INTEGER REFERENCES "user"); INSERT INTO "user" VALUES (1, 2, 3); INSERT INTO "group" VALUES (1, 1)',
    "names that differ in case alone outside ASCII": 'CREATE TABLE t (id INTEGER PRIMARY KEY, "Ä" TEXT, "ä" TEXT); INSERT INTO t VALUES (1, 2, 3)',
    "names that PostgreSQL would give to keys and sequences": (
        "CREATE TABLE foo (id INTEGER PRIMARY KEY, b TEXT UNIQUE); CREATE TABLE foo_id_seq (id INTEGER PRIMARY KEY);"
        "CREATE TABLE bar (id INTEGER PRIMARY KEY, b TEXT UNIQUE); CREATE INDEX foo_pkey ON bar (b); CREATE INDEX bar_pkey ON foo (b);"
        "CREATE INDEX bar_b_key ON foo (b); CREATE INDEX bar_id_seq ON foo (b); INSERT INTO foo VALUES (1, 2); INSERT INTO bar VALUES (3, 4)"
    ),
    "a column named oid": KEYED.format("oid TEXT") + "INSERT INTO t VALUES (1, 2)",
    "WITHOUT ROWID by two texts": "CREATE TABLE t (a TEXT, b TEXT, c INT, PRIMARY KEY (b, a)) WITHOUT ROWID; INSERT INTO t VALUES ('x', 'y', 1), ('', 'y', 2), ('X', 'Y', 3), (char(9), '\\N', 4)",
    "STRICT ANY of one class": "CREATE TABLE t (id INTEGER PRIMARY KEY, a ANY) STRICT; INSERT INTO t VALUES (1, '007'), (2, '1e3')",
    "rows that refer to their own table": KEYED.format("p INTEGER REFERENCES t (id)") + "INSERT INTO t VALUES (1, NULL), (2, 3), (3, 1), (4, 4)",
    "half of a reference is NULL": "CREATE TABLE t (x INT, y INT, px INT, py INT, PRIMARY KEY (x, y), FOREIGN KEY (px, py) REFERENCES t (x, y)); INSERT INTO t VALUES (1, 1, NULL, 5), (2, 1, 1, 1)",
    "tables that refer to each other": "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b); CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER NOT NULL REFERENCES a); INSERT INTO a VALUES (1, 1), (2, NULL); INSERT INTO b VALUES (1, 1), (2, 2)",
    "a partial unique index over a boolean": KEYED.format("u TEXT, active BOOLEAN") + "CREATE UNIQUE INDEX one ON t (u) WHERE active; INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 0), (3, 'a', NULL)",
    "days and times that are none": KEYED.format("a DATE, b TIMESTAMP, c TIME, d DATETIME") + "INSERT INTO t VALUES (1, '0000-01-01', '2024-01-01 24:00:00', '23:59:60', 'infinity'), (2, '2023-02-29', '2024-01-01 23:59:60', '24:00:00', 'now')",
    "numbers at the ends": KEYED.format("a NUMERIC, b REAL, c TEXT") + f"INSERT INTO t VALUES (1, 1e308, -9e999, '{'9' * 400}'), (2, 9223372036854775807, 5e-324, ''), (3, 1.5, 2, ' ')",
    "JSON of 400 digits, of 2 MB, of 900 levels": KEYED.format("a JSON") + f"INSERT INTO t VALUES (1, '[{'1' * 400}]'), (2, '\"' || hex(zeroblob(1000000)) || '\"'), (3, '{'[' * 900 + ']' * 900}')",
    "a view of a missing table, left behind": KEYED.format("a TEXT") + "CREATE VIEW v AS SELECT * FROM nowhere; INSERT INTO t VALUES (1, 'a')",
    "triggers that raise, left behind": KEYED.format("a TEXT") + "INSERT INTO t VALUES (1, 'a'); CREATE TRIGGER v BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'no'); END; CREATE TRIGGER w BEFORE INSERT ON t BEGIN SELECT RAISE(IGNORE); END",
}


def test_carried_exactly(trip) -> None:  # noqa: F811
    """All in one file, each with a table t of its own."""
    made = ";".join(re.sub(r"\bt\b", f"t{number}", sql) for number, sql in enumerate(CARRIED.values()))
    there_and_back(trip(made, settle='[sqlite]\nleave_behind = ["v", "w"]'))


def test_utf_16_is_carried(trip) -> None:  # noqa: F811
    there_and_back(trip("PRAGMA encoding = 'UTF-16be'; CREATE TABLE t (c TEXT PRIMARY KEY, d TEXT) WITHOUT ROWID; INSERT INTO t VALUES ('x😀', 'aé日')"))


def columns(count: int, declared: str = "INT") -> str:
    return ", ".join(f"c{i} {declared}" for i in range(count))


REFUSED = {
    "an empty file": ("PRAGMA user_version = 5", "tables", (), "no table"),
    "hidden row ids": ("CREATE TABLE t (rowid TEXT PRIMARY KEY, oid TEXT, _rowid_ TEXT)", "rowid", (), "hide the row id"),
    "2,000 columns": (f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns(1999)})", "F42", (), "2000 columns"),
    "a key of 33 columns": (f"CREATE TABLE t ({columns(33)}, PRIMARY KEY ({columns(33, '')}))", "F30", (), "33 columns"),
    "an index of 33 columns": (KEYED.format(columns(33)) + f"CREATE INDEX i ON t ({columns(33, '')})", "F30", (), "33 columns"),
    "a key that is too long together": ("CREATE TABLE t (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO t VALUES ('x', hex(zeroblob(1290))), (hex(zeroblob(700)), hex(zeroblob(701)))", "F30", None, "a, b over 2600 bytes"),
    "NULL in a key": ("CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES ('x'), (NULL), (NULL)", "F26", ("rowid=2", "rowid=3"), "2 values are NULL"),
    "several classes in STRICT ANY": ("CREATE TABLE t (id INTEGER PRIMARY KEY, a ANY) STRICT; INSERT INTO t VALUES (1, 'a'), (2, 5), (3, '5')", "F12", ("id=3",), "looks like a number"),
    "a name that is empty": ('CREATE TABLE t (id INTEGER PRIMARY KEY, "" TEXT)', "F17", (), "is empty"),
    "a system column's name": (KEYED.format("ctid TEXT"), "F17", (), "system column"),
    "a name of 64 bytes": (KEYED.format("c" * 64), "F17", (), "64 bytes"),
    "generated over generated": (KEYED.format("a INT, b INT AS (a + 1), c INT AS (b * 2) STORED"), "F32", (), "b is generated too"),
    "a view of a missing table": (KEYED.format("a") + "CREATE VIEW v AS SELECT * FROM nowhere", "F41", (), "v"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_finding(trip, case: str) -> None:  # noqa: F811
    made, code, keys, says = REFUSED[case]
    moved = trip(made, look=False)
    found = moved.assess()
    (finding,) = blocking(found.findings)
    assert (finding.code, found.plan) == (code, None)
    assert says in finding.message and finding.settle and "\n" not in finding.message
    if keys is None:
        assert finding.count == 1 and len(finding.keys) == 1
    else:
        assert finding.keys == keys
    moved.demand_untouched()


def test_a_key_whose_columns_are_long_in_different_rows_is_carried(trip) -> None:  # noqa: F811
    there_and_back(
        trip("CREATE TABLE t (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO t VALUES ('x', hex(zeroblob(1200))), (hex(zeroblob(1200)), 'y')")
    )


def test_a_sequence_counter_that_is_no_number_counts_as_none(trip) -> None:  # noqa: F811
    moved = trip("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (7); UPDATE sqlite_sequence SET seq = 'abc'")
    moved.there()
    assert moved.in_postgres("INSERT INTO t DEFAULT VALUES RETURNING id") == [(8,)]
    moved.back()


def test_a_type_that_this_server_lacks_is_a_finding(trip) -> None:  # noqa: F811
    """XML in a PostgreSQL that was built without it: carried where it was built with it."""
    moved = trip(
        KEYED.format("a TEXT") + "INSERT INTO t VALUES (1, '<a/>')",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, a xml)", settle='[tables.t.columns.a]\ncodec = "verbatim"',
    )
    found = moved.assess()
    if found.plan is None:
        (finding,) = findings(found, "R5", "t", "a")
        assert finding.keys == ("id=1",) and "xml" in finding.message


def test_a_corrupt_page_is_said_with_the_file(trip) -> None:  # noqa: F811
    moved = trip("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO t SELECT i, hex(zeroblob(500)) FROM n")
    page = moved.before["header"]["page_size"]
    with moved.path.open("r+b") as file:
        file.seek(3 * page)
        file.write(b"\xff" * page)
    with pytest.raises(SourceError, match=r"app\.db") as raised:
        moved.assess()
    assert raised.value.hint


def test_a_locked_file_is_said(trip) -> None:  # noqa: F811
    moved = trip(KEYED.format("a TEXT"))
    with closing(apsw.Connection(os.fspath(moved.path))) as application:
        application.execute("PRAGMA locking_mode = exclusive")
        application.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 2); COMMIT")
        application.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match=r"app\.db") as raised:
            moved.assess()
        assert raised.value.hint
