"""The recorded trace: bounded, private, whole after a crash, of one boot; and read again for a replay."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from turnback.adapters import trace as module
from turnback.adapters.trace import FileTrace, read_trace
from turnback.core.watch.baseline import Baseline, RouteBaseline
from turnback.core.watch.observation import Observation, Situation
from turnback.core.watch.rules import Consecutive, Rules
from turnback.errors import DiskFull, UsageError

BEGUN = datetime(2026, 11, 23, 12, tzinfo=UTC)
BASELINE = Baseline(
    BEGUN.isoformat(), 60.0, {"/": RouteBaseline((0.1, float("inf")), (5.0, 9.0))}, 9, 0.1, None, 0.0, "test"
)


def seen(at: float, probe: str = "application", **value: object) -> Observation:
    return Observation(at, BEGUN + timedelta(seconds=at), probe, value or {"ok": True, "detail": "", "seconds": 0.1})


def situation(at: float, phase: str = "on_postgres", since: float | None = None) -> Observation:
    return seen(at, "situation", **Situation(phase, serving_since=since).to_json())


def opened(path: Path, *, limit: int = 1 << 20, boot: str = "boot-1", now: float = 100.0) -> FileTrace:
    made = FileTrace(path, limit, boot=boot, monotonic=lambda: now)
    made.begin("1.0", Rules(), None)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.jsonl"


def record(path: Path, *observations: Observation, **how: object) -> None:
    trace = opened(path, **how)  # type: ignore[arg-type]
    for o in observations:
        trace.append(o)
    trace.close()


def test_what_was_recorded_is_read_again_with_its_rules(path: Path) -> None:
    rules = Rules(mode="enforce", database_health=Consecutive(7), alerts={"Down": "high"}, critical_endpoints=("/pay",))
    trace = FileTrace(path, 1 << 20, boot="b")
    trace.begin("1.0", rules, BASELINE)
    broken = Observation(2.5, BEGUN, "metrics", None, "no answer")
    for o in (seen(1), broken, situation(3, since=0.5)):
        trace.append(o)
    trace.close()
    assert read_trace(path) == (rules, BASELINE, [seen(1), broken, situation(3, since=0.5)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_newest_head_counts(path: Path) -> None:
    trace = opened(path)
    trace.append(seen(1))
    trace.begin("1.0", Rules(mode="observe"), BASELINE)
    trace.append(seen(2))
    trace.close()
    rules, baseline, observations = read_trace(path)
    assert (rules.mode, baseline, len(observations)) == ("observe", BASELINE, 2)


def test_a_trace_of_another_format_is_refused_and_a_restart_reads_none_of_it(path: Path) -> None:
    record(path, seen(1), seen(2))
    path.write_bytes(path.read_bytes().replace(b'"turnback_trace":1', b'"turnback_trace":2'))
    with pytest.raises(UsageError, match="format 2"):
        read_trace(path)
    assert opened(path, now=3.0).recent(100.0) == []


def test_where_the_move_stands_is_not_lost_with_the_oldest(path: Path) -> None:
    """Nothing is decided on a trace that does not say it: neither by a restart nor by a replay."""
    trace = opened(path, limit=20_000, now=1000.0)
    trace.append(situation(0, since=-1.0))
    for at in range(1, 1000):
        trace.append(seen(at))
    recent = trace.recent(20.0)
    trace.close()
    kept = read_trace(path)[2]
    assert kept[0].probe == "situation" and kept[0].value == situation(0, since=-1.0).value
    assert kept[0].at == kept[1].at > 100 and [o.at for o in kept] == sorted(o.at for o in kept)
    assert recent[0].probe == "situation" and recent[0].value == kept[0].value


def test_the_size_is_bounded_and_the_newest_stay(path: Path) -> None:
    limit = 20_000
    trace = opened(path, limit=limit)
    for at in range(1000):
        trace.append(seen(at))
        assert trace.size <= limit
    trace.close()
    older = path.with_name("trace.1.jsonl")
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
    _, _, observations = read_trace(path)
    assert [o.at for o in observations] == list(range(int(observations[0].at), 1000))
    assert 50 < len(observations) < 1000
    assert "turnback_trace" in json.loads(path.read_text().splitlines()[0])  # each segment can be read alone


def test_a_torn_last_line_is_left_out_and_written_over(path: Path) -> None:
    record(path, seen(1), seen(2))
    path.write_bytes(path.read_bytes()[:-9])
    assert [o.at for o in read_trace(path)[2]] == [1]
    trace = opened(path)
    trace.append(seen(3))
    assert [o.at for o in trace.recent(1000)] == [1, 3]
    trace.close()
    assert [o.at for o in read_trace(path)[2]] == [1, 3]


def test_recent_is_of_this_boot_and_of_the_time_asked_for(path: Path) -> None:
    record(path, situation(1), seen(95), boot="boot-0")
    record(path, situation(5, since=2.0), seen(10), seen(50), seen(90))
    trace = opened(path, now=100)
    assert [(o.probe, o.at) for o in trace.recent(55)] == [("situation", 5), ("application", 50), ("application", 90)]
    assert [o.at for o in trace.recent(1000)] == [5, 10, 50, 90]
    assert opened(path, boot="boot-2").recent(1000) == []


def test_a_replay_goes_on_over_a_restart_of_the_machine(path: Path) -> None:
    """The clock began anew; the wall says that two minutes lay between."""
    record(path, seen(1000), boot="boot-0")
    late = [
        Observation(at, BEGUN + timedelta(seconds=1120 + at - 5), "application", {"ok": True})
        for at in (5.0, 6.0)
    ]
    started = Observation(6.5, late[1].utc, "situation", Situation("on_postgres", serving_since=5.5).to_json())
    record(path, *late, started, boot="boot-1")
    observations = read_trace(path)[2]
    assert [o.at for o in observations] == pytest.approx([1000, 1120, 1121, 1121.5])
    assert observations[-1].value is not None and observations[-1].value["serving_since"] == pytest.approx(1120.5)


@pytest.mark.parametrize("line", ["not json", "[1]", '{"at": 1}', '{"at": "x", "utc": "y", "probe": "z"}'])
def test_a_line_that_is_no_observation_is_named(path: Path, line: str) -> None:
    record(path, seen(1))
    with path.open("a") as file:
        file.write(line + "\n" + json.dumps(seen(2).to_json()) + "\n")
    with pytest.raises(UsageError, match=r"trace\.jsonl, line 3: not an observation"):
        read_trace(path)


def test_no_file_and_no_observation_are_said(path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_trace(path)
    path.write_text("")
    with pytest.raises(UsageError, match="no observation"):
        read_trace(path)


def test_a_full_disk_leaves_whole_lines_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is cut off in the middle, as ENOSPC does it; then there is room again."""
    trace = opened(path)
    trace.append(seen(1))
    proper = os.write

    with monkeypatch.context() as full:
        full.setattr(module.os, "write", lambda fd, data: proper(fd, data[:10]))
        with pytest.raises(DiskFull, match="cannot be written"):
            trace.append(seen(2))
    assert path.read_bytes().endswith(b"}\n")
    trace.append(seen(3))
    trace.close()
    assert [o.at for o in read_trace(path)[2]] == [1, 3]
