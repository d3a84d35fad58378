"""`turnback validate` and `turnback baseline` as a user types them, and validation as a step of a rollback."""

from __future__ import annotations

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
    back = journey.ok("validate")
    assert back["side"] == "sqlite" and back["ok"] is True
    assert "since the start" in checks(back)["log: lines with errors"]["seen"]
