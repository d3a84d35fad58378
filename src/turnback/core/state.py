"""The state of an application's move: a fold over the journal, nothing else.

Kinds of records, and what they carry:
    assessed      plan (digest), schema (digest of the SQLite schema)
    run_started   intent, options; `run` is the run's id
    step_started  step            step_done   step, result      step_failed  step, error, hint, undoes
    undoing       reason          undo_done   step              undo_postponed  step, error
    note          key, value: what a step must know again after a crash (former states, positions)
    run_ended     outcome: done | undone
    intent        id, intent, options: a command asks the guard; intent_refused  id, error, hint
    accepted      by
    fenced_late   PostgreSQL, unreachable at the rollback, came back and was fenced
    decision      Decision.to_json(), id: what the guard (or, with `run`, a person) decided
    way_back_lost why, drop (whether a slot is to be dropped for it), slot, retained_bytes, applied_lsn: until
                  a rebuild or a cutover makes a new one
    slot_dropped  found, freed_bytes: what way_back_lost said, or an undo had to leave, is done
    decision_void id, why: a decision to roll back that no run will carry out
    process_*     the process platform's own
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from turnback.core.phases import TRANSITIONS, Intent, Phase
from turnback.core.plan_steps import POINT_OF_NO_RETURN

SLOT_STEPS = ("create_slot", "renew_slot")  # whose undo drops the slot


class Entry(Protocol):
    """A journal record, as far as the fold needs it."""

    @property
    def at(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def run(self) -> str | None: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Run:
    """One run of an intent, as far as it has come."""

    id: str
    intent: Intent
    options: dict[str, Any]
    started_at: datetime
    started: list[str] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)  # step -> result
    undone: set[str] = field(default_factory=set)
    undoing: str | None = None  # the reason
    notes: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    ended_at: datetime | None = None
    failure: Mapping[str, Any] | None = None  # of the last failed step
    step_times: dict[str, tuple[datetime, datetime | None]] = field(default_factory=dict)

    @property
    def past_no_return(self) -> bool:
        """The application's first start on the other side was about to happen, or has."""
        return POINT_OF_NO_RETURN.get(self.intent) in self.started

    def copy(self) -> Run:
        """Another with what this one holds now; whoever carries the run out writes into it."""
        return replace(
            self,
            options=self.options.copy(),
            started=self.started.copy(),
            done=self.done.copy(),
            undone=self.undone.copy(),
            notes=self.notes.copy(),
            step_times=self.step_times.copy(),
        )


@dataclass(slots=True)
class State:
    phase: Phase = Phase.NEW
    fenced_late: bool = False  # after the last rollback, which had to go on without the server
    plan_digest: str | None = None
    schema_digest: str | None = None
    runs: list[Run] = field(default_factory=list)
    latched: bool = False  # the one automatic rollback of this cutover was decided; a new cutover arms again
    way_back_lost: Mapping[str, Any] | None = None  # there is none, whatever capture finds
    slot_to_drop: bool = False  # for that, or because an undo could not reach the server
    # An automatic decision to roll back that no run names yet: whoever took it died in between.
    waiting_decision: Mapping[str, Any] | None = None

    @property
    def open_run(self) -> Run | None:
        """The run that was started and has not ended."""
        return self.runs[-1] if self.runs and self.runs[-1].outcome is None else None

    @property
    def failed_cutover(self) -> Run | None:
        """A cutover that failed past its point of no return and whose rollback has not begun."""
        last = self.runs[-1] if self.runs else None
        waiting = self.phase is Phase.ON_POSTGRES and last is not None and last.intent is Intent.CUTOVER
        return last if waiting and last is not None and last.failure is not None else None

    @property
    def unfinished(self) -> str | None:
        """What `turnback resume` has to do, in a word; None: nothing."""
        if self.open_run is not None:
            return self.open_run.intent.value
        if self.failed_cutover is not None:
            return "rollback"
        return "fence" if self.not_fenced else None

    @property
    def not_fenced(self) -> bool:
        """SQLite serves, and PostgreSQL would still take writes: it was unreachable at the rollback."""
        rollback = self.last(Intent.ROLLBACK)
        fenced = rollback is None or rollback.done.get("fence_postgres", {}).get("fenced") is not False
        return self.phase is Phase.ON_SQLITE and not fenced and not self.fenced_late

    def last(self, intent: Intent, outcome: str = "done") -> Run | None:
        """The newest run of that intent with that outcome."""
        return next((r for r in reversed(self.runs) if r.intent is intent and r.outcome == outcome), None)

    def copy(self) -> State:
        """Another with what this one holds now: later entries do not change it."""
        return replace(self, runs=[run.copy() for run in self.runs])


