"""Random tables over all codecs, through the files and connections that migrate and verify use: what SQLite
holds goes into PostgreSQL by COPY, comes out by COPY, is decoded and written into a second file, and both
files hold the same values, storage class and bits included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path

import apsw
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import small_budget, stored
from test_codec_laws import documents

from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.core.codecs import CODECS, carries, codec_for
from turnback.core.codecs.row import RowCodec
from turnback.core.ddl import create_schema, drop_schema
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.rows import SqliteRow, SqliteValue, identical
from turnback.core.schema import affinity
from turnback.core.sqltext import identifier
from two_sides import plan_of, table_plan

DATABASE = "whole_tables"
TIMESTAMP, TIMESTAMPTZ = "timestamp without time zone", "timestamp with time zone"


@pytest.fixture(scope="module")
def dsn(server) -> Iterator[str]:
    with closing(psycopg.connect(server.admin_dsn("postgres"), autocommit=True)) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}".encode())
        yield server.admin_dsn(DATABASE)
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


@dataclass(frozen=True)
class Kind:
    """A column that a table may have, with values that are mostly carried."""

    declared: str
    plan: ColumnPlan
    values: st.SearchStrategy[SqliteValue]


def kind(
    declared: str,
    codec: str,
    pg_type: str,
    values: st.SearchStrategy[SqliteValue],
    **options: str | int | bool,
) -> Kind:
    return Kind(declared, ColumnPlan("c", "c", pg_type, codec, options, affinity(declared)), values)


edges = st.sampled_from(
    [sign * (1 << bits) + step for bits in (15, 31, 53, 63) for sign in (1, -1) for step in (-1, 0)]
)
integers = (edges | st.integers(-(2**63), 2**63 - 1)).filter(lambda n: -(2**63) <= n < 2**63)
small = st.integers(-(2**15), 2**15 - 1)
reals = st.sampled_from([0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 1e16]) | st.floats(
    allow_nan=False
)
cents = st.integers(-(10**9), 10**9).map(lambda n: n / 100)
plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
# What must survive COPY's own quoting, both ways.
awkward = st.sampled_from(
    ["", " ", "\\", "\\N", "\\.", "\t\n\r", "NULL", "😀", "e\u0301", "\ufeff", '"', "'", "{}", "a,b"]
)
texts = awkward | plain
octets = st.binary(max_size=20)
stamps = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))
spelled_stamps = st.builds(lambda m, s: m.isoformat(s), stamps, st.sampled_from([" ", "T"]))
uuids = st.uuids().map(str)

KINDS = [
    kind("INTEGER", "integer", "smallint", small, bits=16),
    kind("INTEGER", "integer", "bigint", integers),
    kind("REAL", "real", "double precision", reals),
    kind("", "real", "double precision", reals | st.just(-0.0)),
    kind("NUMERIC", "real", "double precision", reals | small, nan=True),
    kind("REAL", "real", "double precision", reals | st.just("NaN"), nan=True),
    kind("REAL", "float4", "real", cents | st.sampled_from([0.1, math.inf, 16777216.0])),
    kind("NUMERIC", "number", "numeric", cents | integers),
    kind("DECIMAL(10,2)", "number", "numeric(10,2)", cents | small),
    kind("", "number", "numeric", reals | integers),
    kind(
        "TEXT",
        "decimal_text",
        "numeric",
        st.from_regex(r"-?[1-9][0-9]{0,99}(\.[0-9]{1,30})?", fullmatch=True),
    ),
    kind("TEXT", "decimal_text", "numeric(9,3)", st.from_regex(r"[1-9][0-9]{0,5}\.[0-9]{3}", fullmatch=True)),
    kind("BOOLEAN", "boolean", "boolean", st.sampled_from([0, 1])),
    kind("TEXT", "boolean", "boolean", st.sampled_from(["true", "false"]), words="true"),
    kind("BOOLEAN", "boolean", "boolean", st.sampled_from([0, 1, "t", "no", "TRUE"]), respell=True),
    kind("TEXT", "text", "text", texts),
    kind("VARCHAR(5)", "text", "character varying(5)", texts, length=5),
    kind("CHAR(6)", "char", "character(6)", texts, length=6),
    kind("BLOB", "blob", "bytea", octets),
    kind("TEXT", "text_bytes", "bytea", octets.map(lambda b: b.decode(errors="surrogateescape"))),
    kind("NUMERIC", "affine", "text", texts | integers | cents),
    kind("TEXT", "verbatim", "int4range", st.sampled_from(["empty", "[1,5)", "(,7)", "[-3,)"])),
    kind("TEXT", "verbatim", "point", st.sampled_from(["(1,2)", "(0.1,-5)"])),
    kind(
        "TEXT",
        "array",
        "text[]",
        st.lists(plain.map(lambda t: t.replace(",", "")), max_size=4).map(",".join),
        separator=",",
    ),
    kind(
        "TEXT",
        "array",
        "integer[]",
        st.lists(small, max_size=4).map(lambda n: str(n).replace(" ", "")),
        separator="json",
    ),
    kind("TEXT", "inet", "inet", st.ip_addresses().map(str)),
    kind("TEXT", "inet", "cidr", st.ip_addresses(v=4).map(lambda a: f"{a}/32")),
    kind("DATETIME", "timestamp_text", TIMESTAMP, spelled_stamps),
    kind(
        "TEXT",
        "timestamp_text",
        TIMESTAMPTZ,
        stamps.map(lambda m: m.isoformat("T", "milliseconds") + "Z"),
        separator="T",
        fraction=3,
        suffix="Z",
        zoned=True,
    ),
    kind(
        "TEXT",
        "timestamp_text",
        TIMESTAMPTZ,
        stamps.map(lambda m: m.isoformat(" ", "microseconds") + "+02:00"),
        fraction=6,
        suffix="+02:00",
        zoned=True,
    ),
    kind(
        "TEXT",
        "timestamp_text",
        TIMESTAMPTZ,
        stamps.map(lambda m: str(m.replace(microsecond=0))) | st.just("infinity"),
        zoned=True,
        zone="Australia/Lord_Howe",
        infinity=True,
    ),
    kind(
        "TEXT",
        "timestamp_text",
        TIMESTAMPTZ,
        spelled_stamps.map(lambda t: t + "+05:30") | spelled_stamps,
        zoned=True,
        respell=True,
    ),
    kind("DATE", "date_text", "date", st.dates().map(str)),
    kind("TEXT", "date_text", "date", st.dates().map(str) | st.just("-infinity"), infinity=True),
    kind(
        "TEXT",
        "time_text",
        "time without time zone",
        st.times().map(lambda t: t.isoformat("microseconds")),
        fraction=6,
    ),
    kind("INTEGER", "epoch", TIMESTAMPTZ, st.integers(-(10**13), 10**13), unit="ms", zoned=True),
    kind(
        "REAL",
        "epoch_real",
        TIMESTAMPTZ,
        st.integers(-(10**15), 10**15).map(lambda n: n / 10**6),
        unit="s",
        zoned=True,
    ),
    kind("INTEGER", "interval", "interval", integers, form="us"),
    kind(
        "DATETIME",
        "interval",
        "interval",
        stamps.map(lambda m: m.isoformat(" ", "microseconds")),
        form="epoch_text",
    ),
    kind("JSON", "json_text", "json", documents),
    kind("TEXT", "json_text", "jsonb", documents, binary=True, respell=True),
    kind("TEXT", "uuid_text", "uuid", uuids),
    kind("TEXT", "uuid_text", "uuid", uuids | uuids.map(str.upper), respell=True),
    kind("BLOB", "uuid_blob", "uuid", st.uuids().map(lambda u: u.bytes)),
]


def test_every_codec_is_among_the_columns() -> None:
    assert {k.plan.codec for k in KINDS} == set(CODECS)


@dataclass(frozen=True)
class Drawn:
    table: TablePlan
    declared: tuple[str, ...]
    rows: tuple[SqliteRow, ...]


@st.composite
def tables(draw: st.DrawFn) -> Drawn:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
    plans = [replace(k.plan, sqlite=f"c {i}", postgres=f"C{i}") for i, k in enumerate(kinds)]
    height = draw(st.integers(0, 25))
    columns = [
        [carried(p, k.declared, draw(st.none() | k.values)) for _ in range(height)]
        for p, k in zip(plans, kinds, strict=True)
    ]
    identity = ColumnPlan("id", "id", "bigint", "integer", affinity="INTEGER")
    return Drawn(
        table_plan("t", identity, *plans),
        ("INTEGER PRIMARY KEY", *(k.declared for k in kinds)),
        tuple((i, *cells) for i, cells in enumerate(zip(*columns, strict=True))),
    )


def carried(plan: ColumnPlan, declared: str, value: SqliteValue) -> SqliteValue:
    """What SQLite keeps of the value, where the codec carries that; else nothing."""
    if plan.codec != "text_bytes":
        (value,) = stored([value], declared)
    return value if value is None or carries(codec_for(plan), plan, value) is None else None


numbers = count(1)


@small_budget
@given(tables())
def test_whole_tables_there_and_back(
    dsn: str, tmp_path_factory: pytest.TempPathFactory, drawn: Drawn
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    table, plan = drawn.table, plan_of(drawn.table)
    before = write(folder / "before.db", drawn)
    assert all(same(a, b) for a, b in zip(before, drawn.rows, strict=True))

    codec = RowCodec(table)
    sent = [codec.encode(row) for row in before]
    with closing(Loader(dsn, plan, run_token=f"run {next(numbers)}")) as loader:
        try:
            loader.prepare(create_schema(plan))
            assert loader.load(table, sent, (len(sent),)) == len(sent)
            with closing(SnapshotReader(dsn, plan.schema)) as reader:
                came = sorted(reader.rows(table), key=lambda row: int(row[0] or ""))
        finally:
            loader.discard(drop_schema(plan))

    assert [codec.canonical(row) for row in came] == [codec.canonical(row) for row in sent]
    decoded = [codec.decode(row) for row in came]
    for row, (old, new) in zip(sent, zip(before, decoded, strict=True), strict=True):
        for column, one, text, a, b in zip(table.columns, codec.codecs, row, old, new, strict=True):
            if column.options.get("respell") and text is not None:
                assert b is not None and one.canonical(one.encode(b)) == one.canonical(text)
            else:
                assert identical(a, b), (column, a, text, b)

    # A file that gets the decoded values holds them as they are.
    after = write(folder / "after.db", replace(drawn, rows=tuple(decoded)))
    assert all(same(a, b) for a, b in zip(after, decoded, strict=True))


def write(path: Path, drawn: Drawn) -> list[SqliteRow]:
    """The table in a new file, and its rows as turnback reads them there."""
    columns = drawn.table.columns
    defined = ", ".join(f"{identifier(c.sqlite)} {d}" for c, d in zip(columns, drawn.declared, strict=True))
    marks = ", ".join("CAST(? AS TEXT)" if c.codec == "text_bytes" else "?" for c in columns)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"CREATE TABLE t ({defined})")
        with connection:
            connection.executemany(
                f"INSERT INTO t VALUES ({marks})",
                [
                    tuple(
                        v.encode(errors="surrogateescape")
                        if c.codec == "text_bytes" and type(v) is str
                        else v
                        for c, v in zip(columns, row, strict=True)
                    )
                    for row in drawn.rows
                ],
            )
    with closing(FileReader(path)) as reader:
        return [tuple(row) for batch in reader.batches(drawn.table) for row in batch.rows]


def same(a: SqliteRow, b: SqliteRow) -> bool:
    return len(a) == len(b) and all(map(identical, a, b))
