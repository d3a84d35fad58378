"""Changes through the codecs of text, words, addresses and arrays, as they arrive in the SQLite file."""

from __future__ import annotations

from pathlib import Path

import pytest

from capturing import Both, column, table
from turnback.core.plan import Plan
from turnback.errors import CannotCarry, NotReady

ID = column("id", "integer", "INTEGER")
NAME = column("name", "text", "TEXT")

# What SQLite has, and how PostgreSQL writes it.
SPELLED = table(
    "spelled",
    ("id",),
    ID,
    NAME,
    column("flag", "boolean", "BOOLEAN", respell=True),
    column("word", "boolean", "TEXT", words="yes", respell=True),
    column("address", "inet", "TEXT", "inet", respell=True),
    column("card", "inet", "TEXT", "macaddr", respell=True),
    column("tags", "array", "TEXT", "text[]", separator="json", respell=True),
    column("mark", "uuid_text", "TEXT", respell=True),
)
SPELLED_SQLITE = """
CREATE TABLE spelled(id INTEGER PRIMARY KEY, name TEXT, flag BOOLEAN, word TEXT, address TEXT, card TEXT,
  tags TEXT, mark TEXT);
INSERT INTO spelled VALUES
  (1, 'one', 'TRUE', 'On', '2001:DB8:0:0::1', '08002B010203', '[ "a" , "\\u00e9" ]', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'),
  (2, 'two', 0, '0', '10.0.0.0/32', '0800.2b01.0203', '[]', NULL);
"""
SPELLED_POSTGRES = """
CREATE TABLE spelled(id bigint PRIMARY KEY, name text, flag boolean, word boolean, address inet, card macaddr,
  tags text[], mark uuid);
INSERT INTO spelled VALUES
  (1, 'one', true, true, '2001:db8::1', '08:00:2b:01:02:03', '{a,é}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
  (2, 'two', false, false, '10.0.0.0', '08:00:2b:01:02:03', '{}', NULL);
"""


def made(database, folder: Path, sqlite: str, postgres: str, *tables) -> Both:
    both = Both(database, folder, Plan("create", "public", tables), sqlite, postgres)
    both.open_up()
    return both


@pytest.mark.hazard("R14", "carried")
def test_r14_a_spelling_that_nobody_changed_stays(database, tmp_path: Path) -> None:
    both = made(database, tmp_path, SPELLED_SQLITE, SPELLED_POSTGRES, SPELLED)
    before = both.rows("spelled", "id, flag, word, address, card, tags, mark, typeof(flag)")
    both.pg.execute("UPDATE spelled SET name = name || '!'")
    both.pg.execute(
        "UPDATE spelled SET flag = NOT NOT flag, address = address::text::inet, tags = tags || '{}'"
    )
    both.pump()
    assert both.rows("spelled", "id, flag, word, address, card, tags, mark, typeof(flag)") == before
    assert both.rows("spelled", "name") == [("one!",), ("two!",)]


@pytest.mark.hazard("F1", "choice", mode="create")
@pytest.mark.hazard("F35", "carried")
def test_f1_f35_what_changes_comes_back_in_the_columns_own_spelling(database, tmp_path: Path) -> None:
    both = made(database, tmp_path, SPELLED_SQLITE, SPELLED_POSTGRES, SPELLED)
    both.pg.execute(
        "UPDATE spelled SET flag = NOT flag, word = NOT word, address = address + 1,"
        " card = trunc(card), tags = tags || 'new'::text, mark = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"
    )
    both.pg.execute(
        "INSERT INTO spelled VALUES (3, 'x', true, true, '::1/64', '1:2:3:4:5:6', '{\"a,\\\"\"}')"
    )
    both.pump()
    assert both.rows("spelled", "flag, word, address, card, tags, mark") == [
        (
            0,
            "no",
            "2001:db8::2",
            "08:00:2b:00:00:00",
            '["a","é","new"]',
            "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        (1, "yes", "10.0.0.1", "08:00:2b:00:00:00", '["new"]', "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (1, "yes", "::1/64", "01:02:03:04:05:06", '["a,\\""]', None),
    ]


def test_r14_rows_without_a_key_are_found_whatever_their_spelling(database, tmp_path: Path) -> None:
    plan = table("t", (), NAME, column("word", "boolean", "TEXT", words="on", respell=True))
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(name TEXT, word TEXT);"
        "INSERT INTO t VALUES ('a', 'off'), ('a', 'TRUE'), ('b', 'T'), ('b', '1');",
        "CREATE TABLE t(name text, word boolean);"
        "INSERT INTO t VALUES ('a', false), ('a', true), ('b', true), ('b', true)",
        plan,
    )
    both.pg.execute("DELETE FROM t WHERE name = 'a' AND word")
    both.pg.execute("UPDATE t SET name = 'c' WHERE name = 'b'")
    both.pump()
    assert sorted(both.rows("t")) == [("a", "off"), ("c", "1"), ("c", "T")]


