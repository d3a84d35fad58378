"""The timeline of an incident: what the journal has of it, a line for each moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnback.core.fuse import size
from turnback.core.incident import Episode, stamp
from turnback.core.incident_measured import healthy_at
from turnback.core.state import Entry

_ACTIONS = {
    "rollback": "decided: roll back",
    "hold": "decided: hold",
    "recommend": "decided: recommend a rollback",
    "observe": "observed: would have rolled back",
    "page": "paged",
    "resolved": "resolved",
}


@dataclass(frozen=True, slots=True)
class Event:
    """`seconds`: how long it took, of a step."""

    at: datetime
    what: str
    tone: str = ""  # good | warn | bad
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"at": stamp(self.at), "what": self.what, "tone": self.tone, "seconds": self.seconds}


def events(episode: Episode) -> Iterator[Event]:
    """In no order but where moments are the same: then what a step does comes behind what led to it."""
    for entry in episode.entries:
        event = _event(entry)
        if event is not None:
            yield event
    run = episode.run
    if run is not None:
        for name, (begun, ended) in run.step_times.items():
            seconds = (ended - begun).total_seconds() if ended is not None else None
            yield Event(begun, f"step {name}", "", seconds)
        if (served := healthy_at(run)) is not None:
            yield Event(served, "SQLite serves again", "good")


def _event(entry: Entry) -> Event | None:
    body = entry.body
    match entry.kind:
        case "decision":
            who = "" if body.get("automatic", True) else "by hand, "
            reason = str(body["reason"]).removeprefix(f"{body['trigger']}: ")
            what = f"{who}{_ACTIONS.get(body['action'], body['action'])} ({body['trigger']}): {reason}"
            tone = {"rollback": "bad", "resolved": "good"}.get(body["action"], "warn")
            return Event(entry.at, what + (f" [{body['held_back']}]" if body.get("held_back") else ""), tone)
        case "decision_void":
            return Event(entry.at, f"the decision was not carried out: {body.get('why', 'too old')}", "warn")
        case "run_started":
            return Event(entry.at, "the rollback begins")
        case "run_ended":
            done = body["outcome"] == "done"
            return Event(entry.at, f"the rollback has ended: {body['outcome']}", "good" if done else "warn")
        case "step_failed":
            return Event(entry.at, f"step {body['step']} failed: {body['error']}", "bad")
        case "undoing":
            return Event(entry.at, f"undoing: {body['reason']}", "warn")
        case "undo_done":
            return Event(entry.at, f"undone: {body['step']}")
        case "undo_postponed":
            return Event(entry.at, f"not undone yet: {body['step']}: {body['error']}", "warn")
        case "notice":
            return _notice(entry)
        case "validated":
            said = body.get("headline") or ("passed" if body.get("ok") else "failed")
            return Event(entry.at, f"validation: {said}", "good" if body.get("ok") else "bad")
        case "normal_again":
            return Event(entry.at, "all is back to normal", "good")
        case "fenced_late":
            return Event(entry.at, "PostgreSQL answered again and was fenced", "good")
        case "way_back_lost":
            return Event(entry.at, f"the way back is lost: {body['why']}", "bad")
        case "slot_dropped":
            return Event(entry.at, f"the slot was dropped, {size(body['freed_bytes'])} of WAL with it")
        case "guard_started":
            return Event(entry.at, f"a guard started (pid {body.get('pid')})")
        case "process_exited":
            what = f"the application on {body['side']} ended by itself (status {body.get('status')})"
            return Event(entry.at, what, "bad")
        case _:
            return None


def _notice(entry: Entry) -> Event:
    body = entry.body
    sent = body.get("sent") or {}
    failed = {name: error for name, error in sent.items() if error}
    told = ", ".join(name for name in sent if name not in failed) or "nobody"
    what = f"told {told}: {body.get('title') or body.get('event')}"
    if failed:
        what += "; not told: " + "; ".join(f"{name} ({error})" for name, error in failed.items())
    return Event(entry.at, what, "bad" if failed else "")
