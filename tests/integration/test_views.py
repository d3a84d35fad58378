"""Views: translated where exact, compared with what SQLite gives; else said with their SQL (HAZARDS F41)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from assessing import NoProgress, assess_file, make_file, run_statements
from conftest import Database
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.certify import prove_generated
from turnback.core.choices import Choices, TableChoice
from turnback.core.ddl import drop_schema
from turnback.core.plan import Plan, from_json
from two_sides import load

TABLES = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT COLLATE NOCASE, active BOOLEAN,
                    born DATE, score REAL, tag TEXT AS (lower(name)), hidden TEXT AS (unicode(name)));
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users, cents INTEGER, note TEXT, placed DATETIME, paid TIMESTAMP);
INSERT INTO users (id, name, email, active, born, score) VALUES
  (1, 'Ann', 'A@x', 1, '2020-01-31', 0.5), (2, 'bob', 'a@X', 0, NULL, NULL), (3, 'Ärmel', NULL, NULL, '1999-12-31', -0.0),
  (4, 'ann', 'b@x', 1, '2020-01-31', 1.5);
INSERT INTO orders VALUES
  (1, 1, 250, 'x', '2024-02-29 23:59:59', '2024-02-29T23:59:59Z'), (2, 1, NULL, 'x', NULL, NULL),
  (3, 2, 7, NULL, '2024-02-29 00:00:00', '2024-03-01T00:00:00Z'),
  (4, NULL, 0, '', '2023-01-01 12:00:00', '2023-12-31T12:00:00Z'), (5, 4, 250, 'x', NULL, '2024-03-01T01:00:00Z');
"""
GOOD = {
    "plain": "SELECT id, name AS who, born, active, score FROM users",
    "everything": "SELECT * FROM orders",
    "some": "SELECT name FROM users WHERE active AND score > 0.25 OR email = 'A@X'",
    "joined": "SELECT u.name, o.* FROM users u JOIN orders o ON o.user_id = u.id WHERE o.cents IS NOT NULL",
    "lefted": "SELECT u.id AS id, u.name AS name, o.id AS o FROM users AS u LEFT OUTER JOIN orders AS o ON u.id = o.user_id",
    "computed": "SELECT id, note || '-' || id AS label, cents / 3 AS third, cents > 5 AS big, coalesce(note, '?') AS n "
    "FROM orders",
    "counted": "SELECT user_id, count(*) AS n, count(cents) AS filled, sum(cents) AS total, min(cents) AS low, "
    "max(note) AS top, avg(cents) AS mean FROM orders GROUP BY user_id HAVING count(*) > 0",
    "whole": "SELECT count(*) AS n, coalesce(sum(cents), 0) AS total, count(DISTINCT note) AS notes FROM orders",
    "ordered": "SELECT name, tag FROM users ORDER BY name DESC, id",
    "daily": "SELECT date(placed) AS day, count(*) AS n, sum(cents) AS c FROM orders GROUP BY 1",
    "zoned": "SELECT date(paid) AS day, cents > 5 AS big, count(*) AS n FROM orders GROUP BY day, big",
    "mixed": "SELECT lower(note) || 's' AS notes, max(id) AS last FROM orders GROUP BY lower(note)",
    "distincted": "SELECT DISTINCT cents, note FROM orders",
    "renamed": "SELECT id, cents FROM orders WHERE note LIKE 'X%'",
    "nested": "SELECT label, third + 1 AS more FROM computed WHERE big = 1",
}


def view_sql(name: str, select: str) -> str:
    return f'CREATE VIEW "{name}"{" (a, b)" if name == "renamed" else ""} AS {select};\n'


def proven(path: Path, plan: Plan, database: Database) -> dict[str, dict]:
    with closing(FileReader(path)) as here, closing(SnapshotReader(database.admin_dsn, plan.schema)) as there:
        return {p["table"]: p for p in prove_generated(plan, here, there, NoProgress())}


@pytest.mark.hazard("F41", "carried", mode="create")
def test_f41_views_are_translated_and_give_the_same_rows(tmp_path: Path, database: Database) -> None:
    first, *others = GOOD
    names = [*others, first]  # a view may be made before one that it reads
    path = make_file(tmp_path / "a.db", TABLES + "".join(view_sql(n, GOOD[n]) for n in reversed(names)))
    found = assess_file(path, Choices(leave_behind=("users.hidden",)))
    assert found.plan is not None, [f.message for f in found.findings if f.severity != "carries"]
    plan = from_json(found.plan.to_json())
    assert plan == found.plan and {v.sqlite for v in plan.views} == set(GOOD)
    load(path, plan, database.admin_dsn)
    proofs = proven(path, plan, database)
    assert set(proofs) == {*GOOD, "users"}
    for proof in proofs.values():
        assert proof["equal"], proof["headline"]
    assert proofs["lefted"]["rows"] == 5 and proofs["nested"]["rows"] == 3
    run_statements(database.admin_dsn, drop_schema(plan))
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_views WHERE schemaname = 'public'").fetchone() == (
            0,
        )


