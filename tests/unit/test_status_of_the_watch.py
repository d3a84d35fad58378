"""`turnback status` says what the guard sees that is not ok, what the way back lacks, and what was decided last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from turnback.app.status import Status, assemble
from turnback.core.phases import Intent, Phase
from turnback.core.state import Run, State
from turnback.core.watch.rates import NO_BASELINE
from turnback.core.watch.verdict import Outcome, Readiness, ReadinessPart, Verdict
from turnback.entrypoints.picture import Changes, drawn, print_status

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GUARD = {"pid": 1, "command": "guard", "host": "h", "since": "s"}
VERDICTS = (
    Verdict("application-health", Outcome.OK, 0, 5, False, None, "the last check was ok"),
    Verdict("error-rate", Outcome.BREACH, 0.2, 0.05, True, 1.0, "20 % of 100 requests failed"),
    Verdict("pool", Outcome.ERROR, None, None, False, None, "the metrics are no metrics"),
    Verdict("latency", Outcome.NO_DATA, None, None, False, None, "", "no baseline"),
)
PARTS = (ReadinessPart("slot", False, "wal_status is lost"), ReadinessPart("disk", None, "not known"))
DECISION = {"action": "hold", "trigger": "error-rate", "reason": "20 % failed [slot lost]", "utc": NOW.isoformat()}


def status(
    *, at: datetime = NOW, holder: Any = GUARD, phase: Phase = Phase.ON_POSTGRES, latched: bool = True,
    verdicts: Any = VERDICTS, parts: Any = PARTS, **over: Any,
) -> Status:
    watch = {
        "verdicts": [v.to_json() for v in verdicts], "readiness": Readiness(False, parts).to_json(), "latched": latched,
    }
    live: dict[str, Any] = {
        "at": at.isoformat(), "phase": "on_postgres", "capture": {"state": "streaming", "lag_bytes": 7},
        "watch": watch, "mode": "enforce", "decision": DECISION, "rpo_seconds": 3.5, **over,
    }
    return assemble(State(phase=phase), holder, live, NOW)


def test_only_what_a_person_has_to_know_is_told() -> None:
    told = status()
    assert [v["trigger"] for v in told.verdicts] == ["error-rate", "pool"]
    assert [p["name"] for p in told.missing] == ["slot"]
    assert (told.mode, told.latched, told.decision) == ("enforce", True, DECISION)


@pytest.mark.parametrize(
    "gone", [{"at": NOW - timedelta(minutes=1)}, {"holder": None}, {"watch": None}], ids=["old", "no guard", "older guard"]
)
def test_what_is_not_fresh_is_not_told(gone: dict[str, Any]) -> None:
    told = status(**gone)
    assert told.mode is None and told.verdicts == () and told.decision is None


def test_the_rpo_is_the_guards_own_measure() -> None:
    contact = {"state": "reconnecting", "lag_bytes": 7, "last_contact_at": (NOW - timedelta(days=300)).isoformat()}
    assert status(capture=contact).rpo_seconds == 3.5


def test_it_is_printed_with_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status())
    said = capsys.readouterr().out
    assert "mode enforce (latched: no second rollback by itself)" in said and "fires  error-rate: 20 % of 100 requests failed" in said
    assert "error  pool: the metrics are no metrics" in said and "application-health" not in said
    assert "not ready  slot: wal_status is lost" in said
    assert "decided     hold at 2026-11-23 12:00:00 UTC: 20 % failed [slot lost]" in said


OK = tuple(v for v in VERDICTS if not v.firing)


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"verdicts": OK, "latched": False, "parts": ()}, "turnback rollback, should you need the way back"),
        ({"holder": None}, "turnback guard: nobody keeps"),
        ({}, "the next is yours"),
        ({"latched": False}, "mend what is not ready, or decide yourself: turnback rollback"),
        ({"latched": False, "parts": (), "decision": {**DECISION, "held_back": "the mail fails"}}, "mend the cause"),
        ({"latched": False, "parts": (), "mode": "recommend"}, "turnback rollback, if you agree"),
        ({"latched": False, "parts": ()}, "the guard decides by itself"),
        ({"latched": False, "parts": (), "decision": None}, "the guard decides by itself"),
    ],
)
def test_what_is_next_is_what_the_guard_would_not_do(over: dict[str, Any], says: str) -> None:
    assert says in status(**over).next_command


def test_on_sqlite_there_is_no_way_back_to_be_ready_and_nothing_to_be_armed() -> None:
    told = status(phase=Phase.ON_SQLITE)
    assert told.missing == () and told.latched is False
    assert [v["trigger"] for v in told.verdicts] == ["error-rate", "pool"]


def test_a_guard_that_does_not_report_is_named_with_what_to_do() -> None:
    (said,) = status(at=NOW - timedelta(seconds=42)).reasons
    assert "has not reported for 42 s" in said and "kill" not in said
    (said,) = status(at=NOW - timedelta(seconds=61)).reasons
    assert "has not reported for 61 s" in said and "kill -9 1" in said


# ---- whose turn it is, while something goes on ----


def under_way(phase: Phase, intent: Intent, **over: Any) -> State:
    run = Run("r", intent, {}, NOW, **over)
    return State(phase=phase, runs=[run])


def test_a_run_that_somebody_carries_out_is_not_resumed_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    going = under_way(Phase.ROLLING_BACK, Intent.ROLLBACK, started=["stop_application", "drain_to_fence"])
    told = assemble(going, GUARD, None, NOW)
    assert (told.open_run, told.step) == ("rollback", "drain_to_fence")
    assert told.next_command.startswith("nothing for you")
    assert assemble(going, None, None, NOW).next_command == "turnback resume"
    failed = under_way(Phase.ROLLING_BACK, Intent.ROLLBACK, failure={"step": "gate", "error": "they differ"})
    told = assemble(failed, GUARD, None, NOW)
    assert told.next_command == "turnback resume"
    print_status(told)
    print_status(assemble(going, None, None, NOW))
    said = capsys.readouterr().out
    assert "(rollback interrupted: drain_to_fence)" in said and "rolling_back (rollback stopped)" in said


def test_a_rollback_that_is_over_says_who_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    done = {"validate": {"rto_measured_seconds": 2.5, "rpo_measured_seconds": 0.0}}
    options = {"automatic": True, "trigger": "pool", "reason": "pool: every connection is taken"}
    run = Run("r", Intent.ROLLBACK, options, NOW, outcome="done", ended_at=NOW, done=done)
    print_status(assemble(State(phase=Phase.ON_SQLITE, runs=[run]), None, None, NOW))
    said = capsys.readouterr().out
    assert "rollback    at 2026-11-23 12:00:00 UTC by the guard: pool: every connection is taken" in said
    assert "RTO 2.5 s, RPO 0.0 s; more: turnback report" in said


@pytest.mark.parametrize(("earlier", "told"), [(60, True), (-60, False)], ids=["since", "before"])
def test_what_was_decided_before_a_rollback_is_answered_by_it(earlier: int, told: bool) -> None:
    began = NOW - timedelta(seconds=earlier)
    run = Run("r", Intent.ROLLBACK, {}, began, outcome="done", ended_at=began)
    live = {
        "at": NOW.isoformat(), "mode": "recommend", "decision": DECISION,
        "watch": {"verdicts": [], "readiness": Readiness(False).to_json(), "latched": False},
    }
    assert (assemble(State(phase=Phase.ON_SQLITE, runs=[run]), GUARD, live, NOW).decision is not None) is told


# ---- whom it reaches ----


@pytest.mark.parametrize(
    ("notices", "mode", "says"),
    [
        ({"to": [], "last_error": None}, "recommend", "nobody is told"),
        ({"to": [], "last_error": None}, "observe", None),
        ({"to": ["webhook"], "last_error": None}, "enforce", None),
        ({"to": ["webhook"], "last_error": "webhook: 404 Not Found"}, "enforce", "do not arrive: webhook: 404"),
        ({"sent": 1, "failed": 0, "waiting": 0, "last_error": None}, "enforce", None),  # of an older guard
    ],
)
def test_notices_that_reach_nobody_are_a_warning(notices: dict[str, Any], mode: str, says: str | None) -> None:
    warned = " ".join(status(notices=notices, mode=mode).warnings)
    assert says in warned if says else warned == ""


@pytest.mark.parametrize(("after", "warned"), [(5, True), (-5, False)])
def test_a_guard_that_acts_by_an_older_file_is_a_warning(after: int, warned: bool) -> None:
    live = {"at": NOW.isoformat(), "started_at": NOW.isoformat(), "mode": "observe"}
    told = assemble(State(), GUARD, live, NOW, NOW + timedelta(seconds=after))
    assert any("changed after the guard started" in w for w in told.warnings) is warned


def test_latency_without_a_baseline_is_told_where_it_counts(capsys: pytest.CaptureFixture[str]) -> None:
    off = Verdict("latency", Outcome.NO_DATA, None, None, False, None, NO_BASELINE, NO_BASELINE)
    print_status(status(verdicts=(off,)))
    assert "off  latency: no baseline" in capsys.readouterr().out
    assert status(verdicts=(off,), phase=Phase.ON_SQLITE).verdicts == ()


# ---- the picture ----

COUNTING = (
    Verdict("error-rate", Outcome.BREACH, 0.073, 0.05, False, 1.0, "7.3 % of 1,240 requests failed " + "and more " * 20),
    Verdict("latency", Outcome.OK, 0.12, 0.4, False, None, "well"),
    Verdict("application-health", Outcome.BREACH, 2, 5, False, 1.0, "2 checks failed"),
)


def lasting(seconds: float) -> dict[str, Any]:
    return {
        "verdicts": [v.to_json() for v in COUNTING], "readiness": Readiness(True).to_json(), "latched": False,
        "lasting": {"error-rate": {"seconds": seconds, "fires_after_seconds": 300.0}},
    }


def test_a_breach_that_counts_says_when_it_would_fire(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status(watch=lasting(40.0)))
    assert "fires in 260 s if it lasts" in capsys.readouterr().out


def test_the_picture_has_each_trigger_and_fits_80_columns(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text('{"what": "compare jobs", "done": 7, "total": 40}')
    console = Console(width=80, record=True, force_terminal=True, file=(tmp_path / "drawn").open("w"))
    console.print(drawn(status(watch=lasting(40.0)), NOW, tmp_path / "progress"))
    console.file.close()
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "error-rate breach 7.3 % 5.0 % in 260 s if it lasts" in text
    assert "latency ok 120 ms 400 ms" in text and "application-health breach 2 5 at 5" in text
    assert "working compare jobs: 7 of 40" in text


def test_of_what_changes_each_thing_is_said_once() -> None:
    changes = Changes()
    first = changes.all(status(watch=lasting(1.0)), 0.0)
    assert first[0] == "phase on_postgres" and any(s.startswith("error-rate: breach: 7.3 %") for s in first)
    assert changes.all(status(watch=lasting(2.0)), 1.0) == []
    ended = lasting(0.0)
    ended["verdicts"] = [{**v, "outcome": "ok"} for v in ended["verdicts"]]
    assert changes.all(status(watch=ended), 2.0) == ["error-rate: ok", "application-health: ok"]
    assert changes.all(status(watch=lasting(0.0)), 3.0) == [], "again within a minute: not a line each"
    fires = lasting(0.0)
    fires["verdicts"] = [{**v, "firing": True} for v in fires["verdicts"][:1]]
    assert [s.split(":")[1] for s in changes.all(status(watch=fires), 4.0)] == [" fires"]
