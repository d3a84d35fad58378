"""The laws of the codecs of dates, times and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.oracle import (
    BATCH,
    Oracle,
    back,
    budget,
    column,
    distinct,
    forward,
    many,
    oracle_of,
)
from turnback.core.rows import SqliteValue


@pytest.fixture(scope="module")
def oracle(server) -> Iterator[Oracle]:
    with oracle_of(server) as made:
        yield made


moments = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)),
    st.sampled_from([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29)]),
    st.datetimes(datetime(1, 1, 1)).map(lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000)),
    st.datetimes(datetime(1, 1, 1)).map(lambda m: m.replace(microsecond=0)),
)
ZONES = {False: "timestamp without time zone", True: "timestamp with time zone"}


@budget
@given(
    many(moments),
    st.sampled_from([" ", "T"]),
    st.integers(0, 6),
    st.sampled_from(["", "Z", "+00:00"]),
    st.booleans(),
)
def test_timestamps_as_text(
    oracle: Oracle, values: list[datetime], separator: str, fraction: int, suffix: str, zoned: bool
) -> None:
    options = {"separator": separator, "fraction": fraction, "suffix": suffix, "zoned": zoned}
    plan = column("timestamp_text", ZONES[zoned], **options)
    texts = []
    for moment in values:
        digits = f"{moment.microsecond:06}"
        short = digits[:fraction] if set(digits[fraction:]) <= {"0"} else digits
        texts.append(moment.isoformat(separator, "seconds") + ("." + short if short else "") + suffix)
    assert forward(oracle, plan, texts) == len(texts)
    assert back(oracle, plan, [str(m) for m in values]) == len(values)


near_moments = st.from_regex(
    r"[0-9]{4}-[0-1][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?([.,][0-9]{0,8})?"
    r"(Z|\+00:00|\+02:00|-00:00| )?",
    fullmatch=True,
)
ODD_MOMENTS = ["", "0", "2024-02-30 00:00:00", "2024-01-01 24:00:00", "2024-01-01 23:59:60", "2024-W01-1"]
ODD_MOMENTS += [
    "20240101T000000",
    "0000-01-01 00:00:00",
    "2024-01-01",
    "now",
    "infinity",
    "٢024-01-01 00:00:00",
]


@budget
@given(many(st.one_of(near_moments, st.sampled_from(ODD_MOMENTS))), st.integers(0, 6), st.booleans())
def test_text_that_is_nearly_a_timestamp_comes_back_or_is_refused(
    oracle: Oracle, values: list[SqliteValue], fraction: int, zoned: bool
) -> None:
    forward(oracle, column("timestamp_text", ZONES[zoned], fraction=fraction, zoned=zoned), values)
    assert forward(oracle, column("timestamp_text", ZONES[zoned], zoned=zoned), ODD_MOMENTS) == 0


@budget
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**14), 10**14), min_size=1, max_size=BATCH),
    st.sampled_from(["s", "ms", "us"]),
    st.booleans(),
)
def test_epochs(oracle: Oracle, values: list[int], unit: str, zoned: bool) -> None:
    plan = column("epoch", ZONES[zoned], "INTEGER", unit=unit, zoned=zoned)
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    inside = [v for v in values if -62135596800 <= v // per_second < 253402300800]
    assert forward(oracle, plan, values) == len(inside)


@budget
@given(many(moments), st.sampled_from(["s", "ms", "us"]), st.booleans())
def test_moments_of_postgresql_become_epochs_or_are_refused(
    oracle: Oracle, values: list[datetime], unit: str, zoned: bool
) -> None:
    texts = [str(m) for m in values]
    digits = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    plain = column("epoch", ZONES[zoned], "INTEGER", unit=unit, zoned=zoned)
    assert back(oracle, plain, texts) == sum(m.microsecond % digits == 0 for m in values)
    cut = column("epoch", ZONES[zoned], "INTEGER", unit=unit, zoned=zoned, truncate=True)
    assert back(oracle, cut, texts) == len(texts)


BEYOND = ["infinity", "-infinity", "0001-01-01 BC", "0044-03-15 12:00:00.5 BC", "10000-01-01", "294276-12-31"]


@pytest.mark.parametrize("zoned", [False, True])
def test_infinity_and_far_years_are_refused_on_the_way_back(oracle: Oracle, zoned: bool) -> None:
    for codec, pg_type in (("timestamp_text", ZONES[zoned]), ("epoch", ZONES[zoned]), ("date_text", "date")):
        options = {} if codec == "date_text" else {"zoned": zoned}
        plan = column(codec, pg_type, **options)
        assert back(oracle, plan, BEYOND) == 0
        distinct(plan, oracle.printed(pg_type, BEYOND))


@budget
@given(many(st.dates().map(str) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True)))
def test_dates(oracle: Oracle, values: list[SqliteValue]) -> None:
    assert forward(oracle, column("date_text", "date"), ["0001-01-01", "9999-12-31", *values]) >= 2
    assert forward(oracle, column("date_text", "date"), ["20240101", "2024-W01-1", "2024-1-1", ""]) == 0


@pytest.mark.parametrize("precision", [0, 3, 6])
def test_a_type_with_fewer_digits_refuses_what_it_would_round(oracle: Oracle, precision: int) -> None:
    plan = column("timestamp_text", f"timestamp({precision}) without time zone", fraction=6)
    texts = ["2024-01-01 00:00:00.000000", "2024-01-01 00:00:00.123000", "2024-01-01 00:00:00.123456"]
    assert forward(oracle, plan, texts) == {0: 1, 3: 2, 6: 3}[precision]
