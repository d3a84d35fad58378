"""The laws of the codecs of numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.oracle import (
    Oracle,
    back,
    budget,
    column,
    forward,
    many,
    oracle_of,
    stored,
)
from turnback.core.rows import SqliteValue


@pytest.fixture(scope="module")
def oracle(server) -> Iterator[Oracle]:
    with oracle_of(server) as made:
        yield made


EDGES = [
    sign * (1 << bits) + step for bits in (0, 15, 31, 53, 62, 63) for sign in (1, -1) for step in (-1, 0, 1)
]
integers = st.one_of(
    st.sampled_from([e for e in EDGES if -(2**63) <= e < 2**63]), st.integers(-(2**63), 2**63 - 1)
)

REALS = [
    *(0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308),
    *(math.inf, -math.inf, 0.1234567890123, 0.1, 1230.99, 1e15, 1e16, 1e17, 9007199254740993.0, 1e22, 1e23),
    *(9.223372036854775807e18, -9.223372036854775808e18, 5.0, -5.0, 1e300, 1e-5, 1e-4, 123456789012345.6),
]
bits = st.binary(min_size=8, max_size=8).map(lambda b: struct.unpack(">d", b)[0])  # every exponent alike
reals = st.one_of(st.sampled_from(REALS), st.floats(allow_nan=False), bits.filter(lambda f: f == f))
cents = st.integers(-(10**10), 10**10).map(lambda n: n / 100)


@budget
@given(many(integers))
def test_integers(oracle: Oracle, values: list[SqliteValue]) -> None:
    for width, pg_type in ((16, "smallint"), (32, "integer"), (64, "bigint")):
        fit = [v for v in values if isinstance(v, int) and -(1 << width - 1) <= v < 1 << width - 1]
        assert forward(oracle, column("integer", pg_type, bits=width), values) == len(fit)


@budget
@given(many(reals))
def test_every_real_comes_back_bit_for_bit(oracle: Oracle, values: list[SqliteValue]) -> None:
    assert forward(oracle, column("real", "double precision", "REAL"), values) == len(values)


@budget
@given(many(st.one_of(reals, integers)))
def test_reals_and_integers_where_sqlite_keeps_whole_reals_as_integers(
    oracle: Oracle, values: list[SqliteValue]
) -> None:
    kept = stored(values, "NUMERIC")
    plan = column("real", "double precision", "NUMERIC")
    taken = forward(oracle, plan, kept)
    assert taken >= sum(isinstance(v, float) and not v.is_integer() for v in kept)
    texts = [repr(v) for v in values if isinstance(v, float)]
    assert back(oracle, plan, texts) == len(texts)


@budget
@given(many(st.one_of(reals, integers)), st.sampled_from(["BLOB", "NUMERIC", "INTEGER", "REAL"]))
def test_numbers_in_numeric(oracle: Oracle, values: list[SqliteValue], affinity: str) -> None:
    plan = column("number", "numeric", affinity)
    kept = stored(values, affinity)
    lost = [v for v in kept if isinstance(v, float) and (math.isinf(v) or v.hex() == "-0x0.0p+0")]
    assert forward(oracle, plan, kept) == len(kept) - len(lost)


@budget
@given(many(st.one_of(cents, st.integers(-(10**9), 10**9))), st.sampled_from(["NUMERIC", "REAL"]))
def test_amounts_in_numeric_with_a_scale(oracle: Oracle, values: list[SqliteValue], affinity: str) -> None:
    kept = stored(values, affinity)
    assert forward(oracle, column("number", "numeric(12,2)", affinity), kept) == len(kept)
    forward(oracle, column("number", "numeric(7,2)", affinity), kept)
    forward(oracle, column("number", "numeric(7)", affinity), kept)
    forward(oracle, column("number", "numeric(3,3)", affinity), kept)


decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str)
long_decimals = st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True)
odd_numerics = st.sampled_from(
    ["1.10", "5.00", "-0.00", "NaN", "Infinity", "-Infinity", "9223372036854775808"]
)


@budget
@given(
    st.lists(st.one_of(decimals, long_decimals, odd_numerics)),
    st.sampled_from(["BLOB", "NUMERIC", "REAL"]),
)
def test_numerics_of_postgresql_come_back_or_are_refused(
    oracle: Oracle, texts: list[str], affinity: str
) -> None:
    back(oracle, column("number", "numeric", affinity), texts)
    fits = [t for t in texts if len(t) < 20 and "I" not in t]
    back(oracle, column("number", "numeric(60,2)", affinity), fits)