EXACT = table(
    "exact",
    ("id",),
    ID,
    column("mixed", "affine", "DATETIME", "text"),
    column("code", "char", "TEXT", "character(4)"),
    column("tags", "array", "TEXT", "text[]", separator=","),
    column("sizes", "array", "TEXT", "integer[]", separator="json"),
    column("span", "verbatim", "TEXT", "int4range"),
)
EXACT_SQLITE = """
CREATE TABLE exact(id INTEGER PRIMARY KEY, mixed DATETIME, code TEXT, tags TEXT, sizes TEXT, span TEXT);
INSERT INTO exact VALUES (1, '2021-04-22', 'ab', 'a,b', '[1,2]', '[1,5)'), (2, 1619092189409, '', '', '[]', 'empty'),
  (3, 12.5, NULL, NULL, NULL, NULL);
"""
EXACT_POSTGRES = """
CREATE TABLE exact(id bigint PRIMARY KEY, mixed text, code character(4), tags text[], sizes integer[], span int4range);
INSERT INTO exact VALUES (1, '2021-04-22', 'ab', '{a,b}', '{1,2}', '[1,5)'),
  (2, '1619092189409', '', '{}', '{}', 'empty'), (3, '12.5', NULL, NULL, NULL, NULL);
"""


@pytest.mark.hazard("F5", "choice", mode="create")
@pytest.mark.hazard("R5", "choice")
def test_f5_r5_values_written_in_postgresql_land_as_they_are_meant(database, tmp_path: Path) -> None:
    both = made(database, tmp_path, EXACT_SQLITE, EXACT_POSTGRES, EXACT)
    before = both.rows("exact")
    both.pg.execute("UPDATE exact SET id = id + 10")
    both.pg.execute(
        "INSERT INTO exact VALUES (1, '1619092189410', 'a b', ARRAY['x', '', 'NULL'], '{-3}', int4range(2, 9))"
    )
    both.pg.execute(
        "INSERT INTO exact VALUES (2, '-0.25', 'abcd', '{}', '{}', NULL), (3, 'never', ' x', NULL, NULL, NULL)"
    )
    both.pump()
    assert both.rows("exact") == [
        (1, 1619092189410, "a b", "x,,NULL", "[-3]", "[2,9)"),
        (2, -0.25, "abcd", "", "[]", None),
        (3, "never", " x", None, None, None),
        *[(row[0] + 10, *row[1:]) for row in before],
    ]
    both.assert_equal()


@pytest.mark.parametrize(
    ("change", "column_name"),
    [
        pytest.param(
            "mixed = '007'",
            "mixed",
            marks=pytest.mark.hazard("R2", "refused", why="SQLite would make another value of it"),
        ),
        ("mixed = '1.10'", "mixed"),
        ("tags = '{a,NULL}'", "tags"),
        ("tags = '{{a},{b}}'", "tags"),
        ("tags = '{\"a,b\"}'", "tags"),
        ("tags = '{\"\"}'", "tags"),
        ("sizes = '[2:3]={1,2}'", "sizes"),
    ],
)
def test_r2_r5_what_sqlite_cannot_hold_stops_capture_before_its_transaction(
    database, tmp_path: Path, change: str, column_name: str
) -> None:
    both = made(database, tmp_path, EXACT_SQLITE, EXACT_POSTGRES, EXACT)
    before = both.rows("exact")
    with both.pg.transaction():
        both.pg.execute("UPDATE exact SET code = 'zz'")
        both.pg.execute(f"UPDATE exact SET {change} WHERE id = 2".encode())
    with pytest.raises(CannotCarry, match=rf'table "exact", column "{column_name}", key \(id\) = \(.2.\)'):
        both.pump()
    assert both.rows("exact") == before


@pytest.mark.hazard("R6", "carried")
def test_r6_large_values_that_were_not_sent_stay(database, tmp_path: Path) -> None:
    both = made(database, tmp_path, EXACT_SQLITE, EXACT_POSTGRES, EXACT)
    both.pg.execute("ALTER TABLE exact ALTER mixed SET STORAGE EXTERNAL, ALTER tags SET STORAGE EXTERNAL")
    both.pg.execute(
        "UPDATE exact SET mixed = repeat('x', 9000), tags = ARRAY[repeat('y', 9000), 'z'] WHERE id = 1"
    )
    both.pg.execute("UPDATE exact SET code = 'c' WHERE id = 1")
    both.pump()
    assert both.rows("exact", "length(mixed), length(tags), code")[0] == (9000, 9002, "c")


def test_r10_another_type_is_drift(database, tmp_path: Path) -> None:
    both = made(database, tmp_path, EXACT_SQLITE, EXACT_POSTGRES, EXACT)
    both.pg.execute("ALTER TABLE exact ALTER sizes TYPE bigint[], ALTER code TYPE text")
    both.pg.execute("UPDATE exact SET sizes = '{5}'")
    with pytest.raises(
        NotReady, match=r"schema drift: table public\.exact: column code is no longer character"
    ):
        both.pump()
