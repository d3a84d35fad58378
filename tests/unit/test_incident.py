"""What the journal says of an incident: which records are one, what was measured, what is still open."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from story import BEGIN, Story
from turnback.core.incident import Around, Episode, LogExcerpt, episodes
from turnback.core.incident_account import Incident, duration, incident
from turnback.core.incident_measured import outcome, step_times

CERTIFICATE = {
    "path": "/certificates/c.json", "verdict": "equal", "says": "rollback: equal: 52 rows in 2 tables are equal",
    "seal_holds": True, "tables": 2, "rows": 52, "difference_count": 0, "against_original": None,
}  # fmt: skip


def found(story: Story) -> list[Episode]:
    return episodes(story.lines)


def told(story: Story, **around: Any) -> Incident:
    """Of the newest incident."""
    plain: dict[str, Any] = {"now": story.at, "rto_objective_seconds": 300.0, "rpo_objective_seconds": 0.0}
    made = incident(found(story)[-1], Around(**plain | around))
    json.dumps(made.to_json(), allow_nan=False)
    return made


def what(made: Incident) -> str:
    return "\n".join(e.what for e in made.timeline)


# ---- which records are one incident --------------------------------------------------------------


def test_a_journal_without_rollback_or_decision_has_none() -> None:
    assert found(Story()) == [] and found(Story.on_postgres()) == []
    page = Story.on_postgres().decided("page", "probe:metrics").decided("resolved", "probe:metrics")
    assert found(page) == []


def test_a_decision_and_its_run_are_one_and_answer_to_both_names() -> None:
    story = Story.on_postgres().decided("rollback").rolls_back(decision="decision-1", automatic=True)
    (one,) = found(story)
    assert one.id == "rollback-1" and one.names == {"rollback-1", "decision-1"}
    assert one.decision is not None and one.decision["id"] == "decision-1"
    assert outcome(one) == "rolled back"


def test_a_hold_that_a_person_ends_by_a_rollback_is_one_incident() -> None:
    story = Story.on_postgres().decided("hold", id="decision-1")
    story.add(
        "run_started",
        "rollback-1",
        60.0,
        intent="rollback",
        options={"by": "ann@web-1", "trigger": "user-report"},
    )
    story.decided(
        "rollback", "user-report", id="decision-2", run="rollback-1", automatic=False, severity="high"
    )
    (one,) = found(story)
    assert one.names == {"rollback-1", "decision-1", "decision-2"}
    made = told(story)
    assert made.trigger == "user-report" and made.started["automatic"] is False
    assert made.started["user"] == "ann" and made.started["host"] == "web-1"
    assert "decided: hold" in what(made) and "the slot is lost" in what(made)


def test_a_hold_that_becomes_ready_is_the_rollbacks_own_past() -> None:
    story = (
        Story.on_postgres().decided("hold", id="decision-1").decided("rollback", id="decision-2", after=40.0)
    )
    story.rolls_back(decision="decision-2", automatic=True)
    (one,) = found(story)
    assert one.begun_at == BEGIN and one.zero == BEGIN + timedelta(seconds=40)
    assert told(story).rto.seconds == pytest.approx(8 * 0.2 + 0.1)


def test_what_is_resolved_ends_the_incident_and_the_next_is_another() -> None:
    story = (
        Story.on_postgres()
        .decided("recommend", id="decision-1")
        .decided("recommend", "latency", id="decision-2")
    )
    story.decided("resolved", id="decision-3", after=5.0)
    assert found(story)[0].ended_at is None, "the latency is not resolved"
    story.decided("resolved", "probe:log", id="decision-x")
    assert found(story)[0].ended_at is None
    story.decided("resolved", "latency", id="decision-4", after=5.0)
    story.decided("hold", id="decision-5", after=5.0)
    first, second = found(story)
    assert outcome(first) == "resolved" and first.ended_at == BEGIN + timedelta(seconds=10)
    assert outcome(second) == "held" and second.id == "decision-5"


@pytest.mark.parametrize(
    ("action", "word"), [("hold", "held"), ("recommend", "recommended"), ("observe", "observed")]
)
def test_a_decision_without_a_run(action: str, word: str) -> None:
    made = told(Story.on_postgres().decided(action))
    assert made.outcome == word and made.steps == () and made.id == "decision-1"
    assert made.detection_seconds == 21.0 and made.rto.seconds is None
    assert "turnback status" in made.open[0]


def test_a_decision_that_was_voided_says_why() -> None:
    story = (
        Story.on_postgres()
        .decided("rollback")
        .add("decision_void", None, 9.0, id="decision-1", why="it is 400 s old")
    )
    story.decided("hold", id="decision-2", after=1.0)
    first, second = found(story)
    assert outcome(first) == "not carried out" and second.id == "decision-2"
    made = incident(first, Around(story.at, 300.0, 0.0))
    assert "It was not carried out: it is 400 s old." in made.account


def test_a_new_guard_does_not_go_on_with_what_was_told_long_ago() -> None:
    story = Story.on_postgres().decided("hold", id="decision-1")
    story.decided("hold", "latency", id="decision-2", after=7200.0)
    assert len(found(story)) == 1, "the guard knew of it all the time"
    story.add("guard_started", None, 60.0, pid=7)
    story.decided("hold", id="decision-3", after=7200.0)
    assert [e.id for e in found(story)] == ["decision-1", "decision-3"]


def test_another_run_ends_what_was_told() -> None:
    story = Story.on_postgres().decided("hold")
    story.add("run_started", "rebuild-1", 5.0, intent="rebuild", options={})
    (one,) = found(story)
    assert one.ended_at == story.at


# ---- measured ------------------------------------------------------------------------------------


def test_times_count_from_the_decision_even_where_the_guard_died_after_it() -> None:
    story = Story.on_postgres().decided("rollback", objective=10.0)
    story.add("guard_started", None, 9.0, pid=7).rolls_back(decision="decision-1", automatic=True, after=1.0)
    made = told(story, certificate=CERTIFICATE)
    assert made.rto.seconds == pytest.approx(10.0 + 8 * 0.2 + 0.1)
    assert made.rto.objective_seconds == 10.0 and made.rto.met is False
    assert "(objective 10.0 s: missed)" in made.account
    assert made.steps[0].end_seconds == pytest.approx(10.2) and made.steps[0].seconds == pytest.approx(0.2)
    assert "a guard started (pid 7)" in what(made) and "SQLite serves again" in what(made)
    assert made.steps[8].away_seconds == made.rto.seconds < (made.steps[8].end_seconds or 0)
    assert made.steps[9].away_seconds is None
    assert made.downtime_seconds == pytest.approx(6 * 0.2 + 0.1)


def test_by_hand_the_objective_is_the_configured_one() -> None:
    story = Story.on_postgres()
    story.rolls_back(by="ann@web-1", trigger="performance", reason="slow")
    assert told(story, rto_objective_seconds=120.0).rto.objective_seconds == 120.0
    severity = (
        Story.on_postgres()
        .decided("rollback", objective=900.0)
        .rolls_back(decision="decision-1", automatic=True)
    )
    assert told(severity, rto_objective_seconds=120.0).rto.objective_seconds == 900.0


def test_a_rollback_of_an_older_version_has_a_report_too() -> None:
    """No decision, no version, no validation, no normal_again: today's journals."""
    made = told(
        Story.on_postgres().rolls_back(by="ann@web-1", reason="why <not>", trigger=None),
        certificate=CERTIFICATE,
    )
    assert made.decision is None and made.samples == {} and made.started["version"] is None
    assert made.started["user"] == "ann" and made.reason == "why <not>"
    assert made.validation is not None and made.validation["checks"][0]["seen"] == "GET /api/health: 200"
    assert "why <not>." in made.account and "equal on" not in made.account


