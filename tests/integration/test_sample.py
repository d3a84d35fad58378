"""`verify --sample`: random rows compared by rules that share nothing with the codecs."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from bench_app import Bench
from conftest import Database
from journey import Journey
from mutants import Place
from mutants.move import Move
from turnback.adapters.clock import SystemClock
from turnback.adapters.postgres.sampling import SnapshotSample
from turnback.adapters.sqlite.sampling import FileSample
from turnback.app import sample as sampling
from turnback.app.sample import Sampled, sample, shares
from turnback.core.codecs import epochs
from turnback.core.independent import same
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.entrypoints import verifying
from turnback.entrypoints.sampling import sample as take
from two_sides import Silent, blob, fill, integer, plan_of, sqlite_file, table_plan, text

MS = {"unit": "ms", "zoned": True}
ZONED = {"separator": " ", "fraction": 0, "zoned": True}

# pg_type, codec, options, SQLite's value, PostgreSQL's literal that means the same, one that does not
RULES: list[tuple[str, str, dict[str, Any], Any, str, str]] = [
    ("bigint", "integer", {}, 2**53 + 1, "9007199254740993", "9007199254740992"),
    ("smallint", "integer", {}, -5, "-5", "5"),
    ("double precision", "real", {}, 0.1, "0.1", "0.10000000000000002"),
    ("double precision", "real", {}, -0.0, "-0", "0"),
    ("double precision", "real", {"nan": True}, "NaN", "NaN", "0"),
    ("real", "float4", {}, 0.1, "0.1", "0.2"),
    ("numeric", "number", {}, 12.5, "12.50", "12.51"),
    ("numeric", "number", {}, 10**18 + 1, "1000000000000000001", "1000000000000000000"),
    ("numeric", "decimal_text", {}, "1.10", "1.10", "1.1"),
    ("boolean", "boolean", {}, 1, "true", "false"),
    ("boolean", "boolean", {"words": "yes"}, "no", "false", "true"),
    ("text", "text", {}, "naïve ☃", "naïve ☃", "naive ☃"),
    ("character(5)", "char", {}, "ab", "ab", "abc"),
    ("bytea", "text_bytes", {}, "a\0b\udcff", "\\x610062ff", "\\x6162ff"),
    ("bytea", "blob", {}, b"\x00\xff[", "\\x00ff5b", "\\x00ff5c"),
    ("text", "affine", {}, 7, "7", "7.0"),
    ("text", "affine", {}, 7.5, "7.5", "7.25"),
    ("text", "affine", {}, "abc", "abc", "abd"),
    ("point", "verbatim", {}, "(1,2)", "(1,2)", "(2,1)"),
    ("text[]", "array", {"separator": ","}, "a,b c", '{a,"b c"}', "{a,b}"),
    ("text[]", "array", {"separator": ","}, "", "{}", "{NULL}"),
    ("integer[]", "array", {"separator": "json"}, "[1,22]", "{1,22}", "{22,1}"),
    ("inet", "inet", {}, "10.0.0.1", "10.0.0.1", "10.0.0.2"),
    ("inet", "inet", {}, "10.0.0.1/8", "10.0.0.1/8", "10.0.0.1/9"),
    ("cidr", "inet", {}, "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/9"),
    ("macaddr", "inet", {"respell": True}, "08-00-2B-01-02-03", "08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    ("timestamp with time zone", "timestamp_text", ZONED, "2024-02-03 04:05:06", "2024-02-03 04:05:06+00", "2024-02-03 04:05:07+00"),
    ("timestamp with time zone", "timestamp_text", {"zoned": True, "suffix": "+02:00"}, "2024-02-03T04:05:06+02:00", "2024-02-03 02:05:06+00", "2024-02-03 04:05:06+00"),
    ("timestamp with time zone", "timestamp_text", {"zoned": True, "zone": "Europe/Berlin"}, "2024-07-01 12:00:00", "2024-07-01 10:00:00+00", "2024-07-01 11:00:00+00"),
    ("timestamp without time zone", "timestamp_text", {}, "2024-02-03 04:05:06.5", "2024-02-03 04:05:06.5", "2024-02-03 04:05:06.6"),
    ("timestamp without time zone", "timestamp_text", {"infinity": True}, "infinity", "infinity", "-infinity"),
    ("date", "date_text", {}, "2024-02-29", "2024-02-29", "2024-03-01"),
    ("date", "date_text", {"infinity": True}, "-infinity", "-infinity", "infinity"),
    ("time without time zone", "time_text", {}, "04:05:06.5", "04:05:06.5", "04:05:06.4"),
    ("timestamp with time zone", "epoch", MS, 1619092189409, "2021-04-22 11:49:49.409+00", "2021-04-22 11:49:50.409+00"),
    ("timestamp with time zone", "epoch", MS | {"truncate": True}, -1, "1969-12-31 23:59:59.9995+00", "1970-01-01 00:00:00+00"),
    ("timestamp without time zone", "epoch_real", {"unit": "s"}, 1619092189.409, "2021-04-22 11:49:49.409", "2021-04-22 11:49:49.408"),
    ("interval", "interval", {"form": "us"}, -1_500_000, "-00:00:01.5", "00:00:01.5"),
    ("interval", "interval", {"form": "epoch_text"}, "1970-01-02 00:00:00.014649", "1 day 00:00:00.014649", "1 day"),
    ("json", "json_text", {}, '{"a":1,"a":2}', '{"a":1,"a":2}', '{"a":2}'),
    ("jsonb", "json_text", {"binary": True}, '{"b":[1.10,true,"1"],"a":null}', '{"a":null,"b":[1.1,true,"1"]}', '{"a":null,"b":[1.1,1,"1"]}'),
    ("jsonb", "json_text", {"binary": True, "respell": True}, '{"a":1,"a":2}', '{"a":2}', '{"a":1}'),
    ("uuid", "uuid_text", {"upper": True}, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"),
    ("uuid", "uuid_blob", {}, bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f", "00010203-0405-0607-0809-0a0b0c0d0e0e"),
    ("mood", "text", {}, "happy", "happy", "sad"),
    ("posint", "integer", {}, 5, "5", "6"),
]  # fmt: skip


def test_every_codec_has_an_independent_rule_that_holds_on_the_server(database: Database) -> None:
    from turnback.core.codecs import CODECS

    assert {codec for _, codec, *_ in RULES} == set(CODECS)
    session = database.connect()
    session.execute("CREATE TYPE public.mood AS ENUM ('happy', 'sad')")
    session.execute("CREATE DOMAIN public.posint AS integer CHECK (VALUE > 0)")
    columns = [
        ColumnPlan(
            f"c{i}%",
            f"c{i}%",
            f"public.{pg_type}" if pg_type in ("mood", "posint") else pg_type,
            codec,
            options,
        )
        for i, (pg_type, codec, options, *_) in enumerate(RULES)
    ]
    table = TablePlan("t", "t", (integer("id"), *columns), ("id",), "default")
    made = ", ".join(f'"{c.postgres}" {c.pg_type}' for c in table.columns)
    session.execute(f"CREATE TABLE public.t ({made})".encode())
    for number, position in ((1, 4), (2, 5), (3, None)):
        literals = [
            "'" + str(rule[position]).replace("'", "''") + "'" if position else "NULL" for rule in RULES
        ]
        session.execute(f"INSERT INTO public.t VALUES ({number}, {', '.join(literals)})".encode())
    reader = SnapshotSample(database.admin_dsn, "public")
    try:
        (equal,), (other,), (null,) = (reader.by_key(table, [n]) for n in (1, 2, 3))
        for column, rule, right, wrong, nothing in zip(
            columns, RULES, equal[1:], other[1:], null[1:], strict=True
        ):
            assert same(column, rule[3], right) is True, (rule, right)
            assert same(column, rule[3], wrong) is False, (rule, wrong)
            assert same(column, None, nothing) is True and same(column, None, right) is False, rule
            assert same(column, rule[3], nothing) is False, rule
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("codec", "value", "found"),
    [
        ("integer", "5", 5),
        ("integer", 1, True),
        ("boolean", 1, 1),
        ("text", b"a", "a"),
        ("blob", "a", b"a"),
        ("number", "x", 1),
    ],
)
def test_a_value_of_another_class_is_never_the_same(codec: str, value: Any, found: object) -> None:
    assert same(ColumnPlan("c", "c", "text", codec), value, found) is False


def test_what_no_rule_knows_is_not_called_equal() -> None:
    assert same(ColumnPlan("c", "c", "text", "newfangled"), 1, 1) is None
    column = ColumnPlan("c", "c", "citext[]", "array", {"separator": ","})
    assert same(column, "a,b", "{a,b}") is None, "psycopg knows no loader for it"


# ---- the sample ------------------------------------------------------------------------------------------------------


def test_every_table_has_its_share() -> None:
    assert shares({"big": 990, "small": 10, "empty": 0}, 100) == {"big": 99, "small": 1, "empty": 0}
    assert shares({"big": 990, "small": 10}, 5000) == {"big": 990, "small": 10}
    assert shares({"a": 1000, "b": 1}, 10) == {"a": 9, "b": 1}


KEYED = table_plan("keyed", integer("id"), text("name"))
WITHOUT = table_plan("without", text("a"), integer("b"), key=("b", "a"), without_rowid=True)
LOOSE = table_plan("loose", text("name"), blob("data"), key=())
PLAN = plan_of(KEYED, WITHOUT, LOOSE)


class Sides:
    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.path = sqlite_file(
            folder / "a.db",
            "CREATE TABLE keyed (id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE without (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID",
            "CREATE TABLE loose (name TEXT, data BLOB)",
        )
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            "keyed": [(i * 3, f"name {i}") for i in range(200)],
            "without": [(f"a{i}", i % 7) for i in range(60)],
            "loose": [(None, b"x"), ("same", b""), ("same", b"")],
        }
        self.session = database.connect()
        self.session.execute("CREATE TABLE keyed (id bigint, name text)")
        self.session.execute("CREATE TABLE without (a text, b bigint)")
        self.session.execute("CREATE TABLE loose (name text, data bytea)")
        for name, rows in self.rows.items():
            fill(self.path, name, rows)
            with self.session.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s)".encode(), rows)

    def sample(self, rows: int, seed: int = 1, *, live: bool = False, plan: Plan = PLAN) -> Sampled:
        def opened() -> tuple[FileSample, SnapshotSample]:
            return FileSample(self.path), SnapshotSample(self.database.admin_dsn, "public")

        return sample(plan, rows, seed, opened, SystemClock(), Silent(), live=live)


@pytest.fixture
def sides(tmp_path: Path, database: Database) -> Sides:
    return Sides(tmp_path, database)


def test_a_sample_of_all_rows_meets_each_once(sides: Sides) -> None:
    with closing(FileSample(sides.path)) as file:
        for table, rows in (
            (KEYED, sides.rows["keyed"]),
            (WITHOUT, sides.rows["without"]),
            (LOOSE, sides.rows["loose"]),
        ):
            picked = list(file.pick(table, range(len(rows))))
            assert sorted(map(repr, picked)) == sorted(map(repr, rows))
            assert list(file.pick(table, [0, 2])) == [picked[0], picked[2]]
    result = sides.sample(10_000)
    assert result.equal and result.rows == {"keyed": 200, "without": 60, "loose": 3} and result.values == 526
    assert result.unjudged == {} and result.left_out == {}


def test_the_same_seed_picks_the_same_rows_and_another_seed_others(sides: Sides) -> None:
    sides.session.execute("UPDATE keyed SET name = 'x'")
    found = [{d.key for d in sides.sample(40, seed).differences} for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]
    assert 20 < len(found[0]) < 40


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ("UPDATE keyed SET name = name || ' ' WHERE id = 9", "keyed (9) differs in name"),
        ("DELETE FROM without WHERE a = 'a9'", "missing in postgres"),
        ("UPDATE loose SET data = '\\x79' WHERE name IS NULL", "loose (None, b'x') missing in postgres"),
        ("INSERT INTO keyed VALUES (100000, 'only there')", "keyed () another number of rows"),
    ],
)
def test_what_differs_is_named(sides: Sides, change: str, headline: str) -> None:
    sides.session.execute(change.encode())
    result = sides.sample(10_000)
    assert not result.equal and any(headline in d.headline() for d in result.differences), result.differences
    assert f"(seed {result.seed})" in result.headline()
    assert json.loads(json.dumps(result.to_json()))["equal"] is False


def test_a_large_table_without_a_key_is_left_out_and_named(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_KEYLESS_ROWS", 2)
    result = sides.sample(10_000)
    assert set(result.left_out) == {"loose"} and "no key" in result.left_out["loose"]
    assert "loose" not in result.rows


def test_a_suspect_under_load_is_looked_at_again(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is equal by the next round was under way; what is not, round after round, differs."""
    monkeypatch.setattr(sampling, "ROUND_SECONDS", 0.0)
    sides.session.execute("UPDATE keyed SET name = 'late' WHERE id = 9")
    sides.session.execute("UPDATE keyed SET name = 'wrong' WHERE id = 12")
    sides.session.execute("UPDATE loose SET name = 'late' WHERE name IS NULL")
    opened = 0

    def open_sides() -> tuple[FileSample, SnapshotSample]:
        nonlocal opened
        opened += 1
        if opened == 3:  # the second look at suspects: the change has arrived
            with closing(apsw.Connection(os.fspath(sides.path))) as file:
                file.execute("UPDATE keyed SET name = 'late' WHERE id = 9")
                file.execute("UPDATE loose SET name = 'late' WHERE name IS NULL")
        return FileSample(sides.path), SnapshotSample(sides.database.admin_dsn, "public")

    result = sample(PLAN, 10_000, 1, open_sides, SystemClock(), Silent(), live=True)
    assert result.looked_again == 3
    assert [d.key for d in result.differences] == [("12",)]


