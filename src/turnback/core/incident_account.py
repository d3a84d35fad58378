"""An incident in words and numbers: what `turnback report` says, as one value.

Every sentence is made of what the journal, the certificate and the log hold; what is not known is said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from turnback.core.incident import Around, Episode, LogExcerpt, stamp
from turnback.core.incident_followup import next_steps, open_items, validation
from turnback.core.incident_measured import (
    Measured,
    StepTime,
    detection_seconds,
    downtime_seconds,
    outcome,
    past_no_return,
    rpo,
    rto,
    step_times,
)
from turnback.core.incident_timeline import Event, events
from turnback.core.state import Run

Json = dict[str, Any]

HEADLINES = {
    "rolled back": "Rolled back to SQLite",
    "rolled back with loss": "Rolled back to SQLite without PostgreSQL",
    "failed": "Rollback not ended: a step failed",
    "under way": "Rollback under way",
    "undone": "Rollback undone: PostgreSQL serves",
    "not carried out": "Decided, and not carried out",
    "resolved": "Resolved without a rollback",
    "held": "Held: no rollback, the way back was not ready",
    "recommended": "A rollback was recommended",
    "observed": "Observed: a rollback would have been decided",
}


@dataclass(frozen=True, slots=True)
class Incident:
    """Moments are datetimes in UTC, seconds are floats; None: not known or not measured."""

    id: str
    outcome: str
    begun_at: datetime
    ended_at: datetime | None
    headline: str
    account: str  # what happened, in one paragraph
    started: Json  # automatic, by, user, host, version, utc
    trigger: str | None
    severity: str | None
    emergency: bool
    reason: str | None
    rto: Measured
    rpo: Measured
    detection_seconds: float | None
    downtime_seconds: float | None
    decision: Json | None  # as in the journal, without the samples
    samples: Json
    steps: tuple[StepTime, ...]
    timeline: tuple[Event, ...]
    validation: Json | None
    normal_again: Json | None
    certificate: Json | None
    loss_manifest: Json | None
    log: LogExcerpt | None
    next_steps: tuple[Json, ...]
    open: tuple[str, ...]

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "outcome": self.outcome,
            "begun_at": stamp(self.begun_at),
            "ended_at": stamp(self.ended_at),
            "headline": self.headline,
            "account": self.account,
            "started": self.started,
            "trigger": self.trigger,
            "severity": self.severity,
            "emergency": self.emergency,
            "reason": self.reason,
            "rto": self.rto.to_json(),
            "rpo": self.rpo.to_json(),
            "detection_seconds": self.detection_seconds,
            "downtime_seconds": self.downtime_seconds,
            "decision": self.decision,
            "samples": self.samples,
            "steps": [s.to_json() for s in self.steps],
            "timeline": [e.to_json() for e in self.timeline],
            "validation": self.validation,
            "normal_again": self.normal_again,
            "certificate": self.certificate,
            "loss_manifest": self.loss_manifest,
            "log": {"path": self.log.path, "how": self.log.how, "lines": list(self.log.lines)}
            if self.log is not None
            else None,
            "next_steps": list(self.next_steps),
            "open": list(self.open),
        }


def incident(episode: Episode, around: Around) -> Incident:
    """Everything that is known of it."""
    run, decision = episode.run, episode.decision
    options: Mapping[str, Any] = run.options if run is not None else {}
    told = decision or {}
    trigger = told.get("trigger") or options.get("trigger")
    severity = told.get("severity") or options.get("severity")
    manifest = run.notes.get("loss_manifest") if run is not None else None
    ended = outcome(episode)
    normal = next((e.body for e in reversed(episode.entries) if e.kind == "normal_again"), None)
    return Incident(
        id=episode.id,
        outcome=ended,
        begun_at=episode.begun_at,
        ended_at=episode.ended_at,
        headline=HEADLINES[ended],
        account=" ".join(_account(episode, around, trigger, severity)),
        started=_started(episode),
        trigger=trigger,
        severity=severity,
        emergency=bool(options.get("emergency") or told.get("emergency")),
        reason=told.get("reason") or options.get("reason"),
        rto=rto(episode, around),
        rpo=rpo(episode, around),
        detection_seconds=detection_seconds(decision),
        downtime_seconds=downtime_seconds(run),
        decision={k: v for k, v in decision.items() if k != "samples"} if decision is not None else None,
        samples=dict(told.get("samples") or {}),
        steps=step_times(episode),
        timeline=tuple(sorted(events(episode), key=lambda e: e.at)),
        validation=validation(episode),
        normal_again=dict(normal) if normal is not None else None,
        certificate=around.certificate,
        loss_manifest=dict(manifest) if manifest else None,
        log=around.log,
        next_steps=next_steps(trigger),
        open=tuple(open_items(episode, around)),
    )


def _started(episode: Episode) -> Json:
    """Who or what started it. A guard's decision is the guard's, whoever started the guard."""
    run, decision = episode.run, episode.decision
    told = dict(run.done.get("record_decision", {})) if run is not None else {}
    options = run.options if run is not None else {}
    by = str(told.get("by") or options.get("by") or (decision or {}).get("by") or "")
    user, _, host = by.partition("@")
    automatic = options.get("automatic")
    if automatic is None and decision is not None:
        automatic = decision.get("automatic")
    if automatic is None and options.get("trigger") == "never-healthy":
        automatic = True  # a failed cutover: nobody types that trigger
    return {
        "automatic": automatic,
        "by": by or None,
        "user": told.get("user") or user or None,
        "host": told.get("host") or host or None,
        "version": told.get("version") or options.get("version") or (decision or {}).get("version"),
        "utc": stamp(episode.zero),
    }


# ---- words ---------------------------------------------------------------------------------------


def duration(seconds: float | None) -> str:
    """0.42 s, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds is None:
        return "not measured"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _account(episode: Episode, around: Around, trigger: str | None, severity: str | None) -> Iterator[str]:
    run, decision = episode.run, episode.decision
    started = _started(episode)
    when = episode.zero.astimezone(UTC).strftime("%Y-%m-%d at %H:%M:%S UTC")
    who = "the guard" if started["automatic"] else (started["by"] or "somebody who was not recorded")
    reason = (decision or {}).get("reason") or (run.options.get("reason") if run is not None else None)
    because = f": {_sentence(str(reason).removeprefix(f'{trigger}: '))}" if reason else "."
    named = f" (trigger {trigger}{f', severity {severity}' if severity else ''})" if trigger else ""
    if run is None:
        yield f"On {when} {_WITHOUT_RUN[outcome(episode)]}{named}{because}"
        held = (decision or {}).get("held_back")
        if held:
            yield f"It was no rollback because: {_sentence(held)}"
        void = next((e.body for e in episode.entries if e.kind == "decision_void"), None)
        if void is not None:
            yield f"It was not carried out: {_sentence(void['why'])}"
        if episode.ended_at is not None and outcome(episode) == "resolved":
            yield f"It was over after {duration((episode.ended_at - episode.begun_at).total_seconds())}."
        return
    kind = "an emergency rollback" if run.options.get("emergency") else "a rollback"
    yield f"On {when} {who} started {kind}{named}{because}"
    detected = detection_seconds(decision)
    if detected is not None and detected > 0:
        yield f"From the first breach to the decision it took {duration(detected)}."
    yield from _course(episode, run, around)