def test_steps_that_were_not_reached_or_failed_say_so() -> None:
    story = Story.on_postgres().rolls_back(until="stop_application", end=False)
    story.add("step_started", "rollback-1", step="fence_postgres")
    (one,) = found(story)
    assert [s.outcome for s in step_times(one)][2:5] == ["done", "under way", "not reached"]
    story.add("step_failed", "rollback-1", 3.0, step="fence_postgres", error="a lock", hint="")
    failed = {s.step: s for s in step_times(found(story)[0])}["fence_postgres"]
    assert (failed.outcome, failed.seconds, failed.error) == ("failed", 3.0, "a lock")
    assert (
        told(story).outcome == "failed" and "The step fence_postgres failed: a lock." in told(story).account
    )
    story.add("undoing", "rollback-1", reason="fence_postgres: a lock")
    story.add("undo_postponed", "rollback-1", step="fence_postgres", error="gone")
    story.add("undo_done", "rollback-1", 1.0, step="stop_application")
    story.add("run_ended", "rollback-1", outcome="undone")
    made = told(story)
    assert made.outcome == "undone" and "It was undone: fence_postgres: a lock." in made.account
    assert made.downtime_seconds == pytest.approx(4.2) and "4.20 s" in made.account
    assert any("fence_postgres" in text for text in made.open)
    assert made.rto.seconds is None and made.rto.met is None