def test_text_that_is_not_valid_is_read_as_it_is(tmp_path: Path) -> None:
    path = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "INSERT INTO t VALUES (1, CAST(x'61ff00' AS TEXT)), (2, x'61ff00'), (3, -0.0), (4, NULL)",
    )
    wide = sqlite_file(
        tmp_path / "b.db",
        "PRAGMA encoding = 'UTF-16le'",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "INSERT INTO t VALUES (1, 'ä')",
    )
    table = table_plan("t", integer("id"), text("v"))
    with closing(FileSample(path)) as file:
        assert [repr(v) for _, v in file.pick(table, range(4))] == [
            "'a\\udcff\\x00'",
            "b'a\\xff\\x00'",
            "-0.0",
            "None",
        ]
        (found,) = file.by_key(table, (1,))
        assert file.holds(table, found) and not file.holds(table, (1, b"a\xff\0"))
    with closing(FileSample(wide)) as file:
        assert list(file.pick(table, [0])) == [(1, "ä")]


# ---- what it is there for --------------------------------------------------------------------------------------------


def off_by_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same mistake in both directions: every round trip of the codec's own is exact."""
    encode, decode = epochs.Epoch.encode, epochs.Epoch.decode
    monkeypatch.setattr(epochs.Epoch, "encode", lambda self, v: encode(self, v + 1))
    monkeypatch.setattr(epochs.Epoch, "decode", lambda self, t: decode(self, t) - 1)


