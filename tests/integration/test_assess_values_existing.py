"""Existing mode: which codec carries a column into the type that PostgreSQL has, and what is asked before."""

from __future__ import annotations

from pathlib import Path

import pytest

from assessing import assess_file, make_file, the_finding
from conftest import Database
from turnback.app.assess import Assessment
from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.core.codecs import codec_for
from turnback.core.findings import Finding, blocking
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry


class Both:
    """A table t with the column c on both sides; `values` as rows: "(1), (2)"."""

    def __init__(self, tmp_path: Path, database: Database) -> None:
        self._path = tmp_path / "a.db"
        self._database = database

    def make(self, declared: str, values: str, target: str, *, before: str = "", ledger: str = "") -> None:
        make_file(
            self._path,
            f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared}); INSERT INTO t (c) VALUES {values}; {ledger}",
        )
        with self._database.connect() as connection:
            connection.execute(
                f"{before}; CREATE TABLE public.t (id bigint PRIMARY KEY, c {target})".encode()
            )

    def assess(self, choice: ColumnChoice | None = None, *, zone: str | None = None) -> Assessment:
        tables = {"t": TableChoice(columns={"c": choice or ColumnChoice()})}
        return assess_file(
            self._path, Choices(tables, zone=zone), target_dsn=self._database.admin_dsn, existing=True
        )


@pytest.fixture
def both(tmp_path: Path, database: Database) -> Both:
    return Both(tmp_path, database)


def plan_of(found: Assessment) -> ColumnPlan:
    return found.draft.table("t").columns[1]


def lines(finding: Finding) -> list[str]:
    """Each way to settle it, without the section's name."""
    return [part.partition("\n")[2] for part in finding.settle.split("\nor:\n")]


LEDGER = "CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied TEXT)"
NUL = "'a' || char(0) || 'b'"


@pytest.mark.hazard("F1", "carried", mode="existing")
@pytest.mark.hazard("F15", "carried", mode="existing")
@pytest.mark.hazard("F35", "carried", mode="existing")
@pytest.mark.hazard("F34", "carried", mode="existing")
@pytest.mark.hazard("R3", "carried", mode="existing")
@pytest.mark.hazard("F12", "carried", mode="existing")
@pytest.mark.parametrize(
    ("declared", "values", "target", "codec", "options"),
    [
        ("REAL", "(0.5), (1e999)", "real", "float4", {}),
        ("NUMERIC", "(1), (0.5)", "real", "float4", {}),
        ("NUMERIC", "(1), (0.5), (1e999)", "double precision", "real", {}),
        ("TEXT", "('99999999999999999.9999'), ('1.10')", "numeric", "decimal_text", {}),
        ("TEXT", "('5.00'), ('1.10')", "numeric(10,2)", "decimal_text", {}),
        ("TEXT", "(NULL)", "numeric", "decimal_text", {}),
        ("NUMERIC", "(1), (0.5)", "numeric", "number", {}),
        ("TEXT", "('ab'), ('')", "char(5)", "char", {"length": 5}),
        ("TEXT", "('Ab')", "public.citext", "text", {}),
        ("TEXT", "('12:34:56.5'), ('01:02:03.25')", "time", "time_text", {}),
        ("TEXT", "('10.0.0.1'), ('::1')", "inet", "inet", {}),
        ("TEXT", "('10.0.0.0/8')", "cidr", "inet", {}),
        ("TEXT", "('08:00:2b:01:02:03')", "macaddr", "inet", {}),
        ("DATETIME", "('1970-01-01 00:00:00.014649')", "interval", "interval", {"form": "epoch_text"}),
        ("BOOLEAN", "('True'), ('False'), (NULL)", "boolean", "boolean", {"words": "True"}),
        ("BOOLEAN", "('f'), (NULL)", "boolean", "boolean", {"words": "t"}),
        ("TEXT", "(NULL)", "boolean", "boolean", {"words": "true"}),
        (
            "DATETIME",
            "(1619092189.5)",
            "timestamptz",
            "epoch_real",
            {"unit": "s", "zoned": True},
        ),
        ("INTEGER", "(1), (2.5), ('x')", "text", "affine", {}),
        ("INTEGER", "(1), (2)", "varchar(5)", "affine", {"length": 5}),
        ("TEXT", "('x')", "text", "text", {}),
        ("GUID", "(x'000102030405060708090a0b0c0d0e0f')", "uuid", "uuid_blob", {}),
        ("JSON", """('{"a":1,"a":2}')""", "json", "json_text", {"binary": False}),
    ],
)
def test_the_type_and_the_values_choose_the_codec(
    both: Both, declared: str, values: str, target: str, codec: str, options: dict[str, object]
) -> None:
    before = "CREATE EXTENSION citext WITH SCHEMA public" if "citext" in target else ""
    both.make(declared, values, target, before=before)
    found = both.assess()
    if codec == "time_text":
        assert [f.code for f in blocking(found.findings)] == ["F7"]  # one value has one digit, the other two
        return
    assert blocking(found.findings) == () and found.plan is not None
    plan = plan_of(found)
    assert (plan.codec, plan.options) == (codec, options)
    assert plan.why.startswith("the PostgreSQL column's type")


