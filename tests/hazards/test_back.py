"""What breaks on the way back: written on PostgreSQL, read from the SQLite file that serves again."""

from __future__ import annotations

import os
import time
from contextlib import closing

import apsw
import pytest

import patience
from trips import findings, offers, same, trip  # noqa: F401 (a fixture)
from turnback.core.phases import Phase
from turnback.errors import NotReady

ID = "CREATE TABLE t (id INTEGER PRIMARY KEY, {});"
BOTH = pytest.mark.parametrize("mode", ["create", "existing"])


def target(mode: str, sql: str) -> str:
    """The schema that the application has made, in mode existing."""
    return sql if mode == "existing" else ""


@BOTH
@pytest.mark.hazard("R1", "carried")
def test_r1_a_changed_timestamp_comes_back_as_integer_milliseconds(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        ID.format("c DATETIME, d TEXT") + "INSERT INTO t VALUES (1, 1619092189409, 'a'), (2, 1619092189410, 'b')",
        postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c timestamptz, d text)"),
    )
    moved.there()
    moved.write("UPDATE t SET c = '2024-02-29 23:59:59.999+02' WHERE id = 1", "UPDATE t SET d = 'x' WHERE id = 2", "INSERT INTO t VALUES (3, '1969-12-31 23:59:59.999Z', NULL)")
    moved.back()
    assert moved.in_sqlite("SELECT c, typeof(c) FROM t ORDER BY id") == [(1709243999999, "integer"), (1619092189410, "integer"), (-1, "integer")]


@BOTH
@pytest.mark.hazard("R6", "carried")
@pytest.mark.hazard("R14", "carried")
def test_r6_a_large_value_that_an_update_leaves_alone_stays(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        ID.format("big TEXT, raw BLOB, n INTEGER") + "INSERT INTO t VALUES (1, hex(randomblob(100000)), randomblob(100000), 1)",
        postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, big text, raw bytea, n bigint)"),
    )
    held = moved.in_sqlite("SELECT big, raw FROM t")
    moved.there()
    moved.write("UPDATE t SET n = 2")
    moved.back()
    assert moved.in_sqlite("SELECT big, raw FROM t") == held and moved.in_sqlite("SELECT n FROM t") == [(2,)]


@BOTH
@pytest.mark.hazard("R7", "carried")
def test_r7_unique_keys_swap_and_primary_keys_change_in_one_transaction(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        ID.format("u TEXT UNIQUE") + "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, u text UNIQUE)"),
    )
    moved.there()
    moved.write(
        "UPDATE t SET u = 'x' WHERE id = 1", "UPDATE t SET u = 'a' WHERE id = 2", "UPDATE t SET u = 'b' WHERE id = 1",
        "UPDATE t SET id = 9 WHERE id = 1", "UPDATE t SET id = 1 WHERE id = 3", "UPDATE t SET id = 3 WHERE id = 9",
    )
    there = moved.in_postgres("SELECT id, u FROM t ORDER BY id")
    moved.back()
    assert moved.in_sqlite("SELECT id, u FROM t ORDER BY id") == there == [(1, "c"), (2, "a"), (3, "b")]


@pytest.mark.hazard("R7", "carried", mode="create")
def test_r7_rows_that_refer_to_each_other_and_to_themselves(trip) -> None:  # noqa: F811
    moved = trip(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b DEFERRABLE INITIALLY DEFERRED, me INTEGER REFERENCES a);"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER NOT NULL REFERENCES a DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO a VALUES (1, NULL, 1); INSERT INTO b VALUES (1, 1)"
    )
    moved.there()
    moved.write("INSERT INTO a VALUES (5, 6, 5)", "INSERT INTO b VALUES (6, 5)", "UPDATE a SET b = 1 WHERE id = 1")
    moved.write("UPDATE a SET b = NULL, me = NULL", "DELETE FROM b WHERE id = 1", "DELETE FROM a WHERE id = 1")
    moved.back()
    assert moved.in_sqlite("SELECT id, b, me FROM a") == [(5, None, None)]
    assert moved.in_sqlite("SELECT id, a FROM b") == [(6, 5)]


@BOTH
@pytest.mark.hazard("R8", "choice")
def test_r8_rows_of_a_table_without_a_key_are_changed_one_by_one(trip, mode: str) -> None:  # noqa: F811
    moved = trip("CREATE TABLE t (a TEXT, b INTEGER); INSERT INTO t VALUES ('x', 1), ('x', 1), (NULL, NULL)", postgres=target(mode, "CREATE TABLE t (a text, b bigint)"))
    (finding,) = findings(moved.assess(), "R8", "t")
    assert finding.severity == "choice"
    offers(finding, '[tables.t]\nreplica_identity = "full"')
    moved.settle('[tables.t]\nreplica_identity = "full"')
    moved.there()
    moved.write("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 'x')", "UPDATE t SET b = 5 WHERE a IS NULL", "INSERT INTO t VALUES ('y', 2), ('y', 2)")
    moved.back()
    assert sorted(moved.in_sqlite("SELECT a, b FROM t"), key=repr) == [("x", 1), ("y", 2), ("y", 2), (None, 5)]


