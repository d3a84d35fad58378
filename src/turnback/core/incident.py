"""What happened: the journal's records of one incident, put together and measured. Pure, and only facts.

An incident is one rollback (ended, undone or still open) with the decisions that led to it, or decisions
that led to none: the guard held, recommended, or observed only. Journals of before the guard decided anything
have rollbacks without a decision, and give incidents all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from turnback.core.certificate import headline, seal_holds
from turnback.core.phases import Intent
from turnback.core.state import Entry, Run, fold

OPENING = ("rollback", "hold", "recommend", "observe")  # actions of a decision that make an incident
AFTER = timedelta(hours=1)  # what follows the end of a rollback by this belongs to it
BEFORE = timedelta(minutes=10)  # exits of the application before the first decision

Json = dict[str, Any]


@dataclass(slots=True)
class Episode:
    """The records of one incident. `decisions` in their order; `run` the rollback, if there was one."""

    begun_at: datetime
    decisions: list[Entry] = field(default_factory=list)
    run: Run | None = None
    ended_at: datetime | None = None
    entries: list[Entry] = field(default_factory=list)  # all that belong to it, and what is around it

    @property
    def id(self) -> str:
        """The run's id; without a run that of the first decision."""
        return self.run.id if self.run is not None else str(self.decisions[0].body.get("id", "decision"))

    @property
    def names(self) -> frozenset[str]:
        """Every id that this incident may be asked for by."""
        return frozenset({self.id, *(str(d.body["id"]) for d in self.decisions if "id" in d.body)})

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """The one that counts: which the run names, else the last to roll back, else the last."""
        named = self.run.options.get("decision") if self.run is not None else None
        bodies = [d.body for d in self.decisions]
        for chosen in (
            [b for b in bodies if named is not None and b.get("id") == named],
            [b for b in bodies if b["action"] == "rollback"],
            [b for b in bodies if b["action"] != "resolved"],
        ):
            if chosen:
                return chosen[-1]
        return None

    @property
    def decided_at(self) -> datetime | None:
        """When the journal had the decision that counts."""
        decision = self.decision
        return next((d.at for d in self.decisions if d.body is decision), None)

    @property
    def zero(self) -> datetime:
        """What times count from: the decision that the run carries out, else the run's start."""
        begun = self.run.started_at if self.run is not None else self.begun_at
        return min(self.decided_at or begun, begun)


def episodes(entries: Iterable[Entry]) -> list[Episode]:
    """Every incident of the journal, the oldest first."""
    entries = list(entries)
    runs = {run.id: run for run in fold(entries).runs}
    found: list[Episode] = []
    by_run: dict[str, Episode] = {}
    waiting: Episode | None = None  # decisions that have led to nothing yet
    goes_on: set[str] = set()  # their triggers that are not resolved
    restarted = False  # a new guard does not know what the one before has told

    def opened(at: datetime) -> Episode:
        found.append(Episode(at))
        return found[-1]

    for entry in entries:
        match entry.kind:
            case "guard_started":
                restarted = True
            case "decision" if entry.run in by_run:
                by_run[entry.run or ""].decisions.append(entry)
            case "decision" if entry.body["action"] in OPENING:
                if waiting is not None and restarted and entry.at - waiting.decisions[-1].at > AFTER:
                    waiting = None
                if waiting is None:
                    waiting, goes_on = opened(entry.at), set()
                waiting.decisions.append(entry)
                goes_on.add(entry.body["trigger"])
                restarted = False
            case "decision" if waiting is not None and entry.body["trigger"] in goes_on:
                waiting.decisions.append(entry)
                if entry.body["action"] == "resolved":
                    goes_on.discard(entry.body["trigger"])
                if not goes_on:
                    waiting.ended_at, waiting = entry.at, None
            case "decision_void" if waiting is not None and entry.body["id"] in waiting.names:
                waiting.ended_at, waiting = entry.at, None
            case "run_started" if runs[entry.run or ""].intent is Intent.ROLLBACK:
                episode = waiting or opened(entry.at)
                episode.run = runs[entry.run or ""]
                episode.ended_at = episode.run.ended_at
                by_run[episode.run.id], waiting = episode, None
            case "run_started" if waiting is not None:  # behind another run the guard judges anew
                waiting.ended_at, waiting = entry.at, None
            case _:
                pass
    for number, episode in enumerate(found, 1):
        following = found[number] if number < len(found) else None
        episode.entries = _belonging(episode, following, entries)
    return found


def _belonging(episode: Episode, following: Episode | None, entries: Sequence[Entry]) -> list[Entry]:
    """Its own records, and what was said and checked from its begin until an hour after its end."""
    until = following.begun_at if following is not None else None
    if episode.ended_at is not None:
        late = episode.ended_at + AFTER
        until = late if until is None else min(until, late)
    own = episode.run.id if episode.run is not None else None
    decided = [id(d) for d in episode.decisions]
    belonging = []
    for entry in entries:
        if entry.run is not None or id(entry) in decided:
            mine = (own is not None and entry.run == own) or id(entry) in decided
        else:
            begin = episode.begun_at - (BEFORE if entry.kind == "process_exited" else timedelta())
            mine = begin <= entry.at and (until is None or entry.at < until)
        if mine:
            belonging.append(entry)
    return belonging


# ---- what a report needs besides the journal ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """Lines of the application's log around the decision; `how` says where they are from, or why none are."""

    path: str
    lines: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class Around:
    """Objectives in seconds, of the configuration; the certificate as `certificate_summary` gives it."""

    now: datetime
    rto_objective_seconds: float
    rpo_objective_seconds: float
    certificate: Json | None = None
    log: LogExcerpt | None = None
    slot: str = "turnback"


def certificate_summary(document: Mapping[str, Any], path: str) -> Json:
    """What a report says of a certificate; the document itself lies at `path`."""
    original = document.get("original") or {}
    changed = [t for t in original.get("tables", ()) if not t["equal"]]
    return {
        "path": path,
        "verdict": document["verdict"],
        "says": headline(document),
        "seal_holds": seal_holds(document),
        "tables": len(document["tables"]),
        "rows": sum(t["rows_sqlite"] for t in document["tables"]),
        "difference_count": document["difference_count"],
        "against_original": {
            "made": bool(original.get("made")),
            "rows_changed": sum(t["changed"] for t in changed),
            "rows_new": sum(t["new"] for t in changed),
            "rows_gone": sum(t["gone"] for t in changed),
        }
        if original
        else None,
    }


def stamp(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond, with a Z."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
