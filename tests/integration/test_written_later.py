"""What PostgreSQL takes after the cutover and SQLite has its own rules for (HAZARDS F37, F45, R2)."""

from __future__ import annotations

import os
from contextlib import closing

import apsw
import psycopg
import pytest

import trips
from capturing import Both, column, table
from turnback.adapters.sqlite import fallback as fallbacks
from turnback.core.phases import Intent
from turnback.core.plan import ConstantPlan, Plan
from turnback.errors import CannotCarry, WayBackLost

trip = trips.trip

ID = column("id", "integer", "INTEGER")


def both(database, folder, sqlite: str, postgres: str, *columns, **more) -> Both:
    made = Both(database, folder, Plan("create", "public", (table("t", ("id",), ID, *columns, **more),)), sqlite, postgres)
    made.open_up()
    return made


@pytest.mark.hazard("F37", "carried", mode="existing")
def test_f37_a_column_that_postgresql_lacks_gets_its_constant_in_new_rows(database, tmp_path) -> None:
    made = both(
        database, tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, kind TEXT NOT NULL, flag BOOLEAN); INSERT INTO t VALUES (1, 'a', 'old', 0), (2, 'b', 'old', 0)",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        column("name", "text", "TEXT"),
        sqlite_constants=(ConstantPlan("kind", "new"), ConstantPlan("flag", True)),
    )
    made.pg.execute("INSERT INTO t VALUES (3, 'c')")
    made.pump()
    # row by row this collides, so that it goes through the net change: its new row gets them too
    made.pg.execute("WITH i AS (INSERT INTO t VALUES (4, 'd')) UPDATE t SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END WHERE id < 3")
    made.pump()
    assert made.rows("t") == [(1, "b", "old", 0), (2, "a", "old", 0), (3, "c", "new", 1), (4, "d", "new", 1)]


@pytest.mark.hazard("F45", "refused", why="SQLite holds no value that large")
def test_f45_a_value_that_sqlite_cannot_hold_stops_capture_with_a_hint(database, tmp_path, monkeypatch) -> None:
    made = both(
        database, tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text)", column("name", "text", "TEXT"),
    )
    opened = fallbacks.open_database

    def small(*words, **named):
        connection = opened(*words, **named)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, 50_000)
        return connection

    monkeypatch.setattr(fallbacks, "open_database", small)
    made.pg.execute("INSERT INTO t VALUES (1, 'small')")
    made.pg.execute("INSERT INTO t VALUES (2, repeat('x', 100000))")
    with pytest.raises(CannotCarry, match="too large for SQLite") as caught:
        made.pump()
    assert "turnback fallback rebuild" in caught.value.hint
    assert made.rows("t") == [(1, "small")]


@pytest.mark.long
@pytest.mark.hazard("F45", "refused", why="its text is larger than a message of PostgreSQL's can be")
def test_f45_a_bytea_of_540_mb_written_later_ends_the_way_back_until_it_is_smaller(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, x'00ff')")
    t.there()
    t.write("INSERT INTO t VALUES (2, convert_to(repeat('x', 540000000), 'UTF8'))")
    capture = t._capturing.world.capture
    for _ in range(600):
        if capture.status().state == "stopped":
            break
        t.setup.clock.sleep(0.1)
    status = capture.status()
    assert status.lost and "500 MB" in status.error and "turnback fallback rebuild" in status.hint, status
    t.write("UPDATE t SET b = '\\x01' WHERE id = 2")
    t.run(Intent.REBUILD)
    t.back()
    assert t.in_sqlite("SELECT id, b FROM t") == [(1, b"\x00\xff"), (2, b"\x01")]


@pytest.mark.hazard("F45", "refused", why="its text is larger than a message of PostgreSQL's can be")
@pytest.mark.parametrize(
    ("state", "text"),
    [(b"XX000", b"invalid memory alloc request size 1080000003"), (b"54000", b"string buffer exceeds maximum allowed length (1073741823 bytes)")],
)
def test_f45_what_the_server_says_of_it_is_told_in_plain_words(state: bytes, text: bytes) -> None:
    from turnback.adapters.postgres.stream import SlotStream

    class Result:
        def error_field(self, field: int) -> bytes:
            return state if field == psycopg.pq.DiagnosticField.SQLSTATE else text

    stream = SlotStream.__new__(SlotStream)
    stream._dsn, stream._slot = "host=h dbname=d", "s"
    told = stream._failure(Result())  # type: ignore[arg-type]
    assert isinstance(told, WayBackLost) and "500 MB" in str(told) and "fallback rebuild" in told.hint


@pytest.mark.hazard("R2", "refused", why="SQLite stores 0.0 for -0.0")
def test_r2_minus_zero_stops_capture_and_says_the_way_out(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL); INSERT INTO t VALUES (1, 0.5)")
    t.there()
    t.write("UPDATE t SET r = '-0' WHERE id = 1")
    capture = t._capturing.world.capture
    for _ in range(200):
        if capture.status().state == "stopped":
            break
        t.setup.clock.sleep(0.05)
    status = capture.status()
    assert "-0.0 would land as 0.0" in status.error and "turnback fallback rebuild" in status.hint
    t.write("UPDATE t SET r = 0 WHERE id = 1")
    t.run(Intent.REBUILD)
    t.back()
    assert t.in_sqlite("SELECT typeof(r), r FROM t") == [("real", 0.0)]


@pytest.mark.hazard("R15", "carried")
@pytest.mark.hazard("R16", "carried")
def test_r15_r16_copy_and_truncate_and_the_ids_that_were_given_out(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); INSERT INTO t (name) VALUES ('a'), ('b')")
    t.there()
    with t.database.connect(app=True, autocommit=False) as session:
        session.execute("TRUNCATE t")
        with session.cursor().copy("COPY t (name) FROM STDIN") as copy:
            for number in range(3000):
                copy.write_row([f"row {number}"])
    t.write("DELETE FROM t WHERE name = 'row 2999'")
    t.back()
    assert t.in_sqlite("SELECT count(*), max(id) FROM t") == [(2999, 3001)]
    with closing(apsw.Connection(os.fspath(t.path))) as file:
        file.execute("INSERT INTO t (name) VALUES ('next')")
        assert file.last_insert_rowid() == 3003
