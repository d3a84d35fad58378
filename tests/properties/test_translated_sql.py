"""Defaults and conditions mean the same on both engines: both engines are asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import apsw
import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from conftest import Database
from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.codecs import codec_for
from turnback.core.conditions import ALWAYS, translate_condition
from turnback.core.defaults import Untranslatable, default_sample, translate_default
from turnback.core.expressions import Translation, Unknown, of_table, parsed
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue, identical
from turnback.core.schema import SqliteColumn, affinity
from turnback.errors import CannotCarry

COLUMNS = {
    "n": ColumnPlan("n", "n", "bigint", "integer", affinity="INTEGER"),
    "r": ColumnPlan("r", "r", "double precision", "real", affinity="REAL"),
    "b": ColumnPlan("b", "b", "boolean", "boolean", affinity="NUMERIC"),
    "s": ColumnPlan("s", "s", "text", "text", affinity="TEXT"),
    "e": ColumnPlan(
        "e", "e", "timestamp(3) with time zone", "epoch", {"unit": "ms", "zoned": True}, affinity="INTEGER"
    ),
}
VALUES: dict[str, list[SqliteValue]] = {
    "n": [None, -1, 0, 1, 2, 100],
    "r": [None, -1.5, 0.0, 0.5, 100.0],
    "b": [None, 0, 1],
    "s": [None, "", "a", "A", "ä", "ab", "1", "1.0", "abc "],
    "e": [None, 0, 1_619_092_189_409],
}
NUMBER = st.sampled_from(["-1", "0", "1", "2", "0.5", "100", "'1'", "'a'", "1.0"])
TEXT = st.sampled_from(["''", "'a'", "'A'", "'ä'", "1", "1.0", "'abc '"])
NAME = st.sampled_from(list(COLUMNS))


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    name = draw(NAME)
    constant = TEXT if name == "s" else NUMBER
    if name == "e":
        constant = st.sampled_from(["0", "1619092189409", "1619092189410"])
    operator = draw(st.sampled_from(["=", "==", "<>", "!=", "<", "<=", ">", ">="]))
    shape = draw(st.integers(0, 6))
    match shape:
        case 0:
            return f"{draw(constant)} {operator} {name}"
        case 1:
            return f"{name} IN ({draw(constant)}, {draw(constant)})"
        case 2:
            return f"{name} BETWEEN {draw(constant)} AND {draw(constant)}"
        case 3:
            return f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
        case 4:
            return f"length(s) {operator} {draw(st.integers(0, 4))}"
        case 5:
            return name
        case _:
            return f"{name} {operator} {draw(constant)}"


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(" ".join),
        inner.map(lambda c: f"NOT {c}"),
        inner.map(lambda c: f"({c})"),
    ),
    max_leaves=5,
)


@given(condition=CONDITIONS, data=st.data())
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_translated_condition_takes_the_same_rows(
    database: Database, condition: str, data: st.DataObject
) -> None:
    row = {name: data.draw(st.sampled_from(values), label=name) for name, values in VALUES.items()}
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute("CREATE TABLE t (n INTEGER, r REAL, b BOOLEAN, s TEXT, e INTEGER)").fetchall()
        sqlite.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?)", tuple(row.values())).fetchall()
        truth = sqlite.execute(f"SELECT ({condition}) IS TRUE, ({condition}) IS NULL FROM t").fetchone()
    assert truth is not None
    expected = None if truth[1] else bool(truth[0])
    exact = translate_condition(condition, COLUMNS, of_check=False)
    if exact is not None:
        assert _ask(database, exact, row) == expected
    check = translate_condition(condition, COLUMNS)
    if check == ALWAYS:
        assert expected is not False
    elif check is not None:  # a CHECK takes unknown for true
        assert (_ask(database, check, row) is not False) == (expected is not False)


def _ask(database: Database, condition: str, row: dict[str, SqliteValue]) -> bool | None:
    terms = ", ".join(f"%s::{plan.pg_type} AS {name}" for name, plan in COLUMNS.items())
    values = [None if v is None else codec_for(COLUMNS[n]).encode(v) for n, v in row.items()]
    sql = f"SELECT {condition.replace('%', '%%')} FROM (SELECT {terms}) AS t"
    answer = _session(database).execute(sql.encode(), values).fetchone()
    assert answer is not None
    return answer[0]


def _session(database: Database) -> psycopg.Connection:
    return database._open[0] if database._open else database.connect()


def test_common_conditions_are_translated() -> None:
    for condition in ("b IN (0, 1)", '"n" >= 0', "s IN ('a', 'b')", "e IS NULL", "b = 1", "length(s) <= 3"):
        assert translate_condition(condition, COLUMNS) is not None, condition
    for condition in (
        "s REGEXP 'a'",
        "+n = 1",
        "n > r",
        "s > 1.5",
        "e + 1 > 2",
        "round(r) = 1",
        "n IN (SELECT 1)",
        "CAST(s AS INTEGER) = 1",
        "s = 'a' COLLATE other",
        "s GLOB '[a]'",
        "nonsense (",
    ):
        assert translate_condition(condition, COLUMNS) is None, condition


ROWS: list[tuple[SqliteValue, ...]] = [
    (1, 0.5, 1, "abc", 0, "Abc ", b"\x00\xff", "x"),
    (-7, -2.0, 0, "", 5_000, "b", b"", "5"),
    (2, 100.0, 1, "ABC ", 1_619_092_189_409, "abc", b"a", ""),
    (0, 0.0, None, "ä_%Ä", None, "É", None, "abc"),
    (None, None, 0, None, 7, None, b"z", None),
    ((1 << 53) + 1, 1e300, 1, "12", 1, "a\\b", b"\x01", "ABC"),
    (3, float("inf"), None, "  x ", 2, "A", b"12", "b "),
    (-1, -1e-300, 0, "b😀c", 3, "a", b"x", "é"),
]
INTEGERS = st.sampled_from(["n", "n", "m", "0", "1", "-2", "3", "length(s)", "b"])
REALS = st.sampled_from(["r", "r", "0.5", "-1.25", "2.0"])
TEXTS = st.sampled_from(["s", "s", "c", "x", "'abc'", "'B'", "''", "'ä%'"])


def _binary(operators: list[str], inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(inner, st.sampled_from(operators), inner).map(" ".join)


def _integers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _binary(["+", "-", "*", "/", "%", "&", "|"], inner),
        inner.map(lambda a: f"abs({a})"),
        inner.map(lambda a: f"-({a})"),
        inner.map(lambda a: f"({a})"),
        st.tuples(inner, inner).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"nullif({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
        TEXTS.map(lambda s: f"instr({s}, 'b')"),
        REALS.map(lambda r: f"CAST({r} AS INTEGER)"),
    )


def _reals(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _binary(["+", "-", "*", "/"], inner),
        inner.map(lambda a: f"abs({a})"),
        inner.map(lambda a: f"-({a})"),
        st.tuples(inner, INTEGERS, st.sampled_from("+-*/")).map(lambda t: f"({t[0]} {t[2]} {t[1]})"),
        inner.map(lambda a: f"coalesce({a}, 0) + 0.5"),
        INTEGERS.map(lambda a: f"CAST({a} AS REAL)"),
    )


def _texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _binary(["||"], inner),
        st.tuples(inner, INTEGERS).map(lambda t: f"{t[0]} || ({t[1]})"),
        inner.map(lambda a: f"lower({a})"),
        inner.map(lambda a: f"upper({a})"),
        st.tuples(inner, st.integers(1, 4), st.integers(0, 3)).map(
            lambda t: f"substr({t[0]}, {t[1]}, {t[2]})"
        ),
        st.tuples(inner, st.integers(-4, 4)).map(lambda t: f"substr({t[0]}, {t[1]})"),
        inner.map(lambda a: f"trim({a})"),
        inner.map(lambda a: f"rtrim({a}, ' c')"),
        inner.map(lambda a: f"ltrim({a}, 'aA')"),
        st.tuples(inner, inner, inner).map(lambda t: f"replace({t[0]}, 'b', {t[1]})"),
        inner.map(lambda a: f"ifnull({a}, 'none')"),
        st.tuples(inner, inner).map(lambda t: f"min({t[0]}, {t[1]})"),
        st.sampled_from("nrbsed").map(lambda name: f"typeof({name})"),
        INTEGERS.map(lambda a: f"CAST({a} AS TEXT)"),
    )


COMPARE = ["=", "==", "<>", "!=", "<", "<=", ">", ">=", "IS", "IS NOT", "IS DISTINCT FROM"]
PATTERN = st.text("aAbB%_ä\\ *?", max_size=4).map(lambda p: f"'{p}'")


def _tests(
    integers: st.SearchStrategy[str], reals: st.SearchStrategy[str], texts: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    collate = st.sampled_from(["", "", " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY"])
    return st.one_of(
        _binary(COMPARE, integers),
        _binary(COMPARE, reals),
        _binary(COMPARE, texts),
        st.tuples(texts, st.sampled_from(COMPARE), texts, collate).map("{0[0]} {0[1]} {0[2]}{0[3]}".format),
        st.tuples(TEXTS, collate, st.sampled_from(COMPARE), TEXTS).map("{0[0]}{0[1]} {0[2]} {0[3]}".format),
        st.tuples(texts, st.sampled_from(["LIKE", "NOT LIKE", "GLOB"]), PATTERN).map(" ".join),
        st.tuples(texts, PATTERN).map(lambda t: f"{t[0]} LIKE {t[1]} ESCAPE '\\'"),
        st.tuples(integers, integers, integers).map(lambda t: f"{t[0]} BETWEEN {t[1]} AND {t[2]}"),
        st.tuples(INTEGERS, st.sampled_from(["1", "1, 0", "2, NULL", "'1', 2.0"])).map(
            lambda t: f"{t[0]} IN ({t[1]})"
        ),
        st.tuples(TEXTS, st.sampled_from(["'abc', 'x'", "12", "NULL, 'a'"])).map(
            lambda t: f"{t[0]} NOT IN ({t[1]})"
        ),
        st.sampled_from(
            ["e > 5", "e = 7", "d = x'61'", "d > x''", "e IS NULL", "typeof(s) = 'text'", "5", "n", "b"]
        ),
        st.sampled_from(["b IS TRUE", "n IS NOT TRUE", "b IS 1", "r IS NULL", "s NOTNULL", "x = 5", "5 < x"]),
    )


def _logic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _binary(["AND", "OR", "=", "IS"], inner),
        inner.map(lambda a: f"NOT {a}"),
        inner.map(lambda a: f"({a})"),
        inner.map(lambda a: f"({a}) + 1 > n"),
    )


WHOLE = st.recursive(INTEGERS, _integers, max_leaves=4)
BROKEN = st.recursive(REALS, _reals, max_leaves=4)
WORDS = st.recursive(TEXTS, _texts, max_leaves=4)
TESTS = st.recursive(_tests(WHOLE, BROKEN, WORDS), _logic, max_leaves=3)
ANY = st.one_of(
    WHOLE,
    BROKEN,
    WORDS,
    TESTS,
    st.tuples(TESTS, WHOLE, WHOLE).map(lambda t: f"CASE WHEN {t[0]} THEN {t[1]} ELSE {t[2]} END"),
    st.tuples(WORDS, TEXTS, BROKEN).map(lambda t: f"CASE {t[0]} WHEN {t[1]} THEN {t[2]} END"),
    st.tuples(TESTS, WORDS, WORDS).map(lambda t: f"iif({t[0]}, {t[1]}, {t[2]})"),
)
DECLARED = "n INTEGER, r REAL, b BOOLEAN, s TEXT, e INTEGER, c TEXT COLLATE NOCASE, d BLOB, x"
TYPED = {
    **COLUMNS,
    "c": ColumnPlan("c", "c", "text", "text", affinity="TEXT"),
    "d": ColumnPlan("d", "d", "bytea", "blob", affinity="BLOB"),
    "x": ColumnPlan("x", "x", "text", "text", affinity="BLOB"),
    "m": ColumnPlan("m", "m", "integer", "integer", {"bits": 32}, affinity="INTEGER"),
}
NAMES = of_table(TYPED.values(), {"c": "NOCASE"})


@pytest.fixture(scope="module")
def engines(server: EmbeddedPostgres) -> Iterator[tuple[apsw.Connection, psycopg.Connection]]:
    """Both with the same rows: ROWS, and m, a small integer."""
    sqlite = apsw.Connection(":memory:")
    sqlite.execute(f"CREATE TABLE t ({DECLARED}, m INTEGER)").fetchall()
    postgres = connect(server.admin_dsn("postgres"))
    types = ", ".join(f"{name} {TYPED[name].pg_type}" for name in [*"nrbsecdx", "m"])
    postgres.execute(f"CREATE TEMP TABLE t (id integer, {types})".encode())
    for i, row in enumerate(ROWS):
        values = (*row, i - 3)
        sqlite.execute(f"INSERT INTO t VALUES ({', '.join('?' * 9)})", values).fetchall()
        plans = [TYPED[name] for name in [*"nrbsecdx", "m"]]
        encoded = [None if v is None else codec_for(p).encode(v) for v, p in zip(values, plans, strict=True)]
        postgres.execute(f"INSERT INTO t VALUES ({i}{', %s' * 9})".encode(), encoded)
    yield sqlite, postgres
    sqlite.close()
    postgres.close()


@given(expression=ANY)
@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
def test_a_translated_expression_has_the_same_value_in_every_row(
    engines: tuple[apsw.Connection, psycopg.Connection], expression: str
) -> None:
    sqlite, postgres = engines
    try:
        term = Translation(NAMES).term(parsed(expression))
    except (Unknown, CannotCarry):
        return
    event("translated")
    for i in range(len(ROWS)):
        (expected,) = sqlite.execute(f"SELECT {expression} FROM t WHERE rowid = ?", (i + 1,)).fetchall()[0]
        try:
            found = postgres.execute(f"SELECT {term.sql} FROM t WHERE id = {i}".encode()).fetchone()
        except psycopg.errors.NumericValueOutOfRange:
            event("out of range in PostgreSQL")
            continue
        assert found is not None
        value = found[0]
        if isinstance(value, bool):
            value = int(value)
        if term.loose and isinstance(expected, int):
            expected = float(expected)
        assert identical(value, expected), f"row {i}: {term.sql}"


def test_most_of_what_the_property_makes_is_translated() -> None:
    for expression in (
        "n + 1 > 2", "n / m", "n % 3", "r / 2", "s || n", "lower(s) = 'a'", "s LIKE 'a%'", "s > 'a'", "c = 'A'",
        "coalesce(n, 0)", "CASE WHEN b THEN s END", "substr(s, 1, 3)", "iif(b, 1, 2)", "CAST(n AS TEXT)",
        "s GLOB 'x*'", "typeof(s)", "e IS NULL", "b AND n", "replace(s, 'a', c)",
    ):  # fmt: skip
        Translation(NAMES).term(parsed(expression))


MOMENT = {"separator": " ", "fraction": 0, "suffix": "", "zoned": False}
ISO = {"separator": "T", "fraction": 3, "suffix": "Z", "zoned": True}
DEFAULTS = [
    ("INTEGER", "-5", "bigint", "integer", {}),
    ("INTEGER", "'7'", "bigint", "integer", {}),
    ("INTEGER", "0x1F", "bigint", "integer", {}),
    ("INTEGER", "5.0", "bigint", "integer", {}),
    ("BOOLEAN", "false", "boolean", "boolean", {}),
    ("BOOLEAN", "TRUE", "boolean", "boolean", {}),
    ("BOOLEAN", "'1'", "boolean", "boolean", {}),
    ("REAL", "1", "double precision", "real", {}),
    ("REAL", "-1.5e-7", "double precision", "real", {}),
    ("DECIMAL(10,2)", "9.90", "numeric", "number", {}),
    ("DECIMAL(10,2)", "5.00", "numeric", "number", {}),
    ("TEXT", "'it''s \\ \"x\" ä'", "text", "text", {}),
    ("TEXT", '"x y"', "text", "text", {}),
    ("TEXT", "0", "text", "text", {}),
    ("TEXT", "''", "text", "text", {}),
    ("TEXT", "NULL", "text", "text", {}),
    ("TEXT", "x", "text", "text", {}),
    ("BLOB", "x'00FF5b'", "bytea", "blob", {}),
    ("JSON", "'{}'", "jsonb", "json_text", {"binary": True}),
    ("UUID", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001'", "uuid", "uuid_text", {}),
    ("DATETIME", "'2024-03-31 02:30:00'", "timestamp without time zone", "timestamp_text", MOMENT),
    ("DATETIME", "0", "timestamp(3) with time zone", "epoch", {"unit": "ms", "zoned": True}),
    ("INTEGER", "(60 * 60 * 24)", "bigint", "integer", {}),
    ("INTEGER", "(-7 / 2)", "bigint", "integer", {}),
    ("REAL", "(1 / 2.0)", "double precision", "real", {}),
    ("REAL", "(2 * 3)", "double precision", "real", {}),
    ("TEXT", "('a' || 'b')", "text", "text", {}),
    ("TEXT", "(lower('ÄB') || 7)", "text", "text", {}),
    ("BOOLEAN", "(1 = 2)", "boolean", "boolean", {}),
    ("TEXT", "(coalesce(NULL, 'x'))", "text", "text", {}),
]


@pytest.mark.parametrize(("declared", "default", "pg_type", "codec", "options"), DEFAULTS)
def test_a_constant_default_gives_the_same_value(
    database: Database, declared: str, default: str, pg_type: str, codec: str, options: dict[str, str]
) -> None:
    plan = ColumnPlan("c", "c", pg_type, codec, options, affinity(declared))
    there, back = _both(database, declared, default, plan)
    assert identical(there, back)


NOW = [
    ("DATETIME", "CURRENT_TIMESTAMP", "timestamp without time zone", "timestamp_text", MOMENT),
    ("DATETIME", "(datetime('now'))", "timestamp with time zone", "timestamp_text", MOMENT | {"zoned": True}),
    ("TEXT", "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", "timestamp with time zone", "timestamp_text", ISO),
    ("TEXT", "CURRENT_TIMESTAMP", "text", "text", {}),
    ("TEXT", "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", "text", "text", {}),
    ("TEXT", "(date('now'))", "date", "date_text", {}),
    ("DATE", "CURRENT_DATE", "text", "text", {}),
    ("INTEGER", "(unixepoch())", "bigint", "integer", {}),
    ("INTEGER", "(CAST(strftime('%s', 'now') AS INTEGER))", "bigint", "integer", {}),
    ("INTEGER", "(strftime('%s','now'))", "bigint", "integer", {}),
    ("TEXT", "(strftime('%s','now'))", "text", "text", {}),
    ("INTEGER", "(unixepoch() * 1000)", "bigint", "integer", {}),
    ("INTEGER", "(cast(unixepoch('subsec') * 1000 as integer))", "bigint", "integer", {}),
    ("INTEGER", "(unixepoch())", "timestamp(0) with time zone", "epoch", {"unit": "s", "zoned": True}),
    ("INTEGER", "(unixepoch() * 1000)", "timestamp(3) without time zone", "epoch", {"unit": "ms"}),
    (
        "INTEGER",
        "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))",
        "timestamp(3) with time zone",
        "epoch",
        {"unit": "ms", "zoned": True},
    ),
]


@pytest.mark.parametrize(("declared", "default", "pg_type", "codec", "options"), NOW)
def test_a_default_of_now_gives_the_same_form_of_the_same_moment(
    database: Database, declared: str, default: str, pg_type: str, codec: str, options: dict[str, str]
) -> None:
    plan = ColumnPlan("c", "c", pg_type, codec, options, affinity(declared))
    there, back = _both(database, declared, default, plan)
    assert type(there) is type(back)
    if isinstance(there, int) and isinstance(back, int):
        assert len(str(there)) == len(str(back))
        assert abs(there - back) <= (5 if there < 10**11 else 5_000)
    else:
        assert isinstance(there, str) and isinstance(back, str)
        assert len(there) == len(back)
        assert [c.isdigit() for c in there] == [c.isdigit() for c in back]
        assert there[:10] <= back[:10]


def _both(
    database: Database, declared: str, default: str, plan: ColumnPlan
) -> tuple[SqliteValue, SqliteValue]:
    """(what SQLite inserts, what PostgreSQL's translated default comes back as)."""
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute(f"CREATE TABLE t (k, c {declared} DEFAULT {default})").fetchall()
        sqlite.execute("INSERT INTO t (k) VALUES (1)").fetchall()
        (there,) = sqlite.execute("SELECT c FROM t").fetchone() or (None,)
        stored = sqlite.execute("PRAGMA table_xinfo(t)").fetchall()[1][4]
    column = SqliteColumn("c", declared, False, str(stored), 0)
    translated = translate_default(column, plan)
    with closing(connect(database.admin_dsn)) as postgres:
        value = "NULL" if translated is None else translated
        postgres.execute(f"CREATE TABLE public.t (k integer, c {plan.pg_type} DEFAULT {value})".encode())
        postgres.execute("INSERT INTO public.t (k) VALUES (1)")
        result = postgres.execute("SELECT c FROM public.t").pgresult
        assert result is not None
        text = result.get_value(0, 0)  # as the output function prints it
    return there, None if text is None else codec_for(plan).decode(text.decode())


@pytest.mark.parametrize(
    ("declared", "default", "pg_type", "codec"),
    [
        ("INTEGER", "CURRENT_TIMESTAMP", "bigint", "integer"),
        ("INTEGER", "'abc'", "bigint", "integer"),
        ("TEXT", "(datetime('now', 'localtime'))", "text", "text"),
        ("TEXT", "(lower(hex(randomblob(16))))", "text", "text"),
        ("REAL", "(julianday('now'))", "double precision", "real"),
        ("INTEGER", "(random())", "bigint", "integer"),
        ("TEXT", "1.50", "text", "text"),
        ("TEXT", "(strftime('%Y%j', 'now'))", "text", "text"),
        ("INTEGER", "2", "boolean", "boolean"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused(
    declared: str, default: str, pg_type: str, codec: str
) -> None:
    plan = ColumnPlan("c", "c", pg_type, codec, affinity=affinity(declared))
    with pytest.raises(Untranslatable):
        translate_default(SqliteColumn("c", declared, False, default, 0), plan)


def test_a_default_shows_the_form_of_an_empty_column() -> None:
    iso = SqliteColumn("c", "TEXT", False, "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", 0)
    assert default_sample(iso) == "2000-01-01T00:00:00.000Z"
    assert default_sample(SqliteColumn("c", "TEXT", False, "'x'", 0)) == ""
