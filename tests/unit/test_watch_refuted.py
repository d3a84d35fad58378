"""What an auditor found by trying to refute the watch: wrong rollbacks, missed ones, things told twice or never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from observing import ENFORCE, INTERVALS, Scene, check
from turnback.core.watch.observation import Latency, MetricsReading, Pool, RequestCount
from turnback.core.watch.rules import CrashLoop, ErrorRate
from turnback.core.watch.verdict import Outcome
from turnback.core.watch.window import difference

LAGGING = {"lag_seconds": 90.0, "lag_bytes": 9_000_000}
RECOMMEND = replace(ENFORCE, mode="recommend")
OWN = replace(
    ENFORCE, intervals=INTERVALS | {"synthetic": 5.0}, error_rate=ErrorRate(min_requests=10, for_seconds=300)
)
BILLING = replace(ENFORCE, intervals=INTERVALS | {"dependency:billing": 10.0})
UNANSWERED = check(False, answered=False)


# ---- an end that nobody saw ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["broken", "off"])
def test_the_guard_s_own_good_requests_are_no_recovery_while_the_metrics_are_gone(how: str) -> None:
    scene = Scene(replace(OWN, mode="recommend")).run(60).run(400, failing=0.5)
    assert scene.actions == [("recommend", "error-rate")]
    scene.run(1800, **{how: ["metrics"]})
    assert scene.verdict("error-rate").firing and scene.verdict("error-rate").outcome is Outcome.NO_DATA
    assert ("resolved", "error-rate") not in scene.actions


def test_nor_do_they_begin_a_breach_anew() -> None:
    scene = Scene(OWN).run(60).run(200, failing=0.5).run(100, failing=0.5, broken=["metrics"])
    scene.run(150, failing=0.5)
    assert ("rollback", "error-rate") in scene.actions


def test_but_they_show_one_that_comes_while_the_metrics_are_gone() -> None:
    scene = Scene(OWN).run(60).run(600, broken=["metrics"], synthetic=False)
    assert ("rollback", "error-rate") in scene.actions


def test_metrics_that_never_were_are_not_missed() -> None:
    scene = Scene(OWN).run(600, broken=["metrics"])
    assert scene.verdict("error-rate").outcome is Outcome.OK


# ---- a hold that becomes a rollback: the rule is met anew ----------------------------------------


def test_after_an_ok_evaluation_a_held_error_rate_has_to_last_again() -> None:
    """Held back, then for an hour below the limit, and not far enough below to be over."""
    scene = Scene().run(60, capture=LAGGING).run(420, failing=0.5, capture=LAGGING)
    assert scene.actions == [("hold", "error-rate")]
    scene.run(3600, failing=0.045)
    assert scene.verdict("error-rate").firing
    scene.run(240, failing=0.5)
    assert scene.rollbacks == []
    scene.run(120, failing=0.5)
    assert [d.trigger for d in scene.rollbacks] == ["error-rate"]


def test_after_an_ok_check_a_held_health_needs_all_its_failures_again() -> None:
    scene = Scene().run(60, capture=LAGGING).run(60, application=False, capture=LAGGING)
    scene.run(10).run(40, application=False)
    assert scene.verdict("application-health").firing and scene.rollbacks == []
    scene.run(10, application=False)
    assert [d.trigger for d in scene.rollbacks] == ["application-health"]


def test_one_failed_check_of_another_probe_does_not_act_on_a_breach_that_is_not_seen() -> None:
    """The database's own check fired and is not asked since; the guard's session fails once."""
    scene = Scene().run(60, capture=LAGGING).run(40, database=False, capture=LAGGING)
    assert scene.actions == [("hold", "database-health")]
    once = check(False, step="write")
    scene.run(60, off=["database"]).run(5, off=["database"], server=once).run(60, off=["database"])
    assert scene.rollbacks == []
    scene.run(15, off=["database"], server=once)
    assert [d.trigger for d in scene.rollbacks] == ["database-health"]


def test_one_reading_of_another_view_of_the_pool_does_not_either() -> None:
    full = {"connections": 100}
    scene = Scene().run(60, capture=LAGGING)
    scene.app.pool = Pool(waiting=3.0)
    scene.run(40, capture=LAGGING)
    assert scene.actions == [("hold", "pool")]
    scene.run(20, off=["metrics"], postgres=full)
    assert scene.rollbacks == []
    scene.run(10, off=["metrics"], postgres=full)
    assert [d.trigger for d in scene.rollbacks] == ["pool"]


# ---- whose failure it is -------------------------------------------------------------------------


def test_an_application_that_answers_is_no_excuse_for_its_database_check() -> None:
    """It says 503, and hangs where it needs the database; another service fails too."""
    scene = Scene(BILLING).run(60)
    scene.run(60, application=check(False, "503"), database=UNANSWERED, dependency_billing=False)
    assert scene.actions == [("rollback", "database-health")]


@pytest.mark.parametrize("every", [30.0, 60.0])
def test_an_application_that_is_asked_less_often_is_still_what_is_dead(every: float) -> None:
    """Its database's check is not answered six times before it is asked itself."""
    rules = replace(ENFORCE, intervals=INTERVALS | {"application": every, "database": 5.0})
    scene = Scene(rules).run(every)
    scene.run(2 * every, application=UNANSWERED, database=UNANSWERED).run(300)
    assert scene.decisions == []
    assert scene.verdict("database-health").outcome is Outcome.OK


