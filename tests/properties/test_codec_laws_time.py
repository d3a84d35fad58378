"""The laws of the codecs of dates, times and intervals. PostgreSQL also reckons with zones and lengths itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import (
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
    stored,
)

from turnback.core.codecs import codec_for
from turnback.core.rows import SqliteValue, identical
from turnback.errors import CannotCarry, ConfigError


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
    st.sampled_from(["", "Z", "+00:00", "+0000", "-00:00", " UTC", " +0000 UTC"]),
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


# ---- offsets and zones ---------------------------------------------------------------------------

TIMESTAMPTZ = ZONES[True]
inner_moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31, 23, 59, 59, 999999))
OFFSETS = ["+02:00", "-05:00", "+0530", "+05", "-00:44:30", "+10:30", "-1200", "+15:59", " +0100"]


@budget
@given(many(inner_moments), st.sampled_from(OFFSETS), st.sampled_from([" ", "T"]), st.integers(0, 6))
def test_text_with_a_fixed_offset(
    oracle: Oracle, values: list[datetime], suffix: str, separator: str, fraction: int
) -> None:
    options = {"suffix": suffix, "separator": separator, "fraction": fraction}
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, **options)
    texts = [str(m) for m in values]
    assert back(oracle, plan, texts) == len(texts)
    own = [str(codec_for(plan).decode(text + "+00")) for text in texts_as_printed(values)]
    assert forward(oracle, plan, list(own)) == len(own)
    # The server reads the same moments out of the application's own texts.
    assert oracle.printed(TIMESTAMPTZ, own) == oracle.printed(TIMESTAMPTZ, texts)


def texts_as_printed(values: list[datetime]) -> list[str]:
    return [str(m).rstrip("0") if m.microsecond else str(m) for m in values]


def test_an_offset_needs_timestamptz(oracle: Oracle) -> None:
    plan = column("timestamp_text", ZONES[False], suffix="+02:00")
    assert forward(oracle, plan, ["2024-01-01 00:00:00+02:00"]) == 0
    assert back(oracle, plan, ["2024-01-01 00:00:00"]) == 0


# Each zone with moments, in UTC, at which its clocks were put forward or back.
TURNS = {
    "Europe/Berlin": [
        "1893-03-31 23:06:32",
        "1945-05-24 00:00:00",
        "2024-03-31 01:00:00",
        "2024-10-27 01:00:00",
    ],
    "America/New_York": [
        "1883-11-18 17:00:00",
        "2024-03-10 07:00:00",
        "2024-11-03 06:00:00",
        "2199-11-03 06:00:00",
    ],
    "Australia/Lord_Howe": ["1985-10-19 15:30:00", "2024-04-06 15:00:00", "2024-10-05 15:30:00"],
    "Africa/Monrovia": ["1919-03-01 00:44:30", "1972-01-07 00:44:30"],
    "Asia/Kathmandu": ["1985-12-31 18:30:00"],
    "Pacific/Apia": ["2011-12-30 10:00:00"],
    "UTC": ["1970-01-01 00:00:00"],
}
# By so much these zones have put their clocks back.
PUT_BACK = ["1:00", "0:30", "2:00", "0:03:58", "0:01:22", "0:36:20", "0:11:16", "0:03:04", "24:00"]
near_turns = st.sampled_from([(zone, turn) for zone, turns in TURNS.items() for turn in turns]).flatmap(
    lambda pair: st.tuples(
        st.just(pair[0]),
        st.lists(
            st.one_of(
                st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
                st.integers(-8, 8).map(lambda n: n * timedelta(minutes=15)),
            ).map(lambda delta: datetime.fromisoformat(pair[1]) + delta)
            | inner_moments,
            min_size=1,
            max_size=BATCH,
        ),
    )
)


@budget
@given(near_turns)
def test_text_meant_in_a_zone(oracle: Oracle, drawn: tuple[str, list[datetime]]) -> None:
    zone, values = drawn
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone)
    codec = codec_for(plan)
    rows = oracle.rows(
        b"SELECT (v AT TIME ZONE z)::text, v::text, EXISTS (SELECT FROM unnest(%s::interval[]) s (back) "
        b"WHERE (v - back) AT TIME ZONE z = v AT TIME ZONE z) "
        b"FROM (SELECT v::timestamptz, %s AS z FROM unnest(%s::text[]) u (v)) q",
        [PUT_BACK, zone, [f"{m}+00" for m in values]],
    )
    for local, utc, again in rows:
        assert isinstance(local, str) and isinstance(utc, str)
        if again:  # the clocks had shown it before
            with pytest.raises(CannotCarry, match="twice"):
                codec.decode(utc)
        elif not utc.endswith("BC") and len(local) < 27:
            own = local if "." not in local else local.ljust(26, "0")
            assert (codec.decode(utc), codec.encode(own)) == (own, utc)
    back(oracle, plan, [f"{m}+00" for m in values])


@budget
@given(near_turns)
def test_a_time_that_a_zone_skips_is_refused_and_no_other(
    oracle: Oracle, drawn: tuple[str, list[datetime]]
) -> None:
    zone, values = drawn
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone)
    rows = oracle.rows(
        b"SELECT v::timestamp AT TIME ZONE %s AT TIME ZONE %s = v::timestamp FROM unnest(%s::text[]) u (v)",
        [zone, zone, [str(m) for m in values]],
    )
    assert forward(oracle, plan, [str(m) for m in values]) == sum(bool(exists) for (exists,) in rows)


TWICE = {  # the local time, the first moment that it means, and the second one
    "Europe/Berlin": ("2024-10-27 02:30:00", "2024-10-27 00:30:00+00", "2024-10-27 01:30:00+00"),
    "America/New_York": ("2024-11-03 01:30:00", "2024-11-03 05:30:00+00", "2024-11-03 06:30:00+00"),
    "Australia/Lord_Howe": ("2024-04-07 01:45:00", "2024-04-06 14:45:00+00", "2024-04-06 15:15:00+00"),
}


@pytest.mark.hazard("F7", "choice")
@pytest.mark.parametrize("zone", TWICE)
def test_f7_a_time_that_a_zone_has_twice_means_the_first_and_the_second_is_refused(
    oracle: Oracle, zone: str
) -> None:
    local, first, second = TWICE[zone]
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone)
    assert forward(oracle, plan, [local]) == 1
    assert codec_for(plan).encode(local) == first
    assert back(oracle, plan, [first]) == 1
    assert back(oracle, plan, [second]) == 0
    respelled = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone, respell=True)
    assert forward(oracle, respelled, [local, first.replace("+00", "Z"), second.replace("+00", "Z")]) == 2


SKIPPED = {
    "Europe/Berlin": "2024-03-31 02:30:00",
    "America/New_York": "2024-03-10 02:30:00",
    "Australia/Lord_Howe": "2024-10-06 02:15:00",
    "Africa/Monrovia": "1972-01-07 00:30:00",
    "Pacific/Apia": "2011-12-30 12:00:00",
}


@pytest.mark.hazard("F7", "choice")
@pytest.mark.parametrize("zone", SKIPPED)
def test_f7_a_time_that_a_zone_skips_is_refused(oracle: Oracle, zone: str) -> None:
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone)
    with pytest.raises(CannotCarry, match=f"does not exist in {zone}"):
        codec_for(plan).encode(SKIPPED[zone])
    respelled = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone=zone, respell=True)
    assert forward(oracle, respelled, [SKIPPED[zone].replace(" ", "T")]) == 0
    assert forward(oracle, column("timestamp_text", ZONES[False]), [SKIPPED[zone]]) == 1


def test_offsets_with_seconds_are_reckoned_with(oracle: Oracle) -> None:
    plan = column("timestamp_text", TIMESTAMPTZ, zoned=True, zone="Africa/Monrovia")
    assert codec_for(plan).encode("1971-06-01 00:00:00") == "1971-06-01 00:44:30+00"
    assert back(oracle, plan, ["1971-06-01 00:44:30+00", "1880-01-01 00:00:00+00"]) == 2


# ---- any spelling --------------------------------------------------------------------------------

iso_spellings = st.builds(
    lambda moment, separator, digits, suffix: (
        moment.isoformat(separator, "seconds") + f".{moment.microsecond:06}"[: digits and digits + 1] + suffix
    ),
    inner_moments,
    st.sampled_from([" ", "T", "t"]),
    st.integers(0, 6),
    st.sampled_from(["", "Z", "z", "+00:00", "-00", *OFFSETS]),
)
OWN = [
    {},
    {"separator": "T", "fraction": 3, "suffix": "Z"},
    {"separator": "T", "fraction": 6, "suffix": "+02:00"},
]


@budget
@given(many(iso_spellings), st.sampled_from(OWN))
def test_any_spelling_of_a_moment_by_choice(
    oracle: Oracle, values: list[str], own: dict[str, object]
) -> None:
    plan = column("timestamp_text", TIMESTAMPTZ, "TEXT", zoned=True, respell=True, **own)
    assert forward(oracle, plan, list(values)) == len(values)
    codec = codec_for(plan)
    # The server reads the same moments out of the application's own texts.
    sent = [codec.encode(value) for value in values]
    assert oracle.printed(TIMESTAMPTZ, values) == oracle.printed(TIMESTAMPTZ, sent)
    assert back(oracle, plan, values) == len(values)
    for suffix in ("", "Z"):
        naive = column("timestamp_text", ZONES[False], "TEXT", respell=True, separator="T", suffix=suffix)
        at_utc = [
            v for v in values if v.endswith(("Z", "z", "+00:00", "-00")) or v[19:].isdecimal() or not v[19:]
        ]
        assert forward(oracle, naive, list(at_utc)) == len(at_utc)
        assert forward(oracle, naive, [f"{m[:19]}+02:00" for m in values]) == 0


@budget
@given(many(st.one_of(near_moments, st.sampled_from(ODD_MOMENTS))), st.booleans())
def test_text_that_is_nearly_a_moment_is_read_as_the_server_does_or_refused(
    oracle: Oracle, values: list[str], zoned: bool
) -> None:
    plan = column("timestamp_text", ZONES[zoned], zoned=zoned, respell=True)
    forward(oracle, plan, list(values))
    taken = accepted(plan, list(values))
    read = [str(value).replace(",", ".") for value, _ in taken]
    assert oracle.printed(ZONES[zoned], read) == oracle.printed(ZONES[zoned], [text for _, text in taken])
    assert forward(oracle, plan, ODD_MOMENTS) == 0


@pytest.mark.hazard("F7", "choice")
def test_f7_more_than_six_digits_and_leap_seconds_are_refused_in_every_spelling(oracle: Oracle) -> None:
    texts = ["2024-01-01 00:00:00.123456789", "2016-12-31 23:59:60", "2016-12-31T23:59:60.5Z"]
    for options in ({}, {"fraction": 6}, {"respell": True}, {"zone": "Europe/Berlin"}):
        assert forward(oracle, column("timestamp_text", TIMESTAMPTZ, zoned=True, **options), list(texts)) == 0


@pytest.mark.hazard("F6", "refused", why="no such day, or no date at all")
def test_f6_impossible_dates_empty_text_and_zero_are_refused(oracle: Oracle) -> None:
    values: list[SqliteValue] = [
        "2024-02-30 00:00:00",
        "2024-02-30",
        "",
        0,
        "0000-00-00",
        "0000-00-00 00:00:00",
    ]
    for zoned in (False, True):
        for options in ({}, {"respell": True}, {"infinity": True}):
            assert (
                forward(oracle, column("timestamp_text", ZONES[zoned], zoned=zoned, **options), values) == 0
            )
    assert forward(oracle, column("date_text", "date"), values) == 0
    assert forward(oracle, column("date_text", "date", infinity=True), values) == 0


# ---- infinity by choice --------------------------------------------------------------------------


@pytest.mark.hazard("R5", "choice")
def test_r5_infinity_is_carried_by_choice_and_years_before_1_never(oracle: Oracle) -> None:
    for zoned, options in (
        (False, {}),
        (True, {}),
        (True, {"zone": "Europe/Berlin"}),
        (True, {"respell": True}),
    ):
        plan = column("timestamp_text", ZONES[zoned], "TEXT", zoned=zoned, infinity=True, **options)
        assert back(oracle, plan, [*BEYOND, "2024-01-01"]) == 3
        assert forward(oracle, plan, ["infinity", "-infinity", "2024-01-01 00:00:00", "Infinity", "now"]) == 3
        distinct(plan, oracle.printed(ZONES[zoned], BEYOND))
    plan = column("date_text", "date", "TEXT", infinity=True)
    assert back(oracle, plan, [*BEYOND, "2024-01-01"]) == 3
    assert forward(oracle, plan, ["infinity", "-infinity", "2024-01-01", "Infinity", "today"]) == 3


# ---- times of day --------------------------------------------------------------------------------

near_times = st.from_regex(r"[0-2][0-9]:[0-6][0-9](:[0-6][0-9])?(\.[0-9]{0,8})?(Z|\+02)?", fullmatch=True)


@budget
@given(st.lists(st.times(), min_size=1, max_size=BATCH), many(near_times), st.integers(0, 6))
def test_times(oracle: Oracle, values: list[time], near: list[SqliteValue], fraction: int) -> None:
    plan = column("time_text", "time without time zone", "TEXT", fraction=fraction)
    texts = [str(v) for v in values]
    assert back(oracle, plan, [*texts, "24:00:00"]) == len(texts) + 1
    own = [codec_for(plan).decode(text) for text in oracle.printed(plan.pg_type, texts)]
    assert forward(oracle, plan, own) == len(own)
    forward(oracle, plan, near)
    assert forward(oracle, plan, ["23:59:60", "24:00:01", "", "12:00", "1:00:00", "12:00:00.1234567"]) == 0


@pytest.mark.parametrize("precision", [0, 3, 6])
def test_a_time_with_fewer_digits_refuses_what_it_would_round(oracle: Oracle, precision: int) -> None:
    plan = column("time_text", f"time({precision}) without time zone", fraction=6)
    texts: list[SqliteValue] = ["23:59:59.000000", "23:59:59.999000", "23:59:59.999999"]
    assert forward(oracle, plan, texts) == {0: 1, 3: 2, 6: 3}[precision]


# ---- reals since 1970 ----------------------------------------------------------------------------


@budget
@given(
    many(st.floats() | st.integers(-(10**16), 10**16).map(lambda n: n / 1_000_000)),
    st.sampled_from(["s", "ms"]),
)
def test_reals_since_1970(oracle: Oracle, values: list[SqliteValue], unit: str) -> None:
    for affinity in ("REAL", "NUMERIC"):
        plan = column("epoch_real", TIMESTAMPTZ, affinity, unit=unit, zoned=True)
        forward(oracle, plan, stored([v for v in values if v == v], affinity))


MOMENTS_BY_REALS = st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1))


@budget
@given(st.lists(MOMENTS_BY_REALS, min_size=1, max_size=BATCH), st.sampled_from(["s", "ms"]), st.booleans())
def test_moments_of_postgresql_become_reals_to_the_microsecond(
    oracle: Oracle, values: list[datetime], unit: str, zoned: bool
) -> None:
    for affinity in ("REAL", "NUMERIC"):
        plan = column("epoch_real", ZONES[zoned], affinity, unit=unit, zoned=zoned)
        assert back(oracle, plan, [str(m) for m in values]) == len(values)


@pytest.mark.hazard("F4", "carried")
def test_f4_reals_finer_than_a_microsecond_are_refused(oracle: Oracle) -> None:
    plan = column("epoch_real", TIMESTAMPTZ, "REAL", zoned=True)
    assert forward(oracle, plan, [1619092189.409, 1619092189.409123, 0.0, -0.5]) == 4
    assert forward(oracle, plan, [1619092189.4091234, 5e-324, -0.0, 1e15, float("inf")]) == 0
    assert back(oracle, plan, ["9999-12-31 23:59:59.999999+00", "infinity", "0001-01-01 BC"]) == 0


@pytest.mark.hazard("R1", "carried")
def test_r1_a_moment_of_postgresql_stays_an_integer_or_a_real(oracle: Oracle) -> None:
    (printed,) = oracle.printed(TIMESTAMPTZ, ["2021-04-22 13:49:49.409+02"])
    ms = column("epoch", TIMESTAMPTZ, "INTEGER", unit="ms", zoned=True)
    assert identical(codec_for(ms).decode(printed), 1619092189409)
    for affinity, whole in (("REAL", 1619092189.0), ("NUMERIC", 1619092189)):
        plan = column("epoch_real", TIMESTAMPTZ, affinity, zoned=True)
        assert identical(codec_for(plan).decode(printed), 1619092189.409)
        assert identical(codec_for(plan).decode("2021-04-22 11:49:49+00"), whole)


# ---- intervals -----------------------------------------------------------------------------------

lengths = st.one_of(
    st.integers(-(10**13), 10**13),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 86_400_000_000, -86_400_000_001, 2**63 - 1, -(2**63)]),
    st.integers(-(10**5), 10**5).map(lambda n: n * 86_400_000_000),
)
interval_texts = st.builds(
    lambda days, sign, hours, minutes, micro: (
        f"{days} days {sign}{hours}:{minutes:02}:{micro // 10**6:02}.{micro % 10**6:06}"
    ),
    st.integers(-100_000, 100_000),
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 200_000),
    st.integers(0, 59),
    st.integers(0, 60 * 10**6 - 1) | st.just(0),
)


@budget
@given(many(lengths), st.sampled_from(["us", "ms", "s"]))
def test_integers_as_intervals(oracle: Oracle, values: list[int], form: str) -> None:
    plan = column("interval", "interval", "INTEGER", form=form)
    in_range = {"us": 2**63, "ms": (2**31) * 86_400_000, "s": 2**31 * 86_400}[form]
    assert forward(oracle, plan, list(values)) == sum(abs(v) < in_range or form == "us" for v in values)


@budget
@given(st.lists(interval_texts, min_size=1, max_size=60))
def test_intervals_of_postgresql_are_as_long_as_it_says(oracle: Oracle, texts: list[str]) -> None:
    plan = column("interval", "interval", "INTEGER", form="us")
    assert back(oracle, plan, texts) == len(texts)
    rows = oracle.rows(
        b"SELECT (EXTRACT(epoch FROM v::interval) * 1000000)::bigint FROM unnest(%s::text[]) u (v)", [texts]
    )
    printed = oracle.printed("interval", texts)
    codec = codec_for(plan)
    assert [codec.decode(text) for text in printed] == [length for (length,) in rows]
    # Canonical forms are equal exactly where PostgreSQL says that the intervals are.
    pairs = oracle.rows(
        b"SELECT a, b, a::interval = b::interval FROM unnest(%s::text[]) x (a), unnest(%s::text[]) y (b)",
        [printed, printed],
    )
    assert all((codec.canonical(str(a)) == codec.canonical(str(b))) is equal for a, b, equal in pairs)


@budget
@given(st.lists(st.datetimes(datetime(1, 1, 2)), min_size=1, max_size=BATCH))
def test_intervals_as_text_from_1970(oracle: Oracle, values: list[datetime]) -> None:
    plan = column("interval", "interval", "TEXT", form="epoch_text")
    own: list[SqliteValue] = [m.isoformat(" ", "microseconds") for m in values]
    assert forward(oracle, plan, own) == len(own)
    assert forward(oracle, plan, ["1970-01-01 00:00:00", "1970-01-01T00:00:00.000000", "0", ""]) == 0


@pytest.mark.hazard("R5", "choice")
def test_r5_an_interval_without_months_is_carried_and_with_them_refused(oracle: Oracle) -> None:
    for form in ("us", "epoch_text"):
        plan = column("interval", "interval", "BLOB", form=form)
        assert back(oracle, plan, ["1 day", "24:00:00", "-1 day +00:00:01", "-00:00:00.000001"]) == 4
        assert back(oracle, plan, ["1 mon", "1 year", "-1 mons +3 days", "1 year 2 mons -04:05:06"]) == 0
        codec = codec_for(plan)
        assert codec.canonical("24:00:00") == codec.canonical("1 day")
        assert codec.canonical("1 mon") != codec.canonical("30 days")
    assert back(oracle, column("interval", "interval", form="s"), ["00:00:00.5", "00:00:01"]) == 1
    assert back(oracle, column("interval", "interval", form="epoch_text"), ["2000000000 days"]) == 0


@pytest.mark.parametrize("precision", [0, 3, 6])
def test_an_interval_with_fewer_digits_refuses_what_it_would_round(oracle: Oracle, precision: int) -> None:
    plan = column("interval", f"interval({precision})", form="us")
    assert forward(oracle, plan, [1_000_000, 1_000, 1]) == {0: 1, 3: 2, 6: 3}[precision]


@pytest.mark.parametrize(
    ("codec", "pg_type", "options"),
    [
        ("timestamp_text", TIMESTAMPTZ, {"zoned": True, "zone": "Europe/Berlinn"}),
        ("timestamp_text", TIMESTAMPTZ, {"zoned": True, "zone": "../zones.py"}),
        ("timestamp_text", TIMESTAMPTZ, {"zoned": True, "zone": "Europe"}),
        ("timestamp_text", TIMESTAMPTZ, {"zoned": True, "zone": "Europe/Berlin", "suffix": "Z"}),
        ("timestamp_text", ZONES[False], {"zone": "Europe/Berlin"}),
        ("timestamp_text", TIMESTAMPTZ, {"zoned": True, "suffix": "+2:00"}),
        ("time_text", "time with time zone", {}),
        ("interval", "interval day to minute", {}),
        ("interval", "interval", {"form": "h"}),
        ("epoch_real", TIMESTAMPTZ, {"unit": "us"}),
    ],
)
def test_a_plan_that_means_nothing_is_refused(codec: str, pg_type: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        codec_for(column(codec, pg_type, **options))
