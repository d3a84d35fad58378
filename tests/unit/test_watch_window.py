"""Counters become slices and windows: resets, gaps, instances that come and go, quantiles."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.watch.baseline import RouteBaseline
from turnback.core.watch.observation import CauseCount, Latency, MetricsReading, RequestCount
from turnback.core.watch.window import (
    Readings,
    Slice,
    Window,
    difference,
    failed_status,
    quantile,
    rebucketed,
)


def reading(*requests: tuple[str, str, float], instance: str = "", user: str = "") -> MetricsReading:
    return MetricsReading(tuple(RequestCount(e, s, n, instance, user) for e, s, n in requests))


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("500", True),
        ("5xx", True),
        ("5XX", True),
        ("503", True),
        ("404", False),
        ("2xx", False),
        ("50", False),
    ],
)
def test_5xx_is_failed(status: str, failed: bool) -> None:
    assert failed_status(status) is failed


def test_what_grew_is_what_happened() -> None:
    d = difference(
        reading(("/a", "200", 100), ("/a", "500", 3), ("/b", "200", 7)),
        reading(("/a", "200", 110), ("/a", "500", 5), ("/b", "200", 7)),
    )
    assert d.requests == {"/a": 12} and d.failures == {"/a": 2}
    assert (d.total, d.failed) == (12, 2)


def test_a_series_that_fell_has_restarted_and_no_rate_is_negative() -> None:
    d = difference(reading(("/", "200", 1000), ("/", "500", 40)), reading(("/", "200", 30)))
    assert d.requests == {"/": 30} and d.failures == {}


def test_the_first_failures_of_an_endpoint_count() -> None:
    d = difference(reading(("/", "200", 10)), reading(("/", "200", 12), ("/", "500", 4)))
    assert d.failures == {"/": 4}


def test_an_instance_that_comes_counts_from_its_second_reading() -> None:
    one = reading(("/", "200", 10), instance="a")
    both = MetricsReading(
        (RequestCount("/", "200", 12, "a"), RequestCount("/", "500", 9_000_000, "b")),
        causes=(CauseCount("billing", 5000, "b"),),
    )
    d = difference(one, both)
    assert d.requests == {"/": 2} and d.failures == {} and d.causes == {}
    gone = difference(both, reading(("/", "200", 15), instance="a"))
    assert gone.requests == {"/": 3}


def test_an_application_that_shows_nothing_yet_counts_from_nothing() -> None:
    d = difference(MetricsReading(), reading(("/", "500", 20)))
    assert d.failures == {"/": 20}


def test_values_that_are_no_numbers_count_nothing() -> None:
    d = difference(reading(("/", "200", 1)), reading(("/", "200", nan), ("/x", "200", inf)))
    assert d.total == 0


def test_users_are_counted_where_a_label_names_them() -> None:
    before = MetricsReading((RequestCount("/", "200", 1, "", "ann"), RequestCount("/", "200", 5, "", "bob")))
    after = MetricsReading(
        (
            RequestCount("/", "200", 3, "", "ann"),
            RequestCount("/", "500", 1, "", "ann"),
            RequestCount("/", "200", 5, "", "bob"),
        )
    )
    assert difference(before, after).users == {"ann": (3, 1)}


def test_histograms_grow_restart_and_change_their_bounds() -> None:
    def one(bounds: tuple[float, ...], totals: tuple[float, ...]) -> MetricsReading:
        return MetricsReading(latencies=(Latency("/", bounds, totals),))

    fine, coarse = (0.1, 1.0, inf), (0.5, inf)
    grown = difference(one(fine, (10, 20, 30)), one(fine, (12, 25, 36)))
    assert grown.latencies == {"/": RouteBaseline(fine, (2, 5, 6))}
    restarted = difference(one(fine, (10, 20, 30)), one(fine, (1, 2, 3)))
    assert restarted.latencies == {"/": RouteBaseline(fine, (1, 2, 3))}
    other = difference(one(fine, (10, 20, 30)), one(coarse, (4, 5)))
    assert other.latencies == {"/": RouteBaseline(coarse, (4, 5))}


def test_instances_are_summed() -> None:
    bounds = (0.1, 1.0, inf)
    before = MetricsReading(latencies=tuple(Latency("/", bounds, (0, 0, 0), i) for i in "ab"))
    after = MetricsReading(
        latencies=(Latency("/", bounds, (1, 2, 3), "a"), Latency("/", (1.0, inf), (4, 4), "b"))
    )
    # b's bounds are others: its four requests, all below a second, are laid onto a's.
    assert difference(before, after).latencies["/"] == RouteBaseline(bounds, (1 + 0.4, 6, 7))


@pytest.mark.parametrize(
    ("bounds", "counts", "q", "expected"),
    [
        ((1.0, 2.0, inf), (0, 100, 100), 0.5, 1.5),
        ((1.0, 2.0, inf), (50, 100, 100), 0.5, 1.0),
        ((1.0, 2.0, inf), (100, 100, 100), 0.95, 0.95),
        ((1.0, 2.0, inf), (10, 20, 100), 0.95, 2.0),  # in the last bucket: the highest finite bound
        ((1.0, 2.0, 4.0, inf), (10, 10, 20, 20), 0.75, 3.0),  # an empty bucket between
        ((1.0, inf), (0, 0), 0.95, None),
        ((inf,), (10,), 0.95, None),
    ],
)
def test_quantiles_are_promql_s(
    bounds: tuple[float, ...], counts: tuple[float, ...], q: float, expected: float | None
) -> None:
    assert quantile(bounds, counts, q) == (None if expected is None else pytest.approx(expected))


def test_other_bounds_keep_what_lies_beyond_the_last() -> None:
    assert rebucketed((1.0, inf), (10, 30), (0.5, 1.0, 2.0, inf)) == (5, 10, 10, 30)


def test_a_gap_of_more_than_three_intervals_is_no_slice() -> None:
    readings = Readings(10.0)
    assert readings.take(0, reading(("/", "200", 1))) is None
    there = readings.take(30, reading(("/", "200", 2)))
    assert there is not None and there.total == 1
    assert readings.take(70, reading(("/", "500", 5000))) is None
    after = readings.take(80, reading(("/", "500", 5001)))
    assert after is not None and after.failed == 1


@given(
    st.lists(
        st.tuples(st.floats(0.1, 40), st.integers(0, 50), st.integers(0, 9), st.sampled_from("abc")),
        max_size=60,
    )
)
@settings(max_examples=80, deadline=None)
def test_a_window_is_the_sum_of_its_slices(steps: list[tuple[float, int, int, str]]) -> None:
    window, at, kept = Window(60.0), 0.0, []
    for seconds, requests, failed, name in steps:
        at += seconds
        s = Slice(
            {name: float(requests + failed)} if requests + failed else {},
            {name: float(failed)} if failed else {},
            {name: RouteBaseline((1.0, inf), (float(requests), float(requests + failed)))}
            if requests + failed
            else {},
            {name: (float(requests + failed), float(failed))} if requests + failed else {},
            {name: float(failed)} if failed else {},
        )
        kept.append((at, s))
        window.add(at, s)
        inside = [x for end, x in kept if end > at - 60.0]
        assert window.total == sum(x.total for x in inside)
        assert window.failed == sum(x.failed for x in inside)
        for n in "abc":
            assert window.requests.get(n, 0.0) == sum(x.requests.get(n, 0.0) for x in inside)
            assert window.causes.get(n, 0.0) == sum(x.causes.get(n, 0.0) for x in inside)
            of_user = [x.users[n] for x in inside if n in x.users]
            assert window.users.get(n, (0, 0)) == (sum(u[0] for u in of_user), sum(u[1] for u in of_user))
            laid = [x.latencies[n].counts for x in inside if n in x.latencies]
            assert window.latencies.get((n, (1.0, inf)), [0.0, 0.0]) == [
                sum(c[i] for c in laid) for i in (0, 1)
            ]
