"""Only what differs is written, all of it or nothing, and both sides are equal afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app import verify
from turnback.app.copy import copy_tables, synchronise
from turnback.app.verify import compare, differing_keys
from turnback.core.plan import ColumnPlan, Plan
from turnback.core.rows import SqliteRow
from turnback.errors import ProofFailed
from two_sides import (
    Silent,
    fill,
    integer,
    no_failure,
    plan_of,
    real,
    run_sql,
    sqlite_file,
    table_plan,
    text,
)

PARENTS = table_plan("parents", integer("id"), text("name"))
CHILDREN = table_plan("children", text("k"), integer("n"), integer("parent"), key=("n", "k"))
LOOSE = table_plan(
    "loose",
    real("x"),
    ColumnPlan("j", "j", "json", "json_text", {"binary": False}),
    ColumnPlan("on%", "on%", "boolean", "boolean"),
    key=(),
)
PLAN = plan_of(PARENTS, CHILDREN, LOOSE, mode="existing")


class Sides:
    """Migrated, and then written to on the SQLite side only."""

    def __init__(self, folder: Path, database: Database, dsn: str) -> None:
        self.dsn = dsn
        self.path = sqlite_file(
            folder / "a.db",
            "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE children (k TEXT, n INTEGER, parent INTEGER, PRIMARY KEY (k, n))",
            'CREATE TABLE loose (x, j TEXT, "on%" BOOLEAN)',
        )
        fill(self.path, "parents", [(i, f"p{i}") for i in range(1, 301)])
        fill(self.path, "children", [(f"k{i}", i, 1 + i % 300) for i in range(400)])
        fill(
            self.path,
            "loose",
            [(0.0, '{"a": 1}', 1), (0.0, '{"a": 1}', 1), (-0.0, None, None), (2.5, "[]", 0)],
        )
        self.session = database.connect()
        app = database.connect(app=True)
        app.execute("CREATE TABLE parents (id bigint PRIMARY KEY, name text)")
        app.execute("CREATE TABLE children (n bigint, k text, parent bigint NOT NULL, PRIMARY KEY (n, k))")
        app.execute('CREATE TABLE loose (j json, x float8, "on%" boolean)')
        with closing(FileReader(self.path)) as reader, closing(Loader(dsn, PLAN, run_token="run")) as loader:
            loader.prepare([])
            copy_tables(PLAN, reader, loader, Silent(), no_failure)
        app.execute(
            "ALTER TABLE children ADD CONSTRAINT belongs "
            "FOREIGN KEY (parent) REFERENCES parents ON DELETE CASCADE"
        )
        app.execute("CREATE TABLE log (what text)")
        app.execute(
            "CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $$"
        )
        app.execute(
            "CREATE TRIGGER noted AFTER INSERT OR DELETE ON parents FOR EACH ROW EXECUTE FUNCTION log_it()"
        )

    def write(self, *statements: str) -> None:
        for statement in statements:
            run_sql(self.path, statement)

    def synchronise(self, plan: Plan = PLAN) -> dict[str, int]:
        with (
            closing(FileReader(self.path)) as sqlite,
            closing(SnapshotReader(self.dsn, "public")) as postgres,
            closing(Loader(self.dsn, plan, run_token="run")) as loader,
        ):
            return synchronise(plan, sqlite, postgres, loader, Silent())

    def equal(self) -> bool:
        with (
            closing(FileReader(self.path)) as sqlite,
            closing(SnapshotReader(self.dsn, "public")) as postgres,
        ):
            return compare(PLAN, sqlite, postgres, Silent(), check_round_trip=True).equal

    def untouched(self, table: str) -> int:
        """Rows whose version is the one of the first load."""
        row = self.session.execute(
            f"SELECT count(*) FROM {table} "
            f"WHERE xmin = (SELECT min(xmin::text::bigint)::text::xid FROM {table})"
        ).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(params=["superuser", "owner"])
def sides(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> Sides:
    dsn = database.admin_dsn if request.param == "superuser" else database.app_dsn
    return Sides(tmp_path, database, dsn)


def test_when_nothing_was_written_nothing_is(sides: Sides) -> None:
    assert sides.synchronise() == {}
    assert sides.untouched("parents") == 300


def test_only_what_differs_is_written(sides: Sides) -> None:
    sides.write(
        "UPDATE parents SET name = 'new' WHERE id = 5",
        "DELETE FROM parents WHERE id = 6",
        "DELETE FROM children WHERE parent = 6",
        "INSERT INTO parents VALUES (1000, 'late')",
        "UPDATE children SET parent = 1000 WHERE n = 7",
        "UPDATE children SET k = 'moved' WHERE n = 8",
    )
    assert sides.synchronise() == {"parents": 4, "children": 6}
    assert sides.equal()
    assert sides.untouched("parents") == 298
    # Parent 5 was deleted and added again: neither the cascade nor the trigger may have seen it.
    assert sides.session.execute("SELECT count(*) FROM children WHERE parent = 5").fetchone() == (2,)
    assert sides.session.execute("SELECT count(*) FROM log").fetchone() == (0,)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        sides.session.execute("INSERT INTO children VALUES (1, 'x', 424242)")
    sides.session.execute("INSERT INTO parents VALUES (424242)")
    assert sides.session.execute("SELECT what FROM log").fetchall() == [("INSERT",)]


def test_copies_of_a_row_without_a_key(sides: Sides) -> None:
    sides.write(
        "DELETE FROM loose WHERE rowid = (SELECT min(rowid) FROM loose)",
        "UPDATE loose SET x = 0.0 WHERE j IS NULL",  # it was -0.0, which is equal by SQL's =
        "INSERT INTO loose VALUES (2.5, '[]', 0), (2.5, '[]', 0), (NULL, NULL, NULL)",
    )
    assert sides.synchronise() == {"loose": 2 + 4}
    assert sides.equal()
    assert sides.untouched("loose") == 2


def test_a_table_of_which_nearly_all_differs_is_loaded_again(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "MAX_HELD_ROWS", 100)
    monkeypatch.setattr(verify, "MAX_WHOLE_DELETES", 1)
    sides.write("UPDATE parents SET name = name || '!'", "DELETE FROM loose WHERE j IS NOT NULL")
    with closing(FileReader(sides.path)) as sqlite, closing(SnapshotReader(sides.dsn, "public")) as postgres:
        keys = differing_keys(PLAN, sqlite, postgres, Silent())
    assert {name: k.whole for name, k in keys.items()} == {"parents": True, "loose": True}
    assert sides.synchronise() == {"parents": 600, "loose": 4 + 1}
    assert sides.equal()


def test_orphans_undo_all_of_it(sides: Sides) -> None:
    sides.write("UPDATE parents SET name = 'new'", "UPDATE children SET parent = 999 WHERE n = 7")
    with pytest.raises(ProofFailed, match=r'children: .* "belongs": .*\(999\)'):
        sides.synchronise()
    assert sides.session.execute("SELECT count(*) FROM parents WHERE name = 'new'").fetchone() == (0,)
    assert sides.session.execute(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'belongs'"
    ).fetchone()
    assert sides.untouched("children") == 400


def test_postgres_written_to_meanwhile_is_noticed(sides: Sides) -> None:
    sides.write("UPDATE parents SET name = 'new' WHERE id = 5")
    with (
        closing(FileReader(sides.path)) as sqlite,
        closing(SnapshotReader(sides.dsn, "public")) as postgres,
        closing(Loader(sides.dsn, PLAN, run_token="run")) as loader,
    ):
        sides.session.execute("DELETE FROM parents WHERE id = 5")
        with pytest.raises(ProofFailed, match="1 rows were to be deleted, 0 were there"):
            synchronise(PLAN, sqlite, postgres, loader, Silent())


keys = st.integers(-5, 5)
rows = st.lists(st.tuples(keys, st.sampled_from(["a", "b", None])), max_size=8, unique_by=lambda r: r[0])


@pytest.fixture
def two_tables(tmp_path: Path, database: Database) -> Iterator[tuple[Path, Database]]:
    path = sqlite_file(
        tmp_path / "b.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        "CREATE TABLE u (id INTEGER, v TEXT)",
    )
    database.connect().execute(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE TABLE u (id bigint, v text)"
    )
    yield path, database


@given(
    here=rows,
    there=rows,
    loose_here=st.lists(st.sampled_from([(1, "a"), (2, None)]), max_size=4),
    loose_there=st.lists(st.sampled_from([(1, "a"), (2, None)]), max_size=4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_two_states_become_equal(
    two_tables: tuple[Path, Database],
    here: list[SqliteRow],
    there: list[SqliteRow],
    loose_here: list[SqliteRow],
    loose_there: list[SqliteRow],
) -> None:
    path, database = two_tables
    t = table_plan("t", integer("id"), text("v"))
    u = table_plan("u", integer("id"), text("v"), key=())
    plan = plan_of(t, u)
    session = database.connect()
    for name, on_sqlite, on_postgres in (("t", here, there), ("u", loose_here, loose_there)):
        run_sql(path, f"DELETE FROM {name}")
        session.execute(f"TRUNCATE {name}")
        if on_sqlite:
            fill(path, name, on_sqlite)
        session.cursor().executemany(f"INSERT INTO {name} VALUES (%s, %s)", on_postgres)
    with (
        closing(FileReader(path)) as sqlite,
        closing(SnapshotReader(database.admin_dsn, "public")) as postgres,
        closing(Loader(database.admin_dsn, plan, run_token="run")) as loader,
    ):
        before = compare(plan, sqlite, postgres, Silent(), check_round_trip=True)
        changed = synchronise(plan, sqlite, postgres, loader, Silent())
    assert before.equal == (changed == {})
    assert before.equal == (
        set(here) == set(there) and sorted(map(repr, loose_here)) == sorted(map(repr, loose_there))
    )
    assert set(session.execute("SELECT * FROM t").fetchall()) == set(here)
    assert sorted(map(repr, session.execute("SELECT * FROM u").fetchall())) == sorted(map(repr, loose_here))
    session.close()
