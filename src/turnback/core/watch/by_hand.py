"""A person's rollback as a decision: it stands in the record as the guard's own do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action, Decision, Readiness, Verdict

# The runbook's manual triggers, and how severe each is where the person does not say.
SEVERITY: Mapping[str, str] = {
    "user-report": "high",
    "integrity": "critical",
    "performance": "medium",
    "security": "critical",
}
WITHOUT_TRIGGER = "by-hand"  # the trigger's name where none was given


def severity(trigger: str | None, rules: Rules, given: str | None = None) -> str:
    """Of a rollback that a person orders, or that follows a cutover that never became healthy."""
    if given is not None:
        return given
    name = trigger or WITHOUT_TRIGGER
    return SEVERITY.get(name) or rules.trigger_severity.get(name, "medium")


def decision(
    at: float,
    utc: str,
    options: Mapping[str, Any],
    rules: Rules,
    *,
    verdicts: tuple[Verdict, ...],
    readiness: Readiness,
) -> Decision:
    """From the options of the run: trigger, reason, severity, emergency, automatic, by."""
    trigger = options.get("trigger") or WITHOUT_TRIGGER
    grade = severity(options.get("trigger"), rules, options.get("severity"))
    line = rules.severities[grade]
    by = options.get("by") or "a person"
    return Decision(
        at=at,
        utc=utc,
        action=Action.ROLLBACK,
        trigger=trigger,
        severity=grade,
        emergency=bool(options.get("emergency")),
        objective_seconds=line.objective_seconds,
        reason=options.get("reason") or f"{by} gave no reason",
        verdicts=verdicts,
        readiness=readiness,
        automatic=bool(options.get("automatic")),
    )
