"""Transactions whose row-by-row order collides in SQLite (HAZARDS R7)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capturing import Both, column, table
from turnback.core.plan import Plan
from turnback.errors import CannotCarry

ID = column("id", "integer", "INTEGER")
POS = column("pos", "integer", "INTEGER")
NAME = column("name", "text", "TEXT")


def made(database, folder: Path, sqlite: str, postgres: str, *tables) -> Both:
    both = Both(database, folder, Plan("create", "public", tables), sqlite, postgres)
    both.open_up()
    return both


@pytest.mark.hazard("R7", "carried")
def test_shift_under_a_unique_constraint(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE, only_here TEXT DEFAULT ('d' || 1));"
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');",
        "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
        table("t", ("id",), ID, POS),
    )
    with both.pg.transaction():
        both.pg.execute("UPDATE t SET pos = pos + 1")
        both.pg.execute("INSERT INTO t VALUES (4, 1)")
        both.pg.execute("DELETE FROM t WHERE id = 3")
    both.pump()
    assert both.rows("t") == [(1, 2, "a"), (2, 3, "b"), (4, 1, "d1")]


@pytest.mark.hazard("R7", "carried")
@pytest.mark.hazard("R14", "carried")
def test_swap_of_two_unique_values_keeps_untouched_spelling_and_row_ids(database, tmp_path):
    """The hidden row id stays, and so does the text that only SQLite spells like that (law 2)."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(k TEXT PRIMARY KEY, pos INTEGER UNIQUE, doc TEXT, big TEXT);"
        "INSERT INTO t(rowid, k, pos, doc) VALUES (70, 'a', 1, '{ }'), (50, 'b', 2, '[ ]');",
        "CREATE TABLE t(k text PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED,"
        " doc jsonb, big text);"
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL;"
        "INSERT INTO t VALUES ('a', 1, '{}'), ('b', 2, '[]')",
        table(
            "t",
            ("k",),
            column("k", "text", "TEXT"),
            POS,
            column("doc", "json_text", "TEXT", respell=True),
            column("big", "text", "TEXT"),
        ),
    )
    both.pg.execute("UPDATE t SET big = repeat('z', 50000) WHERE k = 'a'")
    both.pg.execute("UPDATE t SET pos = 3 - pos")
    both.pump()
    assert both.rows("t", "rowid, k, pos, doc, length(big)") == [
        (50, "b", 1, "[ ]", None),
        (70, "a", 2, "{ }", 50000),
    ]


@pytest.mark.hazard("R7", "carried")
def test_swap_of_two_primary_keys(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two');",
        "CREATE TABLE t(id bigint PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        table("t", ("id",), ID, NAME),
    )
    with both.pg.transaction():
        both.pg.execute("UPDATE t SET id = 0 WHERE id = 1")
        both.pg.execute("UPDATE t SET id = 1 WHERE id = 2")
        both.pg.execute("UPDATE t SET id = 2 WHERE id = 0")
    both.pump()
    assert both.rows("t") == [(1, "two"), (2, "one")]


@pytest.mark.hazard("R8", "carried")
def test_without_rowid_and_a_table_without_a_key(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE w(k TEXT PRIMARY KEY, pos INTEGER UNIQUE) WITHOUT ROWID;"
        "CREATE TABLE n(pos INTEGER UNIQUE, name TEXT);"
        "INSERT INTO w VALUES ('a', 1), ('b', 2);"
        "INSERT INTO n VALUES (1, 'x'), (2, 'y'), (NULL, 'z'), (NULL, 'z');",
        "CREATE TABLE w(k text PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE n(pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, name text);"
        "INSERT INTO w VALUES ('a', 1), ('b', 2);"
        "INSERT INTO n VALUES (1, 'x'), (2, 'y'), (NULL, 'z'), (NULL, 'z')",
        table("w", ("k",), column("k", "text", "TEXT"), POS, without_rowid=True),
        table("n", (), POS, NAME),
    )
    with both.pg.transaction():
        both.pg.execute("UPDATE w SET pos = 3 - pos")
        both.pg.execute("UPDATE n SET pos = 3 - pos")
        both.pg.execute(
            "DELETE FROM n WHERE name = 'z' AND ctid = (SELECT min(ctid) FROM n WHERE name = 'z')"
        )
    both.pump()
    assert both.rows("w") == [("a", 2), ("b", 1)]
    assert sorted(both.rows("n"), key=repr) == [(1, "y"), (2, "x"), (None, "z")]


