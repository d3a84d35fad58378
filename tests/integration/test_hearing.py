"""Alertmanager's alerts around a run and a restart: none is lost, and none of the run's own making rolls back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_listener import TOKEN, Running, webhook
from test_listener import alert as firing
from test_watching import BEHIND, GOOD, RULES, SICK, Bench

from turnback.adapters.trace import FileTrace, read_trace
from turnback.core.phases import Intent
from turnback.core.watch.observation import Observation
from turnback.core.watch.verdict import Outcome, Verdict
from turnback.core.watch.watch import replay
from turnback.entrypoints.web.listener import Listener

ALARMED = replace(RULES, alerts={"ApplicationDown": "critical"})
NAME = "alert:ApplicationDown"


@pytest.fixture
def bench(tmp_path: Path) -> Iterable[Bench]:
    made = Bench(tmp_path)
    yield made
    made.trace.close()
    made.journal.close()


def alert(status: str = "firing", fingerprint: str = "f") -> dict[str, Any]:
    name = "ApplicationDown"
    return {"name": name, "severity": "", "status": status, "fingerprint": fingerprint, "summary": "gone"}


def post(bench: Bench, *alerts: dict[str, Any]) -> str | None:
    return bench.watching.hearing.post(alerts or (alert(),))


def verdict(bench: Bench) -> Verdict:
    return next(v for v in bench.watching.watch.verdicts if v.trigger == NAME)


def rolled_back(bench: Bench) -> list[str]:
    return [d["trigger"] for d in bench.decisions("rollback")]


def in_cutover(bench: Bench, meanwhile: Callable[[], None], *, warm_up: float = 0.0) -> None:
    """On PostgreSQL after a cutover, in which something happens."""
    rules = replace(ALARMED, warm_up_seconds=warm_up)
    bench.journal.append("assessed", {"plan": "p", "schema": "s"})
    bench.run(Intent.MIGRATE)
    bench.start(rules)
    bench.turn(3)
    bench.watching.run_begins(Intent.CUTOVER)
    bench.clock.pass_(2)
    meanwhile()
    bench.clock.pass_(2)
    bench.cut_over(rules)
    bench.watching.run_ended(bench.state())


def rebuilt(bench: Bench) -> None:
    bench.watching.run_begins(Intent.REBUILD)
    bench.clock.pass_(3600)
    bench.run(Intent.REBUILD)
    bench.watching.run_ended(bench.state())


def replayed(bench: Bench) -> list[str]:
    """What the trace of this guard, and of those before, leads to."""
    _, baseline, observations = read_trace(bench.folder / "trace.jsonl")
    return [d.trigger for d in replay(ALARMED, baseline, observations) if d.action.value == "rollback"]


def on_postgres(bench: Bench) -> None:
    bench.on_postgres(ALARMED)
    bench.start(ALARMED)
    bench.turn(3)


def test_what_a_cutover_raises_is_not_taken_and_causes_no_rollback(bench: Bench) -> None:
    said = []
    in_cutover(bench, lambda: said.append(post(bench)))
    assert said == ["a cutover is under way"]
    bench.turn(40)
    assert bench.decisions() == [] and verdict(bench).outcome is Outcome.OK
    assert post(bench) is None, "it still fires: Alertmanager has sent it again"
    bench.turn(1)
    assert rolled_back(bench) == [NAME] == replayed(bench)


def test_in_the_warm_up_none_is_taken(bench: Bench) -> None:
    """Resolved is said a group_interval late, which may be after the warm-up."""
    in_cutover(bench, lambda: None, warm_up=60.0)
    bench.turn(5)
    assert "warm-up" in str(post(bench))
    bench.turn(2)
    assert bench.decisions() == []
    assert post(bench) is None
    bench.turn(1)
    assert rolled_back(bench) == [NAME]


def test_before_the_guard_has_begun_none_is_taken(bench: Bench) -> None:
    bench.on_postgres(ALARMED)
    bench.start(ALARMED)
    fresh = type(bench.watching.hearing)(bench.clock)
    assert "just started" in str(fresh.post([alert()])) and fresh.drain() == []


def test_one_from_before_a_run_waits_to_be_said_again(bench: Bench) -> None:
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench)
    bench.turn(1, BEHIND)  # the way back is not ready: it holds
    assert [d["action"] for d in bench.decisions()] == ["hold"]
    rebuilt(bench)
    assert verdict(bench).outcome is Outcome.NO_DATA and "fired before the rebuild" in verdict(bench).sentence
    assert any("counts when Alertmanager says it again" in line for line in bench.said)
    bench.turn(30)
    assert rolled_back(bench) == [], "resolved may be on its way"
    post(bench)
    bench.turn(1)
    assert rolled_back(bench) == [NAME] == replayed(bench)


def test_one_that_was_resolved_during_the_run_is_over(bench: Bench) -> None:
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench, alert(), alert(fingerprint="g"))
    bench.turn(1, BEHIND)
    rebuilt(bench)
    bench.turn(2)
    post(bench, alert("resolved"))
    bench.turn(1)
    assert verdict(bench).outcome is Outcome.NO_DATA, "the other one is not known to be over"
    post(bench, alert("resolved", "g"))
    bench.turn(1)
    assert verdict(bench).outcome is Outcome.OK
    bench.turn(30)
    assert rolled_back(bench) == [] == replayed(bench)


def test_one_from_before_that_is_not_said_again_is_forgotten(bench: Bench) -> None:
    """It was inhibited when it ended: that it is over is never said."""
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench)
    bench.turn(1, BEHIND)
    rebuilt(bench)
    bench.turn(15)
    assert verdict(bench).outcome is Outcome.NO_DATA
    bench.turn(5)
    assert (
        verdict(bench).outcome is Outcome.OK and "not said ApplicationDown again" in verdict(bench).sentence
    )


def test_what_was_taken_just_before_a_run_is_not_lost(bench: Bench) -> None:
    """Alertmanager was told 200, and would say it again after hours only."""
    on_postgres(bench)
    bench.turn(4, SICK)
    bench.clock.pass_(10)
    sick = Observation(bench.clock.at, bench.clock.wall, "application", SICK["application"])
    bench.prober.see(sick)  # the fifth one
    bench.clock.pass_(1)
    post(bench)
    bench.watching.turn(bench.state())
    assert rolled_back(bench) == ["application-health"]
    assert verdict(bench).outcome is Outcome.NO_DATA and "before the rollback" in verdict(bench).sentence


def test_what_arrives_as_a_person_rolls_back_is_not_lost(bench: Bench) -> None:
    on_postgres(bench)
    post(bench)  # and before the guard's next turn:
    bench.watching.run_begins(Intent.ROLLBACK)
    bench.run(Intent.ROLLBACK)
    bench.watching.run_ended(bench.state())
    assert verdict(bench).outcome is Outcome.NO_DATA and bench.decisions() == []


def test_all_is_not_normal_while_an_alert_from_before_is_open(bench: Bench) -> None:
    bench.on_postgres(ALARMED)
    bench.start(ALARMED, normal_seconds=60.0)
    bench.turn(3)
    post(bench)
    bench.turn(1)
    assert rolled_back(bench) == [NAME]
    bench.turn(20)
    assert "normal" not in bench.events()
    post(bench, alert("resolved"))
    bench.turn(10)
    assert bench.events()[-1] == "normal"


@pytest.mark.parametrize("away", [3600.0, 86400.0])
def test_after_a_long_pause_of_the_guard_an_alert_is_still_known(bench: Bench, away: float) -> None:
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench)
    bench.turn(1, BEHIND)
    bench.kill()
    bench.clock.pass_(away)
    bench.start(ALARMED)
    assert verdict(bench).outcome is Outcome.NO_DATA and "this start of the guard" in verdict(bench).sentence
    bench.turn(20)
    assert rolled_back(bench) == [], "it may have been over for long"
    post(bench)
    bench.turn(1)
    assert rolled_back(bench) == [NAME] == replayed(bench)


def test_after_a_moments_pause_an_alert_fires_as_before(bench: Bench) -> None:
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench)
    bench.turn(1, BEHIND)
    bench.kill()
    bench.clock.pass_(2)
    bench.start(ALARMED)
    bench.turn(1, GOOD)
    assert rolled_back(bench) == [NAME] == replayed(bench)


def test_alerts_are_read_from_both_parts_of_the_trace_and_whatever_else_names_them(tmp_path: Path) -> None:
    path, at = tmp_path / "trace.jsonl", datetime(2026, 11, 23, tzinfo=UTC)
    for number in range(3):
        trace = FileTrace(path, 700, boot=f"boot-{number}")
        trace.append(Observation(1.0, at, "alert", alert(fingerprint=str(number))))
        trace.append(Observation(2.0, at, "application", {"ok": False, "detail": '"probe":"alert"'}))
        trace.close()
    assert (tmp_path / "trace.1.jsonl").exists()
    found = [(o.probe, o.value and o.value["fingerprint"]) for o in trace.alerts()]
    assert found == [("alert", "1"), ("alert", "2")] or found == [("alert", str(n)) for n in range(3)]


def test_another_boots_alert_is_known_too(bench: Bench) -> None:
    on_postgres(bench)
    bench.turn(1, BEHIND)
    post(bench)
    bench.turn(1, BEHIND)
    bench.kill()
    bench.boot, bench.clock.at = "boot-2", 10.0
    bench.clock.wall += timedelta(minutes=5)
    bench.start(ALARMED)
    assert verdict(bench).outcome is Outcome.NO_DATA
    bench.turn(20)
    assert rolled_back(bench) == []


def test_what_is_not_taken_is_to_be_sent_again() -> None:
    """409: Alertmanager gives up on this attempt, and sends at its next group_interval what fires then."""
    running = Running()
    why: list[str | None] = ["a cutover is under way", None]
    listener = Listener("127.0.0.1:0", TOKEN, running.get_status, lambda _: why.pop(0))
    running.port = listener.start()
    try:
        refused = running.post(webhook(firing()))
        assert (refused.status_code, refused.text) == (
            409,
            "not taken, send it again: a cutover is under way\n",
        )
        assert running.post(webhook(firing())).status_code == 200
    finally:
        listener.stop()
