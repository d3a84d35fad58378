"""Existing mode: what the application's own schema has that the SQLite file lacks, and the other way round."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import apsw
import psycopg
import pytest

from conftest import Database
from trips import Trip, findings, same
from trips import trip as trip
from turnback.adapters.postgres.load import Loader
from turnback.core.findings import blocking
from turnback.core.phases import Intent
from turnback.core.plan import TablePlan
from turnback.errors import NeedsChoice, ProofFailed
from two_sides import integer, plan_of, table_plan

Make = Callable[..., Trip]
CLEAR = "[postgres]\nclear_seed_rows = true"


def asked(trip: Trip) -> set[tuple[str, str | None, str | None]]:
    return {(f.code, f.table, f.column) for f in blocking(trip.assess().findings)}


# ---- seed rows -------------------------------------------------------------------------------------

SEEDED = """
    CREATE TABLE content_type (id bigint PRIMARY KEY, name text UNIQUE NOT NULL);
    CREATE TABLE permission (id bigint PRIMARY KEY, type_id bigint NOT NULL REFERENCES content_type, code text);
    INSERT INTO content_type VALUES (1, 'user'), (2, 'page'), (3, 'site');
    INSERT INTO permission VALUES (1, 3, 'see'), (2, 1, 'add');
"""
UNSEEDED = """
    CREATE TABLE content_type (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
    CREATE TABLE permission (id INTEGER PRIMARY KEY, type_id INTEGER NOT NULL REFERENCES content_type, code TEXT);
    INSERT INTO content_type VALUES (1, 'page'), (2, 'user');
    INSERT INTO permission VALUES (7, 1, 'see');
"""


@pytest.mark.hazard("F36", "choice", mode="existing")
def test_f36_seed_rows_are_listed_and_cleared_by_choice(trip: Make) -> None:
    t = trip(UNSEEDED, postgres=SEEDED)
    said = blocking(t.assess().findings)
    assert [(f.code, f.severity, f.table, f.count) for f in said] == [
        ("F36", "choice", "content_type", 3),
        ("F36", "choice", "permission", 2),
    ]
    assert said[0].keys == ("id=1", "id=2", "id=3") and CLEAR in said[0].settle
    t.settle(CLEAR)
    found = t.assess()
    assert found.plan is not None
    assert [(p.clear_first, p.seed_rows) for p in found.plan.tables] == [(True, 3), (True, 2)]
    t.there()
    assert t.in_postgres("SELECT id, name FROM content_type ORDER BY 1") == [(1, "page"), (2, "user")]
    assert t.in_postgres("SELECT id, type_id FROM permission") == [(7, 1)]
    t.touch_every_row()
    t.back()
    same(t.before, t.image())
    t.run(Intent.MIGRATE, again=True)
    assert t.in_postgres("SELECT id, name FROM content_type ORDER BY 1") == [(1, "page"), (2, "user")]


COMMAND = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as session:
    session.execute(open("schema.sql").read())
"""


@pytest.mark.hazard("F36", "choice", mode="existing")
def test_f36_what_the_schema_command_seeds_is_known_before_it_has_run(trip: Make) -> None:
    t = trip(UNSEEDED, postgres="SELECT 1", settle=CLEAR)
    (t.folder / "schema.sql").write_text(SEEDED)
    (t.folder / "make.py").write_text(COMMAND)
    t.settle(f'[app.postgres]\nschema = "{sys.executable} make.py"')
    found = t.assess()
    assert found.plan is not None and [p.seed_rows for p in found.plan.tables] == [3, 2]
    assert t.in_postgres("SELECT to_regclass('content_type')") == [(None,)]
    t.run(Intent.MIGRATE)
    assert t.in_postgres("SELECT id, type_id FROM permission") == [(7, 1)]


def test_a_schema_command_that_seeds_what_is_missing_does_not_stop_migrate_again(trip: Make) -> None:
    t = trip(UNSEEDED, postgres="SELECT 1", settle=CLEAR)
    repeatable = SEEDED.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    (t.folder / "schema.sql").write_text(
        re.sub(r"(VALUES [^;]*);", r"\1 ON CONFLICT DO NOTHING;", repeatable)
    )
    (t.folder / "make.py").write_text(COMMAND)
    t.settle(f'[app.postgres]\nschema = "{sys.executable} make.py"')
    t.there()
    t.back()
    assert t.assess().plan is not None
    t.run(Intent.MIGRATE, again=True)
    assert t.in_postgres("SELECT id, name FROM content_type ORDER BY 1") == [(1, "page"), (2, "user")]


@pytest.mark.parametrize("app", [False, True], ids=["superuser", "owner"])
def test_clearing_seed_rows_is_one_transaction_with_constraints_proven(database: Database, app: bool) -> None:
    made = SEEDED + "CREATE TABLE own (id bigint PRIMARY KEY, type_id bigint REFERENCES content_type)"
    with database.connect(app=True) as session:
        session.execute(made.encode())
    tables = [
        replace(table_plan(name, integer("id")), clear_first=True, seed_rows=rows)
        for name, rows in (("content_type", 3), ("permission", 2))
    ]
    dsn = database.app_dsn if app else database.admin_dsn
    counts = "SELECT (SELECT count(*) FROM content_type), (SELECT count(*) FROM permission)"

    def clear(*planned: TablePlan) -> dict[str, int]:
        loader = Loader(dsn, plan_of(*planned, mode="existing"), run_token="r")
        try:
            return loader.clear_seed_rows()
        finally:
            loader.close()

    with database.connect(app=True) as session:
        with pytest.raises(NeedsChoice, match="permission holds 2 rows; assess saw 1"):
            clear(tables[0], replace(tables[1], seed_rows=1))
        session.execute("INSERT INTO own VALUES (1, 2)")
        with pytest.raises(ProofFailed, match="own"):
            clear(*tables)
        assert session.execute(counts.encode()).fetchall() == [(3, 2)]
        session.execute("DELETE FROM own")
        assert clear(*tables) == {"content_type": 3, "permission": 2}
        assert clear(*tables) == {"content_type": 0, "permission": 0}
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            session.execute("INSERT INTO own VALUES (1, 2)")


@pytest.mark.hazard("F36", "choice", mode="existing")
def test_f36_more_rows_than_assess_saw_are_not_cleared(trip: Make) -> None:
    t = trip(UNSEEDED, postgres=SEEDED, settle=CLEAR)
    assert t.assess().plan is not None
    t.write("INSERT INTO permission VALUES (3, 1, 'somebody is using it')")
    with pytest.raises(NeedsChoice, match=r"not empty: permission"):
        t.run(Intent.MIGRATE)
    assert t.in_postgres("SELECT (SELECT count(*) FROM permission), (SELECT count(*) FROM content_type)") == [
        (3, 3)
    ]


def test_cleared_seed_rows_do_not_come_in_the_way_of_another_migrate(
    trip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = trip(UNSEEDED, postgres=SEEDED, settle=CLEAR)
    assert t.assess().plan is not None
    t.write("ALTER TABLE permission ADD CONSTRAINT stop CHECK (code <> 'see') NOT VALID")
    with pytest.raises(Exception, match="stop"):
        t.run(Intent.MIGRATE)
    assert t.in_postgres("SELECT count(*) FROM content_type") == [(0,)]
    t.write("ALTER TABLE permission DROP CONSTRAINT stop")
    t.migrate()
    assert t.in_postgres("SELECT id, type_id FROM permission") == [(7, 1)]


def test_rows_that_are_left_alone_would_lose_their_parents(trip: Make) -> None:
    t = trip(
        UNSEEDED,
        postgres=SEEDED + "CREATE TABLE own (id bigint PRIMARY KEY, type_id bigint REFERENCES content_type);"
        "INSERT INTO own VALUES (1, 2)",
        settle=CLEAR,
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.table, said.keys) == ("F36", "own", ("id=1",))


def test_a_table_of_a_thousand_rows_is_no_seed(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)",
        settle=CLEAR,
    )
    (said,) = blocking(t.assess().findings)
    assert "1000 rows or more" in said.message and "TRUNCATE" in said.settle


# ---- columns that one side lacks -------------------------------------------------------------------


@pytest.mark.hazard("F37", "choice", mode="existing")
def test_f37_a_constant_for_a_column_that_sqlite_lacks(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x'), (2, NULL)",
        postgres="CREATE TABLE t (tenant text NOT NULL, id bigint PRIMARY KEY, active boolean NOT NULL, a text,"
        " weight integer NOT NULL)",
    )
    said = blocking(t.assess().findings)
    assert [(f.code, f.column) for f in said] == [("F37", "tenant"), ("F37", "active"), ("F37", "weight")]
    assert "[tables.t.constants]\ntenant = ..." in said[0].settle
    t.settle('[tables.t.constants]\ntenant = "a, \\"b\\""\nactive = true\nweight = "five"')
    (said_,) = blocking(t.assess().findings)
    assert (said_.code, said_.column) == ("F37", "weight") and "does not read" in said_.message
    t.settle("[tables.t.constants]\nweight = 5")
    t.migrate()
    with closing(apsw.Connection(str(t.path))) as file:
        file.execute("INSERT INTO t VALUES (0, 'late')")
    t.run(Intent.CUTOVER)
    rows = "SELECT tenant, id, active, a, weight FROM t ORDER BY id"
    filled = [("late", 0), ("x", 1), (None, 2)]
    assert t.in_postgres(rows) == [('a, "b"', id, True, a, 5) for a, id in filled]
    t.write("INSERT INTO t VALUES ('other', 3, false, 'new', 6)", "UPDATE t SET weight = 7 WHERE id = 1")
    t.back()
    assert t.in_sqlite("SELECT * FROM t") == [(0, "late"), (1, "x"), (2, None), (3, "new")]


@pytest.mark.hazard("F37", "carried", mode="existing")
def test_f37_a_default_fills_a_column_that_sqlite_lacks(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, made timestamptz NOT NULL DEFAULT now(), note text,"
        " number bigint GENERATED ALWAYS AS IDENTITY)",
    )
    t.there()
    assert t.in_postgres("SELECT id, made IS NOT NULL, note, number FROM t ORDER BY id") == [
        (1, True, None, 1),
        (2, True, None, 2),
    ]
    t.back()
    same(t.before, t.image())


def test_a_constant_breaks_a_check_of_the_server(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('a', 'b')))",
        settle='[tables.t.constants]\nkind = "c"',
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.count, said.keys) == ("check", 2, ("id=1", "id=2"))


