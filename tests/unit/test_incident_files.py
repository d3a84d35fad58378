"""What lies beside the journal: the application's log, the guard's trace, certificates. Moved away or damaged too."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from story import BEGIN, Story
from turnback.core.certificate import seal
from turnback.core.incident import Episode, episodes
from turnback.core.watch.observation import Observation
from turnback.entrypoints import incidents


def setup_in(folder: Path, log: str | None = None) -> Any:
    guard = SimpleNamespace(log=SimpleNamespace(path=log))
    return SimpleNamespace(
        config=SimpleNamespace(guard=guard, folder=folder), state_folder=folder, trace_file=folder / "trace.jsonl",
        certificates_folder=folder / "certificates",
    )  # fmt: skip


def rolled_back(**watch_after: Any) -> Episode:
    story = Story.on_postgres().rolls_back(until="validate", end=False)
    story.step("rollback-1", "watch_after", watch_after)
    return episodes(story.lines)[-1]


def test_the_files_lines_of_that_time(tmp_path: Path) -> None:
    lines = [f"{BEGIN - timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ} ERROR password=s3cret", "  traceback \udcff"]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    found = incidents.log_excerpt(setup_in(tmp_path, "logs/app.log"), rolled_back())
    assert found.path.endswith("logs/app.log") and len(found.lines) == 2
    assert "password=***" in found.lines[0] and "s3cret" not in "".join(found.lines)
    assert found.how.startswith("the file's lines from 2026-11-23 04:59:55")


@pytest.mark.parametrize("log", ["started\nserving\n", "2020-01-01T00:00:00Z of another year\n", "", None])
def test_else_what_the_guard_read_by_then(tmp_path: Path, log: str | None) -> None:
    if log is not None:
        (tmp_path / "application.log").write_text(log)
    setup = setup_in(tmp_path)
    episode = rolled_back()
    without = incidents.log_excerpt(setup, episode)
    if log and log.startswith("started"):
        assert without.lines == ("started", "serving") and "carry no time" in without.how
    else:
        assert without.lines == ()
        assert without.how[:9] in ("the log's", "the log i", "not avail")

    def reading(seconds: float, line: str) -> bytes:
        o = Observation(1.0, BEGIN + timedelta(seconds=seconds), "log", {"errors": 1, "lines": [line]})
        return json.dumps(o.to_json(), separators=(",", ":")).encode() + b"\n"

    (tmp_path / "trace.1.jsonl").write_bytes(reading(-3600, "an hour ago") + reading(-20, "older segment"))
    assert incidents.log_excerpt(setup, episode).lines == ("older segment",)
    (tmp_path / "trace.jsonl").write_bytes(
        b'{"turnback_trace":1}\n'
        + reading(-10, "just before")
        + reading(5, "after")
        + b'{"at":1,"probe":"log","va'
    )
    found = incidents.log_excerpt(setup, episode)
    assert found.lines == ("just before",) and "as the guard read them" in found.how


def document(begun_at: str, verdict: str = "equal") -> dict[str, Any]:
    tables = [{"rows_sqlite": 52}]
    return seal(
        {
            "format": "turnback certificate 1", "what": "rollback", "verdict": verdict, "reason": "2 rows differ", "tables": tables,
            "begun_at": begun_at, "ended_at": begun_at, "difference_count": 0, "original": None,
        }
    )  # fmt: skip


def test_the_certificate_of_this_rollback(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    folder = tmp_path / "certificates"
    folder.mkdir()
    path = folder / "20261123T050002Z-rollback.json"
    path.write_text(json.dumps(document("2026-11-23T05:00:02Z")))
    found = incidents.certificate(setup, rolled_back(certificate=str(path)))
    assert found is not None and (found["verdict"], found["seal_holds"], found["rows"]) == ("equal", True, 52)
    changed = document("2026-11-23T05:00:02Z") | {"difference_count": 7}
    path.write_text(json.dumps(changed))
    again = incidents.certificate(setup, rolled_back(certificate=str(path)))
    assert again is not None and again["seal_holds"] is False
    for damaged in ("{torn", "[]", '{"format": "another"}'):
        path.write_text(damaged)
        assert incidents.certificate(setup, rolled_back(certificate=str(path))) is None
    assert incidents.certificate(setup, rolled_back(certificate=str(tmp_path / "moved.json"))) is None


def test_a_comparison_that_failed_has_left_one_that_no_step_names(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    assert incidents.certificate(setup, rolled_back()) is None
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "20261122T050000Z-rollback.json").write_text(json.dumps(document("2026-11-22T05:00:00Z")))
    assert incidents.certificate(setup, rolled_back()) is None, "of the rollback before"
    (folder / "20261123T050002Z-rollback.json").write_text(
        json.dumps(document("2026-11-23T05:00:02Z", "different"))
    )
    found = incidents.certificate(setup, rolled_back())
    assert found is not None and found["verdict"] == "different" and "2 rows differ" in found["says"]