def test_what_was_withheld_counts_as_soon_as_the_application_answers() -> None:
    rules = replace(ENFORCE, intervals=INTERVALS | {"application": 30.0, "database": 5.0})
    scene = Scene(rules).run(30).run(25, database=UNANSWERED)
    assert scene.decisions == [] and scene.verdict("database-health").outcome is Outcome.OK  # the session's
    scene.run(5, database=UNANSWERED)
    assert scene.actions == [("rollback", "database-health")]


def test_an_application_that_nobody_asks_withholds_nothing() -> None:
    intervals = {k: v for k, v in INTERVALS.items() if k != "application"}
    scene = Scene(replace(ENFORCE, intervals=intervals)).run(60).run(30, database=UNANSWERED)
    assert scene.actions == [("rollback", "database-health")]
    silent = Scene().run(60).run(60, off=["application"]).run(30, off=["application"], database=UNANSWERED)
    assert silent.actions == [("rollback", "database-health")]


def test_failures_that_are_counted_under_no_cause_may_be_postgresql_s() -> None:
    """One failure in fifty is counted, as billing's; of the others nobody knows."""
    scene = Scene(replace(ENFORCE, other_causes=("billing",))).run(60)
    for _ in range(90):
        scene.app.causes["billing"] = scene.app.causes.get("billing", 0) + 1
        scene.run(5, failing=0.5)
    assert scene.actions == [("rollback", "error-rate")]


# ---- critical endpoints --------------------------------------------------------------------------

PAY = replace(ENFORCE, critical_endpoints=("/login", "/pay"))
MIX = {"/": 0.98, "/pay": 0.02}


def pay(scene: Scene, seconds: float, failing: float) -> None:
    """24 payments among 1,200 requests a minute."""
    for _ in range(int(seconds / 5)):
        scene.app.serve("/pay", 2, failing)
        scene.run(5, rate=19.6)


def test_a_critical_endpoint_that_fails_is_a_breach_though_it_is_two_of_a_hundred_requests() -> None:
    scene = Scene(PAY).run(60)
    pay(scene, 300, 1.0)
    assert scene.decisions == []
    pay(scene, 60, 1.0)
    assert scene.actions == [("rollback", "error-rate")]
    decided = scene.decisions[0]
    assert (decided.severity, decided.affected_of, decided.affected_share) == (
        "high",
        "critical endpoints",
        1.0,
    )
    assert "critical endpoint /pay 100 % (limit 50 %)" in decided.reason
    untagged = Scene(ENFORCE).run(60)
    pay(untagged, 900, 1.0)
    assert untagged.decisions == []


def test_half_of_it_is_none_and_neither_are_four_failures() -> None:
    scene = Scene(PAY).run(60)
    pay(scene, 900, 0.5)
    few = Scene(replace(PAY, error_rate=ErrorRate(min_failures=25))).run(60)
    pay(few, 900, 1.0)  # 24 in the window
    assert scene.decisions == few.decisions == []


def test_it_is_over_when_it_is_below_80_percent_of_the_half() -> None:
    scene = Scene(replace(PAY, mode="recommend")).run(60)
    pay(scene, 400, 1.0)
    pay(scene, 900, 0.5)
    assert scene.verdict("error-rate").firing
    pay(scene, 400, 0.0)
    assert scene.actions == [("recommend", "error-rate"), ("resolved", "error-rate")]


# ---- what is told --------------------------------------------------------------------------------

FULL = {"connections": 100}


def test_what_is_over_is_told_though_another_goes_on_and_that_one_is_not_told_again() -> None:
    scene = Scene(RECOMMEND).run(60, postgres=FULL)
    for _ in range(2):
        scene.run(60, application=False, postgres=FULL).run(600, postgres=FULL)
    died = [("recommend", "application-health"), ("resolved", "application-health")]
    assert scene.actions == [("recommend", "pool"), *died, *died]
    scene.run(600)
    assert scene.actions[5:] == [("resolved", "pool")]


def test_what_was_only_recorded_is_not_told_to_be_over_and_is_recorded_each_time() -> None:
    scene = Scene(replace(ENFORCE, mode="observe")).run(60)
    for _ in range(2):
        scene.run(60, application=False).run(600)
    assert scene.actions == [("observe", "application-health")] * 2