@pytest.mark.hazard("R9", "carried", mode="create")
def test_r9_the_files_triggers_do_not_fire_and_are_there_again(trip) -> None:  # noqa: F811
    moved = trip(
        ID.format("c TEXT") + "CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT);"
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log (what) VALUES (new.c); END; INSERT INTO t VALUES (1, 'first')",
        settle='[sqlite]\nleave_behind = ["g"]',
    )
    moved.there()
    moved.write("INSERT INTO t VALUES (2, 'second')")
    moved.back()
    assert moved.in_sqlite("SELECT what FROM log") == [("first",)]
    assert moved.image()["schema"] == moved.before["schema"]
    with closing(apsw.Connection(os.fspath(moved.path))) as file:
        file.execute("INSERT INTO t VALUES (3, 'third')")
    assert moved.in_sqlite("SELECT what FROM log") == [("first",), ("third",)]


@pytest.mark.parametrize(
    "ddl",
    ["ALTER TABLE t ADD COLUMN d text", "ALTER TABLE t ALTER c TYPE text USING c::text", "ALTER TABLE t DROP COLUMN c", "CREATE TABLE fresh (id bigint PRIMARY KEY)"],
    ids=["column", "type", "drop", "table"],
)
@pytest.mark.hazard("R10", "refused", why="the plan does not know what the new schema's values become; the way back is reported as not ready")
def test_r10_ddl_after_the_cutover_closes_the_way_back_within_seconds(trip, ddl: str) -> None:  # noqa: F811
    moved = trip(ID.format("c INTEGER") + "INSERT INTO t VALUES (1, 1)")
    moved.there()
    begun = time.monotonic()
    moved.write(ddl)
    capture = moved.capture()
    while capture.status().state != "stopped":
        assert time.monotonic() - begun < patience.SECONDS, capture.status()
        time.sleep(0.05)
    assert "drift" in str(capture.status().error)
    with pytest.raises(NotReady, match=r"drift|the plan lacks"):
        moved.back()
    assert moved.phase is Phase.ON_POSTGRES


@BOTH
@pytest.mark.hazard("R15", "carried")
def test_r15_truncate_copy_and_many_rows_in_one_transaction(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        ID.format("c TEXT") + "INSERT INTO t VALUES (1, 'old'), (2, 'old'); CREATE TABLE u (id INTEGER PRIMARY KEY); INSERT INTO u VALUES (1)",
        postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c text); CREATE TABLE u (id bigint PRIMARY KEY)"),
    )
    moved.there()
    with moved.database.connect(app=True, autocommit=False) as session:
        session.execute("TRUNCATE t, u")
        with session.cursor().copy("COPY t FROM STDIN") as copy:
            for i in range(20_000):
                copy.write_row((i, f"copied\t{i}"))
        session.execute("INSERT INTO u SELECT generate_series(1, 20000)")
        session.execute("DELETE FROM t WHERE id % 2 = 0")
    moved.back()
    assert moved.in_sqlite("SELECT count(*), sum(id), max(c) FROM t") == [(10_000, 100_000_000, "copied\t9999")]
    assert moved.in_sqlite("SELECT count(*), sum(id) FROM u") == [(20_000, 200_010_000)]


@BOTH
@pytest.mark.hazard("R16", "carried")
def test_r16_no_id_is_given_twice(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT); INSERT INTO t VALUES (5, 'a')",
        postgres=target(mode, "CREATE TABLE t (id bigserial PRIMARY KEY, c text)"),
    )
    moved.there()
    moved.write("INSERT INTO t (c) VALUES ('b'), ('c')", "DELETE FROM t WHERE id > 5")
    with moved.database.connect(app=True, autocommit=False) as session:
        session.execute("INSERT INTO t (c) VALUES ('undone')")
        session.rollback()
    moved.back()
    assert moved.in_sqlite("SELECT seq FROM sqlite_sequence WHERE name = 't'") == [(8,)]
    with closing(apsw.Connection(os.fspath(moved.path))) as file:
        file.execute("INSERT INTO t (c) VALUES ('by sqlite')")
        assert file.last_insert_rowid() == 9


@BOTH
@pytest.mark.hazard("R18", "carried")
def test_r18_turnbacks_own_objects_are_in_its_schema_and_gone_from_the_file(trip, mode: str) -> None:  # noqa: F811
    moved = trip(ID.format("c TEXT") + "INSERT INTO t VALUES (1, 'a')", postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c text)"))
    moved.there()
    assert moved.in_postgres("SELECT schemaname::text, tablename::text FROM pg_publication_tables") == [("public", "t")]
    elsewhere = moved.in_postgres(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema', 'turnback') AND nspname !~ '^pg_'"
    )
    assert elsewhere == [("public", "t")]
    assert moved.proven_equal()
    moved.back()
    same(moved.before, moved.image())
