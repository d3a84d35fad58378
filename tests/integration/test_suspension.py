"""Foreign keys and triggers set aside for a load, put back, and proven by the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from conftest import Database
from turnback.adapters.postgres.constraints import Suspension
from turnback.adapters.postgres.load import Loader
from turnback.errors import ProofFailed, ServerError
from two_sides import integer, plan_of, table_plan, text

PARENTS = table_plan("parents", integer("id"), integer("favourite"))
CHILDREN = table_plan("children", integer("id"), integer("a"), integer("b"), text("name"))
PLAN = plan_of(CHILDREN, PARENTS, mode="existing")

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS citext;
SET ROLE app;
CREATE TABLE parents (id bigint PRIMARY KEY, favourite bigint, a bigint, b bigint, UNIQUE (a, b));
CREATE TABLE children (
    id bigint PRIMARY KEY, a bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED, b bigint,
    name text CHECK (name <> 'bad'), CONSTRAINT whole FOREIGN KEY (a, b) REFERENCES parents (a, b) MATCH FULL
);
ALTER TABLE parents ADD CONSTRAINT loves FOREIGN KEY (favourite) REFERENCES children ON DELETE SET NULL;
CREATE TABLE outside (id bigint REFERENCES parents ON DELETE CASCADE);
ALTER TABLE outside ADD CONSTRAINT lax FOREIGN KEY (id) REFERENCES children NOT VALID;
CREATE TABLE log (what text);
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN NULL; END $$;
CREATE TRIGGER origin AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE TRIGGER always AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE TRIGGER replica AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE TRIGGER off AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION log_it();
ALTER TABLE children ENABLE ALWAYS TRIGGER always;
ALTER TABLE children ENABLE REPLICA TRIGGER replica;
ALTER TABLE children DISABLE TRIGGER off;
RESET ROLE;
"""

CATALOGUE = """
SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), convalidated::text
FROM pg_constraint WHERE contype = 'f'
UNION ALL
SELECT tgrelid::regclass::text, tgname::text, tgenabled::text, '' FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2
"""


@pytest.fixture
def session(database: Database) -> psycopg.Connection:
    session = database.connect()
    session.execute(SCHEMA)
    return session


@pytest.fixture(params=["superuser", "owner"])
def dsn(request: pytest.FixtureRequest, database: Database) -> str:
    """Of either rung of the ladder."""
    return database.admin_dsn if request.param == "superuser" else database.app_dsn


@pytest.fixture
def loader(dsn: str, session: psycopg.Connection) -> Iterator[Loader]:
    loader = Loader(dsn, PLAN, run_token="run")
    loader.prepare([])
    yield loader
    loader.close()


def load_children_first(loader: Loader) -> None:
    loader.load(CHILDREN, [("1", "10", None, "x"), ("2", None, None, None)], (2,))
    loader.load(PARENTS, [("10", "2"), ("11", "1")], (11,))


def test_tables_that_refer_to_each_other_load_in_any_order(
    dsn: str, loader: Loader, session: psycopg.Connection
) -> None:
    session.execute("ALTER TABLE children DROP CONSTRAINT whole")  # its half keys are another test's
    before = session.execute(CATALOGUE).fetchall()
    suspension = Suspension(dsn, PLAN)
    former = suspension.describe()
    assert former["rung"] == ("drop" if "app:" in dsn else "replica_role")
    suspension.suspend()
    load_children_first(loader)
    assert session.execute("SELECT count(*) FROM log").fetchone() == (0,)

    # Another process, after a crash: it has only what the journal holds.
    resumed = Suspension(dsn, PLAN, former=json.loads(json.dumps(former)))
    resumed.suspend()
    resumed.restore()
    resumed.restore()
    assert session.execute(CATALOGUE).fetchall() == before
    resumed.prove(PLAN)
    session.execute("INSERT INTO children VALUES (3, 10, NULL, 'y')")
    assert session.execute("SELECT what FROM log ORDER BY 1").fetchall() == [("always",), ("origin",)]


@pytest.mark.parametrize(
    ("children", "parents", "message"),
    [
        ([("1", "10", None, "x")], [("11", None)], r'children: .* "children_a_fkey": .*\(10\)'),
        ([("1", None, None, "x")], [("11", "7")], r'parents: .* "loves": .*\(7\)'),
    ],
    ids=["orphan", "orphan the other way"],
)
def test_orphans_are_found(
    dsn: str,
    loader: Loader,
    session: psycopg.Connection,
    children: list[tuple[str | None, ...]],
    parents: list[tuple[str | None, ...]],
    message: str,
) -> None:
    suspension = Suspension(dsn, PLAN)
    suspension.describe()
    suspension.suspend()
    loader.load(CHILDREN, children, (1,))
    loader.load(PARENTS, parents, (1,))
    with pytest.raises(ProofFailed, match=message):
        suspension.restore()
        suspension.prove(PLAN)


def broken(session: psycopg.Connection, *statements: str) -> None:
    """Past the constraints: what a superuser's load, or a damaged index, can leave behind."""
    session.execute("SET session_replication_role = replica")
    for statement in statements:
        session.execute(statement)
    session.execute("RESET session_replication_role")


