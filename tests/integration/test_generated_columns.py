"""Generated columns: made by both sides, compared after loading (HAZARDS F32)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from assessing import NoProgress, assess_file, make_file, run_statements
from conftest import Database
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.certify import prove_generated
from turnback.app.copy import copy_tables
from turnback.app.verify import compare
from turnback.core.choices import Choices, TableChoice
from turnback.core.ddl import drop_schema
from turnback.core.plan import Plan, from_json
from two_sides import load, no_failure

SQL = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY, first TEXT, last TEXT COLLATE NOCASE, cents INTEGER, rate REAL, active BOOLEAN,
  whole TEXT NOT NULL AS (coalesce(first, '') || ' ' || last),
  folded TEXT GENERATED ALWAYS AS (lower(trim(first))) STORED,
  euros INTEGER AS (cents / 100),
  rest INTEGER GENERATED ALWAYS AS (cents % 100) VIRTUAL,
  total REAL AS (cents * rate),
  plain AS (cents + 1),
  numbered NUMERIC AS (rate * 2),
  is_smith BOOLEAN AS (last = 'smith'),
  flag INTEGER AS (active AND cents > 5),
  label VARCHAR(20) AS (CASE WHEN cents > 100 THEN 'much' WHEN cents > 0 THEN 'some' END),
  counted TEXT AS (cents),
  at DATETIME,
  day DATE AS (date(at))
);
CREATE INDEX t_folded ON t (folded);
CREATE UNIQUE INDEX t_whole ON t (whole) WHERE euros > 1;
INSERT INTO t (id, first, last, cents, rate, active, at) VALUES
  (1, ' Änne ', 'SMITH', 250, 0.5, 1, '2024-02-29 10:00:00'), (2, NULL, 'Smith', -250, 1.25, 0, NULL),
  (3, 'B', 'x', NULL, NULL, NULL, '2024-02-29 23:59:59'),
  (4, 'c', '', 99, 3.0, 1, NULL), (5, 'd', 'smitH ', 0, -0.5, 1, '1999-12-31 00:00:00');
"""


def proven(path: Path, plan: Plan, database: Database) -> list[dict]:
    with closing(FileReader(path)) as here, closing(SnapshotReader(database.admin_dsn, plan.schema)) as there:
        assert compare(plan, here, there, NoProgress(), check_round_trip=True).equal
        return prove_generated(plan, here, there, NoProgress())


@pytest.mark.hazard("F32", "carried", mode="create")
def test_f32_generated_columns_are_generated_on_the_other_side_and_equal(
    tmp_path: Path, database: Database
) -> None:
    path = make_file(tmp_path / "a.db", SQL)
    found = assess_file(path)
    assert found.plan is not None, [f for f in found.findings if f.severity != "carries"]
    plan = from_json(found.plan.to_json())
    assert plan == found.plan
    assert len(plan.table("t").generated) == 12
    load(path, plan, database.admin_dsn)
    (proof,) = proven(path, plan, database)
    assert proof["equal"], proof["headline"]
    assert proof["rows"] == 5 and {"whole", "counted"} <= set(proof["columns"])
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT folded, euros, rest, is_smith, numbered, flag FROM t ORDER BY id"
        ).fetchall()
    assert rows[0] == ("Änne", 2, 50, True, 1.0, 1)
    assert rows[1][1:3] == (-2, -50)
    run_statements(database.admin_dsn, drop_schema(plan))


@pytest.mark.hazard("F32", "carried", mode="create")
def test_f32_a_generated_value_that_differs_is_found(tmp_path: Path, database: Database) -> None:
    path = make_file(tmp_path / "a.db", SQL)
    plan = assess_file(path).plan
    assert plan is not None
    wrong = plan.to_json().replace('(\\"cents\\" / nullif(100::bigint, 0))', '(\\"cents\\" / 10)')
    assert wrong != plan.to_json()
    load(path, from_json(wrong), database.admin_dsn)
    (proof,) = proven(path, from_json(wrong), database)
    assert not proof["equal"] and "euros" in proof["headline"]


