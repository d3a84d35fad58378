"""An incident in numbers: its outcome, each step, times against objectives. Seconds everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnback.core.incident import Around, Episode, stamp
from turnback.core.phases import Intent
from turnback.core.plan_steps import POINT_OF_NO_RETURN, STEPS
from turnback.core.state import Run

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepTime:
    """`end_seconds`: from the decision (without one, the run's start) to the step's end. `away_seconds`: as
    much of it as counts towards the time objective, which ends where the application is healthy on SQLite.
    """

    step: str
    outcome: str  # done | failed | undone | under way | not reached
    started_at: datetime | None
    seconds: float | None
    end_seconds: float | None
    away_seconds: float | None  # None: not ended, or the application served meanwhile
    error: str | None = None

    def to_json(self) -> Json:
        return {
            "step": self.step,
            "outcome": self.outcome,
            "started_at": stamp(self.started_at),
            "seconds": self.seconds,
            "end_seconds": self.end_seconds,
            "away_seconds": self.away_seconds,
            "error": self.error,
        }


def step_times(episode: Episode) -> tuple[StepTime, ...]:
    """Every step of a rollback, in order, those that were not reached too."""
    run = episode.run
    if run is None:
        return ()
    names = STEPS[Intent.ROLLBACK]
    unknown = tuple(s for s in run.started if s not in names)  # of another version's journal
    failed_at = {e.body["step"]: e.at for e in episode.entries if e.kind == "step_failed"}
    served = healthy_at(run)
    found = []
    for name in (*names, *unknown):
        begun, ended = run.step_times.get(name, (None, None))
        ended = ended or failed_at.get(name)
        failure = run.failure if run.failure is not None and run.failure["step"] == name else None
        if begun is None:
            outcome = "not reached"
        elif name in run.undone:
            outcome = "undone"
        elif failure is not None:
            outcome = "failed"
        else:
            outcome = "done" if name in run.done else "under way"
        found.append(
            StepTime(
                name,
                outcome,
                begun,
                _seconds(begun, ended),
                _seconds(episode.zero, ended),
                _seconds(episode.zero, min(ended, served or ended)) if ended and name != names[-1] else None,
                failure["error"] if failure is not None else None,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds against an objective; None: not measured, or none was set."""

    seconds: float | None
    objective_seconds: float | None

    @property
    def met(self) -> bool | None:
        if self.seconds is None or self.objective_seconds is None:
            return None
        return self.seconds <= self.objective_seconds

    def to_json(self) -> Json:
        return {
            "measured_seconds": self.seconds,
            "objective_seconds": self.objective_seconds,
            "met": self.met,
        }


def rto(episode: Episode, around: Around) -> Measured:
    """From the decision (by hand: from the run's start) until the application answered on SQLite."""
    decision = episode.decision
    objective = around.rto_objective_seconds
    if decision is not None and decision.get("automatic") and decision.get("objective_seconds") is not None:
        objective = decision["objective_seconds"]
    run = episode.run
    measured = run.done.get("validate", {}).get("rto_measured_seconds") if run is not None else None
    if run is not None and measured is not None:
        measured = round(measured + (_seconds(episode.zero, run.started_at) or 0.0), 3)
    return Measured(measured, objective)


def rpo(episode: Episode, around: Around) -> Measured:
    """What a loss came to, as time: 0 where everything was drained."""
    run = episode.run
    manifest = run.notes.get("loss_manifest") if run is not None else None
    measured = run.done.get("validate", {}).get("rpo_measured_seconds") if run is not None else None
    if measured is None and manifest:
        measured = manifest["rpo_measured_seconds"]
    return Measured(measured, around.rpo_objective_seconds)


def downtime_seconds(run: Run | None) -> float | None:
    """From the stop of the application until it was healthy on SQLite; undone: until it was started again."""
    begun = run.step_times.get("stop_application", (None, None))[0] if run is not None else None
    if run is None or begun is None:
        return None
    if run.outcome == "undone":
        return _seconds(begun, run.ended_at)
    return _seconds(begun, healthy_at(run) or run.step_times.get("validate", (None, None))[1])


def healthy_at(run: Run) -> datetime | None:
    """When the application first answered on SQLite; None: not yet, or nothing asks for its health."""
    healthy = run.done.get("validate", {}).get("healthy_at")
    return datetime.fromisoformat(healthy) if healthy else None


def detection_seconds(decision: Mapping[str, Any] | None) -> float | None:
    """From the first observation of the breach to the decision, by the clock that never jumps."""
    if decision is None:
        return None
    of = [v for v in decision.get("verdicts", ()) if v["trigger"] == decision["trigger"]]
    since = next((v["since"] for v in of if v["since"] is not None), None)
    return None if since is None else round(decision["at"] - since, 3)


def past_no_return(run: Run) -> bool:
    return POINT_OF_NO_RETURN[Intent.ROLLBACK] in run.started


def outcome(episode: Episode) -> str:
    """rolled back | rolled back with loss | failed | undone | under way | resolved | held | recommended |
    observed | not carried out
    """
    run = episode.run
    if run is None:
        decision = episode.decision
        action = str(decision["action"]) if decision is not None else ""
        if action == "rollback":
            return "not carried out"
        if episode.ended_at is not None:
            return "resolved"
        return {"hold": "held", "recommend": "recommended"}.get(action, "observed")
    if run.outcome == "undone":
        return "undone"
    if run.outcome is None:
        return "failed" if run.failure is not None else "under way"
    return "rolled back with loss" if run.notes.get("loss_manifest") else "rolled back"


def _seconds(begun: datetime | None, ended: datetime | None) -> float | None:
    return None if begun is None or ended is None else round((ended - begun).total_seconds(), 3)
