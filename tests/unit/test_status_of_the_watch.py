"""`turnback status` says what the guard sees that is not ok, what the way back lacks, and what was decided last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from turnback.app.status import Status, assemble
from turnback.core.phases import Phase
from turnback.core.state import State
from turnback.core.watch.verdict import Outcome, Readiness, ReadinessPart, Verdict
from turnback.entrypoints.output import print_status

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
