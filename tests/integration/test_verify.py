"""Comparing both sides: equal is said only of equal rows, and what differs is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app import verify
from turnback.app.copy import copy_tables
from turnback.app.verify import Comparison, compare, compare_keys
from turnback.core.codecs.text import Text
from turnback.core.equality import Difference
from turnback.core.plan import ColumnPlan, Plan
from turnback.errors import CannotCarry
from two_sides import (
    Silent,
    fill,
    integer,
    no_failure,
    plan_of,
    real,
    sqlite_file,
    table_plan,
    text,
)

ITEMS = table_plan("items", integer("id"), text("name"), real("price"))
PAIRS = table_plan("pairs", text("a"), integer("b"), text("c%s"), key=("b", "a"))
LOOSE = table_plan("loose", text("name"), integer("n"), key=())
PLAN = plan_of(ITEMS, PAIRS, LOOSE)
SCHEMA = [
    "CREATE TABLE public.items (id bigint PRIMARY KEY, name text, price float8)",
    'CREATE TABLE public.pairs (b bigint, a text, "c%s" text, PRIMARY KEY (b, a))',
    "CREATE TABLE public.loose (name text, n bigint)",
]


class Sides:
    def __init__(self, folder: Path, database: Database) -> None:
        self.path = sqlite_file(
            folder / "a.db",
            "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price)",
            'CREATE TABLE pairs (a TEXT, b INTEGER, "c%s" TEXT, PRIMARY KEY (a, b))',
            "CREATE TABLE loose (name TEXT, n INTEGER)",
        )
        fill(self.path, "items", [(i, f"item {i}", i / 7) for i in range(1, 501)])
        fill(self.path, "pairs", [(f"a{i % 10}", i, None) for i in range(300)])
        fill(self.path, "loose", [("same", 1), ("same", 1), (None, None), ("other", 2)])
        self.database = database
        self.session = database.connect()
        self._open: list[FileReader | SnapshotReader] = []
        loader = Loader(database.admin_dsn, PLAN, run_token="run")
        loader.prepare(SCHEMA)
        copy_tables(PLAN, self.sqlite(), loader, Silent(), no_failure)
        loader.close()

    def sqlite(self) -> FileReader:
        self._open.append(FileReader(self.path))
        return self._open[-1]

    def postgres(self) -> SnapshotReader:
        self._open.append(SnapshotReader(self.database.admin_dsn, "public"))
        return self._open[-1]

    def compare(self, plan: Plan = PLAN, *, round_trip: bool = True) -> Comparison:
        result = compare(plan, self.sqlite(), self.postgres(), Silent(), check_round_trip=round_trip)
        self.close()
        return result

    def close(self) -> None:
        for reader in self._open:
            reader.close()
        self._open.clear()


@pytest.fixture
def sides(tmp_path: Path, database: Database) -> Iterator[Sides]:
    made = Sides(tmp_path, database)
    yield made
    made.close()


def test_what_was_copied_is_equal(sides: Sides) -> None:
    result = sides.compare()
    assert result.equal
    assert result.headline() == "804 rows in 3 tables are equal"
    assert [(t.table, t.rows_sqlite, t.rows_postgres) for t in result.tables] == [
        ("items", 500, 500),
        ("pairs", 300, 300),
        ("loose", 4, 4),
    ]
    assert all(t.digest_sqlite == t.digest_postgres for t in result.tables)
    assert json.loads(json.dumps(result.to_json()))["equal"] is True


def test_every_kind_of_difference_is_named(sides: Sides) -> None:
    sides.session.execute("DELETE FROM items WHERE id = 400")
    sides.session.execute("UPDATE items SET name = 'new', price = -0.0 WHERE id = 7")
    sides.session.execute("INSERT INTO pairs VALUES (-1, 'x', 'y')")
    sides.session.execute("DELETE FROM loose WHERE ctid = (SELECT min(ctid) FROM loose WHERE name = 'same')")
    result = sides.compare()
    assert not result.equal
    assert result.difference_count == 4
    assert set(result.differences) == {
        Difference("items", ("400",), "missing_in_postgres"),
        Difference("items", ("7",), "differs", ("name", "price"), "'item 7'", "'new'"),
        Difference("pairs", ("-1", "x"), "missing_in_sqlite"),
        Difference("loose", ("same", "1"), "missing_in_postgres"),
    }
    assert result.headline().startswith("4 rows differ; the first: items (")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE items SET price = price + 1e-12 WHERE id = 3",
        "UPDATE items SET name = name || ' ' WHERE id = 3",
        "UPDATE items SET name = NULL WHERE id = 3",
        "UPDATE items SET id = 501 WHERE id = 500",
        "INSERT INTO loose VALUES (NULL, NULL)",
        "UPDATE pairs SET \"c%s\" = '' WHERE b = 299",
        "UPDATE items SET name = CASE id WHEN 1 THEN 'item 2' ELSE 'item 1' END WHERE id IN (1, 2)",
        "TRUNCATE items",
    ],
)
def test_nothing_is_too_small_to_be_seen(sides: Sides, change: str) -> None:
    sides.session.execute(change)
    assert not sides.compare(round_trip=False).equal
    assert not sides.compare(round_trip=True).equal


def test_a_codec_that_merges_values_is_found_by_the_round_trip_alone(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Text, "decode", lambda self, t: t.replace("item 77", "Item 77"))
    assert sides.compare(round_trip=False).equal
    result = sides.compare(round_trip=True)
    assert result.differences == (
        Difference("items", ("77",), "differs", ("name",), "'item 77'", "'item 77'"),
    )


def test_columns_that_may_be_respelled_are_compared_by_what_they_mean(
    tmp_path: Path, database: Database
) -> None:
    path = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT)")
    upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    fill(path, "t", [(1, upper), (2, upper.lower())])
    column = ColumnPlan("u", "u", "uuid", "uuid_text", {"respell": True})
    plan = plan_of(table_plan("t", integer("id"), column))
    loader = Loader(database.admin_dsn, plan, run_token="run")
    loader.prepare(["CREATE TABLE public.t (id bigint, u uuid)"])
    reader = FileReader(path)
    postgres = None
    try:
        copy_tables(plan, reader, loader, Silent(), no_failure)
        postgres = SnapshotReader(database.admin_dsn, "public")
        assert compare(plan, reader, postgres, Silent(), check_round_trip=True).equal
        strict = plan_of(table_plan("t", integer("id"), replace(column, options={})))
        with pytest.raises(CannotCarry, match="spelling"):
            compare(strict, reader, postgres, Silent(), check_round_trip=True)
    finally:
        loader.close()
        reader.close()
        if postgres is not None:
            postgres.close()


def test_when_all_differs_the_count_is_a_lower_bound_and_memory_is_not_used_up(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "MAX_HELD_ROWS", 450)
    sides.session.execute("UPDATE items SET name = 'x'")
    result = sides.compare()
    assert not result.equal
    assert not result.counted_all
    assert len(result.differences) == verify.MAX_DIFFERENCES
    assert verify.MAX_DIFFERENCES < result.difference_count < 500
    assert result.headline().startswith("at least ")


def test_two_spellings_of_one_key_are_not_lost(tmp_path: Path, database: Database) -> None:
    """In SQLite two keys, in PostgreSQL one: the second row is missing there, and that is said."""
    path = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (u TEXT PRIMARY KEY)")
    spelled = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    fill(path, "t", [(spelled,), (spelled.lower(),)])
    plan = plan_of(table_plan("t", ColumnPlan("u", "u", "uuid", "uuid_text", {"respell": True}), key=("u",)))
    database.connect().execute("CREATE TABLE t (u uuid)")
    database.connect().execute("INSERT INTO t VALUES (%s)", (spelled,))
    reader, postgres = FileReader(path), SnapshotReader(database.admin_dsn, "public")
    try:
        result = compare(plan, reader, postgres, Silent(), check_round_trip=True)
        assert result.differences == (Difference("t", (spelled.lower(),), "missing_in_postgres"),)
    finally:
        reader.close()
        postgres.close()


# ---- by keys: the gate -------------------------------------------------------------------------------


def test_only_the_named_keys_are_compared(sides: Sides) -> None:
    sides.session.execute("UPDATE items SET name = 'new' WHERE id IN (7, 8)")
    sides.session.execute("DELETE FROM items WHERE id = 9")
    sides.session.execute("INSERT INTO pairs VALUES (-1, 'x', 'y')")

    def look(**keys: list[tuple[str, ...]]) -> set[tuple[str, tuple[str, ...], str]]:
        found = compare_keys(PLAN, sides.sqlite(), sides.postgres(), keys)
        return {(d.table, d.key, d.kind) for d in found}

    assert look() == set()
    assert look(items=[("1",), ("9999",)]) == set()  # one is the same, one is nowhere
    assert look(items=[("1",), ("7",), ("9",)], pairs=[("-1", "x"), ("5", "a5")]) == {
        ("items", ("7",), "differs"),
        ("items", ("9",), "missing_in_postgres"),
        ("pairs", ("-1", "x"), "missing_in_sqlite"),
    }


def test_many_keys_go_in_portions(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "KEYS_AT_ONCE", 7)
    sides.session.execute("UPDATE items SET name = 'new' WHERE id % 10 = 0")
    keys = [(str(i),) for i in range(1, 501)]
    found = compare_keys(PLAN, sides.sqlite(), sides.postgres(), {"items": keys})
    assert sorted(int(d.key[0]) for d in found) == list(range(10, 501, 10))


def test_a_table_without_a_key_is_compared_whole(sides: Sides) -> None:
    keys: dict[str, list[tuple[str | None, ...]]] = {"loose": []}
    assert compare_keys(PLAN, sides.sqlite(), sides.postgres(), keys) == ()
    sides.session.execute("UPDATE loose SET n = 3 WHERE n = 2")
    found = compare_keys(PLAN, sides.sqlite(), sides.postgres(), keys)
    assert {(d.key, d.kind) for d in found} == {
        (("other", "2"), "missing_in_postgres"),
        (("other", "3"), "missing_in_sqlite"),
    }


# ---- the reader ----------------------------------------------------------------------------------------


def test_a_reader_sees_one_moment_and_an_exported_one_the_same(sides: Sides) -> None:
    exporter = sides.database.connect(autocommit=False)
    exporter.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    row = exporter.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    early = sides.postgres()
    sides.session.execute("INSERT INTO items VALUES (501, 'late', 0)")
    shared = SnapshotReader(sides.database.admin_dsn, "public", snapshot=row[0])
    late = sides.postgres()
    try:
        assert [r.count(ITEMS) for r in (early, shared, late)] == [500, 500, 501]
        assert [len(list(r.rows(ITEMS))) for r in (early, shared, late)] == [500, 500, 501]
        assert list(shared.by_keys(ITEMS, [("501",), ("1",)])) == [("1", "item 1", "0.14285714285714285")]
    finally:
        shared.close()
        exporter.close()


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(rows=st.lists(st.tuples(texts, st.none() | texts), max_size=8, unique_by=lambda r: r[0]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_comes_out_as_it_went_in(database: Database, rows: list[tuple[str, str | None]]) -> None:
    """Through COPY both ways, and through by_keys: backslashes, tabs, '\\N', quotes, braces, commas."""
    table = table_plan("t", text("k"), text("v"), key=("k",))
    loader = Loader(database.admin_dsn, plan_of(table), run_token="run")
    postgres = None
    try:
        loader.prepare([])
        loader.execute(
            ["DROP TABLE IF EXISTS public.t", "CREATE TABLE public.t (k text PRIMARY KEY, v text)"]
        )
        loader.load(table, rows, ("",))
        postgres = SnapshotReader(database.admin_dsn, "public")
        assert sorted(postgres.rows(table), key=lambda r: r[0] or "") == sorted(rows, key=lambda r: r[0])
        found = postgres.by_keys(table, [(k,) for k, _ in rows])
        assert sorted(found, key=lambda r: r[0] or "") == sorted(rows, key=lambda r: r[0])
    finally:
        loader.close()
        if postgres is not None:
            postgres.close()