@pytest.mark.hazard("F13", "refused", why="the type that is there holds no such integer", mode="existing")
@pytest.mark.hazard(
    "F16", "refused", why="numeric and integers hold no infinity in every version", mode="existing"
)
@pytest.mark.hazard("F20", "refused", why="the type that is there is too short", mode="existing")
@pytest.mark.hazard("F11", "refused", why="text holds no blob", mode="existing")
@pytest.mark.parametrize(
    ("declared", "values", "target", "code", "key"),
    [
        ("INTEGER", "(1), (2147483648)", "integer", "F13", "id=2"),
        ("INTEGER", "(1), (32768)", "smallint", "F13", "id=2"),
        ("REAL", "(1.5), (1e999)", "numeric", "F16", "id=2"),
        ("REAL", "(1e999)", "integer", "F12", "id=1"),
        ("REAL", "(0.5), (0.1234567890123)", "real", "F14", "id=2"),
        ("TEXT", f"('abc'), ('{'x' * 500}')", "varchar(5)", "F20", "id=2"),
        ("TEXT", "('abc'), ('abcdef')", "char(5)", "F20", "id=2"),
        ("TEXT", "('1.1'), ('1.10')", "numeric(10,2)", "R3", "id=1"),
        ("NUMERIC", "(1.5), (1.125)", "numeric(10,2)", "F15", "id=2"),
        ("TEXT", "('x'), (x'41')", "text", "F11", "id=2"),
        ("TEXT", "('x'), (x'41')", "bytea", "F11", "id=1"),
        ("", "(1), ('2'), (3)", "text", "F12", "id=1"),
        ("TEXT", "('10.0.0.1'), ('nowhere')", "inet", "R5", "id=2"),
        ("DATETIME", "(2459326.5)", "timestamp", "F4", "id=1"),
        ("DATETIME", "('2021-04-22 00:00:00'), (1619092189409)", "timestamp", "F5", "id=2"),
        ("DATETIME", "('2021-04-22 00:00:00'), ('')", "timestamp", "F7", "id=2"),
        ("DATE", "('2024-02-29'), ('2024-02-30')", "date", "F6", "id=2"),
    ],
)
def test_what_the_given_type_does_not_hold_is_refused_with_its_keys(
    both: Both, declared: str, values: str, target: str, code: str, key: str
) -> None:
    both.make(declared, values, target)
    (finding,) = blocking(both.assess().findings)
    assert (finding.code, finding.severity) == (code, "refused")
    assert key in finding.keys and finding.count and finding.settle


# ---- choices ---------------------------------------------------------------------------------------------


@pytest.mark.hazard("R5", "choice", mode="existing")
@pytest.mark.parametrize(
    ("values", "target", "ways"),
    [
        ("('a,b'), ('')", "text[]", ['separator = ","', 'codec = "verbatim"']),
        (
            """('["a","b"]'), ('[]')""",
            "text[]",
            ['separator = "json"', 'separator = ","', 'codec = "verbatim"'],
        ),
        ("('1,2')", "integer[]", ['separator = ","', 'codec = "verbatim"']),
        ("('{1.5}')", "numeric[]", ['codec = "verbatim"']),
        ("('(1,2)')", "point", ['codec = "verbatim"']),
        ("('12:34:56+02')", "timetz", ['codec = "verbatim"']),
        ("('01:02:03')", "interval", ['codec = "verbatim"']),
    ],
)
def test_r5_types_that_need_an_encoding_ask_for_it(
    both: Both, values: str, target: str, ways: list[str]
) -> None:
    both.make("TEXT", values, target)
    found = both.assess()
    finding = the_finding(found, "R5")
    assert finding.severity == "choice" and found.plan is None
    assert lines(finding) == ways
    for way in ways:
        name, value = way.split(" = ")
        chosen = both.assess(ColumnChoice(**{name: value.strip('"')}))  # type: ignore[arg-type]
        assert chosen.plan is not None, way
        assert plan_of(chosen).codec in ("array", "verbatim")


