"""Error rate, latency and log lines: at the limit, over it, for how long, and what must not fire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from observing import BOUNDS, ENFORCE, INTERVALS, Scene, baseline, check
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.rates import allowed
from turnback.core.watch.rules import ErrorRate, LatencyRule, LogErrors
from turnback.core.watch.verdict import Outcome

# ---- error rate ----------------------------------------------------------------------------------


def test_more_than_five_percent_for_more_than_five_minutes_fires() -> None:
    scene = Scene().run(600).run(300, failing=0.07)
    assert scene.decisions == []
    scene.run(60, failing=0.07)
    assert scene.actions == [("rollback", "error-rate")]
    decided = scene.decisions[0]
    assert "7.0 % of 1,200 requests failed in the last 60 s (limit 5 %)" in decided.reason
    assert decided.severity == "low" and not decided.emergency
    assert decided.at <= 600 + 60 + 300 + 2 * 10  # the window fills, five minutes, and one interval


def test_five_percent_is_the_limit_and_not_over_it() -> None:
    scene = Scene().run(60).run(3600, rate=20, failing=0.05)
    assert scene.decisions == []
    assert scene.verdict("error-rate").outcome is Outcome.OK


@pytest.mark.parametrize("seconds", [60, 240, 290, 300])
@pytest.mark.parametrize("after", ["healthy", "silence"])
def test_a_burst_of_five_minutes_or_less_does_not_fire(seconds: float, after: str) -> None:
    """The window still shows it for a minute after its end."""
    scene = Scene().run(600).run(seconds, failing=1.0).run(1200, rate=20 if after == "healthy" else 0)
    assert scene.decisions == []


def test_one_ok_evaluation_starts_it_again() -> None:
    scene = Scene(replace(ENFORCE, error_rate=ErrorRate(window_seconds=10))).run(60)
    for _ in range(10):
        scene.run(290, failing=0.5).run(10)
    assert scene.decisions == []


def test_bursts_that_the_window_joins_are_one_breach() -> None:
    """Half of every minute fails: over the last minute it is never below the limit."""
    scene = Scene().run(60)
    for _ in range(7):
        scene.run(30, failing=0.5).run(30)
    assert [a for a, _ in scene.actions] == ["rollback"]


def test_eight_of_ten_failed_requests_in_a_quiet_hour_are_no_sample() -> None:
    scene = Scene().run(600)
    for _ in range(60):
        scene.run(5, rate=0.4).run(25, rate=0).run(20, rate=0.4, failing=1.0).run(10, rate=0)
    assert scene.decisions == []
    v = scene.verdict("error-rate")
    assert v.outcome is Outcome.NO_DATA and "no sample (50 would be)" in v.sentence


def test_four_failures_are_no_sample_however_few_requests_there_are() -> None:
    rules = replace(ENFORCE, error_rate=ErrorRate(window_seconds=10, for_seconds=30))
    scene = Scene(rules).run(60, rate=5.0)
    scene.run(120, rate=5.0, failing=0.08)  # 4 of 50
    assert scene.decisions == []
    assert "4 failed requests are no sample (5 would be)" in scene.verdict("error-rate").sentence
    scene.run(60, rate=5.0, failing=0.1)
    assert scene.actions == [("rollback", "error-rate")]


def test_no_data_in_a_breach_neither_ends_it_nor_adds_to_it() -> None:
    scene = Scene().run(60).run(200, failing=0.5)
    before = scene.verdict("error-rate").since
    scene.run(600, rate=0)
    assert scene.verdict("error-rate").outcome is Outcome.NO_DATA
    scene.run(60, failing=0.5)
    assert scene.decisions == [] and scene.verdict("error-rate").since == before
    scene.run(200, failing=0.5)
    assert scene.actions == [("rollback", "error-rate")]


def test_a_scrape_gap_is_no_rate() -> None:
    """What failed in it is not known to have failed in any one minute."""
    scene = Scene().run(600)
    for _ in range(12):
        scene.run(60, failing=0.5, off=["metrics"]).run(60)
    assert [d for d in scene.decisions if d.action.value == "rollback"] == []


def test_single_readings_that_fail_leave_no_hole() -> None:
    scene = Scene().run(60)
    for _ in range(18):
        scene.run(10, failing=0.2).run(10, failing=0.2, broken=["metrics"])
    assert scene.actions == [("rollback", "error-rate")]


def test_a_counter_reset_is_no_rate() -> None:
    scene = Scene().run(600, failing=0.04)
    for _ in range(30):
        scene.app.restart()
        scene.run(60, failing=0.04)
    assert scene.decisions == []
    assert 0 < (scene.verdict("error-rate").value or 0) <= 0.05


def test_a_restart_of_the_application_is_no_failure() -> None:
    """Down for 20 s, the first requests fail: deploys, one every ten minutes."""
    scene = Scene().run(600)
    for _ in range(12):
        scene.run(20, rate=0, application=False, broken=["metrics"])
        scene.app.restart()
        scene.run(20, failing=0.5).run(560)
    assert scene.decisions == []


def test_it_recovers_below_80_percent_of_the_limit_for_as_long_as_it_took() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(60).run(400, failing=0.5)
    assert scene.actions == [("recommend", "error-rate")]
    scene.run(600, failing=0.045)  # below the limit, not below 4 %
    assert scene.verdict("error-rate").firing and len(scene.decisions) == 1
    scene.run(300, failing=0.03)
    assert scene.verdict("error-rate").firing
    scene.run(90, failing=0.03)
    assert scene.actions[1:] == [("resolved", "error-rate")]


def test_a_metrics_endpoint_that_vanishes_is_no_recovery() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(60).run(400, failing=0.5)
    scene.run(3600, broken=["metrics"])
    assert scene.verdict("error-rate").firing
    assert scene.verdict("error-rate").outcome is Outcome.ERROR
    assert ("resolved", "error-rate") not in scene.actions


@pytest.mark.parametrize(
    ("failing", "severity", "objective"),
    [
        (0.06, "low", None),
        (0.2, "low", None),
        (0.21, "medium", 3600),
        (0.51, "high", 900),
        (0.95, "critical", 300),
    ],
)
def test_the_severity_is_the_share_of_failed_requests(
    failing: float, severity: str, objective: float | None
) -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(1).run(420, failing=failing)
    assert [d.severity for d in scene.decisions] == [severity]
    assert scene.decisions[0].objective_seconds == objective
    assert scene.decisions[0].affected_share == pytest.approx(failing, abs=0.002)
    assert scene.decisions[0].affected_of == "requests"
    assert f"{100 * failing:.1f} % of requests affected" in scene.decisions[0].reason


def test_users_are_what_is_counted_where_the_series_name_them() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend"))
    for _ in range(90):
        for user in "abcdefghij":
            scene.app.serve("/", 20, 0.15 if user < "g" else 0.0, user=user)
        scene.run(5, rate=0)
    assert [(d.severity, d.affected_of, d.affected_share) for d in scene.decisions] == [
        ("high", "users", 0.6)
    ]


def test_a_critical_endpoint_that_fails_is_high_at_least() -> None:
    rules = replace(ENFORCE, mode="recommend", critical_endpoints=("/pay",))
    scene = Scene(rules)
    for _ in range(90):
        scene.app.serve("/pay", 10, 0.6)
        scene.run(5, rate=18)
    decided = scene.decisions[0]
    assert (decided.severity, decided.affected_of) == ("high", "critical endpoints")
    assert decided.affected_share == pytest.approx(0.6)
    half = Scene(rules)
    for _ in range(90):
        half.app.serve("/pay", 10, 0.5)
        half.run(5, rate=18, failing=0.02)
    assert [d.severity for d in half.decisions] == ["low"]


def test_a_severity_that_goes_up_and_down_is_told_once() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(60).run(400, failing=0.19)
    for _ in range(20):
        scene.run(120, failing=0.22).run(120, failing=0.19)
    assert [d.severity for d in scene.decisions] == ["low", "medium"]


def test_the_guard_s_own_requests_are_a_sample_where_there_are_no_others() -> None:
    rules = replace(ENFORCE, intervals=INTERVALS | {"synthetic": 5.0}, error_rate=ErrorRate(min_requests=10))
    scene = Scene(rules).run(600, rate=0).run(300, rate=0, synthetic=False)
    assert scene.decisions == []
    scene.run(40, rate=0, synthetic=False)
    assert scene.actions == [("rollback", "error-rate")]


def test_without_metrics_and_requests_of_its_own_the_trigger_is_off() -> None:
    scene = Scene(replace(ENFORCE, intervals={"application": 10.0, "capture": 5.0})).run(60)
    assert scene.verdict("error-rate").off == "no probe of it is configured: metrics or synthetic"


# ---- latency -------------------------------------------------------------------------------------

BASE = baseline({"/": 0.05, "/report": 0.3})
MIX = {"/": 0.9, "/report": 0.1}
MEANS = {"/": 0.05, "/report": 0.3}


def slower(by: float) -> dict[str, float]:
    return {name: mean * by for name, mean in MEANS.items()}


def test_sixty_percent_slower_for_five_minutes_fires() -> None:
    scene = Scene(ENFORCE, BASE).run(600, mix=MIX, means=MEANS)
    scene.run(300, mix=MIX, means=slower(1.6))
    assert scene.decisions == []
    scene.run(60, mix=MIX, means=slower(1.6))
    assert scene.actions == [("rollback", "latency")]
    decided = scene.decisions[0]
    assert decided.severity == "medium" and "baseline of the same routes" in decided.reason
    assert decided.baseline == BASE.to_json()
    assert decided.samples["unit"] == "seconds" and decided.samples["baseline"] is not None


def test_forty_percent_slower_does_not() -> None:
    scene = Scene(ENFORCE, BASE).run(60, mix=MIX, means=MEANS).run(3600, mix=MIX, means=slower(1.4))
    assert scene.decisions == []
    assert scene.verdict("latency").outcome is Outcome.OK


@pytest.mark.parametrize("seconds", [240, 290])
def test_a_burst_does_not(seconds: float) -> None:
    scene = Scene(ENFORCE, BASE).run(600, mix=MIX, means=MEANS)
    scene.run(seconds, mix=MIX, means=slower(3)).run(900, mix=MIX, means=MEANS)
    assert scene.decisions == []


def test_three_times_slower_below_the_floor_does_not() -> None:
    fast = baseline({"/": 0.004})
    scene = Scene(ENFORCE, fast).run(60, mean=0.004).run(3600, mean=0.012)
    assert scene.decisions == []
    assert (scene.verdict("latency").value or 0) > 2 * (scene.verdict("latency").limit or 0) / 3 - 0.05


def test_both_the_ratio_and_the_floor_have_to_be_passed() -> None:
    rule = LatencyRule(ratio=1.5, floor_seconds=0.05)
    assert allowed(0.02, rule) == pytest.approx(0.07)
    assert allowed(0.2, rule) == pytest.approx(0.3)


def test_another_mix_of_requests_is_no_slowdown() -> None:
    """Many more of the slow route: every route is as fast as it was, the overall p95 is not."""
    scene = Scene(ENFORCE, baseline(MEANS, shares=MIX)).run(600, mix=MIX, means=MEANS)
    v = scene.verdict("latency").value or 0.0
    scene.run(1200, mix={"/": 0.3, "/report": 0.7}, means=MEANS)
    assert (scene.verdict("latency").value or 0.0) > 2 * v
    assert scene.decisions == []


def test_a_route_that_the_baseline_does_not_have_does_not_count() -> None:
    scene = Scene(ENFORCE, BASE).run(600, mix=MIX, means=MEANS)
    scene.run(1200, mix=MIX | {"/new": 3.0}, means=MEANS | {"/new": 2.0})
    assert scene.decisions == []


def test_fewer_requests_than_a_sample_are_no_data() -> None:
    scene = Scene(ENFORCE, BASE).run(600, mix=MIX, means=MEANS)
    scene.run(1200, rate=1.6, mix=MIX, means=slower(5))  # 96 a minute
    assert scene.decisions == []
    assert scene.verdict("latency").outcome is Outcome.NO_DATA


def test_without_a_baseline_only_this_trigger_is_off_and_says_why() -> None:
    scene = Scene(ENFORCE).run(60)
    v = scene.verdict("latency")
    assert v.off is not None and "turnback baseline" in v.off and not v.firing
    assert [x.trigger for x in scene.watch.verdicts if x.off and "baseline" in x.off] == ["latency"]


@pytest.mark.parametrize("ratio", [1.1, 1.2, 1.5])
def test_it_recovers_when_it_is_as_fast_as_the_baseline(ratio: float) -> None:
    rules = replace(ENFORCE, mode="recommend", latency=LatencyRule(ratio=ratio, floor_seconds=0.0))
    scene = Scene(rules, BASE).run(60, mix=MIX, means=MEANS).run(420, mix=MIX, means=slower(2))
    assert scene.actions == [("recommend", "latency")]
    scene.run(420, mix=MIX, means=MEANS)
    assert scene.actions[1:] == [("resolved", "latency")]


def test_a_baseline_with_other_buckets_is_compared_by_interpolation() -> None:
    coarse = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, inf)
    other = baseline(MEANS, coarse)
    scene = Scene(ENFORCE, other).run(600, mix=MIX, means=MEANS)
    v = scene.verdict("latency")
    assert v.outcome is Outcome.OK
    slow = Scene(ENFORCE, other).run(60, mix=MIX, means=MEANS).run(420, mix=MIX, means=slower(1.8))
    assert slow.actions == [("rollback", "latency")]
    assert coarse != BOUNDS


def test_an_empty_baseline_gives_no_verdict() -> None:
    empty: Callable[[], Baseline] = lambda: baseline({})  # noqa: E731
    scene = Scene(ENFORCE, empty()).run(600, mean=9.0)
    assert scene.verdict("latency").outcome is Outcome.NO_DATA and scene.decisions == []


# ---- log -----------------------------------------------------------------------------------------

LOG = replace(ENFORCE, intervals=INTERVALS | {"log": 10.0}, log_errors=LogErrors(enabled=True))


def lines(scene: Scene, a_minute: float, seconds: float, start: int = 0) -> int:
    for _ in range(int(seconds / 10)):
        start += round(a_minute / 6)
        scene.run(10, log={"errors": start, "lines": []})
    return start


def test_error_lines_over_the_limit_fire_after_five_minutes() -> None:
    scene = Scene(LOG)
    count = lines(scene, 6, 300)
    count = lines(scene, 90, 300, count)
    assert scene.decisions == []
    lines(scene, 90, 60, count)
    assert scene.actions == [("rollback", "log-errors")]


def test_as_many_as_the_limit_or_a_burst_do_not() -> None:
    scene = Scene(LOG)
    count = lines(scene, 60, 1200)
    count = lines(scene, 600, 240, count)
    lines(scene, 6, 600, count)
    assert scene.decisions == []


def test_a_log_that_was_rotated_is_no_burst_of_negative_lines() -> None:
    scene = Scene(LOG)
    lines(scene, 30, 300, 10_000)
    lines(scene, 30, 300, 0)
    assert scene.verdict("log-errors").outcome is Outcome.OK and scene.decisions == []


def test_a_log_that_is_rotated_in_a_breach_hides_nothing() -> None:
    scene = Scene(LOG)
    lines(scene, 90, 200, 10_000)
    lines(scene, 90, 180)
    assert scene.actions == [("rollback", "log-errors")]


def test_it_is_off_by_default() -> None:
    scene = Scene(replace(ENFORCE, intervals=INTERVALS | {"log": 10.0}))
    lines(scene, 6000, 900)
    assert scene.decisions == [] and scene.verdict("log-errors").off


def test_a_check_of_the_application_does_not_count_as_its_request() -> None:
    scene = Scene(replace(ENFORCE, intervals={"application": 10.0, "metrics": 10.0, "capture": 5.0}))
    for _ in range(100):
        scene.give("application", check(False))
    assert scene.verdict("error-rate").outcome is Outcome.NO_DATA
