"""From triggers to decisions: modes, readiness, latch, discrimination, warm-up, suspension, blindness, phases."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from observing import ENFORCE, GOOD, INTERVALS, Scene, baseline, check
from turnback.core.watch.decision import Fired, chosen
from turnback.core.watch.rules import SeverityRule
from turnback.core.watch.severity import Graded
from turnback.core.watch.verdict import Action, Decision
from turnback.core.watch.watch import Watch, replay

LAGGING = {"lag_seconds": 90.0, "lag_bytes": 9_000_000}
DEPENDENT = replace(ENFORCE, intervals=INTERVALS | {"dependency:billing": 10.0})


# ---- modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "action"), [("observe", "observe"), ("recommend", "recommend"), ("enforce", "rollback")]
)
def test_the_mode_says_what_is_done(mode: str, action: str) -> None:
    scene = Scene(replace(ENFORCE, mode=mode)).run(60).run(600, application=False)
    assert scene.actions == [(action, "application-health")]


def test_a_severity_may_have_a_mode_of_its_own() -> None:
    severities = dict(ENFORCE.severities)
    severities["low"] = SeverityRule(0.0, None, False, "recommend")
    cautious = replace(ENFORCE, severities=severities)
    scene = Scene(cautious).run(60).run(420, failing=0.1)
    assert scene.actions == [("recommend", "error-rate")]
    scene.run(60, application=False)
    assert scene.actions[1:] == [("rollback", "application-health")]


# ---- readiness -----------------------------------------------------------------------------------


def test_what_is_not_ready_holds_names_the_part_and_rolls_back_as_soon_as_it_is() -> None:
    scene = Scene().run(60, capture=LAGGING).run(60, application=False, capture=LAGGING)
    assert scene.actions == [("hold", "application-health")]
    assert "fallback: 90.0 s behind, 60 s are allowed" in (scene.decisions[0].held_back or "")
    assert "fallback: 90.0 s behind" in scene.decisions[0].reason
    scene.run(600, application=False, capture=LAGGING)
    assert len(scene.decisions) == 1
    scene.run(10, application=False)
    assert scene.actions[1:] == [("rollback", "application-health")]


def test_a_hold_that_is_over_is_no_rollback() -> None:
    scene = Scene().run(60, capture=LAGGING).run(60, application=False, capture=LAGGING)
    scene.run(60, capture=LAGGING).run(600)
    assert [a for a, _ in scene.actions] == ["hold", "resolved"]


# ---- the latch -----------------------------------------------------------------------------------


def test_one_rollback_until_the_next_cutover() -> None:
    scene = Scene().run(60).run(600, application=False)
    assert [a for a, _ in scene.actions] == ["rollback"]
    scene.situate(phase="rolling_back", open_run="r1")
    scene.run(60, application=False)
    # The run failed and was undone: it stands on PostgreSQL again, and is still ill.
    scene.situate(phase="on_postgres", open_run=None, latched=True)
    scene.run(600, application=False)
    assert [a for a, _ in scene.actions] == ["rollback", "hold"]
    assert "one automatic rollback of this cutover has been taken" in scene.decisions[1].reason


def test_the_watch_latches_by_itself() -> None:
    scene = Scene().run(60).run(60, application=False)
    scene.situate(open_run="r1")
    scene.situate(open_run=None)
    scene.run(600, application=False)
    assert [a for a, _ in scene.actions] == ["rollback", "hold"]
    assert scene.watch.latched


def test_the_next_cutover_arms_it_again() -> None:
    scene = Scene().run(60).run(60, application=False)
    for phase, run in (
        ("rolling_back", "r1"),
        ("on_sqlite", None),
        ("planned", None),
        ("migrated", None),
        ("cutting_over", "r2"),
        ("on_postgres", None),
    ):
        scene.situate(phase=phase, open_run=run)
        scene.run(20)
    scene.run(60).run(60, application=False)
    assert [a for a, _ in scene.actions].count("rollback") == 2


def test_a_latch_that_the_journal_tells_holds() -> None:
    scene = Scene()
    scene.situate(latched=True)
    scene.run(60).run(60, application=False)
    assert scene.actions == [("hold", "application-health")]


# ---- discrimination ------------------------------------------------------------------------------


def test_a_failing_dependency_with_a_good_database_is_a_recommendation() -> None:
    scene = Scene(DEPENDENT).run(60).run(900, failing=0.5, dependency_billing=False)
    assert scene.actions == [("recommend", "error-rate")]
    assert "not PostgreSQL: billing" in (scene.decisions[0].held_back or "")
    assert "no rollback by itself" in scene.decisions[0].reason


def test_with_the_dependency_back_the_failures_have_to_last_anew() -> None:
    scene = Scene(DEPENDENT).run(60).run(400, failing=0.5, dependency_billing=False)
    scene.run(300, failing=0.5)
    assert [a for a, _ in scene.actions] == ["recommend"]
    scene.run(30, failing=0.5)
    assert [a for a, _ in scene.actions] == ["recommend", "rollback"]


def test_a_dependency_that_recovers_with_the_application_ends_in_nothing() -> None:
    scene = Scene(DEPENDENT).run(60).run(400, failing=0.5, dependency_billing=False)
    scene.run(30, failing=0.5).run(900)
    assert [a for a, _ in scene.actions] == ["recommend", "resolved"]


def test_a_hold_does_not_become_a_rollback_of_what_recovers() -> None:
    scene = Scene().run(60, capture=LAGGING).run(60, application=False, capture=LAGGING)
    scene.run(20, capture=LAGGING)
    assert scene.verdict("application-health").firing
    scene.run(10)
    assert [a for a, _ in scene.actions] == ["hold"]
    scene.run(20).run(900)
    assert [a for a, _ in scene.actions] == ["hold", "resolved"]


def test_a_hold_does_not_become_a_rollback_of_what_nobody_sees() -> None:
    scene = Scene().run(60, capture=LAGGING).run(420, failing=0.5, capture=LAGGING)
    scene.run(60, capture=LAGGING, broken=["metrics"]).run(1200, broken=["metrics"])
    assert "rollback" not in [a for a, _ in scene.actions]
    scene.run(60, failing=0.5)
    assert ("rollback", "error-rate") in scene.actions


def test_one_failed_check_of_the_dependency_holds_nothing_back() -> None:
    scene = Scene(DEPENDENT).run(60)
    for _ in range(30):
        scene.run(10, failing=0.5, dependency_billing=False).run(10, failing=0.5)
    assert [a for a, _ in scene.actions] == ["rollback"]


def test_a_dependency_that_cannot_be_asked_holds_nothing_back() -> None:
    scene = Scene(DEPENDENT).run(60).run(30, dependency_billing=False)
    scene.run(420, failing=0.5, broken=["dependency:billing"])
    assert ("rollback", "error-rate") in scene.actions


@pytest.mark.parametrize("database", [{"database": False}, {"broken": ["database"]}])
def test_a_dependency_holds_nothing_back_while_the_database_is_not_known_to_be_good(
    database: dict[str, object],
) -> None:
    rules = replace(DEPENDENT, database_health=replace(ENFORCE.database_health, failures=10_000))
    scene = Scene(rules).run(60)
    scene.run(420, failing=0.5, dependency_billing=False, **database)
    assert ("rollback", "error-rate") in scene.actions


@pytest.mark.parametrize("trigger", ["database-health", "pool"])
def test_what_is_postgresql_itself_is_never_held_back(trigger: str) -> None:
    scene = Scene(DEPENDENT).run(60, dependency_billing=False)
    if trigger == "pool":
        scene.run(60, dependency_billing=False, postgres={"connections": 100})
    else:
        scene.run(60, dependency_billing=False, database=False)
    assert scene.actions == [("rollback", trigger)]


def test_failures_by_cause() -> None:
    rules = replace(ENFORCE, other_causes=("billing",))

    def of(billing: float) -> list[tuple[str, str]]:
        scene = Scene(rules).run(60)
        for _ in range(90):
            causes = scene.app.causes
            causes["billing"] = causes.get("billing", 0) + 100 * billing
            causes["database"] = causes.get("database", 0) + 100 * (1 - billing)
            scene.run(5, failing=0.5)
        return scene.actions

    assert of(0.6) == [("recommend", "error-rate")]
    assert of(0.5) == [("rollback", "error-rate")]
    assert of(0.0) == [("rollback", "error-rate")]


def test_failures_by_cause_of_a_while_ago_hold_nothing_back() -> None:
    scene = Scene(replace(ENFORCE, other_causes=("billing",))).run(60)
    for _ in range(80):
        scene.app.causes["billing"] = scene.app.causes.get("billing", 0) + 100
        scene.run(5, failing=0.5)
    assert scene.actions == [("recommend", "error-rate")]
    scene.run(300, failing=0.5)  # of a cause that nobody counts
    assert scene.actions == [("recommend", "error-rate")]
    scene.run(90, failing=0.5)
    assert scene.actions[1:] == [("rollback", "error-rate")]


def test_what_is_not_held_back_goes_before_what_is_worse_and_held_back() -> None:
    scene = Scene(DEPENDENT).run(60).run(60, application=False, dependency_billing=False)
    assert scene.actions == [("recommend", "application-health")]
    scene.run(60, application=False, dependency_billing=False, postgres={"connections": 100})
    assert scene.actions[1:] == [("rollback", "pool")]


def test_of_two_as_bad_the_one_nearer_to_the_cause_is_named() -> None:
    def one(trigger: str, severity: str = "critical", held: str | None = None) -> Fired:
        return Fired(trigger, Graded(severity), held)

    both = [one("alert:Wrong"), one("application-health"), one("database-health")]
    first = lambda fired: chosen(fired, ENFORCE).trigger  # noqa: E731
    assert first(both) == first(both[::-1]) == "database-health"
    assert first(both[:2]) == "application-health"
    assert first([one("pool", "high"), *both[:2]]) == "application-health"
    assert first([one("pool", "high"), one("application-health", held="billing")]) == "pool"


# ---- warm-up and suspension ----------------------------------------------------------------------


def test_while_it_warms_up_only_the_hard_failures_count() -> None:
    scene = Scene(serving_since=0.0).run(115, failing=0.9, postgres={"connections": 100}).run(900)
    assert scene.decisions == []
    hard = Scene(serving_since=0.0).run(50, application=False)
    assert hard.actions == [("rollback", "application-health")]


def test_an_alert_of_the_warm_up_that_still_fires_counts_at_its_end() -> None:
    """Alertmanager does not say it again before its repeat interval is over."""
    scene = Scene(replace(ENFORCE, alerts={"WrongAnswers": "high"}), serving_since=0.0).run(60)
    alert = {"name": "WrongAnswers", "severity": "page", "fingerprint": "f", "summary": "answers are wrong"}
    scene.give("alert", alert | {"status": "firing"})
    scene.run(55)
    assert scene.decisions == []
    scene.run(10)
    assert scene.actions == [("rollback", "alert:WrongAnswers")]


def test_what_began_in_the_warm_up_counts_from_its_end() -> None:
    scene = Scene(serving_since=0.0).run(120 + 300, failing=0.9)
    assert scene.decisions == []
    scene.run(40, failing=0.9)
    assert scene.actions == [("rollback", "error-rate")]


@pytest.mark.parametrize("phase", ["rolling_back", "on_postgres"])
def test_the_fence_of_a_run_is_no_failure(phase: str) -> None:
    """The guard tells of a run before its first step, when the phase is still the old one."""
    scene = Scene().run(60)
    scene.situate(phase=phase, open_run="r1")
    scene.run(1200, application=False, database=False, server=False, failing=1.0)
    assert scene.watch.suspended
    scene.situate(phase="on_sqlite", open_run=None)
    scene.run(600)
    assert scene.decisions == []


def test_windows_begin_anew_after_a_run() -> None:
    scene = Scene().run(60).run(40, application=False)
    scene.situate(open_run="r1")
    scene.run(60)
    scene.situate(open_run=None)
    scene.run(40, application=False).run(60)
    assert scene.decisions == []


def test_a_long_run_is_no_blindness() -> None:
    scene = Scene().run(60)
    scene.situate(open_run="r1")
    scene.run(7200)
    scene.situate(open_run=None)
    scene.run(60)
    assert scene.decisions == []


# ---- phases --------------------------------------------------------------------------------------


def test_on_sqlite_it_pages_and_never_rolls_back() -> None:
    scene = Scene(phase="on_sqlite").run(60).run(600, application=False, server=False)
    assert scene.actions == [("page", "application-health")]
    assert "still so on SQLite" in scene.decisions[0].reason


@pytest.mark.parametrize("phase", ["new", "planned", "migrated", "cutting_over", "rolling_back", "accepted"])
def test_in_other_phases_nothing_is_decided(phase: str) -> None:
    scene = Scene(phase=phase).run(60).run(900, application=False, server=False, failing=1.0)
    assert scene.decisions == []


def test_what_was_told_is_resolved_on_the_other_side_when_it_is_seen_to_be_good() -> None:
    scene = Scene().run(60).run(60, application=False)
    scene.situate(phase="rolling_back", open_run="r1")
    scene.run(20)
    scene.situate(phase="on_sqlite", open_run=None)
    scene.run(5)
    assert len(scene.decisions) == 1
    scene.run(30)
    assert scene.actions[1:] == [("resolved", "application-health")]


# ---- blindness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["broken", "off"])
def test_a_probe_that_gives_nothing_is_told_once_and_again_when_it_sees(how: str) -> None:
    scene = Scene().run(60).run(85, **{how: ["metrics"]})
    assert scene.decisions == []
    scene.run(1800, **{how: ["metrics"]})
    assert scene.actions == [("page", "probe:metrics")]
    assert scene.decisions[0].severity == "medium" and not scene.decisions[0].emergency
    scene.run(30)
    assert scene.actions[1:] == [("resolved", "probe:metrics")]


def test_no_data_alone_never_rolls_back() -> None:
    scene = Scene().run(600).run(7200, broken=list(INTERVALS))
    assert {a for a, _ in scene.actions} == {"page"}
    dark = Scene().run(600)
    dark.run(7200, off=[p for p in INTERVALS if p != "capture"])
    assert {a for a, _ in dark.actions} == {"page"}
    told = [t for _, t in dark.actions]
    assert len(told) == len(set(told)) == len(INTERVALS) - 1


def test_a_quiet_night_is_not_blindness() -> None:
    scene = Scene().run(600).run(8 * 3600, rate=0.1)
    assert scene.decisions == []


def test_what_only_the_server_could_answer_is_not_told_besides_it() -> None:
    scene = Scene(replace(ENFORCE, mode="recommend")).run(60)
    scene.run(900, server=False, broken=["postgres", "slot"])
    assert scene.actions == [("recommend", "database-health")]


def test_probes_that_are_not_asked_on_sqlite_are_not_missed_there() -> None:
    scene = Scene(phase="on_sqlite").run(1800, off=["server", "postgres", "slot", "capture"])
    assert scene.decisions == []


# ---- the record ----------------------------------------------------------------------------------


def whole() -> Scene:
    scene = Scene(replace(DEPENDENT, alerts={"Wrong": "high"}), baseline({"/": 0.05})).run(600)
    scene.run(200, failing=0.3).run(100, broken=["metrics"]).run(420, failing=0.7, capture=LAGGING)
    scene.run(60, application=False, dependency_billing=False)
    scene.situate(phase="rolling_back", open_run="r1")
    scene.run(60, server=False)
    scene.situate(phase="on_sqlite", open_run=None)
    return scene.run(900, rate=3)


def test_a_decision_is_json_with_all_that_it_rests_on() -> None:
    scene = whole()
    assert len(scene.decisions) > 2
    for decision in scene.decisions:
        body = json.loads(json.dumps(decision.to_json(), allow_nan=False))
        assert body["reason"] and body["verdicts"] and body["baseline"]["p95_seconds"]
    held = next(d for d in scene.decisions if d.action is Action.HOLD)
    points = held.samples["points"]
    assert held.samples["limit"] == 0.05 and held.samples["since"] is not None
    assert 30 <= len(points) <= 400 and points == sorted(points, key=lambda p: p[0])
    assert held.at - points[0][0] <= 2 * 360


def test_a_replay_through_json_decides_the_same() -> None:
    scene = whole()
    told = [json.loads(json.dumps(o.to_json())) for o in scene.given]
    again = replay(scene.rules, scene.watch.baseline, [type(scene.given[0]).from_json(b) for b in told])
    assert [_plain(d) for d in again] == [_plain(d) for d in scene.decisions]


def _plain(decision: Decision) -> str:
    return json.dumps(decision.to_json(), sort_keys=True)


def test_the_status_shows_all_of_it() -> None:
    scene = Scene().run(60).run(20, broken=["slot"])
    body = json.loads(json.dumps(scene.watch.to_json(), allow_nan=False))
    assert body["suspended"] is False and body["latched"] is False and body["baseline"] is False
    assert body["probes"]["slot"] == {"at": 80.0, "error": "made to fail"}
    assert len(body["verdicts"]) == 8
    assert [p["name"] for p in body["readiness"]["parts"]] == [
        "server",
        "fallback",
        "verification",
        "integrity",
        "schema",
        "slot",
        "platform",
        "disk",
    ]


def test_samples_of_a_trigger_pulled_by_hand_are_none() -> None:
    assert Watch(ENFORCE).samples("user-report") == {}
    assert GOOD["slot"]["wal_status"] == "reserved" and check(True)["ok"]


def test_a_dead_application_does_not_vouch_for_its_database() -> None:
    """Nobody else does either: it is not known that PostgreSQL is not the cause."""
    alone = {"application": 10.0, "database": 10.0, "capture": 5.0, "dependency:billing": 10.0}
    dead = check(False, answered=False)
    scene = Scene(replace(ENFORCE, intervals=alone)).run(60)
    scene.run(60, application=dead, database=dead, dependency_billing=False)
    assert scene.actions == [("rollback", "application-health")]
    with_session = Scene(DEPENDENT).run(60)
    with_session.run(60, application=dead, database=dead, dependency_billing=False)
    assert with_session.actions == [("recommend", "application-health")]


def test_a_worse_trigger_that_recovers_does_not_hide_one_that_is_seen() -> None:
    scene = Scene().run(60, capture=LAGGING).run(15, server=check(False, step="write"), capture=LAGGING)
    assert scene.actions == [("hold", "database-health")]
    scene.app.pool = replace(scene.app.pool, waiting=3.0)
    scene.run(10, server=check(False, step="write"), capture=LAGGING)
    scene.run(10)  # the server is good again, twice of the three times that end it
    assert scene.verdict("database-health").firing and len(scene.decisions) == 1
    scene.run(10, server=check(False, step="write"), capture=LAGGING, postgres={"connections": 100})
    scene.run(10)
    assert ("rollback", "pool") in scene.actions