@pytest.mark.parametrize(
    ("lines", "came_back"),
    [
        ("[tables.t.columns.extra]\nconstant = 9", 9),
        ('[sqlite]\nleave_behind = ["t.extra"]', 5),
    ],
    ids=["constant", "default"],
)
@pytest.mark.hazard("F37", "choice", mode="existing")
def test_f37_a_column_that_postgres_lacks_stays_in_the_file(trip: Make, lines: str, came_back: int) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, extra INTEGER NOT NULL DEFAULT 5, a TEXT);"
        "INSERT INTO t VALUES (1, 100, 'x'), (2, 200, 'y'), (3, 300, 'z')",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, a text)",
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.column) == ("F36", "extra")
    assert "constant = 0" in said.settle and 'leave_behind = ["t.extra"]' in said.settle
    t.settle(lines)
    t.there()
    t.write(
        "UPDATE t SET a = 'changed' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (4, 'n')",
    )
    t.back()
    assert t.in_sqlite("SELECT * FROM t ORDER BY id") == [
        (1, 100, "changed"),
        (3, 300, "z"),
        (4, came_back, "n"),
    ]


@pytest.mark.hazard("F37", "refused", mode="existing", why="one value for all new rows cannot be a key")
def test_f37_a_column_of_a_key_cannot_stay_behind(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY)",
        settle='[tables.t.columns.code]\nconstant = "x"',
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.severity, said.column) == ("F36", "refused", "code")


