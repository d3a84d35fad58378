"""The demo's other way back: PostgreSQL refuses a part of the writes, and the guard rolls back by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, TypeVar

import psycopg

from turnback.adapters.postgres.embedded import APPLICATION
from turnback.app.steps_rollback import summary
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.core.watch.rules import ErrorRate
from turnback.entrypoints.demo_stage import Stage
from turnback.errors import TurnbackError
from turnback.ports import Record

TRIGGER = "error-rate"
BROKEN = ("users", "job_history")  # 31 of 100 writes of the clients create a row there
WINDOW_SECONDS = FOR_SECONDS = 5
NORMAL_SECONDS = 5
DECIDED_SECONDS = ENDED_SECONDS = 120  # then something is wrong
PAGE = "incident.html"

CONFIG = f"""\
[guard]
mode = "enforce"
warm_up_seconds = 0

[guard.database]
url = "{{url}}/api/health/database"

[guard.metrics]
url = "{{url}}/api/metrics"
interval_seconds = 1

[guard.triggers.error_rate]
window_seconds = {WINDOW_SECONDS}
for_seconds = {FOR_SECONDS}

[validate]
page = "/"
marker = "Hyperpage"
watch_seconds = {NORMAL_SECONDS}

[validate.endpoints]
"/api/health" = {{{{}}}}
"/api/health/database" = {{{{}}}}

[validate.state.version]
query = "SELECT value FROM app_state WHERE key = 'version'"
"""

Json = dict[str, Any]
T = TypeVar("T")


def explain(stage: Stage) -> None:
    """That the thresholds are the demo's."""
    real = ErrorRate()
    stage.timeline.say(
        "the guard may roll back by itself (mode enforce), with short thresholds for the demo:"
    )
    stage.timeline.say(
        f"over {real.limit * 100:.0f} % failed requests in {WINDOW_SECONDS} s, for {FOR_SECONDS} s;"
        f" as delivered in {real.window_seconds:.0f} s, for {real.for_seconds:.0f} s"
    )


def roll_back(stage: Stage) -> tuple[Json, Record]:
    """Breaks PostgreSQL and looks on. Returns the rollback's summary and the decision that led to it.

    Raises TurnbackError where the guard decided before, does not decide, or its rollback does not end.
    """
    if (early := _decision(stage)) is not None:
        raise TurnbackError(
            f"the guard rolled back before anything was broken: {early.body['reason']}", hint=""
        )
    statement = f"REVOKE INSERT ON {', '.join(BROKEN)} FROM {APPLICATION}"
    with closing(psycopg.connect(stage.server.admin_dsn(), autocommit=True)) as admin:
        stage.timeline.phase("inserts fail")
        admin.execute(statement.encode())
    stage.timeline.say(f"in PostgreSQL: {statement}; from here on nobody types anything")
    decision = _await(stage, lambda: _decision(stage), DECIDED_SECONDS, "decided to roll back")
    stage.timeline.phase("rollback", decision.at)
    stage.timeline.say("the guard decides:")
    for part in decision.body["reason"].split("; "):
        stage.timeline.say(f"    {part}")
    run = _await(stage, lambda: _ended(stage), ENDED_SECONDS, "rolled back")
    before = (run.started_at - decision.at).total_seconds()  # a guard's objective counts from its decision
    rto = round(run.done["validate"]["rto_measured_seconds"] + before, 3)
    return summary(run) | {"rto_measured_seconds": rto}, decision


def account(stage: Stage, decision: Record, keep: bool) -> Json:
    """What `turnback report` says of it, on the demo's clock; with `keep` its page is written too."""
    page = stage.folder / PAGE
    report = stage.command("report", *(("--html", str(page.resolve())) if keep else ()))
    decided, detection = decision.at, report["detection_seconds"]
    validation = report["validation"] or {}
    return {
        "trigger": report["trigger"],
        "severity": report["severity"],
        "automatic": report["started"]["automatic"],
        "outcome": report["outcome"],
        "reason": report["reason"],
        "breach_began": stage.timeline.seconds(decided - timedelta(seconds=detection)),
        "decided": stage.timeline.seconds(decided),
        "served": round(stage.timeline.seconds(decided) + report["rto"]["measured_seconds"], 2),
        "objective_seconds": report["rto"]["objective_seconds"],
        "validated": validation.get("ok"),
        "checks": sum(c["ok"] is not None for c in validation.get("checks", ())),
        "normal_again": report["normal_again"] is not None,
        "page": str(page) if keep else None,
    }


def passed(told: Mapping[str, Any]) -> bool:
    """Whether it was the guard, for the reason that was made, and SQLite was found in order."""
    expected = (TRIGGER, True, "rolled back", True)
    return (told["trigger"], told["automatic"], told["outcome"], told["validated"]) == expected


def rows(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) for the summary."""
    page = told["page"] or "with --keep DIR in DIR; of your own: turnback report --html FILE"
    validated = "passed" if told["validated"] else "FAILED"
    after = told["decided"] - told["breach_began"]
    return [
        ("decided because of", f"{told['trigger']}, severity {told['severity']}"),
        ("", told["reason"]),
        ("breach began", f"{told['breach_began']:.2f} s"),
        ("decided", f"{told['decided']:.2f} s, {after:.2f} s later"),
        (
            "SQLite served",
            f"{told['served']:.2f} s, {told['served'] - told['decided']:.2f} s later"
            f" (objective {told['objective_seconds']:.0f} s)",
        ),
        ("validation", f"{validated}, {told['checks']} checks"),
        ("normal again", f"for {NORMAL_SECONDS} s" if told["normal_again"] else "not seen before the end"),
        ("incident page", page),
    ]


def _decision(stage: Stage) -> Record | None:
    """The guard's first to roll back."""
    return next((r for r in stage.records("decision") if r.body["action"] == "rollback"), None)


def _ended(stage: Stage) -> Run | None:
    for run in stage.state().runs:
        if run.intent is Intent.ROLLBACK and (run.outcome or run.failure):
            if run.outcome == "done":
                return run
            why = run.undoing or (run.failure or {}).get("error")
            raise TurnbackError(f"the guard's rollback was not carried out: {why}", hint="")
    return None


def _await(stage: Stage, found: Callable[[], T | None], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (value := found()) is not None:
            return value
        time.sleep(0.05)
    told = "; ".join(f"{r.body['action']}: {r.body['reason']}" for r in stage.records("decision"))
    raise TurnbackError(
        f"the guard has not {what} within {seconds} s ({told or 'it decided nothing'}): {stage.guard_log()}",
        hint="",
    )
