"""What the gate asks of SQLite costs what was changed, not what is there (REPLICATION: The gate)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from capturing import column, table
from turnback.adapters.sqlite.introspect import read_schema
from turnback.adapters.sqlite.reader import FileReader
from turnback.adapters.sqlite.touched_keys import foreign_key_violations, large_unindexed_references
from turnback.core.plan import ForeignKeyPlan, Plan

SCHEMA = """
CREATE TABLE team (id TEXT NOT NULL PRIMARY KEY, code TEXT UNIQUE);
CREATE TABLE member (id INTEGER PRIMARY KEY, team TEXT REFERENCES team (id), boss TEXT REFERENCES team (id),
                     code TEXT REFERENCES team (code));
CREATE INDEX member_team ON member (team);
CREATE INDEX member_code ON member (code);
INSERT INTO team VALUES ('red', 'r'), ('blue', 'b');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
INSERT INTO member SELECT i, 'red', 'blue', 'r' FROM n;
"""
TEXT = [column(name, "text", "TEXT") for name in ("id", "code", "team", "boss")]
TEAM = table("team", ("id",), TEXT[0], TEXT[1])
REFERS = tuple(
    ForeignKeyPlan(f"member_{own}_fkey", (own,), "team", (other,), "NO ACTION", "NO ACTION", False)
    for own, other in (("team", "id"), ("boss", "id"), ("code", "code"))
)
MEMBER = table(
    "member", ("id",), column("id", "integer", "INTEGER"), TEXT[2], TEXT[3], TEXT[1], foreign_keys=REFERS
)
PLAN = Plan("create", "public", (TEAM, MEMBER))


@pytest.fixture
def file(tmp_path: Path):
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    for _ in connection.execute(SCHEMA):
        pass
    yield path, connection
    connection.close()


def test_a_count_stops(file):
    path, _ = file
    reader = FileReader(path)
    try:
        assert (reader.count(MEMBER), reader.count(MEMBER, at_most=7)) == (50, 7)
        assert reader.count(MEMBER, at_most=51) == 50
    finally:
        reader.close()


def test_only_large_tables_without_a_way_to_the_children_are_left_out(file):
    path, connection = file
    schema = read_schema(connection, path)
    touched = {"team": [("red",)]}
    assert large_unindexed_references(connection, schema, PLAN, touched, 50) == []
    # `team` has an index; `boss` has none; of `code` only the parent's present value is known.
    assert large_unindexed_references(connection, schema, PLAN, touched, 49) == [
        "member (boss)",
        "member (code)",
    ]
    assert large_unindexed_references(connection, schema, PLAN, {"member": [("1",)]}, 49) == []


def test_children_of_parents_that_are_gone(file):
    path, connection = file
    schema = read_schema(connection, path)
    touched = {"team": [("red",), ("blue",), ("never there",)]}
    assert foreign_key_violations(connection, schema, PLAN, touched) == []
    connection.execute("DELETE FROM team WHERE id = 'red'")
    said = foreign_key_violations(connection, schema, PLAN, touched)
    assert [s.split(" refer")[0] for s in said] == ["50 rows of member (team)", "50 rows of member (code)"]
    assert foreign_key_violations(connection, schema, PLAN, touched, ["member (team)", "member (code)"]) == []
    own = foreign_key_violations(
        connection, schema, PLAN, {"member": [("3",)]}, ["member (team)", "member (code)"]
    )
    assert [s.split(" refer")[0] for s in own] == ["1 rows of member (team)", "1 rows of member (code)"]


@pytest.mark.hazard("F28", "choice")
def test_f28_what_postgres_does_not_have_is_not_demanded(file):
    """Left behind by choice: PostgreSQL takes rows that break it, and they come back."""
    path, connection = file
    schema = read_schema(connection, path)
    plan = Plan("create", "public", (TEAM, replace(MEMBER, foreign_keys=REFERS[1:])))
    connection.execute("DELETE FROM team WHERE id = 'red'")
    touched = {"team": [("red",)], "member": [("3",)]}
    said = foreign_key_violations(connection, schema, plan, touched)
    assert [s.split(" refer")[0] for s in said] == ["1 rows of member (code)"]


def test_a_parent_in_its_own_collation(tmp_path):
    """SQLite compares a foreign key as the parent's column is declared."""
    connection = apsw.Connection(str(tmp_path / "nocase.db"))
    try:
        for _ in connection.execute(
            "CREATE TABLE team (id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, code TEXT);"
            "CREATE TABLE member (id INTEGER PRIMARY KEY, team TEXT REFERENCES team (id), boss TEXT, code TEXT);"
            "INSERT INTO team VALUES ('Red', 'r'); INSERT INTO member VALUES (1, 'red', NULL, NULL)"
        ):
            pass
        schema = read_schema(connection, tmp_path / "nocase.db")
        assert not list(connection.execute("PRAGMA foreign_key_check"))
        assert foreign_key_violations(connection, schema, PLAN, {"member": [("1",)]}) == []
    finally:
        connection.close()