_WITHOUT_RUN = {
    "held": "the guard would have rolled back, and held",
    "recommended": "the guard recommended a rollback",
    "observed": "the guard, which only observed, would have rolled back",
    "not carried out": "the guard decided to roll back, and no run of it is in the journal",
    "resolved": "the guard saw a breach that ended without a rollback",
}


def _course(episode: Episode, run: Run, around: Around) -> Iterator[str]:
    if run.outcome == "undone":
        yield f"It was undone: {_sentence(run.undoing or 'the reason is not recorded')}"
        away = downtime_seconds(run)
        yield "PostgreSQL serves as before" + (
            f"; the application was away for {duration(away)}." if away is not None else "."
        )
        return
    manifest = run.notes.get("loss_manifest")
    if manifest:
        age = manifest.get("rpo_measured_seconds")
        yield (
            "PostgreSQL was unreachable, so nothing could be drained: what was committed after position "
            f"{manifest['last_applied_lsn']} stayed behind ("
            + (
                f"the last contact with lag 0 was {duration(age)} before"
                if age is not None
                else "when the last contact with lag 0 was is not known"
            )
            + f"; accepted by {manifest['accepted_by']})."
        )
    elif run.done.get("drain_to_fence", {}).get("drained"):
        drained = run.done["drain_to_fence"]
        yield (
            "The application was stopped, PostgreSQL was fenced, and everything that it had committed was "
            f"applied to the fallback, up to position {drained['fence_lsn']}."
        )
    measured = rto(episode, around)
    if "validate" in run.done:
        yield (
            f"SQLite served again after {duration(measured.seconds)}"
            + (f" (objective {duration(measured.objective_seconds)}: {_met(measured)})"
               if measured.seconds is not None else "")
            + "."
        )  # fmt: skip
    if run.failure is not None:
        yield f"The step {run.failure['step']} failed: {_sentence(run.failure['error'])}"
    elif run.outcome is None:
        yield f"It is at the step {run.started[-1] if run.started else 'before the first'} and has not ended."
    if past_no_return(run) and run.outcome is None:
        yield "SQLite is the side to serve: there is only forward."
    certificate = around.certificate
    if certificate is not None:
        yield f"The certificate says {_sentence(certificate['says'])}"
    checked = validation(episode)
    if checked is not None and checked.get("checks"):
        failed = [c for c in checked["checks"] if c.get("ok") is False]
        passed = [c for c in checked["checks"] if c.get("ok")]
        yield f"Validation: {_counted(len(passed), 'check')} passed, {len(failed)} failed."
    if any(e.kind == "normal_again" for e in episode.entries):
        yield "All was back to normal afterwards."


def _met(measured: Measured) -> str:
    return {True: "met", False: "missed", None: "none set"}[measured.met]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def _sentence(text: str) -> str:
    """With a full stop at its end, whoever wrote it."""
    text = str(text).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
