"""The journal's state is kept and extended: always what folding every record would give, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.adapters.journal import SqliteJournal
from turnback.core.phases import TRANSITIONS
from turnback.core.plan_steps import STEPS
from turnback.core.state import State, fold
from turnback.ports import Record

Written = tuple[str, Mapping[str, Any], str | None]


class Counted(SqliteJournal):
    """Counts the records that it has read."""

    read = 0

    def records(self, *, after: int = 0, kind: str | None = None, run: str | None = None) -> list[Record]:
        found = super().records(after=after, kind=kind, run=run)
        self.read += len(found)
        return found


def possible(state: State, runs: int) -> Iterator[Written]:
    """What may be written next, in a lawful history with `runs` runs."""
    decision = {"automatic": True, "action": "rollback", "id": f"decision-{runs}"}
    yield "assessed", {"plan": f"plan {runs}", "schema": f"schema {runs}"}, None
    yield "decision", decision, None
    yield "decision", decision | {"action": "observe"}, None
    yield "decision", decision | {"automatic": False}, state.runs[-1].id if state.runs else None
    yield "decision_void", {"id": f"decision-{runs}", "why": "late"}, None
    yield "fenced_late", {}, None
    yield "way_back_lost", {"why": "the fuse", "drop": runs % 2 == 0}, None
    yield "slot_dropped", {"found": True, "freed_bytes": 0}, None
    yield "platform", {"pid": 7}, None
    run = state.open_run
    if run is None:
        for phase, intent in TRANSITIONS:
            if phase is state.phase and intent in STEPS:
                options = {"decision": f"decision-{runs}"}
                yield "run_started", {"intent": intent.value, "options": options}, f"run-{runs}"
        return
    step = STEPS[run.intent][min(len(run.done), len(STEPS[run.intent]) - 1)]
    yield "step_started", {"step": step}, run.id
    if step in run.started:
        yield "step_done", {"step": step, "result": {"rows": runs, "fenced": False}}, run.id
        yield "step_failed", {"step": step, "error": "no", "hint": ""}, run.id
        yield "undo_done", {"step": step}, run.id
        yield "undo_postponed", {"step": step, "error": "gone"}, run.id
    yield "note", {"key": step, "value": len(run.notes)}, run.id
    yield "undoing", {"reason": "because"}, run.id
    for outcome in ("done", "undone"):
        yield "run_ended", {"outcome": outcome}, run.id


def spoil(state: State) -> None:
    """What whoever carries a run out does with the state that it was given."""
    for run in state.runs:
        run.options.clear()
        run.started.append("spoilt")
        run.done.clear()
        run.undone.add("spoilt")
        run.notes.clear()
        run.step_times.clear()
        run.outcome = run.undoing = "spoilt"
    state.runs.clear()
    state.latched = not state.latched


@contextmanager
def two_processes() -> Iterator[tuple[Counted, Counted]]:
    with TemporaryDirectory(prefix="bt-kept-") as folder, ExitStack() as stack:
        path = Path(folder) / "journal.db"
        yield stack.enter_context(Counted(path)), stack.enter_context(Counted(path))


@settings(max_examples=60, deadline=None)
@given(choices=st.lists(st.tuples(st.integers(0, 999), st.booleans(), st.booleans()), max_size=60))
def test_the_kept_state_is_that_of_every_record(choices: list[tuple[int, bool, bool]]) -> None:
    with two_processes() as (ours, theirs):
        for choice, by_us, asked in choices:
            everything = theirs.records()
            state = fold(everything)
            lawful = list(possible(state, len(state.runs)))
            kind, body, run = lawful[choice % len(lawful)]
            (ours if by_us else theirs).append(kind, body, run=run)
            if asked:
                assert ours.state() == fold(theirs.records())
                spoil(ours.state())
        assert ours.state() == fold(theirs.records())


def test_a_record_is_read_for_the_state_once() -> None:
    with two_processes() as (ours, theirs):
        for turn in range(50):
            theirs.append("decision", {"automatic": True, "action": "observe", "id": str(turn)})
            ours.state()
            ours.state()
        assert ours.read == 50


def test_a_state_that_was_given_stays_what_it_was() -> None:
    with two_processes() as (ours, theirs):
        ours.append("assessed", {"plan": "plan", "schema": "schema"})
        ours.append("run_started", {"intent": "migrate", "options": {}}, run="run-0")
        before = ours.state()
        theirs.append("note", {"key": "position", "value": 1}, run="run-0")
        theirs.append("run_ended", {"outcome": "done"}, run="run-0")
        after = ours.state()
        assert before.runs[0].notes == {} and before.open_run is not None
        assert after.runs[0].notes == {"position": 1} and after.open_run is None
