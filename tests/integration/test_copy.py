"""Rows from a SQLite file into PostgreSQL: each once, whatever interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Database
from turnback.adapters.postgres.load import Loader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app import copy
from turnback.app.copy import copy_tables
from turnback.core.plan import ColumnPlan, Plan
from turnback.errors import CannotCarry, ProofFailed, ServerError
from two_sides import (
    Silent,
    blob,
    boolean,
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

PEOPLE = table_plan("people", integer("id"), text("name"), real("weight"), blob("photo"), boolean("active"))
TAGS = table_plan("tags", text("tag"), integer("n"), key=("tag",), without_rowid=True)
NOTES = table_plan("notes", text("note"), key=())
PLAN = plan_of(PEOPLE, TAGS, NOTES)
SCHEMA = [
    "CREATE TABLE public.people (active boolean, photo bytea, weight float8, name text, id bigint)",
    "CREATE TABLE public.tags (tag text, n bigint)",
    "CREATE TABLE public.notes (note text)",
]
PERSON = [
    (-3, "tab\t, newline\n, \\N, \\., %s", -0.0, b"\x00\xff[", 1),
    (1, "", 5e-324, b"", 0),
    (2, None, None, None, None),
    (4, "é🙂", 1e999, b"\\x00", 1),
    (2**62, "\\", 0.1, b"\n", 0),
]

Open = Callable[..., Loader]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[FileReader]:
    path = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, weight, photo BLOB, active BOOLEAN)",
        "CREATE TABLE tags (tag TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID",
        "CREATE TABLE notes (note TEXT)",
    )
    fill(path, "people", PERSON)
    fill(path, "tags", [(f"t{i}", i) for i in range(25)])
    fill(path, "notes", [("same",), ("same",), (None,)])
    reader = FileReader(path)
    yield reader
    reader.close()


@pytest.fixture
def loader(database: Database) -> Iterator[Open]:
    opened: list[Loader] = []

    def open_(plan: Plan = PLAN, run: str = "run-1", *, app: bool = False) -> Loader:
        opened.append(Loader(database.app_dsn if app else database.admin_dsn, plan, run_token=run))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.mark.parametrize("app", [False, True], ids=["superuser", "owner"])
def test_every_value_arrives_as_it_is(
    source: FileReader, loader: Open, database: Database, app: bool
) -> None:
    to = loader(app=app)
    to.prepare(SCHEMA)
    assert copy_tables(PLAN, source, to, Silent(), no_failure) == {"people": 5, "tags": 25, "notes": 3}
    to.analyze()
    rows = (
        database.connect()
        .execute("SELECT id, name, weight, photo, active FROM people ORDER BY id")
        .fetchall()
    )
    expected = [(*p[:4], None if p[4] is None else bool(p[4])) for p in PERSON]
    assert list(map(repr, rows)) == list(map(repr, expected))
    assert database.connect().execute("SELECT note FROM notes ORDER BY 1").fetchall() == [
        ("same",),
        ("same",),
        (None,),
    ]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop_after", range(1, 10))
@pytest.mark.hazard("F39", "carried")
def test_an_interrupted_load_goes_on_and_loads_nothing_twice(
    source: FileReader, loader: Open, database: Database, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr(copy, "ROWS_PER_BATCH", 4)
    passed = []

    def fail(name: str) -> None:
        passed.append(name)
        if len(passed) == stop_after:
            raise Interrupted

    first = loader()
    first.prepare(SCHEMA)
    with pytest.raises(Interrupted):
        copy_tables(PLAN, source, first, Silent(), fail)
    first.close()
    again = loader()
    again.prepare(SCHEMA)  # done already: not made a second time
    progress = Silent()
    assert copy_tables(PLAN, source, again, progress, no_failure) == {"people": 5, "tags": 25, "notes": 3}
    assert progress.advanced == 33
    assert database.connect().execute(
        "SELECT count(*), count(DISTINCT tag), sum(n) FROM tags"
    ).fetchone() == (
        25,
        25,
        300,
    )


def test_a_batch_that_fails_leaves_neither_rows_nor_checkpoint(loader: Open, database: Database) -> None:
    to = loader()
    to.prepare(SCHEMA)
    to.load(TAGS, [("a", "1")], ("a",))

    def rows() -> Iterator[tuple[str | None, ...]]:
        yield ("b", "2")
        raise CannotCarry("the third row")

    with pytest.raises(CannotCarry, match="third row"):
        to.load(TAGS, rows(), ("c",))
    with pytest.raises(ServerError, match="invalid input syntax"):
        to.load(TAGS, [("b", "2"), ("c", "three")], ("c",))
    assert to.checkpoint(TAGS) == (("a",), 1)
    assert to.row_count(TAGS) == 1
    assert database.connect().execute("SELECT tag FROM tags").fetchall() == [("a",)]


def test_checkpoints_keep_the_class_of_every_key(loader: Open) -> None:
    to = loader()
    to.prepare(SCHEMA)
    key = (2**63 - 1, -0.0, 0.1, "a\0'\\é", b"\x00\xff", None)
    to.load(TAGS, [], key)
    kept, rows = to.checkpoint(TAGS)
    assert repr(kept) == repr(key)
    assert rows == 0
    assert loader(run="run-2").checkpoint(TAGS) == (None, 0)


def test_an_uncarried_value_names_table_column_and_key(
    source: FileReader, loader: Open, tmp_path: Path
) -> None:
    source.close()
    run_sql(tmp_path / "a.db", "UPDATE people SET active = 2 WHERE id = 4")
    reader = FileReader(tmp_path / "a.db")
    to = loader()
    to.prepare(SCHEMA)
    try:
        with pytest.raises(CannotCarry, match=r"people.*active.*4"):
            copy_tables(PLAN, reader, to, Silent(), no_failure)
    finally:
        reader.close()
    assert to.row_count(PEOPLE) == 0


def test_rows_that_a_trigger_drops_are_missed(source: FileReader, loader: Open, database: Database) -> None:
    """COPY's count is not the count that was sent. ENABLE ALWAYS fires under any session_replication_role."""
    to = loader()
    to.prepare(SCHEMA)
    session = database.connect()
    session.execute(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.n = 3 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    session.execute("CREATE TRIGGER d BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION drop_it()")
    session.execute("ALTER TABLE tags ENABLE ALWAYS TRIGGER d")
    with pytest.raises(ProofFailed, match="25 rows were sent, 24 came in"):
        copy_tables(PLAN, source, to, Silent(), no_failure)
    assert to.row_count(TAGS) == 0


def test_rows_that_were_there_before_are_seen(source: FileReader, loader: Open, database: Database) -> None:
    to = loader()
    to.prepare(SCHEMA)
    database.connect().execute("INSERT INTO notes VALUES ('seed')")
    with pytest.raises(ProofFailed, match="notes: SQLite has 3 rows, 3 were sent, PostgreSQL has 4"):
        copy_tables(PLAN, source, to, Silent(), no_failure)


def test_statements_run_whole_or_not_at_all_and_named_ones_once(loader: Open, database: Database) -> None:
    to = loader()
    to.prepare(SCHEMA)
    with pytest.raises(ServerError, match="nowhere"):
        to.execute(["CREATE TABLE public.x (id int)", "DROP TABLE public.nowhere"])
    exists = "SELECT to_regclass('public.x') IS NOT NULL"
    assert database.connect().execute(exists).fetchone() == (False,)
    for _ in range(2):
        to.execute(["CREATE TABLE public.x (id int)"], once="x")
    assert database.connect().execute(exists).fetchone() == (True,)
    to.discard(["DROP TABLE public.x"])
    to.execute(["CREATE TABLE public.x (id int)"], once="x")
    assert database.connect().execute(exists).fetchone() == (True,)


# ---- sequences (HAZARDS F22 to F25) ------------------------------------------------------------------

SEQUENCES = [
    "CREATE TABLE public.empty (id bigint GENERATED BY DEFAULT AS IDENTITY)",
    "CREATE TABLE public.emptied (id bigint GENERATED ALWAYS AS IDENTITY)",
    'CREATE TABLE public."Some" ("Id" serial)',
    "CREATE TABLE public.negative (id bigserial)",
    "CREATE SEQUENCE public.free INCREMENT BY 50",
    "CREATE TABLE public.stepped (id bigint DEFAULT nextval('public.free'))",
]
NUMBERED = plan_of(
    table_plan("empty", integer("id", identity=True)),
    table_plan("emptied", integer("id", identity=True)),
    replace(table_plan("some", replace(integer("id"), postgres="Id", identity=True)), postgres="Some"),
    table_plan("negative", integer("id", identity=True)),
    table_plan("stepped", integer("id")),
)
GIVEN = {"empty": 0, "emptied": 10}


@pytest.fixture
def numbered(loader: Open) -> Loader:
    to = loader(NUMBERED)
    to.prepare(SEQUENCES)
    to.load(NUMBERED.table("some"), [("7",), ("3",)], (7,))
    to.load(NUMBERED.table("negative"), [("-5",)], (-5,))
    to.load(NUMBERED.table("stepped"), [("100",)], (100,))
    return to


def test_ids_go_on_where_sqlite_would(numbered: Loader, database: Database) -> None:
    assert numbered.set_sequences(GIVEN) == [
        ("Some", "Id", 8),
        ("emptied", "id", 11),
        ("empty", "id", 1),
        ("negative", "id", 1),
        ("stepped", "id", 150),
    ]
    numbered.check_sequences(GIVEN)
    session = database.connect()
    for table, column, value in (
        ("Some", "Id", 8),
        ("emptied", "id", 11),
        ("empty", "id", 1),
        ("stepped", "id", 150),
    ):
        drawn = session.execute(f'INSERT INTO "{table}" DEFAULT VALUES RETURNING "{column}"').fetchone()
        assert drawn == (value,)


def test_a_sequence_that_stands_elsewhere_is_found(numbered: Loader, database: Database) -> None:
    numbered.set_sequences(GIVEN)
    database.connect().execute("SELECT nextval('public.emptied_id_seq')")
    with pytest.raises(ProofFailed, match=r"emptied\.id: the next id would be 12, it must be 11"):
        numbered.check_sequences(GIVEN)


def test_an_identity_that_lost_its_sequence_is_found(numbered: Loader, database: Database) -> None:
    database.connect().execute("ALTER TABLE empty ALTER id DROP IDENTITY")
    with pytest.raises(ProofFailed, match=r"no sequence stands behind empty\.id"):
        numbered.set_sequences(GIVEN)


def test_a_sequence_too_small_for_the_ids_is_refused(loader: Open) -> None:
    plan = plan_of(table_plan("t", ColumnPlan("id", "id", "bigint", "integer", identity=True)))
    to = loader(plan)
    to.prepare(["CREATE TABLE public.t (id serial)", "ALTER TABLE public.t ALTER id TYPE bigint"])
    to.load(plan.tables[0], [(str(2**40),)], (2**40,))
    with pytest.raises(ServerError, match="out of bounds"):
        to.set_sequences({})