@pytest.mark.hazard("R5", "choice", mode="existing")
def test_r5_integers_that_become_intervals_need_a_unit(both: Both) -> None:
    both.make("INTEGER", "(14649)", "interval")
    finding = the_finding(both.assess(), "R5")
    assert (finding.severity, lines(finding)) == ("choice", ['unit = "us"'])
    chosen = both.assess(ColumnChoice(unit="ms"))
    assert chosen.plan is not None and plan_of(chosen).options == {"form": "ms"}


@pytest.mark.hazard("F1", "choice", mode="existing")
def test_f1_words_and_numbers_are_respelled_by_choice(both: Both) -> None:
    both.make("BOOLEAN", "('true'), ('false'), (1)", "boolean")
    finding = the_finding(both.assess(), "F1")
    assert (finding.severity, finding.keys, lines(finding)) == ("choice", ("id=3",), ["respell = true"])
    chosen = both.assess(ColumnChoice(respell=True))
    assert chosen.plan is not None and plan_of(chosen).options == {"words": "true", "respell": True}


@pytest.mark.hazard("F8", "choice", mode="existing")
@pytest.mark.hazard("F9", "choice", mode="existing")
@pytest.mark.parametrize(("value", "code"), [(NUL, "F8"), ("CAST(x'c328' AS TEXT)", "F9")])
def test_f8_f9_into_bytea_by_choice_and_into_text_never(both: Both, value: str, code: str) -> None:
    both.make("TEXT", f"('sound'), ({value})", "bytea")
    finding = the_finding(both.assess(), code)
    assert (finding.severity, finding.keys) == ("choice", ("id=2",))
    assert 'codec = "text_bytes"' in finding.settle
    chosen = both.assess(ColumnChoice(codec="text_bytes"))
    assert chosen.plan is not None and plan_of(chosen).codec == "text_bytes"


@pytest.mark.hazard("F8", "refused", why="PostgreSQL's text holds no NUL", mode="existing")
def test_f8_into_text_is_refused(both: Both) -> None:
    both.make("TEXT", f"({NUL})", "text")
    assert the_finding(both.assess(), "F8").severity == "refused"


@pytest.mark.hazard("F11", "choice", mode="existing")
def test_f11_text_into_bytea_by_choice(both: Both) -> None:
    both.make("TEXT", "('x'), ('y')", "bytea")
    finding = the_finding(both.assess(), "F11")
    assert (finding.severity, finding.count, lines(finding)) == ("choice", 2, ['codec = "text_bytes"'])
    assert both.assess(ColumnChoice(codec="text_bytes")).plan is not None


@pytest.mark.hazard("F35", "choice", mode="existing")
@pytest.mark.hazard("F34", "choice", mode="existing")
@pytest.mark.hazard("R5", "choice", mode="existing")
@pytest.mark.parametrize(
    ("values", "target", "code", "keys"),
    [
        (
            "('0b5ad7bb-9e0c-4d3b-8c1a-00000000000a'), ('0B5AD7BB-9E0C-4D3B-8C1A-00000000000B'), "
            "('0B5AD7BB-9E0C-4D3B-8C1A-00000000000C')",
            "uuid",
            "F35",
            ("id=1",),
        ),
        ("""('{"a":1}'), ('{"a": 1}')""", "jsonb", "F34", ("id=1",)),
        ("('10.0.0.1'), ('10.0.0.1/32')", "inet", "R5", ("id=2",)),
        (
            "('2024-03-31T02:30:00Z'), ('2024-03-31T02:30:00+02:00'), ('2024-04-01T02:30:00Z')",
            "timestamptz",
            "F7",
            ("id=2",),
        ),
    ],
)
def test_the_rarer_spellings_are_named_and_respelled_by_choice(
    both: Both, values: str, target: str, code: str, keys: tuple[str, ...]
) -> None:
    both.make("TEXT", values, target)
    finding = the_finding(both.assess(), code)
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, keys)
    assert lines(finding) == ["respell = true"]
    assert both.assess(ColumnChoice(respell=True)).plan is not None


