"""Defaults, checks and indexes: the same rows are taken, the same rows refused, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from assessing import assess_file, make_file, run_statements, the_finding
from conftest import Database
from trips import Trip
from trips import trip as trip
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.certify import prove_generated
from turnback.core.choices import Choices
from turnback.core.ddl import build_constraints, create_schema
from turnback.core.plan import Plan
from two_sides import Silent


def planned(tmp_path: Path, sql: str, database: Database, *, leave_behind: tuple[str, ...] = ()) -> Plan:
    """The plan, and its schema made in PostgreSQL."""
    found = assess_file(make_file(tmp_path / "a.db", sql), Choices(leave_behind=leave_behind))
    assert found.plan is not None, [f.message for f in found.findings if f.severity != "carries"]
    run_statements(database.admin_dsn, create_schema(found.plan) + build_constraints(found.plan))
    return found.plan


def taken(path: Path, database: Database, statement: str) -> tuple[bool, bool]:
    """(does SQLite take the statement, does PostgreSQL)"""
    answers = []
    with closing(apsw.Connection(str(path))) as sqlite:
        try:
            sqlite.execute(statement).fetchall()
            answers.append(True)
        except apsw.ConstraintError:
            answers.append(False)
    with database.connect() as postgres:
        try:
            postgres.execute(statement.encode())
            answers.append(True)
        except psycopg.errors.IntegrityError:
            answers.append(False)
    return answers[0], answers[1]


CHECKS = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY, n INTEGER CHECK (n % 2 = 0), m INTEGER, s TEXT CHECK (s LIKE 'a_%' OR length(trim(s)) = 0),
  c TEXT COLLATE NOCASE CHECK (c IN ('red', 'Green')), b BOOLEAN CHECK (b IN (0, 1)),
  k TEXT CHECK (typeof(k) IN ('text', 'null')),
  CHECK (n < m OR m IS NULL), CHECK (CASE WHEN b THEN n IS NOT NULL ELSE 1 END),
  CHECK (coalesce(n, 0) + coalesce(m, 0) <= 100), CHECK (s > 'a' OR s = '')
)"""
ROWS = [
    "2, 4, 'ab', 'RED', true, 'x'",
    "3, 4, 'ab', 'red', true, 'x'",
    "4, 4, 'ab', 'red', true, 'x'",
    "NULL, 4, 'ab', 'red', false, NULL",
    "NULL, 4, 'ab', 'red', true, NULL",
    "2, NULL, 'Abc', 'GREEN', NULL, 'x'",
    "2, 4, 'a', 'green', NULL, 'x'",
    "2, 4, ' ', 'green', NULL, 'x'",
    "2, 4, '', 'green', NULL, 'x'",
    "2, 99, 'ab', 'green', NULL, 'x'",
    "2, 98, 'äb', 'green', NULL, 'x'",
    "2, 98, 'az', 'grün', NULL, 'x'",
    "NULL, NULL, NULL, NULL, NULL, NULL",
]


@pytest.mark.hazard("F41", "carried", mode="create")
def test_f41_checks_take_and_refuse_the_same_rows(tmp_path: Path, database: Database) -> None:
    planned(tmp_path, CHECKS, database)
    answers = [
        taken(tmp_path / "a.db", database, f"INSERT INTO t (n, m, s, c, b, k) VALUES ({row})") for row in ROWS
    ]
    assert all(here == there for here, there in answers), list(zip(ROWS, answers, strict=True))
    assert {here for here, _ in answers} == {True, False}


@pytest.mark.hazard("F41", "choice", mode="create")
def test_f41_a_check_that_is_not_translated_is_said_with_its_sql(tmp_path: Path) -> None:
    sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (json_extract(a, '$.x') > 1), b INTEGER CHECK (b > 1))"
    finding = the_finding(assess_file(make_file(tmp_path / "a.db", sql)), "F41")
    assert finding.severity == "choice" and "CHECK (json_extract(a, '$.x') > 1)" in finding.message
    assert "b > 1" not in finding.message and finding.settle == '[sqlite]\nleave_behind = ["t.check"]'
    left = assess_file(tmp_path / "a.db", Choices(leave_behind=("t.check",)))
    assert left.plan is not None and left.plan.table("t").checks == ('("b" > 1)',)