@pytest.mark.hazard("R15", "carried")
def test_truncate_and_refill_inside_a_colliding_transaction(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE); INSERT INTO t VALUES (1, 1), (2, 2);",
        "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        table("t", ("id",), ID, POS),
    )
    with both.pg.transaction():
        both.pg.execute("UPDATE t SET pos = 3 - pos")
        both.pg.execute("SET CONSTRAINTS ALL IMMEDIATE")
        both.pg.execute("TRUNCATE t")
        both.pg.execute("INSERT INTO t VALUES (2, 9), (1, 8)")
    both.pump()
    assert both.rows("t") == [(1, 8), (2, 9)]


def test_affinity_is_checked_in_a_colliding_transaction_too(database, tmp_path):
    """HAZARDS R2."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE, s STRING);"
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b');",
        "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, s text);"
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')",
        table("t", ("id",), ID, POS, column("s", "text", "STRING")),
    )
    both.pg.execute("UPDATE t SET pos = 3 - pos, s = '007'")
    with pytest.raises(CannotCarry, match='column "s"'):
        both.pump()
    assert both.rows("t") == [(1, 1, "a"), (2, 2, "b")]


def test_unique_constraint_that_only_sqlite_has(database, tmp_path):
    """Also the net change collides: refused whole, with the earlier transaction kept."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE)",
        "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint)",
        table("t", ("id",), ID, POS),
    )
    both.pg.execute("INSERT INTO t VALUES (1, 1)")
    with both.pg.transaction():
        both.pg.execute("INSERT INTO t VALUES (2, 2)")
        both.pg.execute("INSERT INTO t VALUES (3, 1)")
    with pytest.raises(CannotCarry, match="UNIQUE"):
        both.pump()
    assert both.rows("t") == [(1, 1)]
    with closing(apsw.Connection(str(both.path))) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


STEP = st.one_of(
    st.tuples(st.just("INSERT INTO t VALUES (%s, %s, 'i')"), st.tuples(st.integers(1, 8), st.integers(1, 8))),
    st.tuples(st.just("UPDATE t SET pos = %s - pos"), st.tuples(st.integers(8, 10))),
    st.tuples(
        st.just("UPDATE t SET pos = %s WHERE id = %s"), st.tuples(st.integers(1, 8), st.integers(1, 8))
    ),
    st.tuples(st.just("UPDATE t SET id = %s WHERE id = %s"), st.tuples(st.integers(1, 8), st.integers(1, 8))),
    st.tuples(
        st.just("UPDATE t SET name = %s WHERE pos < %s"), st.tuples(st.sampled_from("uvw"), st.integers(1, 9))
    ),
    st.tuples(st.just("DELETE FROM t WHERE id = %s"), st.tuples(st.integers(1, 8))),
    st.tuples(st.just("DELETE FROM t WHERE pos > %s"), st.tuples(st.integers(1, 9))),
)


def test_any_transaction_arrives_equal(database, tmp_path):
    """Random transactions, unique constraints checked at commit only; the state after each is equal."""
    import psycopg

    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE, name TEXT, UNIQUE(name, id));"
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');",
        "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, name text);"
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        table("t", ("id",), ID, POS, NAME),
    )

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(STEP, min_size=1, max_size=8))
    def check(steps):
        try:
            with both.pg.transaction():
                for sql, values in steps:
                    try:
                        with both.pg.transaction():
                            both.pg.execute(sql, values)
                    except psycopg.errors.UniqueViolation:
                        pass  # refused by PostgreSQL: not part of the transaction
        except psycopg.errors.UniqueViolation:
            return  # refused at commit
        both.pump()
        both.assert_equal()

    check()