def test_f41_a_view_that_gives_other_rows_is_found(tmp_path: Path, database: Database) -> None:
    path = make_file(
        tmp_path / "a.db", TABLES + view_sql("big", "SELECT id, cents FROM orders WHERE cents > 5")
    )
    plan = assess_file(path, Choices(leave_behind=("users.hidden",))).plan
    assert plan is not None
    wrong = from_json(plan.to_json().replace("> 5", "> 7"))
    load(path, wrong, database.admin_dsn)
    proof = proven(path, wrong, database)["big"]
    assert not proof["equal"] and "missing in postgres" in proof["headline"]


@pytest.mark.hazard("F41", "choice", mode="create")
@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("SELECT * FROM users", "hidden"),
        ("SELECT name, count(*) AS n FROM users", "name is no part of the group"),
        ("SELECT id FROM users LIMIT 2", "limit"),
        ("SELECT id FROM users UNION SELECT id FROM orders", "no plain SELECT"),
        ("SELECT id FROM users WHERE id IN (SELECT user_id FROM orders)", ""),
        ("SELECT group_concat(name) AS g FROM users", ""),
        ("SELECT sum(score) AS s FROM users", ""),
        ("SELECT u.id FROM users u, orders o", "JOIN without ON"),
        ("SELECT u.id FROM users u JOIN orders o USING (id)", "JOIN"),
        ("SELECT strftime('%Y', born) AS y FROM users", ""),
        ("SELECT email, count(*) AS n FROM users GROUP BY email", "collation"),
        ("SELECT id, row_number() OVER (ORDER BY id) AS r FROM users", ""),
        ("WITH w AS (SELECT id FROM users) SELECT id FROM w", ""),
        ("SELECT id + 1 FROM users", "without a name"),
        ("SELECT score, count(*) AS n FROM users GROUP BY score", "groups of real"),
        ("SELECT upper(name) AS tag, count(*) AS n FROM users GROUP BY tag", "an alias and a column"),
        ("SELECT id, upper(note) AS u, count(*) AS n FROM orders GROUP BY 2", "id is no part of the group"),
        ("SELECT x.id FROM gone x", "gone is not carried"),
    ],
)
def test_f41_what_is_not_translated_is_a_finding_with_its_sql(
    tmp_path: Path, select: str, reason: str
) -> None:
    tables = TABLES + "CREATE TABLE gone (id INTEGER PRIMARY KEY);"
    path = make_file(tmp_path / "a.db", tables + view_sql("v", select))
    without = {"gone": TableChoice(exclude=True)}
    found = assess_file(path, Choices(tables=without, leave_behind=("users.hidden",)))
    (finding,) = [f for f in found.findings if f.code == "F41"]
    assert finding.severity == "choice" and reason in finding.message and select[:40] in finding.message
    assert finding.settle == '[sqlite]\nleave_behind = ["v"]'
    left = assess_file(path, Choices(tables=without, leave_behind=("users.hidden", "v")))
    assert left.plan is not None and left.plan.views == ()


@pytest.mark.hazard("F41", "choice", mode="create")
def test_f41_a_trigger_is_a_finding_with_its_sql(tmp_path: Path) -> None:
    path = make_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT 1; END",
    )
    (finding,) = [f for f in assess_file(path).findings if f.code == "F41"]
    assert finding.severity == "choice" and "AFTER DELETE" in finding.message


@pytest.mark.hazard("F41", "carried", mode="existing")
def test_f41_views_and_triggers_of_an_existing_schema_are_its_own(tmp_path: Path, database: Database) -> None:
    path = make_file(
        tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t"
    )
    run_statements(
        database.admin_dsn,
        ["CREATE TABLE public.t (id bigint PRIMARY KEY)", "CREATE VIEW public.v AS SELECT id FROM public.t"],
    )
    found = assess_file(path, target_dsn=database.admin_dsn, existing=True)
    (finding,) = [f for f in found.findings if f.code == "F41"]
    assert finding.severity == "carries" and found.plan is not None and found.plan.views == ()
