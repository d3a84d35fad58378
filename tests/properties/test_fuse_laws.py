"""The WAL fuse in simulated hours: what it may do and what it must, whatever the slot does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.fuse import (
    PATIENCE_SECONDS,
    READER,
    Followed,
    Fuse,
    Level,
    Retention,
    SlotFacts,
    doubts,
    hours,
    seconds_until,
    size,
)
from turnback.core.lsn import Lsn

LIMIT = 1000
CEILING = 1500

Look = tuple[float, int, bool, bool]  # seconds since the one before, bytes, needed, whether the slot lives

looks = st.lists(
    st.tuples(
        st.sampled_from([0.5, 10.0, 10.0, 10.0, 30.0, 59.0, 61.0]),
        st.one_of(st.integers(0, 2000), st.sampled_from([400, 500, 999, 1000, 1001, 1400, 1500, 1501])),
        st.booleans(),
        st.sampled_from([True, True, True, True, False]),
    ),
    max_size=40,
)


def levels(seen: list[Look], fuse: Fuse | None = None) -> list[Level]:
    fuse, at = fuse or Fuse(LIMIT), 0.0
    found = []
    for seconds, held, needed, lives in seen:
        at += seconds
        look = Retention(at, "reserved" if lives else "lost", held)
        found.append(fuse.take(look, needed=needed))
    return found


@settings(max_examples=100, deadline=None)
@given(looks)
def test_it_never_blows_on_one_reading_and_never_under_the_limit(seen: list[Look]) -> None:
    for (_, before, _, _), (_, now, _, lives), level in zip(seen, seen[1:], levels(seen)[1:], strict=False):
        if level is Level.BLOWN and lives:
            assert before > LIMIT and now > LIMIT
    if seen:
        assert levels(seen)[0] is not Level.BLOWN


@settings(max_examples=100, deadline=None)
@given(looks)
def test_two_readings_over_the_ceiling_blow_it_whoever_needs_the_way_back(seen: list[Look]) -> None:
    found = levels([*seen, (10.0, CEILING + 1, True, True), (10.0, CEILING + 1, True, True)])
    assert found[-1] is Level.BLOWN


@settings(max_examples=100, deadline=None)
@given(looks, st.lists(st.integers(LIMIT + 1, CEILING), min_size=2, max_size=30))
def test_below_the_ceiling_it_waits_for_who_needs_the_way_back(seen: list[Look], over: list[int]) -> None:
    assert Level.BLOWN not in levels([*seen, *((10.0, held, True, True) for held in over)])[len(seen) :]


@settings(max_examples=100, deadline=None)
@given(looks, st.integers(LIMIT + 2, CEILING), st.lists(st.floats(1.0, PATIENCE_SECONDS - 1), max_size=30))
def test_a_slot_that_gets_lower_has_time_and_one_that_stands_still_has_not(
    seen: list[Look], high: int, pauses: list[float]
) -> None:
    """The first reading under the limit makes what was before it count for nothing."""
    seen = [*seen, (10.0, 0, False, True)]
    falling = [(pause, held, False, True) for pause, held in zip(pauses, range(high, LIMIT, -1), strict=False)]
    assert Level.BLOWN not in levels([*seen, *falling])[len(seen) :]
    still = [(10.0, falling[-1][1] if falling else high, False, True)] * (int(PATIENCE_SECONDS / 10) + 2)
    assert levels([*seen, *falling, *still])[-1] is Level.BLOWN


@settings(max_examples=100, deadline=None)
@given(looks)
def test_it_is_lost_after_two_readings_without_a_living_slot(seen: list[Look]) -> None:
    for i, level in enumerate(levels(seen)):
        gone = i > 0 and not seen[i][3] and not seen[i - 1][3]
        assert (level is Level.LOST) is (gone or (i > 0 and not seen[i][3] and levels(seen)[i - 1] is Level.LOST))


@settings(max_examples=100, deadline=None)
@given(looks)
def test_it_warns_from_half_on_and_is_calm_below_two_fifths(seen: list[Look]) -> None:
    before = Level.CALM
    for (_, held, _, lives), level in zip(seen, levels(seen), strict=True):
        if lives and held <= LIMIT:
            told = held >= LIMIT * (0.4 if before is not Level.CALM else 0.5)
            assert level is (Level.WARN if told else Level.CALM)
        before = level


def test_the_time_left_is_that_of_the_last_minutes_and_of_the_nearer_bound() -> None:
    fuse = Fuse(LIMIT)
    assert fuse.seconds_left is None and fuse.sentence() == "not looked at yet"
    fuse.take(Retention(0.0, "reserved", 100), needed=False)
    assert fuse.seconds_left is None
    fuse.take(Retention(10.0, "reserved", 200), needed=False)
    assert fuse.seconds_left == pytest.approx(80.0)
    fuse.take(Retention(20.0, "extended", 300, safe_wal_size=100), needed=False)
    assert fuse.seconds_left == pytest.approx(10.0), "the server gives it up before we do"
    assert fuse.level is Level.WARN and "the server gives the slot up at 400 bytes" in fuse.sentence()
    fuse.take(Retention(2000.0, "reserved", 250), needed=False)
    fuse.take(Retention(2010.0, "reserved", 250), needed=False)
    assert fuse.seconds_left is None, "what was half an hour ago says nothing"


OURS = Followed("turnback", "7000", 1, Lsn(4096))
FACTS = SlotFacts(
    slot="turnback",
    slot_type="logical",
    plugin="pgoutput",
    database="app",
    connected_to="app",
    system_identifier="7000",
    timeline=1,
    wal_status="reserved",
    invalidation=None,
    confirmed_flush_lsn=Lsn(4096),
    retained_bytes=1 << 30,
    reader=None,
)


def test_our_own_slot_is_ours() -> None:
    assert doubts(FACTS, OURS) is None
    assert doubts(replace(FACTS, confirmed_flush_lsn=Lsn(1), reader=READER), OURS) is None


@pytest.mark.parametrize(
    ("another", "said"),
    [
        ({"slot": "other"}, "follows the slot turnback"),
        ({"system_identifier": "7001"}, "server 7001"),
        ({"timeline": 2}, "timeline 2"),
        ({"slot_type": "physical", "plugin": None, "database": None}, "physical slot of no plugin"),
        ({"plugin": "test_decoding"}, "logical slot of test_decoding"),
        ({"database": "other"}, "of database other"),
        ({"confirmed_flush_lsn": Lsn(4097)}, "somebody made it anew"),
        ({"reader": "debezium"}, "debezium reads it"),
        ({"reader": ""}, "somebody reads it"),
    ],
)
def test_another_slot_is_not(another: dict[str, object], said: str) -> None:
    found = doubts(replace(FACTS, **another), OURS)  # type: ignore[arg-type]
    assert found is not None and said in found


def test_how_long_a_disk_lasts() -> None:
    assert seconds_until(10 << 30, 1 << 30, 3600.0) == pytest.approx(36_000.0)
    assert seconds_until(10 << 30, 0, 3600.0) is None and seconds_until(10 << 30, 1, 0.0) is None
    assert [size(n) for n in (0, 2048, 5 << 20, 10 << 30)] == ["0 bytes", "2.0 kB", "5.0 MB", "10.0 GB"]
    assert [hours(n) for n in (1, 600, 36_000, 864_000)] == ["about 1 min", "about 10 min", "about 10 h", "about 10 days"]