def test_a_codec_that_is_wrong_in_both_directions_passes_full_and_is_found_by_the_sample(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    off_by_a_second(monkeypatch)
    bench = Bench(tmp_path / "move", database.app_dsn, database.admin_dsn, rows=5)
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        file.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, at DATETIME)")
        file.executemany("INSERT INTO visit VALUES (?, ?)", [(i, 1_700_000_000 + i) for i in range(30)])
    monkeypatch.setattr(Bench, "__init__", lambda self, *a, **k: self.__dict__.update(bench.__dict__))
    with Move(Place(tmp_path, database, monkeypatch)) as move:
        (at,) = [c for c in move.plan.table("visit").columns if c.sqlite == "at"]
        assert at.codec == "epoch", at
        move.to_migrated()
        assert verifying.verify(move.setup, Silent(), "me").equal, "the codecs prove themselves"
        result = take(move.setup, Silent(), 20, 3)
        assert not result.equal
        assert {(d.table, d.columns) for d in result.differences} == {("visit", ("at",))}


@pytest.fixture
def move(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    with Move(Place(tmp_path, database, monkeypatch)) as made:
        yield made


def test_on_postgresql_under_load_the_sample_is_equal_and_finds_sabotage(move: Move) -> None:
    move.to_postgres()
    stop = threading.Event()

    def write() -> None:
        with closing(psycopg.connect(move.database.app_dsn, autocommit=True)) as session:
            number = 1000
            while not stop.is_set():
                session.execute(
                    "UPDATE person SET name = %s WHERE id = %s", (f"now {number}", number % 20 + 1)
                )
                session.execute("INSERT INTO person (id, team_id, name) VALUES (%s, 1, 'new')", (number,))
                number += 1
                stop.wait(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for seed in range(3):
            result = take(move.setup, Silent(), 500, seed)
            assert result.equal, result.differences
    finally:
        stop.set()
        writer.join()
    move.in_fallback("UPDATE person SET score = 0.125 WHERE id = 7")
    result = take(move.setup, Silent(), 100_000, 1)
    assert [(d.key, d.columns) for d in result.differences] == [(("7",), ("score",))]


def test_the_command_prints_the_seed(tmp_path: Path, database: Database) -> None:
    bench = Bench(tmp_path / "a", database.app_dsn, database.admin_dsn, rows=30)
    bench.ok("assess")
    assert "two sides" in bench.refused("verify", "--sample", "5", status=2)
    bench.ok("migrate")
    result = bench.ok("verify", "--sample", "10")
    assert result["equal"] is True and sum(result["rows"].values()) >= 10 and result["seed"] >= 0
    assert bench.ok("verify", "--sample", "10", "--seed", str(result["seed"]))["rows"] == result["rows"]
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        file.execute("UPDATE person SET score = 1.5")
    done = bench.turnback("verify", "--sample", "10", "--seed", "4")
    assert done.returncode == 1 and "(seed 4)" in done.stdout and "person" in done.stdout, done.stdout
    assert "--seed belongs to --sample" in bench.refused("verify", "--seed", "5", status=2)


@pytest.mark.long  # in make test: under load with a schema of its own
def test_the_example_application_in_its_own_schema_under_load(tmp_path: Path, database: Database) -> None:
    """Existing mode: epochs that are cut off, JSON, UUIDs, identity columns; clients write all the time."""
    journey = Journey(tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        journey.start_guard()
        journey.ok("assess")
        journey.ok("migrate")
        before = journey.ok("verify", "--sample", "100000")
        assert before["equal"] is True and before["unjudged"] == {} and before["left_out"] == {}, before
        journey.ok("cutover")
        journey.start_clients()
        journey.wait_traffic()
        assert journey.ok("verify", "--sample", "500")["equal"] is True
        certified = json.loads(Path(journey.ok("verify")["certificate"]).read_text())
        assert certified["verdict"] == "equal" and certified["mode"] == "existing"
        journey.wait_traffic()
        rolled = journey.ok("rollback")
        document = json.loads(Path(rolled["certificate"]).read_text())
        assert document["verdict"] == "equal" and document["original"]["equal"] is False
        journey.stop_clients()
    finally:
        journey.close()
