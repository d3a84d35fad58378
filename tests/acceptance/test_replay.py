"""`turnback guard --replay FILE`: a recorded trace through the same code as live, for tuning thresholds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from turnback.adapters.trace import FileTrace
from turnback.core.watch.observation import Observation, Situation
from turnback.core.watch.rules import Consecutive, Rules
from turnback.entrypoints.cli import main

BEGUN = datetime(2026, 11, 23, 12, tzinfo=UTC)
CONFIG = """\
[sqlite]
path = "app.db"
[app]
health = "http://127.0.0.1:1/health"
[guard]
mode = "enforce"
warm_up_seconds = 0
[guard.server]
enabled = false
[guard.triggers.application_health]
failures = {failures}
"""
STREAMING = {
    "state": "streaming", "lag_bytes": 0, "lag_seconds": 0.0, "contact_age_seconds": 0.0, "lost": False,
    "warning": None, "error": None,
}
READY = {
    "capture": STREAMING,
    "slot": {"wal_status": "reserved", "safe_wal_size": None, "retained_bytes": 0},
    "disk": {"free_bytes": 1 << 40, "needed_bytes": 1},
    "postgres": {
        "connections": 1, "max_connections": 100, "role_connections": 1, "role_limit": None, "waiting": 0,
        "oldest_transaction_seconds": 0.0, "deadlocks": 0,
    },
}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A minute of health, then six failed checks, one each 10 s. Recorded with a limit of 4 checks."""
    trace = FileTrace(tmp_path / "trace.jsonl", 1 << 20, boot="b")
    rules = Rules(mode="enforce", application_health=Consecutive(4), intervals={"application": 10.0}, warm_up_seconds=0)
    trace.begin("1.0", rules, None)
    situation = Situation("on_postgres", serving_since=0.0).to_json()
    trace.append(Observation(100.0, BEGUN, "situation", situation))
    for n in range(1, 13):
        at, utc = 100.0 + 10 * n, BEGUN + timedelta(seconds=10 * n)
        for probe, value in READY.items():
            trace.append(Observation(at, utc, probe, value))
        trace.append(Observation(at, utc, "application", {"ok": n <= 6, "detail": "x", "seconds": 0.01}))
    trace.close()
    return trace.path


@dataclass
class Said:
    status: int
    stdout: str
    stderr: str


Replay = Callable[..., Said]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Replay:
    """The command in this process."""

    def run(path: Path, *options: str, failures: int = 5) -> Said:
        (path.parent / "turnback.toml").write_text(CONFIG.format(failures=failures))
        monkeypatch.chdir(path.parent)
        monkeypatch.setattr(sys, "argv", ["turnback", "guard", *options])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Said(int(end.value.code or 0), said.out, said.err)

    return run


def as_json(replay: Replay, path: Path, *options: str, failures: int = 5) -> dict[str, Any]:
    done = replay(path, "--replay", str(path), "--json", *options, failures=failures)
    assert done.status == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_it_prints_each_change_each_decision_and_the_detection_time(replay: Replay, recorded: Path) -> None:
    told = as_json(replay, recorded)
    (decision,) = told["decisions"]
    assert decision["action"] == "rollback" and decision["trigger"] == "application-health"
    # The first failed check is at 12:01:10, the fifth 40 s later.
    assert told["first_rollback"].startswith("2026-11-23T12:01:50") and told["detection_seconds"] == 40
    health = [c for c in told["changes"] if c["trigger"] == "application-health"]
    assert [(c["outcome"], c["firing"]) for c in health] == [("ok", False), ("breach", False), ("breach", True)]
    shown = replay(recorded, "--replay", recorded.name)
    assert shown.status == 0
    lines = shown.stdout.splitlines()
    assert any("12:01:50  == rollback: application-health" in line for line in lines), shown.stdout
    assert lines[-1] == "first rollback at 2026-11-23 12:01:50, 40.0 s after the breach began"
    times = [line.split("  ")[0] for line in lines if line.startswith("2026-")]
    assert times == sorted(times)
    assert not (recorded.parent / "app.db.turnback").exists(), "a replay leaves nothing behind"


def test_thresholds_are_tuned_by_the_file_and_the_recorded_ones_can_be_asked_for(replay: Replay, recorded: Path) -> None:
    assert as_json(replay, recorded, failures=7)["first_rollback"] is None
    assert "no rollback" in replay(recorded, "--replay", "trace.jsonl", failures=7).stdout
    assert as_json(replay, recorded, failures=2)["detection_seconds"] == 10
    assert as_json(replay, recorded, "--recorded-rules", failures=7)["detection_seconds"] == 30


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text(path.read_text().replace('"at":140.0', '"at":"x"', 1)), "line 18"),
        (lambda path: path.write_bytes(b"\0" * 100 + b"\n"), "line 1: not an observation"),
    ],
)
def test_what_is_no_trace_is_one_line(replay: Replay, recorded: Path, spoil: Any, says: str) -> None:
    spoil(recorded)
    done = replay(recorded, "--replay", str(recorded))
    assert done.status == 2 and done.stderr.startswith("error: ") and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_its_options_belong_to_it(replay: Replay, recorded: Path) -> None:
    for option in ("--recorded-rules", "--json"):
        done = replay(recorded, option)
        assert done.status == 2 and "--replay" in done.stderr