@pytest.mark.parametrize("constant", ['"nine"', "9.5", "9223372036854775808"])
def test_a_constant_that_sqlite_would_not_store(trip: Make, constant: str) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, extra INTEGER NOT NULL) STRICT",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY)",
        settle=f"[tables.t.columns.extra]\nconstant = {constant}",
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.column) == ("F36", "extra") and "constant" in said.message


@pytest.mark.parametrize(
    "lines",
    [
        "[tables.t.constants]\nnone = 1",
        "[tables.t.constants]\na = 1",
        "[tables.t.constants]\nmade = 1",
        "[tables.t.columns.a]\nconstant = 1",
    ],
)
def test_a_constant_for_what_needs_none_is_said(trip: Make, lines: str) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, a bigint, made bigint GENERATED ALWAYS AS (a + 1) STORED)",
        settle=lines,
    )
    (said,) = blocking(t.assess().findings)
    assert said.code == "choice" and said.table == "t"


# ---- sequences -------------------------------------------------------------------------------------

NUMBERED = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
    CREATE TABLE u (id INTEGER PRIMARY KEY AUTOINCREMENT);
    INSERT INTO t VALUES (1, 41), (2, 17);
    INSERT INTO u VALUES (99), (5);
    DELETE FROM u WHERE id = 99
