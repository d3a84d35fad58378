"""The status that a guard's own parts make gives every metric: the two cannot drift apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from status_example import full
from turnback.adapters.clock import SystemClock
from turnback.adapters.journal import SqliteJournal
from turnback.adapters.telemetry import METRICS, render
from turnback.adapters.trace import FileTrace, boot_id
from turnback.app.capture import CaptureStatus
from turnback.app.deciding import Deciding
from turnback.app.notices import Notices
from turnback.app.recording import Recorder
from turnback.app.reporting import Reporting
from turnback.app.wal_fuse import WalFuse
from turnback.app.watching import Watching
from turnback.core.lsn import Lsn
from turnback.core.phases import Phase
from turnback.core.state import State
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Rules

# The baseline is cutover's, and nothing rehearses so far: their metrics have nobody to make them here.
NOT_HERE = {"turnback_last_drill_timestamp_seconds"}



def growing(journal: SqliteJournal, clock: SystemClock) -> Mapping[str, Any]:
    """The WAL fuse, after two readings of a slot that holds back more each time."""

    def unasked() -> Any:
        raise AssertionError("far from its limit nothing is looked up")

    fuse = WalFuse(
        journal=journal,
        clock=clock,
        limit_bytes=10**10,
        drops=True,
        facts=unasked,
        system=unasked,
        drop_slot=unasked,
        followed=unasked,
        tell=lambda _: None,
        say=lambda _: None,
        failpoint=lambda _: None,
        about={},
    )
    for i in range(2):
        value = {**READINGS["slot"], "retained_bytes": 10**6 * (i + 1)}
        reading = Observation(clock.monotonic() + 60 * i, clock.now(), "slot", value)
        fuse.turn(State(phase=Phase.ON_POSTGRES), reading, needed=False)
    return fuse.to_json()


READINGS: Mapping[str, Mapping[str, Any]] = {
    "slot": {"wal_status": "reserved", "safe_wal_size": 5_000_000, "retained_bytes": 1_000},
    "postgres": {
        "connections": 3,
        "max_connections": 100,
        "role_connections": 1,
        "role_limit": None,
        "waiting": 0,
        "oldest_transaction_seconds": 0.1,
        "deadlocks": 0,
    },
    "disk": {"free_bytes": 10**9, "needed_bytes": 10**6},
    "server": {"ok": True, "detail": "answered", "seconds": 0.01, "step": "write"},
    "verification": {"equal": True, "age_seconds": 60.0, "what": "migrate"},
}


@dataclass
class Scripted:
    """Observers that have seen what they are given."""

    seen: list[Observation] = field(default_factory=list)

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def select(self, names: Iterable[str]) -> None: ...

    def drain(self) -> list[Observation]:
        seen, self.seen = self.seen, []
        return seen


def test_every_metric_comes_of_what_the_guard_reports(tmp_path: Path) -> None:
    clock, boot = SystemClock(), boot_id()
    journal = SqliteJournal(tmp_path / "journal.db")
    notices = Notices([], clock, 300, lambda notice, sent: None)
    observers = Scripted()
    deciding = Deciding(
        journal=journal,
        clock=clock,
        tell=notices.tell,
        say=lambda _: None,
        failpoint=lambda _: None,
        boot=boot,
        host="here",
        application="app",
    )
    watching = Watching(
        journal=journal,
        clock=clock,
        prober=observers,
        recorder=Recorder(FileTrace(tmp_path / "trace.jsonl", 10**6, boot=boot), clock, lambda _: None),
        deciding=deciding,
        current=Rules(intervals=dict.fromkeys(READINGS, 1.0) | {"application": 1.0}),
        say=lambda _: None,
        version="0.1.0",
        profile="runbook",
        normal_seconds=300,
    )
    try:
        state = State(phase=Phase.ON_POSTGRES)
        watching.begin(state)
        at = clock.monotonic()
        for i, (name, value) in enumerate(READINGS.items()):
            observers.seen.append(Observation(at + i / 100, clock.now(), name, value))
        for i in range(12):  # what is held back is a decision too
            sick = {"ok": False, "detail": "refused", "seconds": 0.0}
            observers.seen.append(Observation(at + 1 + i, clock.now(), "application", sick))
        watching.turn(state)
        reporting = Reporting(tmp_path / "status.json", clock, boot, "0.1.0", notices.state)
        capture = CaptureStatus(
            state="streaming",
            applied_lsn=Lsn(1),
            server_wal_end=Lsn(1),
            lag_bytes=0,
            lag_seconds=0.0,
            last_contact_at=datetime.now(UTC),
            error=None,
            hint="",
            transactions=0,
        )
        reporting.write(state, capture, {**watching.to_json(), "fuse": growing(journal, clock)})
    finally:
        watching.end()
        notices.stop()
        journal.close()

    text = render(reporting.last).decode()
    found = {s.name: s for f in text_string_to_metric_families(text) for s in f.samples}
    assert {m.name for m in METRICS} - set(found) == NOT_HERE
    assert found["turnback_slot_safe_wal_bytes"].value == 5_000_000
    assert 'turnback_trigger_firing{trigger="application-health"} 1.0' in text
    # And the example that other tests use has the guard's own keys.
    example = full()
    assert set(example) == set(reporting.last)
    for part in ("capture", "watch", "trace", "slot", "postgres", "disk", "last_verification", "notices"):
        assert set(example[part]) == set(reporting.last[part]), part


@pytest.mark.parametrize("status", [{}, {"phase": "on_sqlite", "capture": None, "watch": None}])
def test_a_guard_that_has_not_looked_yet_is_up(status: Mapping[str, Any]) -> None:
    assert b"turnback_up 1.0" in render(status)
