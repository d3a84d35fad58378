"""The laws of the codecs of numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import (
    BATCH,
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


# ---- PostgreSQL's real ---------------------------------------------------------------------------


def single(bits: int) -> float:
    return struct.unpack(">f", struct.pack(">I", bits))[0]


# Every power of two (there the neighbours are unequally far), and around it; subnormals; the ends.
SINGLES = [single((e << 23) + step) for e in range(255) for step in (-1, 0, 1) if (e << 23) + step > 0]
SINGLES += [single(1), single(2), single(0x7F7FFFFF), 3.4028235e38, 1.1754944e-38, 16777216.0, 33554432.0]
singles = st.one_of(st.sampled_from(SINGLES), st.integers(1, 0x7F7FFFFF).map(single))
short_decimals = st.builds(
    lambda digits, power, sign: sign * float(f"{digits}e{power}"),
    st.integers(1, 10**9 - 1),
    st.integers(-50, 35),
    st.sampled_from([1, -1]),
)


def decimals_near(value: float) -> list[str]:
    """The decimals of up to nine digits around a single, one of which PostgreSQL prints."""
    return [f"{value:.{digits}g}" for digits in range(1, 10)]


@budget
@given(st.lists(singles, min_size=1, max_size=40), many(st.one_of(short_decimals, reals)))
def test_reals_in_single_precision_come_back_or_are_refused(
    oracle: Oracle, near: list[float], values: list[SqliteValue]
) -> None:
    plan = column("float4", "real", "REAL")
    spelled = [float(text) for value in near for text in decimals_near(value)]
    forward(oracle, plan, [*values, *spelled, *near])


@budget
@given(st.lists(singles, min_size=1, max_size=BATCH))
def test_every_single_of_postgresql_comes_back(oracle: Oracle, values: list[float]) -> None:
    texts = [f"{value:.9g}" for value in values]
    for affinity in ("REAL", "NUMERIC"):
        assert back(oracle, column("float4", "real", affinity), texts) == len(texts)


def test_every_power_of_two_in_single_precision(oracle: Oracle) -> None:
    assert back(oracle, column("float4", "real"), [f"{value:.9g}" for value in SINGLES]) == len(SINGLES)


SIX_DIGITS = [0.1, -0.1, 1.5, 0.000123456, 123456.0, 1e30, 1.17549e-37, 3.40282e38, 0.0, -0.0, math.inf]


@pytest.mark.hazard("F14", "carried", mode="existing")
def test_f14_six_digits_always_fit_single_precision_and_more_are_refused(oracle: Oracle) -> None:
    plan = column("float4", "real")
    assert forward(oracle, plan, list(SIX_DIGITS)) == len(SIX_DIGITS)
    lost = [
        0.1234567890123,
        5e-324,
        1.7976931348623157e308,
        3.4028236e38,
        1e-46,
        16777217.0,
        0.10000000149011612,
    ]
    assert forward(oracle, plan, list(lost)) == 0


@pytest.mark.hazard("F14", "carried")
def test_f14_reals_are_bit_equal(oracle: Oracle) -> None:
    values: list[SqliteValue] = [0.1234567890123, 5e-324, 1.7976931348623157e308, -0.0]
    assert forward(oracle, column("real", "double precision"), values) == len(values)


@pytest.mark.hazard("F16", "carried")
def test_f16_infinity_is_float8_infinity_and_nothing_else(oracle: Oracle) -> None:
    values: list[SqliteValue] = stored([math.inf, -math.inf], "REAL")
    assert forward(oracle, column("real", "double precision", "REAL"), values) == 2
    assert forward(oracle, column("float4", "real", "REAL"), values) == 2
    for codec, pg_type in (("number", "numeric"), ("integer", "bigint")):
        assert forward(oracle, column(codec, pg_type, "REAL"), values) == 0


@pytest.mark.hazard("R4", "choice")
@pytest.mark.parametrize(("codec", "pg_type"), [("real", "double precision"), ("float4", "real")])
@pytest.mark.parametrize("affinity", ["REAL", "NUMERIC", "INTEGER", "BLOB"])
def test_r4_nan_is_refused_or_by_choice_the_text_nan(
    oracle: Oracle, codec: str, pg_type: str, affinity: str
) -> None:
    assert back(oracle, column(codec, pg_type, affinity), ["NaN", "-nan"]) == 0
    chosen = column(codec, pg_type, affinity, nan=True)
    assert back(oracle, chosen, ["NaN", "-nan", "1.5", "inf"]) == 4
    assert forward(oracle, chosen, ["NaN", 1.5, math.inf]) == 3
    assert forward(oracle, chosen, ["nan", "NAN", "1.5", "", "Infinity"]) == 0


# ---- decimals as text ----------------------------------------------------------------------------

spelled_decimals = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?", fullmatch=True)
hundred_digits = st.from_regex(r"-?[1-9][0-9]{99}(\.[0-9]{1,100})?", fullmatch=True)
nearly_decimals = st.from_regex(r"[-+ ]?[0-9]{0,5}\.?[0-9]{0,3}([eE][-+]?[0-9])? ?", fullmatch=True)


@budget
@given(many(st.one_of(spelled_decimals, hundred_digits, nearly_decimals)))
def test_decimals_as_text_in_numeric(oracle: Oracle, values: list[str]) -> None:
    plan = column("decimal_text", "numeric", "TEXT")
    # PostgreSQL's own spelling of each comes back, whatever the number of digits.
    valid = [v for v, good in zip(values, oracle.valid("numeric", values), strict=True) if good]
    printed = oracle.printed("numeric", valid)
    assert forward(oracle, plan, list(printed)) == len(printed)
    assert back(oracle, plan, valid) == len(valid)
    # Exactly the values in that spelling are taken.
    assert forward(oracle, plan, list(values)) == sum(v in printed for v in values)


@budget
@given(
    many(st.one_of(spelled_decimals, nearly_decimals)),
    st.sampled_from(["numeric(10,2)", "numeric(5)", "numeric(3,3)", "numeric(2,5)", "numeric(4,-2)"]),
)
def test_decimals_as_text_in_numeric_with_a_scale(oracle: Oracle, values: list[str], pg_type: str) -> None:
    plan = column("decimal_text", pg_type, "TEXT")
    fitting = [v for v, good in zip(values, oracle.valid(pg_type, values), strict=True) if good]
    printed = oracle.printed(pg_type, fitting)
    assert forward(oracle, plan, list(printed)) == len(printed)
    # Also what PostgreSQL would round or respell is refused.
    assert forward(oracle, plan, list(values)) == sum(v in printed for v in values)


@pytest.mark.hazard("R3", "choice")
def test_r3_a_numeric_of_many_digits_is_exact_as_text_and_else_refused(oracle: Oracle) -> None:
    texts = ["99999999999999999.9999", "1.10", "9" * 100 + "." + "9" * 100, "NaN", "Infinity", "-0.00"]
    assert back(oracle, column("decimal_text", "numeric", "TEXT"), texts) == len(texts)
    assert back(oracle, column("number", "numeric", "NUMERIC"), [texts[0], texts[2]]) == 0
    for affinity in ("NUMERIC", "INTEGER", "REAL"):  # SQLite would make numbers of the texts
        assert back(oracle, column("decimal_text", "numeric", affinity), texts) == 0
        assert forward(oracle, column("decimal_text", "numeric", affinity), list(texts)) == 0


def test_decimals_as_text_at_the_limits_of_numeric(oracle: Oracle) -> None:
    plan = column("decimal_text", "numeric", "TEXT")
    assert forward(oracle, plan, ["9" * 131_072, "0." + "9" * 16_383]) == 2
    assert forward(oracle, plan, ["9" * 131_073, "0." + "9" * 16_384]) == 0


@pytest.mark.hazard("F15", "carried")
def test_f15_an_amount_in_a_real_is_its_shortest_decimal(oracle: Oracle) -> None:
    plan = column("number", "numeric(10,2)", "REAL")
    assert forward(oracle, plan, [1230.99, 0.1, 99999999.99, 5.0]) == 4
    assert forward(oracle, plan, [0.1 + 0.2, 1230.995, 100000000.0]) == 0
    assert oracle.printed("numeric(10,2)", ["1230.99"]) == ["1230.99"]