@pytest.mark.hazard("F41", "choice", mode="create")
def test_f41_text_of_a_utf_16_file_is_not_compared(tmp_path: Path) -> None:
    """SQLite orders it by its 16-bit units."""
    sql = "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a > 'b'), n INTEGER CHECK (n > 1))"
    found = assess_file(make_file(tmp_path / "a.db", sql))
    assert "CHECK (a > 'b')" in the_finding(found, "F41").message
    assert found.draft.table("t").checks == ('("n" > 1)',)


INDEXES = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, email TEXT COLLATE NOCASE, n INTEGER, m INTEGER, gone INTEGER,
                code TEXT COLLATE RTRIM);
CREATE UNIQUE INDEX by_lower ON t (lower(name));
CREATE UNIQUE INDEX by_email ON t (email) WHERE gone IS NULL;
CREATE INDEX by_sum ON t (n + m DESC, name COLLATE NOCASE ASC);
CREATE UNIQUE INDEX by_code ON t (code);
CREATE UNIQUE INDEX even ON t (n / 10) WHERE n % 2 = 0 AND name LIKE 'x%';
INSERT INTO t VALUES (1, 'Ann', 'A@x', 12, 1, NULL, 'c'), (2, 'Ärm', 'a@X', 25, NULL, 1, 'd '), (3, NULL, NULL, NULL, 3, NULL, NULL),
  (4, 'Xa', 'x', 40, 4, NULL, 'e'), (5, 'xb', 'y', 51, 4, NULL, ' e')
"""
INSERTS = [
    "INSERT INTO t (id, name) VALUES (11, 'ANN')",
    "INSERT INTO t (id, name) VALUES (12, 'ärm')",
    "INSERT INTO t (id, email) VALUES (13, 'a@X')",
    "INSERT INTO t (id, email, gone) VALUES (14, 'a@X', 1)",
    "INSERT INTO t (id, code) VALUES (15, 'c  ')",
    "INSERT INTO t (id, code) VALUES (16, 'C')",
    "INSERT INTO t (id, n, name) VALUES (17, 44, 'xx')",
    "INSERT INTO t (id, n, name) VALUES (18, 44, 'yy')",
    "INSERT INTO t (id, n, name) VALUES (19, 45, 'xz')",
]


@pytest.mark.hazard("F29", "carried", mode="create")
@pytest.mark.hazard("F30", "carried", mode="create")
@pytest.mark.hazard("F31", "carried", mode="create")
def test_f29_f30_f31_indexes_hold_the_same_rows_unique(trip: Callable[..., Trip], database: Database) -> None:
    """Partial, over expressions, descending, by collation: loaded and proven as migrate does it, then written to."""
    move = trip(INDEXES)
    move.migrate()
    plan = move.setup.plan()
    assert len(plan.table("t").indexes) == 5 and len(plan.table("t").expressions) == 5
    with (
        closing(FileReader(move.path)) as here,
        closing(SnapshotReader(database.admin_dsn, "public")) as there,
    ):
        (proof,) = prove_generated(plan, here, there, Silent())
    assert proof["equal"] and "even: WHERE" in proof["columns"] and "by_sum: n + m" in proof["columns"]
    answers = [taken(move.path, database, statement) for statement in INSERTS]
    assert all(here == there for here, there in answers), list(zip(INSERTS, answers, strict=True))
    assert [here for here, _ in answers] == [False, True, False, True, False, True, False, True, True]
    made = "\n".join(definition for (definition,) in move.in_postgres("SELECT indexdef FROM pg_indexes"))
    assert "DESC" in made and 'lower((name COLLATE "C"))' in made


@pytest.mark.hazard("F30", "choice", mode="create")
def test_f30_f29_what_is_not_translated_is_said_with_its_sql(tmp_path: Path) -> None:
    sql = """CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, big TEXT);
             CREATE INDEX i ON t (date(a)); CREATE UNIQUE INDEX j ON t (a) WHERE a GLOB '[x]*'; CREATE INDEX k ON t (lower(big));
             INSERT INTO t VALUES (1, 'a', hex(zeroblob(2000)))"""
    found = assess_file(make_file(tmp_path / "a.db", sql))
    said = {f.settle: f for f in found.findings if f.code in ("F29", "F30")}
    assert len(said) == 3 and all(f.severity == "choice" for f in said.values())
    assert "date(a)" in said['[sqlite]\nleave_behind = ["i"]'].message
    assert "a GLOB '[x]*'" in said['[sqlite]\nleave_behind = ["j"]'].message
    assert "over 2600 bytes" in said['[sqlite]\nleave_behind = ["k"]'].message


@pytest.mark.hazard("F2", "carried", mode="create")
@pytest.mark.hazard("F3", "carried", mode="create")
@pytest.mark.hazard("F19", "carried", mode="create")
def test_f2_f3_f19_defaults_give_the_same_row(tmp_path: Path, database: Database) -> None:
    sql = """CREATE TABLE t (id INTEGER PRIMARY KEY, flag BOOLEAN DEFAULT false, other NUMERIC DEFAULT true,
               said TEXT DEFAULT "x y", week INTEGER DEFAULT (7 * 24 * 60), half REAL DEFAULT (1 / 2.0),
               label TEXT DEFAULT ('v' || 1), made TEXT DEFAULT CURRENT_TIMESTAMP, at INTEGER DEFAULT (unixepoch()))"""
    planned(tmp_path, sql, database)
    with closing(apsw.Connection(str(tmp_path / "a.db"))) as sqlite:
        sqlite.execute("INSERT INTO t (id) VALUES (1)").fetchall()
        (here,) = sqlite.execute("SELECT flag, other, said, week, half, label, made, at FROM t").fetchall()
    with database.connect() as postgres:
        postgres.execute("INSERT INTO t (id) VALUES (1)")
        row = postgres.execute("SELECT flag::int, other, said, week, half, label, made, at FROM t").fetchone()
    assert row is not None
    assert here[:6] == row[:6] == (0, 1, "x y", 10080, 0.5, "v1")
    assert str(here[6])[:10] == str(row[6])[:10] and abs(here[7] - row[7]) < 10


@pytest.mark.hazard("F3", "choice", mode="create")
@pytest.mark.parametrize(
    "default",
    [
        "(datetime('now', 'localtime'))",
        "(julianday('now'))",
        "(lower(hex(randomblob(16))))",
        "(random())",
        "(1.5 || '')",
    ],
)
def test_f3_a_default_that_is_not_translated_is_said(tmp_path: Path, default: str) -> None:
    path = make_file(tmp_path / "a.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT {default})")
    finding = the_finding(assess_file(path), "F3")
    assert finding.severity == "choice" and default[1:-1] in finding.message
    assert finding.settle == '[sqlite]\nleave_behind = ["t.a.default"]'


MOVED = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, cents INTEGER, folded TEXT AS (lower(name)) STORED, half AS (cents / 2));
CREATE TABLE plain (a TEXT, b TEXT AS (a || '!'));
CREATE INDEX t_folded ON t (folded) WHERE half > 0;
CREATE VIEW rich AS SELECT id, folded, half FROM t WHERE cents > 100;
INSERT INTO t (id, name, cents) VALUES (1, 'Ann', 250), (2, 'BOB', 7), (3, NULL, NULL);
INSERT INTO plain (a) VALUES ('x'), ('x')
"""