def test_observe_says_nothing_on_sqlite_either() -> None:
    scene = Scene(replace(ENFORCE, mode="observe"), phase="on_sqlite").run(60).run(600, application=False)
    assert scene.actions == [("observe", "application-health")]
    assert "mode observe" in scene.decisions[0].reason


def test_a_worse_trigger_that_may_only_be_recommended_does_not_keep_another_from_acting() -> None:
    severities = dict(ENFORCE.severities)
    severities["critical"] = replace(severities["critical"], mode="recommend")
    scene = Scene(replace(ENFORCE, severities=severities)).run(60).run(60, application=False)
    assert scene.actions == [("recommend", "application-health")]
    scene.run(60, application=False, postgres=FULL)
    assert scene.actions[1:] == [("rollback", "pool")]


def test_after_another_boot_a_probe_is_told_to_be_blind_and_to_see_again() -> None:
    scene = Scene(begin=100_000.0).run(60).run(300, broken=["metrics"])
    scene.at = 0.0
    scene.run(60).run(300, broken=["metrics"]).run(60)
    assert [a for a, t in scene.actions if t == "probe:metrics"] == ["page", "page", "resolved"]


# ---- what mutants of the code survived -----------------------------------------------------------


def test_a_pool_is_exhausted_while_either_view_says_so() -> None:
    scene = Scene()
    scene.app.pool = Pool(waiting=0.0)
    scene.run(60).run(10, postgres=FULL)
    assert scene.verdict("pool").outcome is Outcome.BREACH


@pytest.mark.parametrize("how", ["broken", "not exported"])
def test_a_view_of_the_pool_that_is_gone_says_nothing_any_more(how: str) -> None:
    scene = Scene()
    scene.app.pool = Pool(waiting=2.0)
    scene.run(10)
    assert scene.verdict("pool").outcome is Outcome.BREACH
    gone: Mapping[str, Any] = {"broken": ["metrics"]} if how == "broken" else {}
    scene.app.pool = Pool()
    scene.run(10, **gone)
    assert scene.verdict("pool").outcome is Outcome.OK  # by PostgreSQL's view
    alone = replace(ENFORCE, intervals={"metrics": 10.0, "capture": 5.0})
    blind = Scene(alone)
    blind.app.pool = Pool(waiting=2.0)
    blind.run(10)
    blind.app.pool = Pool()
    blind.run(10, **gone)
    assert blind.verdict("pool").outcome in (Outcome.NO_DATA, Outcome.ERROR)


def test_a_histogram_of_which_one_bucket_fell_has_restarted() -> None:
    bounds = (0.1, 1.0, float("inf"))

    def reading(*totals: float) -> MetricsReading:
        return MetricsReading((RequestCount("/", "200", totals[-1]),), (Latency("/", bounds, totals),))

    grown = difference(reading(50, 80, 100), reading(20, 90, 110))
    assert grown.latencies["/"].counts == (20, 90, 110)
    assert difference(reading(50, 80, 100), reading(50, 80, 101)).latencies["/"].counts == (0, 0, 1)


def test_a_crash_loop_is_since_its_first_exit() -> None:
    rules = replace(ENFORCE, intervals=INTERVALS | {"process": 5.0}, crash_loop=CrashLoop(2, 60.0))
    scene = Scene(rules).run(60)
    scene.run(30, process={"starts": 2, "exits": 1, "started": True})
    scene.run(30, process={"starts": 3, "exits": 2, "started": True})
    assert scene.verdict("crash-loop").since == 65.0


def test_calm_without_data_does_not_count_as_calm() -> None:
    scene = Scene(RECOMMEND).run(60).run(400, failing=0.5).run(200).run(600, rate=0).run(60)
    assert scene.verdict("error-rate").firing
    scene.run(240)
    assert not scene.verdict("error-rate").firing


def test_a_second_breach_is_since_its_own_begin_and_names_its_severity() -> None:
    scene = Scene(RECOMMEND).run(60).run(400, failing=0.5).run(800).run(400, failing=0.5)
    assert [a for a, _ in scene.actions] == ["recommend", "resolved", "recommend"]
    first, _, second = scene.decisions
    since = next(v.since for v in second.verdicts if v.trigger == "error-rate")
    assert since is not None and since > 60 + 400 + 800
    assert "; severity medium, 50.0 % of requests affected" in first.reason


def test_what_was_withheld_of_a_dead_application_is_never_counted() -> None:
    rules = replace(RECOMMEND, intervals=INTERVALS | {"application": 30.0, "database": 5.0})
    scene = Scene(rules).run(30).run(60, application=UNANSWERED, database=UNANSWERED).run(300)
    assert scene.decisions == []
