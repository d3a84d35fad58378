"""The codecs' laws, with a live PostgreSQL as the oracle of what each value becomes there."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.oracle import (
    BATCH,
    Oracle,
    accepted,
    back,
    budget,
    column,
    distinct,
    forward,
    many,
    oracle_of,
    small_budget,
    stored,
)
from turnback.core.rows import SqliteValue


@pytest.fixture(scope="module")
def oracle(server) -> Iterator[Oracle]:
    with oracle_of(server) as made:
        yield made


# ---- numbers -------------------------------------------------------------------------------------

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


@budget
@given(many(st.integers(-3, 3)))
def test_booleans(oracle: Oracle, values: list[SqliteValue]) -> None:
    plan = column("boolean", "boolean")
    assert forward(oracle, plan, values) == sum(v in (0, 1) for v in values)


# ---- text and blobs ------------------------------------------------------------------------------

any_text = st.text(st.characters(codec=None), max_size=40)  # NUL and lone surrogates, too
LITTLE = [
    "",
    " ",
    "\\",
    "\\N",
    "\\.",
    "\t\n\r",
    "\x7f",
    "𝒳" * 5,
    "é",
    "e\u0301",
    "\ufeff",
    "\u2028",
    "😀" * 6,
]


@budget
@given(many(st.one_of(st.sampled_from(LITTLE), any_text)))
def test_text(oracle: Oracle, values: list[SqliteValue]) -> None:
    good = [v for v in values if isinstance(v, str) and "\0" not in v and encodable(v)]
    assert forward(oracle, column("text", "text"), values) == len(good)
    short = [v for v in good if len(v) <= 5]
    assert forward(oracle, column("text", "character varying(5)", length=5), values) == len(short)


def encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


@budget
@given(many(st.binary(max_size=60)))
def test_blobs(oracle: Oracle, values: list[SqliteValue]) -> None:
    assert forward(oracle, column("blob", "bytea"), [b"", b"\x00\xff[", *values]) == len(values) + 2


# ---- moments -------------------------------------------------------------------------------------

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


# ---- JSON ----------------------------------------------------------------------------------------

number_tokens = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
blanks = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
string_tokens = st.builds(json.dumps, any_text, ensure_ascii=st.booleans())
odd_strings = st.sampled_from(
    [
        r'"\u00e9"',
        r'"\/"',
        r'"\ud83d\ude00"',
        r'"\u0000"',
        r'"\\u0000"',
        r'"\ud800"',
        r'"\b\f\u001f"',
        '"\x7f"',
    ]
)
scalars = st.one_of(
    st.sampled_from(
        [
            "true",
            "false",
            "null",
            "1e2",
            "1.10",
            "1E400",
            "-0",
            "-0.0",
            "0e-5",
            "1.0e1",
            "12345678901234567890",
        ]
    ),
    number_tokens,
    string_tokens,
    odd_strings,
)
short_keys = st.sampled_from(['"a"', '"b"', '"aa"', '"ä"', '"\\u00e4"', '"𝒳"', '"zzz"', '""']) | string_tokens


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaced = st.builds(lambda a, v, b: a + v + b, blanks, inner, blanks)
    member = st.builds(lambda k, a, v: k + a + ":" + v, short_keys, blanks, spaced)
    return st.lists(spaced, max_size=5).map(lambda v: "[" + ",".join(v) + "]") | st.lists(
        member, max_size=6
    ).map(lambda m: "{" + ",".join(m) + "}")


documents = st.recursive(scalars, _containers, max_leaves=12)
nearly_json = st.one_of(
    documents,
    st.builds(
        lambda d, i, c: d[: i % (len(d) + 1)] + c + d[i % (len(d) + 1) :],
        documents,
        st.integers(0),
        st.sampled_from(list('{}[],:"\\ue1.+-0 \x0b\x1fNaN\ufeff٣')),
    ),
    st.builds(lambda d, i: d[: i % (len(d) + 1)] + d[i % (len(d) + 1) + 1 :], documents, st.integers(0)),
    st.sampled_from(["", " ", "NaN", "-Infinity", "01", "1.", ".5", "+1", "'a'", "[1,]", "{}x", "tru"]),
)


@budget
@given(st.lists(documents, min_size=1, max_size=60))
def test_json_keeps_its_text(oracle: Oracle, values: list[SqliteValue]) -> None:
    forward(oracle, column("json_text", "json"), values)


@small_budget
@given(st.lists(documents, min_size=1, max_size=60))
def test_jsonb(oracle: Oracle, values: list[SqliteValue]) -> None:
    respelled = column("json_text", "jsonb", binary=True, respell=True)
    strict = column("json_text", "jsonb", binary=True)
    forward(oracle, respelled, values)
    forward(oracle, strict, values)
    # What jsonb itself printed is in jsonb's spelling: every document comes back as text.
    printed = oracle.printed("jsonb", [text for _, text in accepted(respelled, values)])
    assert forward(oracle, strict, list(printed)) == len(printed)


@small_budget
@given(st.lists(nearly_json, min_size=1, max_size=60))
def test_what_counts_as_json_is_what_postgresql_takes(oracle: Oracle, values: list[str]) -> None:
    plain = [v for v in values if encodable(v) and "\0" not in v]
    for plan in (column("json_text", "json"), column("json_text", "jsonb", binary=True, respell=True)):
        taken = {value for value, _ in accepted(plan, list(plain))}
        assert [v in taken for v in plain] == oracle.valid(plan.pg_type, plain)


# ---- UUIDs ---------------------------------------------------------------------------------------


@budget
@given(st.lists(st.uuids(), min_size=1, max_size=BATCH), st.booleans(), st.booleans())
def test_uuids(oracle: Oracle, values: list[object], upper: bool, hyphens: bool) -> None:
    texts: list[SqliteValue] = []
    for value in values:
        text = str(value) if hyphens else str(value).replace("-", "")
        texts.append(text.upper() if upper else text)
    plan = column("uuid_text", "uuid", "TEXT", upper=upper, hyphens=hyphens)
    assert forward(oracle, plan, texts) == len(texts)
    assert back(oracle, plan, [str(v) for v in values]) == len(values)
    mixed = column("uuid_text", "uuid", "TEXT", upper=not upper, hyphens=not hyphens, respell=True)
    assert forward(oracle, mixed, texts) == len(texts)
    octets: list[SqliteValue] = [bytes.fromhex(str(v).replace("-", "")) for v in values]
    assert forward(oracle, column("uuid_blob", "uuid"), octets) == len(octets)