# ---- zones and frameworks ----------------------------------------------------------------------------------


@pytest.mark.hazard("F7", "choice", mode="existing")
def test_f7_text_without_an_offset_into_timestamptz_needs_a_zone(both: Both) -> None:
    both.make("TEXT", "('2024-03-31 01:30:00'), ('2024-07-01 12:00:00.5')", "timestamptz")
    finding = the_finding(both.assess(), "F7")
    assert (finding.severity, finding.count) == ("choice", 2)
    assert finding.settle == '[sqlite]\nzone = "UTC"'
    for found, zone in (
        (both.assess(zone="America/New_York"), "America/New_York"),
        (both.assess(ColumnChoice(zone="Asia/Tokyo"), zone="America/New_York"), "Asia/Tokyo"),
    ):
        assert found.plan is None  # the digits differ: 0 and 1
        assert the_finding(found, "F7").settle.endswith("respell = true")
        spelled = both.assess(ColumnChoice(zone=zone, respell=True))
        assert spelled.plan is not None and plan_of(spelled).options["zone"] == zone
        assert zone in plan_of(spelled).why


@pytest.mark.hazard("F7", "refused", why="such a time does not exist in the declared zone", mode="existing")
def test_f7_a_time_that_the_clocks_skip_is_named(both: Both) -> None:
    both.make("TEXT", "('2024-03-31 01:30:00'), ('2024-03-31 02:30:00')", "timestamptz")
    finding = the_finding(both.assess(zone="Europe/Berlin"), "F7")
    assert (finding.severity, finding.keys) == ("refused", ("id=2",))
    assert both.assess(zone="UTC").plan is not None


@pytest.mark.hazard("F7", "carried", mode="existing")
@pytest.mark.parametrize(
    ("value", "target", "suffix"),
    [
        ("2024-03-31 02:30:00Z", "timestamptz", "Z"),
        ("2024-03-31 02:30:00+02:00", "timestamptz", "+02:00"),
        ("2024-03-31 02:30:00", "timestamp", ""),
    ],
)
def test_f7_no_zone_is_asked_for_where_the_text_has_it_or_the_type_has_none(
    both: Both, value: str, target: str, suffix: str
) -> None:
    both.make("TEXT", f"('{value}')", target)
    found = both.assess()
    assert found.plan is not None and plan_of(found).options["suffix"] == suffix


@pytest.mark.hazard("F7", "carried", mode="existing")
def test_f7_django_writes_utc_and_durations_in_microseconds(both: Both) -> None:
    both.make("datetime", "('2024-03-31 02:30:00')", "timestamptz", before=LEDGER, ledger=LEDGER)
    found = both.assess()
    assert blocking(found.findings) == ()
    said = the_finding(found, "F7")
    assert said.severity == "carries" and "Django" in said.message and "UTC" in said.message
    assert "Django" in plan_of(found).why
    # What is declared goes before it.
    own = both.assess(zone="Asia/Kolkata")
    assert plan_of(own).options["zone"] == "Asia/Kolkata"
    assert not any(f.code == "F7" for f in own.findings)


def test_a_framework_tells_the_unit_of_durations(both: Both) -> None:
    both.make("bigint", "(14649)", "interval", before=LEDGER, ledger=LEDGER)
    found = both.assess()
    assert found.plan is not None and plan_of(found).options == {"form": "us"}
    assert "Django" in the_finding(found, "R5").message


def test_alembic_tells_no_zone(both: Both) -> None:
    both.make(
        "TEXT",
        "('2024-03-31 02:30:00')",
        "timestamptz",
        ledger="CREATE TABLE alembic_version (version_num TEXT)",
    )
    assert [f.severity for f in both.assess().findings if f.code == "F7"] == ["choice"]