class Fold:
    """The state after the entries so far; one more entry costs the same however many there were."""

    def __init__(self) -> None:
        self.state = State()
        self._runs: dict[str, Run] = {}
        self._phases: dict[str, tuple[Phase, Phase, Phase]] = {}  # of a run: while, done, undone

    def take(self, entry: Entry) -> None:
        """The next entry."""
        state = self.state
        body = entry.body
        run = self._runs.get(entry.run or "")
        match entry.kind:
            case "assessed":
                state.plan_digest = body["plan"]
                state.schema_digest = body["schema"]
                if (state.phase, Intent.ASSESS) in TRANSITIONS:
                    state.phase = TRANSITIONS[state.phase, Intent.ASSESS][1]
            case "fenced_late":
                state.fenced_late = True
            case "decision" if body["automatic"] and body["action"] == "rollback":
                state.latched = True
                # With a run the decision is of one that is under way: it carries itself out.
                state.waiting_decision = body if entry.run is None else None
            case "decision_void" if state.waiting_decision:
                if state.waiting_decision["id"] == body["id"]:
                    state.waiting_decision = None
                    state.latched = False  # nothing was done
            case "way_back_lost":
                state.way_back_lost, state.slot_to_drop = body, bool(body["drop"])
            case "slot_dropped":
                state.slot_to_drop = False
            case "accepted":
                state.phase = Phase.ACCEPTED
            case "run_started":
                assert entry.run is not None
                intent = Intent(body["intent"])
                run = Run(entry.run, intent, dict(body["options"]), entry.at)
                self._runs[entry.run] = run
                state.runs.append(run)
                state.fenced_late = False
                if intent is Intent.CUTOVER:
                    state.latched = False
                waiting = state.waiting_decision
                if intent is Intent.CUTOVER or (waiting and body["options"].get("decision") == waiting["id"]):
                    state.waiting_decision = None
                self._phases[run.id] = TRANSITIONS[state.phase, intent]
                state.phase = self._phases[run.id][0]
            case "step_started" if run:
                step = body["step"]
                if step == "create_slot":  # it drops what is left, and its own undo drops what it makes
                    state.slot_to_drop = False
                if step not in run.started:
                    run.started.append(step)
                    run.step_times[step] = (entry.at, None)
            case "step_done" if run:
                step = body["step"]
                run.done[step] = body["result"]
                run.step_times[step] = (run.step_times[step][0], entry.at)
                run.failure = None
            case "step_failed" if run:
                run.failure = body
            case "undoing" if run:
                run.undoing = body["reason"]
            case "undo_done" | "undo_postponed" if run:
                run.undone.add(body["step"])
                if entry.kind == "undo_postponed" and body["step"] in SLOT_STEPS:
                    state.slot_to_drop = True
            case "note" if run:
                run.notes[body["key"]] = body["value"]
            case "run_ended" if run:
                run.outcome = body["outcome"]
                run.ended_at = entry.at
                state.phase = self._phases[run.id][1 if run.outcome == "done" else 2]
                if run.outcome == "done" and run.intent is not Intent.MIGRATE:  # another fallback, or primary
                    state.way_back_lost, state.slot_to_drop = None, False
            case _:
                pass  # other kinds are other readers' (platform, guard, capture)


def fold(entries: Iterable[Entry]) -> State:
    """The state after all of `entries`, in their order."""
    whole = Fold()
    for entry in entries:
        whole.take(entry)
    return whole.state
