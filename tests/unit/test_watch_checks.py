"""The triggers that count: health checks, a start that never gets healthy, exits, connections, alerts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from observing import ENFORCE, INTERVALS, Scene, check, observation
from turnback.core.watch.observation import Pool, Situation
from turnback.core.watch.rules import Consecutive, PoolRule
from turnback.core.watch.verdict import Action, Outcome

PROCESS = replace(ENFORCE, intervals=INTERVALS | {"process": 5.0})


# ---- application and database --------------------------------------------------------------------


def test_four_failed_checks_do_not_fire_and_five_do() -> None:
    scene = Scene().run(60)
    scene.run(40, application=False).run(300)
    assert scene.decisions == []
    scene.run(50, application=False)
    assert scene.actions == [("rollback", "application-health")]
    decided = scene.decisions[0]
    assert decided.severity == "critical" and decided.emergency and decided.objective_seconds == 300
    assert "5 checks of the application in a row failed (limit 5): connection refused" in decided.reason
    assert "00:06:50 UTC (40 s)" in decided.reason  # the first of the five


def test_an_ok_check_between_starts_it_again() -> None:
    scene = Scene().run(60)
    for _ in range(20):
        scene.run(40, application=False).run(10)
    assert scene.decisions == []


@pytest.mark.parametrize("probe", ["database", "server"])
def test_three_failed_checks_of_the_database_fire(probe: str) -> None:
    every = INTERVALS[probe]
    scene = Scene().run(60)
    scene.run(2 * every, **{probe: False}).run(100)
    assert scene.decisions == []
    scene.run(3 * every, **{probe: check(False, step="write")})
    assert scene.actions == [("rollback", "database-health")]


def test_failures_of_two_probes_are_not_added_up() -> None:
    scene = Scene().run(60)
    scene.run(10, database=False, server=False).run(60)
    for _ in range(30):
        scene.run(10, database=False).run(10, server=check(False, step="write")).run(10)
    assert scene.decisions == []


def test_a_probe_that_is_broken_neither_adds_nor_starts_again() -> None:
    scene = Scene().run(60)
    scene.run(30, application=False).run(30, broken=["application"])
    assert scene.verdict("application-health").outcome is Outcome.ERROR
    assert scene.verdict("application-health").value == 3
    scene.run(10, application=False)
    assert scene.decisions == []
    scene.run(10, application=False)
    assert scene.actions == [("rollback", "application-health")]


def test_it_recovers_after_as_many_ok_checks() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(60)
    scene.run(50, application=False)
    assert scene.actions == [("recommend", "application-health")]
    scene.run(40)
    assert scene.verdict("application-health").firing and len(scene.decisions) == 1
    scene.run(10, application=False).run(40)
    assert scene.verdict("application-health").firing
    scene.run(10)
    assert scene.actions[1:] == [("resolved", "application-health")]


def test_the_numbers_are_the_configuration_s() -> None:
    scene = Scene(replace(ENFORCE, application_health=Consecutive(2))).run(60)
    scene.run(20, application=False)
    assert scene.actions == [("rollback", "application-health")]


def test_a_trigger_that_is_switched_off_says_so() -> None:
    scene = Scene(replace(ENFORCE, application_health=Consecutive(5, enabled=False))).run(60)
    scene.run(300, application=False)
    assert ("rollback", "application-health") not in scene.actions
    assert scene.verdict("application-health").off == "switched off in the configuration"


# ---- never healthy, crash loop -------------------------------------------------------------------


def test_a_start_without_a_healthy_answer_fires_though_it_warms_up() -> None:
    slow = replace(ENFORCE, application_health=Consecutive(50))
    scene = Scene(slow, serving_since=0.0).run(55, application=False)
    assert scene.decisions == []
    scene.run(5, application=False)
    assert scene.actions == [("rollback", "never-healthy")]
    assert "60 s since the start" in scene.decisions[0].reason


def test_one_healthy_answer_is_enough() -> None:
    slow = replace(ENFORCE, application_health=Consecutive(50))
    scene = Scene(slow, serving_since=0.0).run(50, application=False).run(10).run(300, application=False)
    assert scene.decisions == []


def test_what_was_before_the_watch_is_not_held_against_the_application() -> None:
    """A guard that starts anew has not seen the answers of the last hours."""
    slow = replace(ENFORCE, application_health=Consecutive(50))
    scene = Scene(slow, serving_since=-5000.0).run(300, application=False)
    assert scene.decisions == []


def test_a_guard_that_starts_within_the_time_counts_from_its_own_start() -> None:
    slow = replace(ENFORCE, application_health=Consecutive(50))
    scene = Scene(slow, serving_since=-59.0).run(55, application=False)
    assert scene.decisions == []
    scene.run(15, application=False)
    assert scene.actions == [("rollback", "never-healthy")]


def test_a_restart_begins_a_start() -> None:
    rules = replace(PROCESS, application_health=Consecutive(50))
    scene = Scene(rules).run(100)
    scene.run(55, application=False, process={"starts": 2, "exits": 0, "started": True})
    assert scene.decisions == []
    scene.run(15, application=False, process={"starts": 2, "exits": 0, "started": True})
    assert scene.actions == [("rollback", "never-healthy")]


def test_restarts_that_all_fail_are_one_start() -> None:
    rules = replace(PROCESS, application_health=Consecutive(50))
    scene = Scene(rules).run(100)
    for starts in (2, 3, 4):
        scene.run(25, application=False, process={"starts": starts, "exits": 0, "started": True})
    assert scene.actions == [("rollback", "never-healthy")]


def process(exits: int) -> dict[str, object]:
    return {"starts": 1 + exits, "exits": exits, "started": True}


def test_three_exits_in_two_minutes_are_a_crash_loop() -> None:
    scene = Scene(PROCESS).run(60, process=process(7))  # seven of long ago
    scene.run(50, process=process(8)).run(50, process=process(9))
    assert scene.decisions == []
    scene.run(5, process=process(10))
    assert scene.actions == [("rollback", "crash-loop")]
    assert "3 times in the last 120 s" in scene.decisions[0].reason


def test_exits_that_are_further_apart_are_none() -> None:
    scene = Scene(PROCESS)
    for exits in range(20):
        scene.run(65, process=process(exits))
    assert scene.decisions == []


def test_a_crash_loop_is_over_after_as_long_without_one() -> None:
    scene = Scene(replace(PROCESS, mode="recommend")).run(60, process=process(0))
    for exits in (1, 2, 3):
        scene.run(10, process=process(exits))
    assert scene.actions == [("recommend", "crash-loop")]
    scene.run(100, process=process(3))
    assert len(scene.decisions) == 1
    scene.run(20, process=process(3))
    assert scene.actions[1:] == [("resolved", "crash-loop")]


def test_the_guard_s_own_restart_counts_no_exit_twice() -> None:
    scene = Scene(PROCESS).run(60, process=process(9)).run(60, process=process(0)).run(60, process=process(2))
    assert scene.decisions == []
    assert scene.verdict("crash-loop").value == 2


# ---- pool ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pool",
    [Pool(waiting=1.0), Pool(size=5, in_use=5), Pool(size=5, in_use=6)],
    ids=["waiters", "all in use", "overflow"],
)
def test_a_pool_that_is_exhausted_in_three_of_five_readings_fires(pool: Pool) -> None:
    scene = Scene()
    scene.app.pool = Pool(size=5, in_use=1, waiting=0 if pool.waiting is not None else None)
    scene.run(60)
    free = scene.app.pool
    for state in (pool, free, pool):
        scene.app.pool = state
        scene.run(10)
    assert scene.decisions == []
    scene.app.pool = pool
    scene.run(10)
    assert scene.actions == [("rollback", "pool")]
    assert scene.decisions[0].severity == "high"


def test_two_of_five_do_not_fire_however_often() -> None:
    scene = Scene()
    for _ in range(40):
        for waiting in (1.0, 1.0, 0.0, 0.0, 0.0):
            scene.app.pool = Pool(waiting=waiting)
            scene.run(10)
    assert scene.decisions == []


def test_a_full_pool_in_which_nobody_waits_is_busy_not_exhausted() -> None:
    scene = Scene()
    scene.app.pool = Pool(size=5, in_use=5, waiting=0.0)
    scene.run(600)
    assert scene.decisions == []


def test_timeouts_count_by_their_growth() -> None:
    scene = Scene()
    scene.app.pool = Pool(timeouts=500.0)
    scene.run(100)
    assert scene.decisions == []
    for timeouts in (501, 2, 3):  # the second one after a restart
        scene.app.pool = Pool(timeouts=float(timeouts))
        scene.run(10)
    assert scene.actions == [("rollback", "pool")]


@pytest.mark.parametrize(
    "view",
    [{"connections": 100}, {"role_connections": 10, "role_limit": 10}],
    ids=["all of the server's", "all of the role's"],
)
def test_postgresql_s_own_view_counts_too(view: dict[str, int]) -> None:
    scene = Scene().run(60).run(20, postgres=view)
    assert scene.decisions == []
    scene.run(10, postgres=view)
    assert scene.actions == [("rollback", "pool")]


def test_a_limit_that_is_almost_reached_is_none() -> None:
    view = {"connections": 99, "role_connections": 9, "role_limit": 10}
    scene = Scene().run(600, postgres=view)
    assert scene.decisions == []


def test_a_pool_that_is_free_again_recovers() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend", pool=PoolRule(2, 4)))
    scene.app.pool = Pool(waiting=3.0)
    scene.run(20)
    assert scene.actions == [("recommend", "pool")]
    scene.app.pool = Pool(waiting=0.0)
    scene.run(30)
    assert len(scene.decisions) == 1
    scene.run(10)
    assert scene.actions[1:] == [("resolved", "pool")]


def test_an_application_without_a_pool_in_its_metrics_is_no_data() -> None:
    scene = Scene(replace(ENFORCE, intervals={"metrics": 10.0})).run(100)
    v = scene.verdict("pool")
    assert v.outcome is Outcome.NO_DATA and not v.firing


# ---- alerts --------------------------------------------------------------------------------------


def alert(name: str, status: str, fingerprint: str = "f1") -> dict[str, str]:
    body = {"name": name, "severity": "page", "status": status, "fingerprint": fingerprint}
    return body | {"summary": "answers are wrong"}


def test_an_alert_fires_until_it_is_resolved_with_the_configured_severity() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend", alerts={"WrongAnswers": "high"})).run(60)
    scene.give("alert", alert("WrongAnswers", "firing"))
    for _ in range(10):
        scene.give("alert", alert("WrongAnswers", "firing", "f2"))
        scene.run(60)
    scene.give("alert", alert("WrongAnswers", "firing"))
    assert scene.actions == [("recommend", "alert:WrongAnswers")]
    assert scene.decisions[0].severity == "high" and "answers are wrong" in scene.decisions[0].reason
    scene.give("alert", alert("WrongAnswers", "resolved"))
    assert len(scene.decisions) == 1
    scene.give("alert", alert("WrongAnswers", "resolved", "f2"))
    assert scene.actions[1:] == [("resolved", "alert:WrongAnswers")]


def test_an_alert_that_is_not_said_again_does_not_count_for_ever() -> None:
    """Alertmanager never says that an alert is over which is inhibited, or silenced, when it ends."""
    scene = Scene(replace(ENFORCE, alerts={"WrongAnswers": "high"})).run(60)
    behind = {"lag_seconds": 90.0, "lag_bytes": 9_000_000}
    scene.run(20, capture=behind)
    scene.give("alert", alert("WrongAnswers", "firing"))
    scene.run(170, capture=behind)
    assert scene.actions == [("hold", "alert:WrongAnswers")]
    scene.run(30, capture=behind)
    assert scene.actions[1:] == [("resolved", "alert:WrongAnswers")]
    assert "not said WrongAnswers again for 180 s" in scene.decisions[-1].reason
    scene.run(120)  # the way back is ready again: there is nothing to do
    assert len(scene.actions) == 2
    scene.give("alert", alert("WrongAnswers", "firing"))
    scene.run(10)
    assert scene.actions[2:] == [("rollback", "alert:WrongAnswers")]


def test_an_alert_that_nobody_configured_is_ignored() -> None:
    scene = Scene(replace(ENFORCE, alerts={"WrongAnswers": "high"})).run(60)
    scene.give("alert", alert("SomethingElse", "firing"))
    scene.run(60)
    assert scene.decisions == []
    assert [v.trigger for v in scene.watch.verdicts if v.trigger.startswith("alert")] == [
        "alert:WrongAnswers"
    ]


# ---- silence --------------------------------------------------------------------------------------


def test_a_probe_that_falls_silent_is_no_data_as_soon_as_another_speaks() -> None:
    scene = Scene().run(60).run(30, application=False).run(30, off=["application"])
    assert scene.verdict("application-health").outcome is Outcome.BREACH
    scene.run(10, off=["application"])
    v = scene.verdict("application-health")
    assert v.outcome is Outcome.NO_DATA and v.value == 3 and not v.firing
    scene.run(10, application=False)
    assert scene.verdict("application-health").value == 4 and scene.decisions == []


# ---- time ----------------------------------------------------------------------------------------


def test_an_observation_that_comes_a_little_late_is_taken_at_the_newest_time() -> None:
    scene = Scene().run(60)
    scene.take(observation(59.2, "application", check(False)))
    assert scene.verdict("application-health").since == 60.0


def test_the_time_of_another_boot_starts_everything_anew() -> None:
    scene = Scene(begin=100_000.0).run(60).run(40, application=False)
    scene.at = 0.0
    scene.run(10, application=False)
    assert scene.decisions == []
    assert scene.verdict("application-health").value == 1


def test_nothing_is_decided_before_it_is_known_where_the_move_stands() -> None:
    scene = Scene(phase="migrated").run(300, application=False, server=False)
    assert scene.decisions == []
    assert scene.verdict("application-health").firing
    assert Action.ROLLBACK not in [d.action for d in scene.decisions]


# ---- a check that was never answered properly ------------------------------------------------------


@pytest.mark.parametrize("probe", ["application", "database", "server"])
def test_a_check_that_never_passed_pages_and_rolls_nothing_back(probe: str) -> None:
    """A wrong address, a 404, a 401: as long as nobody knows that it was ever right."""
    scene = Scene()
    scene.situate(unproven=(probe,), serving_since=0.0)
    scene.run(600, **{probe: check(False, "404 Not Found", step="connect")})
    assert scene.actions == [("page", f"probe:{probe}")]
    assert "is the address right? 404 Not Found" in scene.decisions[0].reason
    scene.situate(unproven=())  # it was answered: from here on a failure is one
    scene.run(60).run(60, **{probe: check(False, "connection refused", step="connect")})
    assert (
        "rollback",
        "application-health" if probe == "application" else "database-health",
    ) in scene.actions


def test_a_dependency_that_never_passed_holds_nothing_back() -> None:
    rules = replace(ENFORCE, intervals=INTERVALS | {"dependency:mail": 10.0})
    scene = Scene(rules)
    scene.situate(unproven=("dependency:mail",))
    scene.run(30, dependency_mail=False).run(60, dependency_mail=False, application=False)
    assert scene.actions[0] == ("rollback", "application-health")


def test_what_is_unproven_is_read_from_a_trace_and_missing_in_an_older_one() -> None:
    there = Situation("on_postgres", unproven=("server",))
    assert Situation.from_json(there.to_json()) == there
    assert Situation.from_json({"phase": "on_postgres"}).unproven == ()
