"""The brief: go or not by the facts, and nothing that was not measured."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from story import BEGIN, Story
from turnback.core.brief import Brief, Facts, brief, markdown
from turnback.core.findings import Finding, counted
from turnback.core.incident import episodes
from turnback.core.phases import next_command
from turnback.core.plan import Excluded, Plan, TablePlan
from turnback.core.state import fold

PLAN = Plan(
    "create",
    "public",
    (TablePlan("team", "team", (), (), "default"),),
    excluded=(Excluded("old", "sqlite", "by choice"),),
)


def made(story: Story, **more: Any) -> Brief:
    state = fold(story.lines)
    plain: dict[str, Any] = {
        "now": story.at, "state": state, "next_command": next_command(state.phase), "episodes": episodes(story.lines), "plan": PLAN,
    }  # fmt: skip
    result = brief(Facts(**plain | more))
    json.dumps(result.to_json(), allow_nan=False)
    assert markdown(result).startswith("# ")
    return result


def part(of: Brief, heading: str) -> dict[str, str]:
    return dict(dict(of.parts)[heading])


def story_of(*findings: Finding, assessed: bool) -> tuple[Story, dict[str, Any]]:
    story = Story().add("findings", None, 0.0, **counted(findings))
    if assessed:
        story.add("assessed", plan="p", schema="s")
    return story, counted(findings)


def test_what_cannot_be_carried_is_no_go_and_named_without_keys() -> None:
    refused = Finding("F3", "refused", "an integer over 64 bits", "team", "id", 3, ("17", "18"))
    choice = Finding("F8", "choice", "values that are no boolean", "team", "on")
    story, body = story_of(refused, choice, Finding("F1", "carries", "fine"), assessed=False)
    found = made(story, findings=body, plan=None)
    assert found.go is False and found.why == (
        "1 finding cannot be carried as things are", "1 finding to settle in turnback.toml",
    )  # fmt: skip
    lines = part(found, "What does not go along")
    assert lines["refused F3 team.id"] == "an integer over 64 bits" and "choice F8 team.on" in lines
    assert "17" not in str(found.to_json())
    nothing = made(Story(), plan=None)
    assert nothing.go is False and "assessed" in nothing.verdict


def test_ready_to_migrate_and_to_cut_over() -> None:
    story, body = story_of(Finding("F1", "carries", "fine"), assessed=True)
    found = made(story, findings=body)
    assert found.go is True and found.why == ("every value of 1 table can be carried there and back",)
    assert part(found, "What does not go along") == {"left behind: sqlite old": "by choice"}
    many, of_many = story_of(*[Finding("F2", "refused", "m", f"t{i}") for i in range(70)], assessed=False)
    assert "and more" in part(made(many, findings=of_many), "What does not go along")

    on_postgres = Story.on_postgres()
    copied = Story(lines=on_postgres.lines[:7])
    assert made(copied).verdict.startswith("Go: ready for the cutover") and made(copied).go is True
    body = {"proof": {"equal": False, "reason": "2 rows differ"}}
    copied.lines[5] = copied.lines[5].__class__(
        copied.at, "step_done", "migrate-1", {"step": "prove_copy", "result": body}
    )
    differs = made(copied)
    assert differs.go is False and differs.why == ("2 rows differ",)


def test_what_was_not_measured_is_said_so() -> None:
    story, body = story_of(assessed=True)
    costs = part(made(story, findings=body), "What it costs")
    assert set(costs.values()) == {"not measured yet"}
    past = part(made(story, findings=body), "Incidents so far")
    assert past["rollbacks"] == "none" and past["RTO measured"] == past["RPO measured"] == "not measured yet"


def test_on_postgresql_the_way_back_is_the_question() -> None:
    story = Story.on_postgres()
    reported = {
        "mode": "enforce", "slot": {"retained_bytes": 3 * 1024 * 1024}, "last_verification": {"at": "2026-11-22T05:00:00Z", "equal": True},
        "watch": {"readiness": {"ready": False, "parts": [{"name": "slot", "ok": False, "detail": "lost"}, {"name": "disk", "ok": True, "detail": "fine"}]}},
    }  # fmt: skip
    found = made(
        story, way_back_open=True, guard_runs=True, reported=reported, keep_seconds=14 * 86400.0, rpo_seconds=0.0,
        fallback_bytes=1024, free_bytes=5 * 1024**4, baseline={"p95_seconds": 0.12, "requests": 1234},
    )  # fmt: skip
    assert found.go is None and found.verdict.endswith("the way back is open")
    way = part(found, "The way back")
    assert (
        way["open until"].startswith("2026-12-06 09:00 UTC")
        and "not ready: slot" in way
        and "not ready: disk" not in way
    )
    assert way["a loss of PostgreSQL now would cost"] == "0.00 s"
    costs = part(found, "What it costs")
    assert costs["application away at the last cutover"] == "1.50 s"
    assert costs["WAL that PostgreSQL keeps for it"] == "3.0 MiB" and costs["disk free there"] == "5.0 TiB"
    where = part(found, "Where it stands")
    assert (
        where["guard"] == "runs, mode enforce" and where["baseline on SQLite"] == "p95 0.12 s, 1,234 requests"
    )
    late = made(
        story,
        now=BEGIN + timedelta(days=30),
        keep_seconds=86400.0,
        way_back_open=False,
        reasons=["no guard is running"],
    )
    assert "which is over" in part(late, "The way back")["open until"]
    assert "NOT open" in late.verdict and late.why == ("no guard is running",)
    assert "nothing rolls back by itself" in part(late, "Where it stands")["guard"]


def test_rollbacks_are_counted_and_the_last_is_measured() -> None:
    story = Story.on_postgres().decided("recommend", "latency").decided("resolved", "latency", after=1.0)
    story.decided("rollback", id="decision-2").rolls_back(
        decision="decision-2", automatic=True, reason="5 checks", after=2.0
    )
    found = made(story)
    assert found.go is False and found.why[0] == "it was rolled back: 5 checks"
    past = part(found, "Incidents so far")
    assert past["rollbacks"] == "1 (1 by the guard itself, 0 undone or open)"
    assert past["decisions without a rollback"] == "1"
    assert past["RTO measured"] == "3.70 s (objective 5 min 00 s: met)" and past["RPO measured"].startswith(
        "0.00 s"
    )
    assert "turnback report rollback-1" in past["the last one"]
    assert part(found, "What it costs")["application away at the last rollback"] == "1.30 s"


def test_another_attempt_names_why_the_last_one_ended() -> None:
    story = Story.on_postgres().rolls_back(reason="too slow")
    story.add("assessed", plan="p", schema="s")
    found = made(story)
    assert found.go is True and found.why[1] == "it was rolled back before, on 2026-11-23 05:00 UTC: too slow"


@pytest.mark.parametrize("failed", [True, False])
def test_an_interrupted_run_comes_first(failed: bool) -> None:
    story = Story.on_postgres().rolls_back(until="gate", end=False)
    if failed:
        story.add("step_failed", "rollback-1", step="gate", error="not equal", hint="")
    found = made(story, next_command="turnback resume")
    assert found.go is False and "interrupted" in found.verdict
    assert found.why == (("gate: not equal",) if failed else ())


def test_markdown_escapes_what_a_person_wrote() -> None:
    story = Story.on_postgres().rolls_back(reason="<b>slow</b> *very* [x](javascript:y)\n# head")
    text = markdown(made(story))
    assert text.split("Next: ")[1].startswith("turnback migrate") and "\n\n\n" not in text
    assert "\\<b\\>slow" in text and "\\*very\\*" in text and "\\[x\\](javascript:y) \\# head" in text
    assert "\n# head" not in text
