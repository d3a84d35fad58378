"""A journal as a test tells it: records at made-up moments, in the shapes that the guard and the runner write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from turnback.core.phases import Intent
from turnback.core.plan_steps import STEPS
from turnback.core.watch.verdict import Action, Decision, Outcome, Readiness, ReadinessPart, Verdict

BEGIN = datetime(2026, 11, 23, 5, 0, 0, tzinfo=UTC)
READY = Readiness(True, (ReadinessPart("fallback", True, "streaming, 0 bytes behind", 0.4),))
NOT_READY = Readiness(False, (ReadinessPart("slot", False, "the slot is lost"),))


@dataclass(frozen=True)
class Line:
    at: datetime
    kind: str
    run: str | None
    body: Mapping[str, Any]


@dataclass
class Story:
    """On PostgreSQL at BEGIN, after a migrate of 52 rows and a cutover of 1.5 s, 20 hours ago."""

    at: datetime = BEGIN - timedelta(hours=20)
    lines: list[Line] = field(default_factory=list)

    @staticmethod
    def on_postgres() -> Story:
        story = Story()
        story.add("assessed", plan="p", schema="s")
        story.add("run_started", run="migrate-1", intent="migrate", options={"plan": "p"})
        story.step("migrate-1", "copy_rows", {"rows": 52})
        story.step("migrate-1", "prove_copy", {"proof": {"equal": True, "certificate": "/c.json"}})
        story.add("run_ended", run="migrate-1", outcome="done")
        story.add("run_started", run="cutover-1", intent="cutover", options={})
        story.step("cutover-1", "stop_application", {}, 0.5)
        story.step("cutover-1", "await_healthy", {}, 1.0)
        story.add("run_ended", run="cutover-1", outcome="done")
        story.at = BEGIN
        return story

    def add(self, kind: str, run: str | None = None, after: float = 0.0, **body: Any) -> Story:
        self.at += timedelta(seconds=after)
        self.lines.append(Line(self.at, kind, run, body))
        return self

    def step(self, run: str, name: str, result: Mapping[str, Any], seconds: float = 0.1) -> Story:
        self.add("step_started", run, step=name)
        return self.add("step_done", run, seconds, step=name, result=dict(result))

    def decided(
        self,
        action: str,
        trigger: str = "application-health",
        *,
        id: str = "decision-1",
        run: str | None = None,
        severity: str = "critical",
        objective: float | None = 300.0,
        automatic: bool = True,
        after: float = 0.0,
        **more: Any,
    ) -> Story:
        """A decision as the guard writes it: the breach began 21 s before."""
        self.at += timedelta(seconds=after)
        at = 1000.0 + (self.at - BEGIN).total_seconds()
        sentence = "5 failed checks of the application in a row (limit 5)"
        verdict = Verdict(trigger, Outcome.BREACH, 5.0, 5.0, True, at - 21.0, sentence)
        decision = Decision(
            at, self.at.isoformat(), Action(action), trigger, severity, True, objective, sentence,
            verdicts=(verdict,), automatic=automatic,
            readiness=NOT_READY if action == "hold" else READY,
            held_back="the slot is lost" if action == "hold" else None,
            samples={"title": "Failed checks", "unit": "checks", "points": [[at - 20, 1], [at, 5]], "limit": 5, "baseline": None, "since": at - 21, "at": at, "utc": self.at.isoformat()},
        )  # fmt: skip
        self.lines.append(Line(self.at, "decision", run, decision.to_json() | {"id": id} | more))
        return self

    def rolls_back(
        self,
        run: str = "rollback-1",
        *,
        until: str = "watch_after",
        end: bool = True,
        lossy: bool = False,
        after: float = 0.0,
        **options: Any,
    ) -> Story:
        """A rollback of 0.2 s a step, up to and with `until`; healthy on SQLite 0.1 s before `validate` ends."""
        self.at += timedelta(seconds=after)
        begun = self.at
        self.add("run_started", run, intent="rollback", options=options)
        names = STEPS[Intent.ROLLBACK]
        for name in names[: names.index(until) + 1]:
            results: dict[str, Mapping[str, Any]] = {
                "fence_postgres": {"fenced": not lossy},
                "drain_to_fence": {"drained": False}
                if lossy
                else {"drained": True, "fence_lsn": "0/1A2B3C4"},
                "validate": {
                    "health": "GET /api/health: 200",
                    "healthy_at": (self.at + timedelta(seconds=0.1)).isoformat(),
                    "rto_measured_seconds": (self.at - begun).total_seconds() + 0.1,
                    "rpo_measured_seconds": 12.5 if lossy else 0.0,
                },
            }
            self.step(run, name, results.get(name, {}), 0.2)
            if lossy and name == "fence_postgres":
                self.add("note", run, key="loss_manifest", value={
                    "why": "connection refused", "last_applied_lsn": "0/1A00000", "last_contact_with_lag_0": None,
                    "rpo_measured_seconds": 12.5, "accepted_by": "--accept-loss",
                })  # fmt: skip
        if end:
            self.add("run_ended", run, outcome="done")
        return self