@pytest.mark.hazard("F32", "choice", mode="create")
@pytest.mark.parametrize(
    ("declared", "expression", "reason"),
    [
        ("INTEGER", "abs(random()) % 5 + hidden(id)", "is not translated"),
        ("TEXT", "json_extract(doc, '$.a')", "is not translated"),
        ("TEXT", "r", "real in a column of TEXT affinity"),
        ("DATETIME", "substr(doc, 1, 10)", "text in a column of NUMERIC affinity"),
        ("TEXT", "strftime('%Y', doc)", "is not translated"),
        ("INTEGER", "other + 1", "other is generated too"),
    ],
)
def test_f32_what_is_not_translated_is_a_finding_with_its_sql(
    tmp_path: Path, declared: str, expression: str, reason: str
) -> None:
    if "hidden" in expression:
        expression = "instr(id, doc) + unicode(doc)"
    path = make_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, r REAL, "
        f"other INTEGER AS (unicode(doc)), g {declared} AS ({expression})); INSERT INTO t VALUES (1, '{{}}', 0.5)",
    )
    found = assess_file(path, Choices(leave_behind=("t.other",)))
    finding = next(f for f in found.findings if f.code == "F32" and f.column == "g")
    assert finding.severity == "choice" and expression in finding.message and reason in finding.message
    assert finding.settle == '[sqlite]\nleave_behind = ["t.g"]'
    left = assess_file(path, Choices(leave_behind=("t.other", "t.g")))
    assert left.plan is not None and left.plan.table("t").generated == ()


@pytest.mark.hazard("F32", "choice", mode="create")
def test_f32_not_where_whole_rows_identify_rows(tmp_path: Path) -> None:
    """PostgreSQL 18 refuses every UPDATE of such a table."""
    path = make_file(tmp_path / "a.db", "CREATE TABLE t (a TEXT, b TEXT AS (a || '!'))")
    whole = {"t": TableChoice(full=True)}
    (finding,) = [f for f in assess_file(path, Choices(tables=whole)).findings if f.code == "F32"]
    assert finding.severity == "choice" and "whole rows" in finding.message
    left = assess_file(path, Choices(tables=whole, leave_behind=("t.b",)))
    assert left.plan is not None and left.plan.table("t").generated == ()


@pytest.mark.hazard(
    "F32", "refused", mode="existing", why="PostgreSQL does not identify whole rows with a generated column"
)
def test_f32_not_in_an_existing_table_without_a_key(tmp_path: Path, database: Database) -> None:
    path = make_file(tmp_path / "a.db", "CREATE TABLE t (a TEXT, b TEXT AS (a || '!'))")
    run_statements(
        database.admin_dsn, ["CREATE TABLE public.t (a text, b text GENERATED ALWAYS AS (a || '!') STORED)"]
    )
    whole = Choices(tables={"t": TableChoice(full=True)})
    found = assess_file(path, whole, target_dsn=database.admin_dsn, existing=True)
    assert [f.severity for f in found.findings if f.code == "F32"] == ["carries", "refused"]


@pytest.mark.hazard("F32", "carried", mode="existing")
def test_f32_both_sides_generate_and_are_compared(tmp_path: Path, database: Database) -> None:
    path = make_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INTEGER, up TEXT AS (upper(a)), twice AS (n * 2));"
        "INSERT INTO t (a, n) VALUES ('x', 1), (NULL, NULL)",
    )
    run_statements(
        database.admin_dsn,
        [
            "CREATE TABLE public.t (id bigint PRIMARY KEY, a text, n bigint, "
            "up text GENERATED ALWAYS AS (upper(a)) STORED, twice bigint GENERATED ALWAYS AS (n * 2) STORED)"
        ],
    )
    found = assess_file(path, target_dsn=database.admin_dsn, existing=True)
    assert found.plan is not None
    assert [g.column.postgres for g in found.plan.table("t").generated] == ["up", "twice"]
    with closing(Loader(database.admin_dsn, found.plan, run_token="run")) as loader:
        loader.prepare([])
        with closing(FileReader(path)) as reader:
            copy_tables(found.plan, reader, loader, NoProgress(), no_failure)
    (proof,) = proven(path, found.plan, database)
    assert proof["equal"] and proof["columns"] == ["up", "twice"]


@pytest.mark.hazard("F32", "choice", mode="existing")
def test_f32_a_type_that_is_not_compared_is_said(tmp_path: Path, database: Database) -> None:
    path = make_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, words TEXT AS (lower(a)), l AS (a))",
    )
    run_statements(
        database.admin_dsn,
        [
            "CREATE TABLE public.t (id bigint PRIMARY KEY, a text, l text GENERATED ALWAYS AS (a) STORED, "
            "words tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.simple'::regconfig, a)) STORED)"
        ],
    )
    found = assess_file(path, Choices(leave_behind=("t.l",)), target_dsn=database.admin_dsn, existing=True)
    said = {f.column: f.message for f in found.findings if f.code == "F32"}
    assert "not compared: tsvector" in said["words"] and "left behind" in said["l"]
    assert found.plan is not None and found.plan.table("t").generated == ()
