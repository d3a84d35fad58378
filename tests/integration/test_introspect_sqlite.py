"""What PRAGMAs tell, and what a census counts, on real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from assessing import make_file
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.introspect import read_schema
from turnback.core.profile import ColumnProfile
from turnback.core.schema import SqliteSchema
from turnback.errors import SourceError


def schema_of(tmp_path: Path, sql: str) -> SqliteSchema:
    path = make_file(tmp_path / "a.db", sql)
    with Census(path) as census:
        return read_schema(census.connection, path)


def test_rowid_alias_and_autoincrement(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        """CREATE TABLE plain (id INTEGER PRIMARY KEY, a);
           CREATE TABLE counted (id integer primary key autoincrement);
           CREATE TABLE descending (id INTEGER PRIMARY KEY DESC);
           CREATE TABLE short (id INT PRIMARY KEY);
           CREATE TABLE keyed (id INTEGER PRIMARY KEY) WITHOUT ROWID;
           CREATE TABLE _turnback_position (x);""",
    )
    assert [(t.name, t.rowid_alias, t.autoincrement, t.without_rowid) for t in schema.tables] == [
        ("plain", "id", False, False),
        ("counted", "id", True, False),
        ("descending", None, False, False),
        ("short", None, False, False),
        ("keyed", None, False, True),
    ]


def test_foreign_keys_are_resolved_in_the_order_of_the_sql(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        """CREATE TABLE Parent (A TEXT, b TEXT, PRIMARY KEY (b, A));
           CREATE TABLE child (
             x TEXT DEFAULT 'REFERENCES nothing DEFERRABLE INITIALLY DEFERRED', -- REFERENCES nothing
             y TEXT, z TEXT REFERENCES parent (a) NOT DEFERRABLE INITIALLY DEFERRED,
             FOREIGN KEY (X, Y) REFERENCES PARENT ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);""",
    )
    first, second = schema.table("child").foreign_keys
    assert (first.columns, first.parent, first.parent_columns, first.deferred) == (
        ("z",),
        "Parent",
        ("A",),
        False,
    )
    assert (second.columns, second.parent_columns, second.on_delete, second.deferred) == (
        ("x", "y"),
        ("b", "A"),
        "CASCADE",
        True,
    )


def test_indexes_collations_generated_columns_and_shadow_tables(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        """CREATE TABLE t (a TEXT COLLATE NOCASE UNIQUE, b TEXT, s AS (b || 'x') STORED, v AS (b) VIRTUAL,
                           CHECK (a <> b));
           CREATE UNIQUE INDEX i ON t (b DESC, lower(a)) WHERE b > 'CHECK (';
           CREATE VIRTUAL TABLE f USING fts5 (words);
           CREATE VIEW w AS SELECT 1;
           CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;""",
    )
    table = schema.table("t")
    assert [(c.name, c.generated, c.collation) for c in table.columns] == [
        ("a", "", "NOCASE"),
        ("b", "", "BINARY"),
        ("s", "stored", "BINARY"),
        ("v", "virtual", "BINARY"),
    ]
    auto, own = table.indexes
    assert (auto.origin, auto.columns[0].collation) == ("unique", "NOCASE")
    assert own.partial and own.columns[0].descending and own.columns[1].name is None
    assert {t.kind for t in schema.tables if t.name.startswith("f")} == {"virtual", "shadow"}
    assert [(o.kind, o.name, o.table) for o in schema.objects] == [("view", "w", "w"), ("trigger", "g", "t")]


def profile_of(tmp_path: Path, sql: str, table: str = "t") -> dict[str, ColumnProfile]:
    path = make_file(tmp_path / "a.db", sql)
    with Census(path) as census:
        found = census.profile(read_schema(census.connection, path).table(table))
        return dict(found.columns)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_census_counts_every_class(tmp_path: Path, encoding: str) -> None:
    columns = profile_of(
        tmp_path,
        f"""PRAGMA encoding = '{encoding}';
           CREATE TABLE t (a, b TEXT);
           INSERT INTO t VALUES (NULL, 'größe'), (-5, ''), (9223372036854775807, NULL), (0.5, 'z'),
             (x'00ff', 'a'), ('text', 'b' || char(0) || 'c');""",
    )
    a, b = columns["a"], columns["b"]
    assert (a.nulls, a.integers, a.reals, a.texts, a.blobs) == (1, 2, 1, 1, 1)
    assert (a.min_integer, a.max_integer, a.max_blob_bytes) == (-5, 2**63 - 1, 2)
    assert (b.texts, b.max_characters, b.nul_texts, b.invalid_texts) == (5, 5, 1, 0)
    assert b.max_text == "z" and b.longest_text == "größe"


def test_invalid_text_is_counted_with_its_keys_and_other_columns_can_still_be_read(tmp_path: Path) -> None:
    path = make_file(
        tmp_path / "a.db",
        "CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT, n); "
        "INSERT INTO t VALUES ('a', 'sound', 1), (CAST(x'ff41' AS TEXT), CAST(x'c328' AS TEXT), 2);",
    )
    with Census(path) as census:
        table = read_schema(census.connection, path).table("t")
        columns = census.profile(table).columns
        assert (columns["k"].invalid_texts, columns["v"].invalid_texts) == (1, 1)
        assert census.keys(table, "v", "invalid") == ("k=x'ff41'",)
        assert sorted(row for _, row in census.values(table, ["n"])) == [(1,), (2,)]


def test_a_wide_table_is_profiled_in_pieces(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(1999)]
    columns = profile_of(
        tmp_path,
        f"CREATE TABLE t ({', '.join(names)}); INSERT INTO t (c0, c1998) VALUES (1, 'x');",
    )
    assert len(columns) == 1999
    assert columns["c0"].integers == 1 and columns["c1998"].texts == 1 and columns["c7"].nulls == 1


def test_orphans_and_duplicates_compare_byte_by_byte(tmp_path: Path) -> None:
    path = make_file(
        tmp_path / "a.db",
        """CREATE TABLE p (id TEXT COLLATE NOCASE PRIMARY KEY);
           CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT COLLATE NOCASE, q);
           INSERT INTO p VALUES ('A'), ('b');
           INSERT INTO c VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 2), (4, 'A', NULL), (5, 'x', NULL);""",
    )
    with Census(path) as census:
        schema = read_schema(census.connection, path)
        parent, child = schema.table("p"), schema.table("c")
        orphans = census.orphans(child, ["p"], parent, ["id"])
        assert (orphans.count, orphans.keys) == (2, ("id=1", "id=5"))
        assert census.duplicates(child, ["p"]).count == 0
        twice = census.duplicates(child, ["q"])
        assert (twice.count, twice.keys) == (1, ("q=1",))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database, but long enough to have a header")
    with pytest.raises(SourceError, match="not a SQLite database"):
        Census(path)