"""


@pytest.mark.hazard("F24", "choice", mode="existing")
def test_f24_a_sequence_that_no_column_owns(trip: Make) -> None:
    t = trip(
        NUMBERED,
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, at bigint NOT NULL);"
        "CREATE TABLE u (id bigint PRIMARY KEY);"
        "CREATE SEQUENCE positions; CREATE SEQUENCE ids; CREATE SEQUENCE other START 12",
    )
    said = blocking(t.assess().findings)
    assert [f.code for f in said] == ["F24"] * 3 and "[postgres.sequences]\nids = " in said[0].settle
    t.settle('[postgres.sequences]\npositions = "t.at"\nids = "t.id, u.id"\nother = ""')
    found = t.assess()
    assert found.plan is not None
    assert [(s.name, s.table, s.column) for s in found.plan.sequences] == [
        ("ids", "t", "id"),
        ("ids", "u", "id"),
        ("positions", "t", "at"),
    ]
    t.there()
    assert t.in_postgres("SELECT nextval('positions'), nextval('ids'), nextval('other')") == [(42, 100, 12)]
    t.in_postgres("SELECT nextval('ids')")
    t.back()
    assert t.in_sqlite("SELECT seq FROM sqlite_sequence WHERE name = 'u'") == [(101,)]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE SEQUENCE s; CREATE TABLE t (id bigint PRIMARY KEY DEFAULT nextval('s'), at bigint NOT NULL)",
        "CREATE TABLE t (id bigserial PRIMARY KEY, at bigint NOT NULL)",
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL)",
        "CREATE TABLE t (at bigint NOT NULL, id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)",
    ],
    ids=["drawn", "serial", "always", "by-default"],
)
@pytest.mark.hazard("F24", "carried", mode="existing")
@pytest.mark.hazard("F25", "carried", mode="existing")
def test_f24_f25_sequences_behind_columns_are_found_without_being_told(trip: Make, made: str) -> None:
    t = trip(NUMBERED, postgres=made + "; CREATE TABLE u (id bigint PRIMARY KEY)")
    t.there()
    t.write("INSERT INTO t (at) VALUES (1)")
    assert t.in_postgres("SELECT max(id) FROM t") == [(3,)]
    t.back()
    assert t.in_sqlite("SELECT id, at FROM t ORDER BY id") == [(1, 41), (2, 17), (3, 1)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[postgres.sequences]\nnone = "t.at"\ns = ""', "lacks"),
        ('[postgres.sequences]\ns = "t.none"', "no such column"),
        ('[postgres.sequences]\ns = "t.word"', "it is text"),
    ],
)
def test_a_sequence_that_cannot_be_as_chosen(trip: Make, lines: str, words: str) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, word text); CREATE SEQUENCE s",
        settle=lines,
    )
    (said,) = blocking(t.assess().findings)
    assert said.code == "F24" and words in said.message


# ---- what does not fit, and what has another name --------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sqlite", "postgres", "keys"),
    [
        pytest.param(
            "F13", "n INTEGER); INSERT INTO t VALUES (1, 2147483647), (2, 2147483648", "n integer", ("id=2",),
            marks=pytest.mark.hazard("F13", "refused", mode="existing", why="int4 is PostgreSQL's word"),
        ),
        pytest.param(
            "F20", "n TEXT); INSERT INTO t VALUES (1, 'five'), (2, printf('%.500c', 'x')", "n varchar(5)", ("id=2",),
            marks=pytest.mark.hazard("F20", "refused", mode="existing", why="the length is PostgreSQL's word"),
        ),
        pytest.param(
            "F26", "n TEXT); INSERT INTO t VALUES (1, NULL), (2, NULL", "n text NOT NULL", ("id=1", "id=2"),
            marks=pytest.mark.hazard("F26", "refused", mode="existing", why="NOT NULL is PostgreSQL's word"),
        ),
    ],
)  # fmt: skip
def test_f13_f20_f26_what_the_targets_types_refuse(
    trip: Make, code: str, sqlite: str, postgres: str, keys: tuple[str, ...]
) -> None:
    t = trip(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {sqlite})",
        postgres=f"CREATE TABLE t (id bigint PRIMARY KEY, {postgres})",
    )
    (said,) = blocking(t.assess().findings)
    assert (said.code, said.severity, said.column, said.keys) == (code, "refused", "n", keys)
    assert t.in_postgres("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.hazard("F17", "choice", mode="existing")
def test_f17_renamed_tables_and_columns_in_another_order(trip: Make) -> None:
    t = trip(
        """CREATE TABLE "Order" ("Id" INTEGER PRIMARY KEY AUTOINCREMENT, "the name" TEXT, total AS ("Id" * 2));
           INSERT INTO "Order" ("the name") VALUES ('a'), (NULL)""",
        postgres="""CREATE TABLE "the orders" (label text, twice bigint GENERATED ALWAYS AS (number * 2) STORED,
             number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)""",
        settle='[tables.Order]\npostgres = "the orders"\n[tables.Order.columns.Id]\npostgres = "number"\n'
        '[tables.Order.columns."the name"]\npostgres = "label"\n'
        '[tables.Order.columns.total]\npostgres = "twice"',
    )
    t.there()
    assert t.in_postgres('SELECT number, label, twice FROM "the orders" ORDER BY 1') == [
        (1, "a", 2),
        (2, None, 4),
    ]
    t.write(
        """INSERT INTO "the orders" (label) VALUES ('new')""",
        """UPDATE "the orders" SET label = 'b' WHERE number = 2""",
    )
    t.back()
    assert t.in_sqlite('SELECT * FROM "Order"') == [(1, "a", 2), (2, "b", 4), (3, "new", 6)]
    assert t.in_sqlite("SELECT seq FROM sqlite_sequence") == [(3,)]


# ---- constraints and triggers ----------------------------------------------------------------------


def catalogue(t: Trip) -> list[tuple[Any, ...]]:
    return t.in_postgres(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " UNION ALL SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled = 'A', NULL, NULL"
        " FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE 'turnback%' ORDER BY 1, 2"
    )


@pytest.mark.hazard("F27", "carried", mode="existing")
@pytest.mark.hazard("F41", "carried", mode="existing")
def test_f27_f41_constraints_and_triggers_of_the_target_stand_as_they_were(trip: Make) -> None:
    t = trip(
        """CREATE TABLE p (a INTEGER, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
           CREATE TABLE "order" (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, up INTEGER, position INTEGER);
           INSERT INTO p VALUES (1, 'x');
           INSERT INTO "order" VALUES (1, 1, 'x', 2, 1), (2, NULL, 'y', 1, 2)""",
        postgres="""
           CREATE TABLE p (b text, a bigint, PRIMARY KEY (a, b));
           CREATE TABLE "order" (position integer UNIQUE DEFERRABLE INITIALLY DEFERRED, b text, a bigint,
             up bigint REFERENCES "order" DEFERRABLE INITIALLY DEFERRED, stamped integer NOT NULL DEFAULT 0,
             id bigint PRIMARY KEY, FOREIGN KEY (a, b) REFERENCES p ON UPDATE CASCADE);
           ALTER TABLE "order" ADD CONSTRAINT later FOREIGN KEY (position) REFERENCES "order" NOT VALID;
           CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.stamped := 1; RETURN NEW; END';
           CREATE TRIGGER stamps BEFORE INSERT ON "order" FOR EACH ROW EXECUTE FUNCTION stamp();
           CREATE TRIGGER always BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION stamp();
           ALTER TABLE p ENABLE ALWAYS TRIGGER always; ALTER TABLE p DISABLE TRIGGER always""",
    )
    before = catalogue(t)
    t.there()
    assert [row for row in catalogue(t) if "turnback" not in row[1]] == before
    assert t.in_postgres('SELECT id, stamped FROM "order" ORDER BY 1') == [(1, 0), (2, 0)]
    t.write('UPDATE "order" SET position = 3 - position', "INSERT INTO p VALUES ('z', 2)")
    t.write("UPDATE p SET a = 5 WHERE a = 1")
    t.back()
    assert t.in_sqlite('SELECT id, a, position FROM "order" ORDER BY 1') == [(1, 5, 2), (2, None, 1)]


@pytest.mark.hazard("F28", "choice", mode="existing")
def test_f28_orphans_under_a_foreign_key_that_is_not_valid(trip: Make) -> None:
    sqlite = "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER); INSERT INTO t VALUES (1, 9), (2, 1)"
    t = trip(sqlite, postgres="CREATE TABLE t (id bigint PRIMARY KEY, up bigint CONSTRAINT up REFERENCES t)")
    (said,) = findings(t.assess(), "F28")
    assert (said.severity, said.count, said.keys) == ("refused", 1, ("id=1",)) and "NOT VALID" in said.settle
    t.write("ALTER TABLE t DROP CONSTRAINT up, ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES t NOT VALID")
    (said,) = findings(t.assess(), "F28")
    assert (said.severity, said.count) == ("carries", 1)
    t.there()
    t.touch_every_row()
    t.back()
    same(t.before, t.image())


@pytest.mark.hazard("F28", "carried", mode="existing")
def test_f28_an_orphan_under_a_foreign_key_that_is_not_valid_may_be_changed_before_the_gate(trip: Make) -> None:
    """SQLite has the key too, and does not enforce it; the gate looks at the rows that changed last."""
    sqlite = "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t, n INTEGER); INSERT INTO t VALUES (1, 9, 1)"
    made = "CREATE TABLE t (id bigint PRIMARY KEY, up bigint, n bigint); ALTER TABLE t ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES t NOT VALID"
    t = trip(sqlite, postgres=made)
    t.migrate()
    with closing(apsw.Connection(str(t.path))) as application:
        application.execute("UPDATE t SET n = 2")
    t.run(Intent.CUTOVER)
    t.write("UPDATE t SET n = 3")
    t.back()
    assert t.in_sqlite("SELECT * FROM t") == [(1, 9, 3)]


@pytest.mark.hazard("R18", "carried", mode="existing")
def test_r18_turnbacks_own_objects_are_not_the_applications(trip: Make) -> None:
    t = trip(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY)",
    )
    t.there()
    assert t.in_postgres("SELECT DISTINCT tablename FROM pg_publication_tables") == [("t",)]
    assert t.in_postgres(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    ) == [
        ("t",),
        ("t_pkey",),
    ]
    t.back()
    t.settle("")
    found = t.assess()
    assert found.plan is not None and [e.name for e in found.plan.excluded] == []