@pytest.mark.hazard("F32", "carried", mode="create")
@pytest.mark.hazard("F41", "carried", mode="create")
def test_f32_f41_there_and_back_with_generated_columns_and_views(
    trip: Callable[..., Trip], database: Database
) -> None:
    """Capture passes generated columns over, the catalogue is as it was, and SQLite computes its own again."""
    move = trip(
        MOVED, settle='[tables.plain]\nreplica_identity = "full"\n[sqlite]\nleave_behind = ["plain.b"]'
    )
    move.there()
    move.write(
        "INSERT INTO t (id, name, cents) VALUES (4, 'Eve', 500)",
        "UPDATE t SET name = 'Zed' WHERE id = 1",
        "INSERT INTO plain (a) VALUES ('y')",
        "DELETE FROM t WHERE id = 2",
    )
    assert move.in_postgres("SELECT id, folded, half FROM rich ORDER BY id") == [
        (1, "zed", 125),
        (4, "eve", 250),
    ]
    with database.connect(app=True) as application:  # the views are the application's own
        application.execute("CREATE OR REPLACE VIEW rich AS SELECT id, folded, half FROM t WHERE cents > 100")
        application.execute("SELECT * FROM rich")
    assert move.proven_equal()
    move.back()
    assert move.in_sqlite("SELECT id, folded, half FROM rich ORDER BY id") == [
        (1, "zed", 125),
        (4, "eve", 250),
    ]
    assert move.in_sqlite("SELECT b FROM plain ORDER BY a") == [("x!",), ("x!",), ("y!",)]
