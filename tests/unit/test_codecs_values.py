"""Single values through each codec: what is sent, what comes back, what is refused and why."""

from __future__ import annotations

import pytest

from turnback.core.codecs import CODECS, carries, codec_for
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue, identical
from turnback.errors import CannotCarry, ConfigError


def column(codec: str, pg_type: str = "", affinity: str = "BLOB", **options: str | int | bool) -> ColumnPlan:
    return ColumnPlan("c", "c", pg_type, codec, options, affinity)


JAVASCRIPT = column("timestamp_text", separator="T", fraction=3, suffix="Z", zoned=True)
MILLISECONDS = column("timestamp_text", "timestamp(3) without time zone", fraction=6)
BERLIN = column("timestamp_text", zone="Europe/Berlin", zoned=True)
BARE_UUID = column("uuid_text", upper=True, hyphens=False)

SENT = [
    (column("integer", bits=16), -32768, "-32768"),
    (column("real"), -0.0, "-0.0"),
    (column("number"), 1e22, "10000000000000000000000.0"),
    (column("number"), 5, "5"),
    (column("number", "numeric(10,2)", "NUMERIC"), 5, "5.00"),
    (column("number", "numeric(10,2)", "NUMERIC"), 1230.9, "1230.90"),
    (column("number", "numeric(5,0)", "REAL"), 12.0, "12"),
    (column("boolean"), 1, "t"),
    (column("blob"), b"\x00\xff[", "\\x00ff5b"),
    (column("boolean", "boolean", "TEXT", words="yes"), "no", "f"),
    (column("char", "character(3)"), "ab", "ab"),
    (column("text_bytes"), "a\0\udcff", "\\x6100ff"),
    (column("affine", affinity="NUMERIC"), "2021-04-22", "2021-04-22"),
    (column("affine", affinity="NUMERIC"), 1619092189409, "1619092189409"),
    (column("affine", affinity="REAL"), 5.0, "5.0"),
    (column("affine", affinity="REAL"), float("-inf"), "-9e999"),
    (column("array", "text[]", separator=","), "", "{}"),
    (column("array", "text[]", separator=","), 'a,b c,,NULL,"', '{a,"b c","","NULL","\\""}'),
    (column("array", "text[]", separator="json"), '["a","\\\\"]', '{a,"\\\\"}'),
    (column("array", "integer[]", separator="json", spaced=True), "[1, -2]", "{1,-2}"),
    (column("inet", "cidr"), "10.0.0.0/8", "10.0.0.0/8"),
    (column("inet", "inet"), "::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    (column("verbatim", "int4range"), "[1,5)", "[1,5)"),
    (JAVASCRIPT, "2024-03-31T02:30:00.120Z", "2024-03-31 02:30:00.12+00"),
    (column("timestamp_text"), "2024-03-31 02:30:00.000001", "2024-03-31 02:30:00.000001"),
    (column("epoch", unit="ms", zoned=True), 1619092189409, "2021-04-22 11:49:49.409+00"),
    (column("epoch", unit="s"), -1, "1969-12-31 23:59:59"),
    (column("json_text"), '{ "a":1,"a":2}', '{ "a":1,"a":2}'),
    (
        BARE_UUID,
        "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    (column("uuid_blob"), bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    (column("float4", "real", "REAL"), 0.1, "0.1"),
    (column("decimal_text", "numeric(10,2)", "TEXT"), "1.10", "1.10"),
    (column("time_text", fraction=3), "12:00:00.500", "12:00:00.5"),
    (column("epoch_real", zoned=True), 1619092189.409, "2021-04-22 11:49:49.409+00"),
    (column("interval", "interval", form="us"), -86_400_000_001, "-1 days -00:00:00.000001"),
    (column("interval", "interval", form="epoch_text"), "1970-01-01 00:00:00.014649", "00:00:00.014649"),
    (BERLIN, "2024-07-01 12:00:00", "2024-07-01 10:00:00+00"),
    (
        column("timestamp_text", suffix="+0530", zoned=True),
        "2024-01-01 00:00:00+0530",
        "2023-12-31 18:30:00+00",
    ),
    (column("timestamp_text", infinity=True), "-infinity", "-infinity"),
    (column("real", nan=True), "NaN", "NaN"),
]


@pytest.mark.parametrize(("plan", "value", "text"), SENT)
def test_a_value_is_sent_as_postgresql_writes_it_and_comes_back(
    plan: ColumnPlan, value: SqliteValue, text: str
) -> None:
    codec = codec_for(plan)
    assert codec.encode(value) == text
    assert identical(codec.decode(text), value)
    assert carries(codec, plan, value) is None


REFUSED = [
    (column("integer", bits=32), 2**31, "32 bits"),
    (column("integer"), 1.0, "storage class real"),
    (column("integer"), "1", "storage class text"),
    (column("real"), 1, "storage class integer"),
    (column("real"), float("nan"), "NaN"),
    (column("real", affinity="NUMERIC"), 2**53 + 1, "double"),
    (column("number"), -0.0, "-0.0"),
    (column("number"), float("inf"), "infinite"),
    (column("number", "numeric(4,2)", "NUMERIC"), 100, "more digits"),
    (column("number", "numeric(4,2)", "NUMERIC"), 1.005, "2 decimal places"),
    (column("number", "numeric(4,2)", "BLOB"), 5, "storage class"),
    (column("boolean"), 2, "other than 0 and 1"),
    (column("boolean"), "true", "storage class text"),
    (column("text"), "a\0b", "NUL"),
    (column("text"), "\udcff", "UTF-8"),
    (column("text"), b"x", "storage class blob"),
    (column("text", "character varying(2)", length=2), "abc", "2 characters"),
    (column("blob"), "x", "storage class text"),
    (column("timestamp_text"), "2024-02-30 00:00:00", "not a timestamp"),
    (column("timestamp_text"), "2024-03-31T02:30:00", "spelling"),
    (column("timestamp_text", fraction=3), "2024-03-31 02:30:00", "spelling"),
    (column("timestamp_text", fraction=6), "2024-03-31 02:30:00.1234567", "finer than a microsecond"),
    (MILLISECONDS, "2024-03-31 02:30:00.123456", "more digits"),
    (column("timestamp_text"), 1619092189409, "storage class integer"),
    (column("date_text"), "2024-02-30", "not a date"),
    (column("epoch", unit="s"), 1619092189409, "unit"),
    (column("epoch", unit="s"), "2021-04-22", "storage class text"),
    (column("json_text"), "{'a': 1}", "not JSON"),
    (column("json_text"), "NaN", "NaN"),
    (column("json_text", binary=True), '{"a":1}', "spelling"),
    (column("json_text", binary=True, respell=True), r'["\u0000"]', "u0000"),
    (column("json_text", binary=True, respell=True), r'["\ud800"]', "surrogate"),
    (column("json_text", binary=True, respell=True), r'{"a": "\u0000", "a": 1}', "u0000"),
    (column("json_text", binary=True, respell=True), "1e131072", "range"),
    (column("json_text", binary=True, respell=True), "1e-16384", "range"),
    (column("json_text", binary=True, respell=True), "1e999999999999", "range"),
    (column("json_text", binary=True, respell=True), "[" * 5000 + "]" * 5000, "deep"),
    (column("boolean", "boolean", "TEXT", words="yes"), "Yes", "other than 'yes' and 'no'"),
    (column("boolean", "boolean", "TEXT", words="yes"), 1, "storage class integer"),
    (column("boolean", respell=True), "maybe", "no known spelling"),
    (column("char", "character(3)"), "ab ", "blank at its end"),
    (column("char", "character(3)"), "abcd", "longer than the 3"),
    (column("char", "character"), "ab", "longer than the 1"),
    (column("text_bytes"), "\ud800", "half of a surrogate pair"),
    (column("text_bytes"), b"a", "storage class blob"),
    (column("affine", affinity="INTEGER"), b"5", "storage class blob"),
    (column("affine", affinity="INTEGER"), "5", "looks like a number"),
    (column("affine", affinity="NUMERIC"), 5.0, "does not keep"),
    (column("affine", affinity="REAL"), 5, "REAL"),
    (column("affine", affinity="REAL"), -0.0, "does not keep"),
    (column("array", "text[]", separator=","), 5, "storage class integer"),
    (column("array", "integer[]", separator=","), "1,02", "plain spelling"),
    (column("array", "smallint[]", separator=","), "1,32768", "16 bits"),
    (column("array", "text[]", separator="json"), '["a", "b"]', "spelling"),
    (column("array", "text[]", separator="json"), '["a",null]', "null"),
    (column("array", "text[]", separator="json"), '[["a"]]', "array of strings"),
    (column("array", "text[]", separator="json"), "a,b", "not JSON"),
    (column("inet", "inet"), "::FFFF", "PostgreSQL's, which is ::ffff"),
    (column("inet", "inet"), "10.0.0.0/32", "which is 10.0.0.0"),
    (column("inet", "cidr"), "10.0.0.1/8", "right of its length"),
    (column("inet", "inet"), "fe80::1%eth0", "zone"),
    (column("inet", "macaddr"), "08:00:2b:01:02", "not a MAC"),
    (column("verbatim", "int4range"), "[1,\0", "NUL"),
    (column("uuid_text"), "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "spelling"),
    (column("uuid_text", respell=True), "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "not a UUID"),
    (column("uuid_text", respell=True), "a0 eebc999c0b4ef8bb6d6bb9bd380a11", "spelling"),
    (column("uuid_text"), "a0eebc99", "not a UUID"),
    (column("uuid_blob"), b"short", "16 bytes"),
    (column("decimal_text", "numeric(10,2)", "TEXT"), "1.1", "decimal places"),
    (column("decimal_text", "numeric(10,2)", "TEXT"), "123456789.00", "more digits"),
    (column("decimal_text", "numeric(5,-2)", "TEXT"), "150", "rounds"),
]


@pytest.mark.parametrize(("plan", "value", "reason"), REFUSED)
def test_a_value_that_would_not_come_back_is_refused_with_the_reason(
    plan: ColumnPlan, value: SqliteValue, reason: str
) -> None:
    codec = codec_for(plan)
    with pytest.raises(CannotCarry, match=reason):
        codec.encode(value)
    assert reason in (carries(codec, plan, value) or "")


REFUSED_ON_THE_WAY_BACK = [
    (column("real"), "NaN"),
    (column("real", affinity="NUMERIC"), "NaN"),
    (column("number"), "99999999999999999.9999"),
    (column("number"), "NaN"),
    (column("number"), "9223372036854775808"),
    (column("number", affinity="NUMERIC"), "-Infinity"),
    (column("number", affinity="NUMERIC"), "18446744073709551617"),
    (column("number", affinity="REAL"), "9008000000000001"),
    (column("number", affinity="REAL"), "1" * 400),
    (column("timestamp_text"), "infinity"),
    (column("timestamp_text"), "0044-03-15 12:00:00 BC"),
    (column("timestamp_text"), "0044-03-15 12:00:00.5 BC"),
    (column("timestamp_text"), "10000-01-01 00:00:00"),
    (column("timestamp_text", zoned=True), "2024-01-01 00:00:00+02"),
    (column("timestamp_text", zoned=True), "0044-03-15 12:00:00+00 BC"),
    (column("epoch", unit="ms"), "2024-01-01 00:00:00.0001"),
    (column("epoch", unit="ms", truncate=True), "infinity"),
    (column("date_text"), "0044-03-15 BC"),
    (column("date_text"), "-infinity"),
    (column("affine", affinity="NUMERIC"), "007"),
    (column("affine", affinity="NUMERIC"), "1.10"),
    (column("affine", affinity="REAL"), "5"),
    (column("array", "text[]", separator=","), '{"a,b"}'),
    (column("array", "text[]", separator=","), '{""}'),
    (column("array", "text[]", separator="json"), "{a,NULL}"),
    (column("array", "text[]", separator="json"), "{{a},{b}}"),
    (column("array", "integer[]", separator="json"), "[0:1]={1,2}"),
]


@pytest.mark.parametrize(("plan", "text"), REFUSED_ON_THE_WAY_BACK)
def test_what_sqlite_cannot_hold_is_refused_but_still_has_a_canonical_form(
    plan: ColumnPlan, text: str
) -> None:
    codec = codec_for(plan)
    codec.canonical(text)  # law 2 compares before anything is decoded
    with pytest.raises(CannotCarry):
        codec.decode(text)


def test_one_sqlite_value_for_several_texts_means_one_canonical_form() -> None:
    number = codec_for(column("number"))
    assert number.canonical("1.1") == number.canonical("1.10") != number.canonical("1.11")
    assert number.canonical("1") != number.canonical("1.0")
    numeric = codec_for(column("number", affinity="NUMERIC"))
    assert numeric.canonical("1") == numeric.canonical("1.00") != numeric.canonical("10")
    assert numeric.canonical("10") != numeric.canonical("1")
    epoch = codec_for(column("epoch", unit="ms", truncate=True))
    assert epoch.canonical("2024-01-01 00:00:00.1239") == epoch.canonical("2024-01-01 00:00:00.123")
    jsonb = codec_for(column("json_text", binary=True, respell=True))
    assert jsonb.canonical('{"bb":1,"a":1e2,"a":"\\u00e9"}') == '{"a": "é", "bb": 1}'.encode()


BAD_PLANS = [
    column("integer", bits=24),
    column("integer", bits=True),
    column("integer", width=32),
    column("nothing"),
    column("epoch", unit="h"),
    column("timestamp_text", fraction=7),
    column("timestamp_text", zoned="yes"),
    column("text", "character(5)"),
    column("text", "character varying(5)", length=0),
    column("number", "numeric(2,-3)"),
    column("boolean", "boolean", "TEXT", words="ja"),
    column("boolean", "boolean", "INTEGER", words="1"),
    column("affine", "text", "BLOB"),
    column("affine", "text", "TEXT"),
    column("affine", "character(5)", "INTEGER"),
    column("array", "text[]"),
    column("array", "text[]", separator=""),
    column("array", "text[]", separator=",", respell=True),
    column("array", "uuid[]", separator=","),
    column("inet", "macaddr8"),
    column("number", "numeric(2,5)"),
]


@pytest.mark.parametrize("plan", BAD_PLANS)
def test_a_plan_that_no_codec_can_follow_is_refused(plan: ColumnPlan) -> None:
    with pytest.raises(ConfigError) as e:
        codec_for(plan)
    assert '"c"' in str(e.value) and e.value.hint


NEEDED = {
    "affine": column("affine", "text", "NUMERIC"),
    "array": column("array", "text[]", separator=","),
    "inet": column("inet", "inet"),
    "interval": column("interval", "interval"),
}


def test_null_always_carries() -> None:
    for name in CODECS:
        plan = NEEDED.get(name, column(name))
        assert carries(codec_for(plan), plan, None) is None
