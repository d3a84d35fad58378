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


def status(*, at: datetime = NOW, holder: Any = GUARD, **over: Any) -> Status:
    watch = {
        "verdicts": [v.to_json() for v in VERDICTS], "readiness": Readiness(False, PARTS).to_json(), "latched": True,
    }
    live: dict[str, Any] = {
        "at": at.isoformat(), "phase": "on_postgres", "capture": {"state": "streaming", "lag_bytes": 7},
        "watch": watch, "mode": "enforce", "decision": DECISION, "rpo_seconds": 3.5, **over,
    }
    return assemble(State(phase=Phase.ON_POSTGRES), holder, live, NOW)


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
    assert "mode enforce (latched)" in said and "fires  error-rate: 20 % of 100 requests failed" in said
    assert "error  pool: the metrics are no metrics" in said and "application-health" not in said
    assert "not ready  slot: wal_status is lost" in said
    assert "decided     hold at 2026-11-23T12:00:00: 20 % failed [slot lost]" in said
