"""`turnback validate` and `turnback baseline` as a user types them, and validation as a step of a rollback."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journey import Journey

VALIDATE = """
[validate]
page = "/"
marker = "Hyperpage"
orphans = ["jobs.user_id -> users.id"]
max_memory_bytes = 2_000_000_000
max_cpu_percent = 400.0
watch_seconds = 1

[validate.endpoints]
"/api/health" = {}
"/api/health/database" = { status = 200, contains = "ok" }
"/api/nothing" = { status = 404 }

[validate.state.version]
query = "SELECT value FROM app_state WHERE key = 'version'"
"""


def checks(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{c['group']}: {c['name']}": c for c in report["checks"]}


def stop_guard(journey: Journey) -> None:
    """The application runs on; commands act themselves."""
    pid = journey.guard_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    journey.wait_until(lambda: journey.guard_pid() is None, "the guard has stopped")


def scrapes(journey: Journey) -> int:
    """How often the application's metrics were asked for, this time included."""
    with urllib.request.urlopen(f"http://127.0.0.1:{journey.port}/api/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(r'http_requests_total{endpoint="/api/metrics",status="200"} (\d+)', text)
    return int(found[1]) if found else 0


@pytest.fixture
def journey(tmp_path: Path, database) -> Iterator[Journey]:
    made = Journey(
        tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}", extra=VALIDATE
    )
    try:
        yield made
    finally:
        made.close()


def test_each_side_is_validated_and_the_rollback_holds_its_report(journey: Journey) -> None:
    journey.start_guard()
    journey.wait_until(journey.serving, "the application serves")
    before = journey.ok("validate")
    assert before["side"] == "sqlite" and before["ok"] is True
    journey.ok("assess")
    journey.ok("migrate")
    journey.ok("cutover")
    there = journey.ok("validate")
    assert there["side"] == "postgres" and there["ok"] is True
    seen = checks(there)
    assert seen["rows: users"]["seen"] != "0 rows" and seen["state: application state"]["ok"] is None
    assert "database: integrity_check" not in seen
    journey.ok("rollback", "--reason", "test")
    [rollback] = [r for r in journey.records("run_started") if r.body["intent"] == "rollback"]
    done = {r.body["step"]: r.body["result"] for r in journey.records("step_done") if r.run == rollback.run}
    whole = done["watch_after"]["validation"]
    assert whole["ok"] is True and whole == {
        k: v for k, v in journey.records("validated")[-1].body.items() if k != "when"
    }
    seen = checks(whole)
    for name in (
        "endpoints: /api/health",
        "endpoints: /api/nothing",
        "page: /",
        "state: version",
        "resources: processes",
        "resources: memory",
        "log: lines with errors",
        "database: tables",
        "database: jobs.user_id -> users.id",
        "rows: app_state",
        "rows: all tables",
    ):
        assert seen[name]["ok"] is True, name
    assert any("integrity_check" in name for name in seen)
    back = journey.ok("validate", "--watch")
    normal = back.pop("normal")
    assert normal["seconds"] >= 1 and "application-health" in {v["trigger"] for v in normal["judged"]}
    assert any(r.run == rollback.run for r in journey.records("normal_again"))
    assert back["side"] == "sqlite" and back["ok"] is True
    for report in (there, back):
        assert "at the switch" in checks(report)["rows: users"]["expected"]
    assert "since the start" in checks(back)["log: lines with errors"]["seen"]


def test_a_rollback_whose_validation_fails_stays_open_and_is_validated_again(journey: Journey) -> None:
    """There is only forward: SQLite serves, the command fails with what was seen, resume looks again."""
    journey.start_guard()
    journey.wait_until(journey.serving, "the application serves")
    journey.ok("assess")
    journey.ok("migrate")
    journey.ok("cutover")
    config = journey.folder / "turnback.toml"
    right = config.read_text()
    config.write_text(right.replace('marker = "Hyperpage"', 'marker = "Another page"'))
    stop_guard(journey)
    done = journey.turnback("rollback", "--reason", "test", "--json")
    failed = json.loads(done.stdout)
    assert done.returncode == 1 and "Another page" in failed["error"] and "turnback resume" in failed["hint"]
    assert journey.serving() and json.loads(journey.turnback("status", "--json").stdout)["phase"] == "rolling_back"
    report = journey.records("validated")[-1].body
    assert (report["when"], report["ok"]) == ("validate", False)
    # What is looked at is the file that serves, so the same check fails for the command too.
    assert journey.turnback("validate", "--json").returncode == 1
    # app_state's keys are no ids of users. That is found behind the certificate, which is not made again.
    config.write_text(right.replace('orphans = ["jobs', 'orphans = ["app_state.key -> users.id", "jobs'))
    done = journey.turnback("resume", "--json")
    assert done.returncode == 1 and "orphans" in json.loads(done.stdout)["error"]
    [proven] = [r.body["value"] for r in journey.records("note") if r.body["key"] == "watched"]
    config.write_text(right)
    journey.ok("resume")
    assert journey.ok("status")["phase"] == "on_sqlite"
    results = {r.body["step"]: r.body["result"] for r in journey.records("step_done")}
    first = next(r.body["value"] for r in journey.records("note") if r.body["key"] == "served")
    assert results["validate"]["rto_measured_seconds"] == first["rto_measured_seconds"], "when it served first"
    assert results["watch_after"]["validation"]["ok"] is True
    assert results["watch_after"]["certificate"] == proven["certificate"]
    assert len(list((journey.state / "certificates").glob("*rollback*.json"))) == 1
    told = [(r.body["when"], r.body["ok"]) for r in journey.records("validated") if r.run]
    assert told == [("validate", False), ("watch_after", False), ("watch_after", True)]


def test_a_failed_check_fails_the_command(journey: Journey) -> None:
    journey.start_guard()
    journey.wait_until(journey.serving, "the application serves")
    urllib.request.urlopen(
        urllib.request.Request(
            f"http://127.0.0.1:{journey.port}/api/faults", data=b'{"unhealthy": true}', method="POST"
        ),
        timeout=30,
    ).close()
    done = journey.turnback("validate", "--watch")
    assert done.returncode == 1 and "failed" in done.stdout and "503" in done.stdout
    assert "normal" not in done.stdout and journey.records("normal_again") == []


def test_a_baseline_of_the_example_application(journey: Journey) -> None:
    config = journey.folder / "turnback.toml"
    config.write_text(
        config.read_text() + f'\n[guard.metrics]\nurl = "http://127.0.0.1:{journey.port}/api/metrics"\n'
    )
    journey.start_guard()
    journey.wait_until(journey.serving, "the application serves")
    few = journey.turnback("baseline", "--seconds", "1", "--json")
    assert few.returncode == 1 and "at least 100" in json.loads(few.stdout)["error"]
    assert journey.records("baseline") == []
    journey.start_clients()
    journey.kill_guard()  # it reads the metrics too; the application goes on
    interrupted = journey.begin("baseline", "--seconds", "60")
    before = scrapes(journey)

    def another_scraped() -> bool:
        nonlocal before
        former, before = before, scrapes(journey)
        return before - former > 1

    journey.wait_until(another_scraped, "the recording has begun")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(60) == 130 and journey.records("baseline") == []
    made = journey.ok("baseline", "--seconds", "3")
    journey.stop_clients()
    assert made["requests"] >= 100 and made["p95_seconds"] > 0 and made["spread_seconds"] is not None
    assert all(not name.startswith("/api/health") for name in made["routes"])
    [kept] = journey.records("baseline")
    assert kept.body == made