# ---- domains, stand-ins, traps -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "declared", "values", "codec"),
    [
        ("numeric(10,2)", "DECIMAL(10,2)", "(1.5), (2)", "number"),
        ("text", "TEXT", "('x')", "text"),
        ("integer", "INTEGER", "(7)", "integer"),
        ("timestamptz", "TEXT", "('2024-03-31 02:30:00Z')", "timestamp_text"),
        ("varchar(5)", "TEXT", "('x')", "text"),
        ("char(3)", "TEXT", "('ab')", "char"),
        ("inet", "TEXT", "('1.2.3.4')", "inet"),
        ("numeric(10,2)", "TEXT", "('1.50')", "decimal_text"),
    ],
)
def test_a_domain_is_the_type_below_it(
    both: Both, below: str, declared: str, values: str, codec: str
) -> None:
    both.make(declared, values, "public.kind", before=f"CREATE DOMAIN public.kind AS {below}")
    found = both.assess()
    assert found.plan is not None
    assert (plan_of(found).codec, plan_of(found).pg_type) == (codec, "public.kind")


@pytest.mark.parametrize(
    ("below", "declared", "value", "fits", "too_much"),
    [
        ("numeric(10,2)", "DECIMAL(10,2)", "1.5", 1.25, 1.125),
        ("numeric(10,2)", "TEXT", "'1.50'", "2.25", "2.255"),
        ("varchar(5)", "TEXT", "'x'", "abcde", "abcdef"),
        ("char(3)", "TEXT", "'ab'", "abc", "abcd"),
        ("timestamp(3)", "TEXT", "'2024-03-31 02:30:00.123'", "2024-03-31 02:30:00.124", "2024-03-31 02:30:00.1234"),
    ],
)
def test_a_domains_codec_knows_the_modifier_below_it(
    both: Both, below: str, declared: str, value: str, fits: SqliteValue, too_much: SqliteValue
) -> None:
    """Also for what is written after assess: PostgreSQL would cut it off."""
    before = f"CREATE DOMAIN public.kind AS {below}; CREATE DOMAIN public.kinder AS public.kind"
    both.make(declared, f"({value})", "public.kinder", before=before)
    found = both.assess()
    assert found.plan is not None
    codec = codec_for(plan_of(found))
    assert codec.encode(fits)
    with pytest.raises(CannotCarry):
        codec.encode(too_much)


def test_what_a_domain_does_not_hold_is_refused(both: Both) -> None:
    both.make("REAL", "(1.125)", "public.kind", before="CREATE DOMAIN public.kind AS numeric(10,2)")
    assert the_finding(both.assess(), "F15").keys == ("id=1",)


@pytest.mark.hazard("R4", "choice", mode="existing")
@pytest.mark.hazard("R5", "choice", mode="existing")
@pytest.mark.parametrize(
    ("declared", "value", "target", "choice", "option"),
    [
        ("REAL", "1.5", "double precision", ColumnChoice(nan=True), "nan"),
        ("REAL", "1.5", "real", ColumnChoice(nan=True), "nan"),
        ("TEXT", "'2024-03-31'", "date", ColumnChoice(infinity=True), "infinity"),
        ("TEXT", "'2024-03-31 02:30:00'", "timestamp", ColumnChoice(infinity=True), "infinity"),
    ],
)
def test_r4_r5_stand_ins_reach_the_codec(
    both: Both, declared: str, value: str, target: str, choice: ColumnChoice, option: str
) -> None:
    both.make(declared, f"({value})", target)
    found = both.assess(choice)
    assert found.plan is not None and plan_of(found).options[option] is True


@pytest.mark.hazard("R2", "carried", mode="existing")
@pytest.mark.parametrize(
    ("declared", "target", "before", "says"),
    [
        ("STRING", "text", "", "'007'"),
        ("INTEGER", "public.grade", "CREATE TYPE public.grade AS ENUM ('a', '1')", "'1'"),
        ("INTEGER", "public.grade", "CREATE TYPE public.grade AS ENUM ('a', 'b')", ""),
        ("TEXT", "integer", "", "every number"),
        ("TEXT", "text", "", ""),
    ],
)
def test_r2_values_that_the_affinity_would_change_are_said(
    both: Both, declared: str, target: str, before: str, says: str
) -> None:
    both.make(declared, "(NULL)", target, before=before)
    found = both.assess()
    traps = [f for f in found.findings if f.code == "R2"]
    assert len(traps) == bool(says) and all(says in f.message and f.severity == "carries" for f in traps)