def test_a_half_key_breaks_match_full(database: Database, session: psycopg.Connection) -> None:
    broken(
        session, "INSERT INTO parents VALUES (5)", "INSERT INTO children VALUES (1, 5, NULL), (2, 5, NULL)"
    )
    with pytest.raises(ProofFailed, match=r'children: 2 rows have no parent .* "whole": \(5,\), \(5,\)'):
        Suspension(database.admin_dsn, PLAN).prove(PLAN)


def test_the_first_five_keys_of_many_are_named(database: Database, session: psycopg.Connection) -> None:
    broken(session, "INSERT INTO children SELECT i, i, i FROM generate_series(1, 2000) i")
    with pytest.raises(ProofFailed) as caught:
        Suspension(database.admin_dsn, PLAN).prove(PLAN)
    assert str(caught.value) == (
        'children: 2000 rows have no parent for the foreign key "children_a_fkey": (1), (2), (3), (4), (5)'
    )


def test_a_table_outside_the_plan_that_refers_to_it_is_proven_too(
    database: Database, session: psycopg.Connection
) -> None:
    broken(session, "INSERT INTO outside VALUES (99)")
    with pytest.raises(ProofFailed, match=r'outside: 1 rows .* "outside_id_fkey": \(99\)'):
        Suspension(database.admin_dsn, PLAN).prove(PLAN)


def test_a_constraint_that_does_not_say_validated_is_not_asked(
    database: Database, session: psycopg.Connection
) -> None:
    """`lax` was NOT VALID when the application made it: rows that break it are its own choice."""
    broken(session, "INSERT INTO parents VALUES (1)", "INSERT INTO outside VALUES (1)")
    Suspension(database.admin_dsn, PLAN).prove(PLAN)


def test_a_broken_check_is_found(database: Database, session: psycopg.Connection) -> None:
    session.execute("ALTER TABLE children DROP CONSTRAINT children_name_check")
    session.execute("INSERT INTO children VALUES (1, NULL, NULL, 'bad')")
    session.execute("ALTER TABLE children ADD CONSTRAINT c CHECK (name <> 'bad') NOT VALID")
    Suspension(database.admin_dsn, PLAN).prove(PLAN)
    session.execute("UPDATE pg_constraint SET convalidated = true WHERE conname = 'c'")
    with pytest.raises(ProofFailed, match='children: 1 rows break the check "c"'):
        Suspension(database.admin_dsn, PLAN).prove(PLAN)


def test_a_unique_index_that_lies_is_found(database: Database, session: psycopg.Connection) -> None:
    session.execute("INSERT INTO parents (id, a, b) VALUES (1, 1, 1), (2, NULL, 1), (3, NULL, 1)")
    Suspension(database.admin_dsn, PLAN).prove(PLAN)
    session.execute("UPDATE pg_index SET indisready = false WHERE indexrelid = 'parents_a_b_key'::regclass")
    session.execute("INSERT INTO parents (id, a, b) VALUES (4, 1, 1)")
    session.execute("UPDATE pg_index SET indisready = true WHERE indexrelid = 'parents_a_b_key'::regclass")
    with pytest.raises(ProofFailed, match=r'parents: 1 keys stand twice under "parents_a_b_key": \(1,1\)'):
        Suspension(database.admin_dsn, PLAN).prove(PLAN)


def test_a_foreign_key_compares_as_its_types_do(database: Database) -> None:
    session = database.connect()
    session.execute("CREATE EXTENSION IF NOT EXISTS citext")
    session.execute("CREATE TABLE p (id citext PRIMARY KEY)")
    session.execute("CREATE TABLE c (id citext REFERENCES p)")
    session.execute("INSERT INTO p VALUES ('Key'); INSERT INTO c VALUES ('KEY')")
    plan = plan_of(table_plan("p", text("id")), table_plan("c", text("id"), key=()), mode="existing")
    Suspension(database.admin_dsn, plan).prove(plan)
    broken(session, "INSERT INTO c VALUES ('other')")
    with pytest.raises(ProofFailed, match=r"\(other\)"):
        Suspension(database.admin_dsn, plan).prove(plan)


def test_definitions_that_changed_meanwhile_are_named(dsn: str, session: psycopg.Connection) -> None:
    suspension = Suspension(dsn, PLAN)
    suspension.describe()
    suspension.suspend()
    session.execute("ALTER TABLE parents DROP CONSTRAINT IF EXISTS loves")
    session.execute("ALTER TABLE parents ADD CONSTRAINT loves FOREIGN KEY (favourite) REFERENCES children")
    with pytest.raises(ProofFailed, match=r"parents\.loves"):
        suspension.restore()


def test_the_fence_is_not_set_aside(dsn: str, loader: Loader, session: psycopg.Connection) -> None:
    session.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fenced'; END $$"
    )
    session.execute(
        "CREATE TRIGGER turnback_fence BEFORE INSERT ON children EXECUTE FUNCTION refuse();"
        "ALTER TABLE children ENABLE ALWAYS TRIGGER turnback_fence"
    )
    suspension = Suspension(dsn, PLAN)
    state: dict[str, Any] = suspension.describe()
    suspension.suspend()
    assert "turnback_fence" not in [t["name"] for t in state["triggers"]]
    with pytest.raises(ServerError, match="fenced"):
        loader.load(CHILDREN, [("1", None, None, None)], (1,))
