"""What the census proves without trying a value must be so: `proven` against the codec itself."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import budget

from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.introspect import read_schema
from turnback.core.candidates import Case, proven
from turnback.core.candidates_create import for_create
from turnback.core.candidates_existing import for_type
from turnback.core.choices import ColumnChoice
from turnback.core.codecs import carries, codec_for

DIGITS = st.sampled_from(["", ".0", ".5", ".50", ".000", ".123", ".120000", ".123456", ".000000", ".1234567"])
HEADS = st.sampled_from(
    ["2024-03-31", "2024-02-30", "0001-01-01", "0000-01-01", "9999-12-31", "2024-2-3", "1900-02-29"]
)
TIMES = st.sampled_from(["02:30:00", "23:59:59", "24:00:00", "02:30:60", "02:30", "2:30:00"])
SUFFIXES = st.sampled_from(["", "", "Z", "+00:00", "+02:00", " UTC", "z"])
MOMENTS = st.builds(
    lambda head, separator, time, digits, suffix: head + separator + time + digits + suffix,
    HEADS,
    st.sampled_from([" ", "T", "t", "  "]),
    TIMES,
    DIGITS,
    SUFFIXES,
)
SOUND = st.builds(
    lambda second, digits: f"2024-03-31 02:30:{second:02}{digits}",
    st.integers(0, 59),
    st.sampled_from(["", ".123456", ".120000", ".000000"]),
)
UUIDS = st.builds(
    lambda octets, upper, hyphens: _uuid(octets, upper, hyphens),
    st.binary(min_size=16, max_size=16),
    st.booleans(),
    st.sampled_from([True, True, False]),
)
CENTS = st.integers(-(10**17), 10**17).map(lambda n: n / 100)


def _uuid(octets: bytes, upper: bool, hyphens: bool) -> str:
    h = octets.hex()
    text = "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:])) if hyphens else h
    return text.upper() if upper else text


@pytest.mark.parametrize(
    ("declared", "types", "values"),
    [
        ("DATETIME", ("timestamp", "timestamptz", "timestamp(3)"), st.one_of(MOMENTS, SOUND)),
        ("DATETIME", ("timestamp", "timestamp(3)"), SOUND),
        ("DATE", ("date",), st.one_of(HEADS, st.sampled_from(["2024-W01-1", "20240331", "２０２４-03-31"]))),
        ("UUID", ("uuid",), st.one_of(UUIDS, st.sampled_from(["none", "{" + "0" * 32 + "}"]))),
        ("BOOLEAN", ("boolean",), st.sampled_from(["true", "false", "True", "t", "no", "off", "maybe"])),
        (
            "DECIMAL(10,2)",
            ("numeric", "numeric(10,2)", "numeric(6,1)"),
            st.one_of(CENTS, st.floats(), st.integers(-(2**63), 2**63 - 1)),
        ),
        (
            "DECIMAL(10,2)",
            ("numeric(10,2)", "numeric(6,1)"),
            st.integers(-(10**6), 10**6).map(lambda n: n / 100),
        ),
        ("REAL", ("double precision", "real"), st.floats(allow_nan=False)),
        ("INTEGER", ("smallint", "integer", "boolean"), st.integers(-40_000, 40_000)),
        ("INTEGER", ("timestamptz", "timestamp(0)"), st.integers(-(10**11), 10**18)),
    ],
)
def test_what_the_census_proves_every_value_shows(
    declared: str, types: tuple[str, ...], values: st.SearchStrategy[object]
) -> None:
    @budget
    @given(st.lists(values, min_size=1, max_size=6))
    def holds(written: list[object]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.db"
            with closing(apsw.Connection(str(path))) as file:
                file.execute(
                    f"PRAGMA synchronous = off; CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})"
                )
                file.executemany("INSERT INTO t (c) VALUES (?)", [(v,) for v in written])  # type: ignore[misc]
            with Census(path) as census:
                table = read_schema(census.connection, path).table("t")
                facts = census.profile(table).columns["c"]
                stored = [row[0] for _, row in census.values(table, ["c"])]
        case = Case(table.columns[1], facts, ColumnChoice(), zone="UTC")
        offers = [for_create(case, comparable=False), *(for_type(case, name) for name in types)]
        for candidate in (c for offer in offers for c in offer.candidates):
            if proven(candidate, facts):
                codec = codec_for(candidate)
                assert [carries(codec, candidate, v) for v in stored] == [None] * len(stored), candidate

    holds()
