"""What the census proves without trying a value must be so: `proven` against the codec itself."""

from __future__ import annotations

import json
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
from turnback.core.candidates.case import Case, proven
from turnback.core.candidates.create import for_create
from turnback.core.candidates.existing import for_type
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
LEAVES = st.one_of(
    st.text(st.sampled_from('a"\\\u20ac\U0001f600\x7f'), max_size=3),
    st.integers(),
    st.floats(),  # NaN and Infinity, which are not JSON
    st.none(),
    st.booleans(),
    st.sampled_from([10**400, 1e300, -0.0]),
)
JSON_VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner))
)
PLAIN_DOCUMENTS = st.builds(
    lambda value, ascii, indent: json.dumps({"a": value}, ensure_ascii=ascii, indent=indent),
    JSON_VALUES,
    st.booleans(),
    st.sampled_from([None, 1]),
)
DOCUMENTS = st.one_of(
    PLAIN_DOCUMENTS,
    st.integers(0, 1100).map(lambda depth: "[" * depth + "]" * depth),
    st.builds(lambda n, tail: f"[{'1' * n}{tail}]", st.integers(1, 5000), st.sampled_from(["", ".5", "e9"])),
    st.sampled_from(
        ["{a:1}", "[1,]", "[01]", "[.5]", "[+1]", "['a']", "[0x1]", "{}x", "[1]//", "[1]\n", "\ufeff[]", "\xa0[]",
         "[-]", "[1.]", "[\"\t\"]", '["\\x41"]', '["\\u12"]', '["\\ud800"]', '["\\u0000"]', "[-0]", "[1E5]", '{"a":1,"a":2}',
         "[NaN]", "[Infinity]", "null", "[", '["\\v"]', '["\\\n"]', "{", '[1e99999]', '"\\u0000"', ""]
    ),
)  # fmt: skip
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
        ("JSON", ("json", "jsonb"), DOCUMENTS),
        ("JSON", ("json", "jsonb"), PLAIN_DOCUMENTS),
        ("DATETIME", ("timestamp",), st.sampled_from(["2024-03-31 02:30:00", "0000-03-31 02:30:00"])),
        ("DATE COLLATE RTRIM", ("date",), st.sampled_from(["2024-03-31", "2024-03-31 "])),
        (
            "DATETIME COLLATE RTRIM",
            ("timestamp",),
            st.sampled_from(["2024-03-31 02:30:00", "2024-03-31 02:30:00 "]),
        ),
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
        offers = [
            offer
            for choice in (ColumnChoice(), ColumnChoice(respell=True))
            if (case := Case(table.columns[1], facts, choice, zone="UTC"))
            for offer in (for_create(case, comparable=False), *(for_type(case, name) for name in types))
        ]
        for candidate in (c for offer in offers for c in offer.candidates):
            if proven(candidate, facts):
                codec = codec_for(candidate)
                assert [carries(codec, candidate, v) for v in stored] == [None] * len(stored), candidate

    holds()