def test_a_run_that_is_open_behind_the_point_of_no_return() -> None:
    made = told(Story.on_postgres().rolls_back(until="start_on_sqlite", end=False))
    assert made.outcome == "under way" and "only forward" in made.account
    assert made.open[0].startswith("The rollback has not ended")


# ---- loss, proof, and what is open ---------------------------------------------------------------


def test_without_the_server_the_loss_is_said_first_and_the_fence_is_open() -> None:
    story = Story.on_postgres().rolls_back(lossy=True, by="ann@web-1")
    made = told(story, rpo_objective_seconds=60.0)
    assert made.outcome == "rolled back with loss" and made.loss_manifest is not None
    assert (
        "0/1A00000 stayed behind (the last contact with lag 0 was 12.5 s before; accepted by --accept-loss)"
        in made.account
    )
    assert made.rpo.seconds == 12.5 and made.rpo.met is True
    assert told(story).rpo.met is False
    assert any("not fenced" in t for t in made.open) and any("pg_dump" in t for t in made.open)
    story.add("fenced_late", None, 30.0)
    assert not any("not fenced" in t for t in told(story).open)
    assert "was fenced" in what(told(story))


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (None, "no certificate"),
        (CERTIFICATE | {"verdict": "different", "says": "2 rows differ"}, "2 rows differ"),
        (CERTIFICATE | {"verdict": "not compared", "says": "nobody looked"}, "nobody looked"),
        (CERTIFICATE | {"seal_holds": False}, "was changed after it was written"),
    ],
)
def test_a_proof_that_is_none_is_open(certificate: dict[str, Any] | None, said: str) -> None:
    story = Story.on_postgres().rolls_back()
    story.add("normal_again", "rollback-1", 300.0, seconds=300.0)
    assert any(said in text for text in told(story, certificate=certificate).open)
    assert told(story, certificate=CERTIFICATE).open == ()


def test_validation_and_normal_again() -> None:
    story = Story.on_postgres().rolls_back(end=False)
    checks = [
        {
            "name": "/api/health",
            "ok": True,
            "expected": "200",
            "seen": "200",
            "seconds": 0.1,
            "group": "endpoints",
        },
        {
            "name": "log",
            "ok": False,
            "expected": "0 errors",
            "seen": "3 errors",
            "seconds": 0.1,
            "group": "log",
        },
        {"name": "page", "ok": None, "expected": "not configured", "seen": "", "seconds": 0, "group": "page"},
    ]
    story.add("validated", "rollback-1", ok=False, headline="1 failed", checks=checks, side="sqlite", at="x")
    story.add("run_ended", "rollback-1", outcome="done")
    story.add(
        "validated", None, 7200.0, ok=True, headline="much later, by hand", checks=[], side="sqlite", at="x"
    )
    made = told(story, certificate=CERTIFICATE)
    assert "Validation: 1 check passed, 1 failed." in made.account
    assert any("The check log failed: expected 0 errors, seen 3 errors." in t for t in made.open)
    assert any("back to normal is not recorded" in t for t in made.open)
    assert "much later" not in what(made)


def test_the_timeline_is_in_order_and_names_who_was_told() -> None:
    story = Story.on_postgres()
    story.add("process_exited", None, side="postgres", pid=4, status=-9)
    story.decided("rollback", after=30.0)
    story.add(
        "notice",
        None,
        0.1,
        key="application-health",
        event="rollback",
        title="rolling back",
        sent={"webhook": None, "command": "timed out"},
    )
    story.rolls_back(decision="decision-1", automatic=True)
    story.add("notice", None, 4000.0, key="probe:metrics", event="page", title="of another day", sent={})
    made = told(story)
    times = [e.at for e in made.timeline]
    assert times == sorted(times) and made.timeline[0].what.startswith(
        "the application on postgres ended by itself"
    )
    assert "told webhook: rolling back; not told: command (timed out)" in what(made)
    assert "of another day" not in what(made)
    named = [e.what for e in made.timeline if e.what.startswith("step ")]
    assert len(named) == 10 and "step drain_to_fence" in named


def test_the_log_is_handed_through() -> None:
    made = told(Story.on_postgres().rolls_back(), log=LogExcerpt("/a.log", ("one",), "kept"))
    assert made.to_json()["log"] == {"path": "/a.log", "how": "kept", "lines": ["one"]}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "not measured"), (0.0, "0.00 s"), (9.994, "9.99 s"), (12.34, "12.3 s"), (300, "5 min 00 s"), (7384, "2 h 03 min")],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said
