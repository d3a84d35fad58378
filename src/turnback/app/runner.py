"""Carries out the steps of a run, one after the other, so that kill -9 after any record changes nothing.

For each step the journal gets STARTED before and DONE after it. A run that is entered again skips what is
DONE, asks `done()` of the step that is STARTED (its effect may be there without its record), and goes on.
An error before the point of no return undoes in reverse what was started; after it there is only forward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.errors import DiskFull, ServerGone, TurnbackError
from turnback.ports import Journal

Result = Mapping[str, Any]


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


def _silent() -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Step:
    """`run` may be repeated; `done` says whether its effect is already there; `undo` may be repeated too.

    `resume` brings back what lived in the process only (a capture thread, an exported snapshot) when the
    run is entered again behind this step. `stale` says, then, that the step is to be carried out again:
    what it proved may no longer hold.
    """

    name: str
    run: Callable[[], Result]
    done: Callable[[], bool] = _never
    undo: Callable[[], None] = _nothing
    resume: Callable[[], None] = _nothing
    stale: Callable[[], bool] = _never
    describe: Callable[[], list[str]] = _silent


@dataclass(frozen=True, slots=True)
class Runner:
    journal: Journal
    failpoint: Callable[[str], None]
    announce: Callable[[str], None] = field(default=lambda _: None)

    def current(self, run_id: str) -> Run:
        """The run as the journal has it. Raises KeyError."""
        for run in self.journal.state().runs:
            if run.id == run_id:
                return run
        raise KeyError(run_id)

    def carry_out(self, run: Run, steps: Sequence[Step]) -> Run:
        """Brings the run to its end, from wherever it stands. `run` is the object that the steps hold too:
        what is done is written into it.

        Raises the TurnbackError of the failing step, after undoing where that is possible and right.
        """
        run_id = run.id
        if run.undoing is not None:
            self._undo(run, steps)
            raise TurnbackError(
                f"{run.intent.value} was undone: {run.undoing}", hint="look at `turnback status`"
            )
        for step in steps:
            if step.name in run.done and not step.stale():
                step.resume()
                continue
            again = step.name in run.started
            if not again:
                self.journal.append("step_started", {"step": step.name}, run=run_id)
                run.started.append(step.name)
            self.announce(step.name)
            self.failpoint(f"{run.intent.value}.{step.name}:before")
            try:
                result = {"found": "already done"} if again and step.done() else dict(step.run())
            except TurnbackError as e:
                self._failed(run, step, str(e), e.hint)
                if not self._stays_open(run, e):
                    self.abort(run, steps, f"{step.name}: {e}")
                raise
            except BaseException as e:  # a bug or Ctrl-C: the same care, and the exception goes on
                self._failed(run, step, f"{type(e).__name__}: {e}", "")
                if not self._stays_open(run, e):
                    self.abort(run, steps, f"{step.name}: {type(e).__name__}")
                raise
            self.failpoint(f"{run.intent.value}.{step.name}:effect")
            self.journal.append("step_done", {"step": step.name, "result": result}, run=run_id)
            run.done[step.name] = result
            self.failpoint(f"{run.intent.value}.{step.name}:record")
        self.journal.append("run_ended", {"outcome": "done"}, run=run_id)
        return self.current(run_id)

    def abort(self, run: Run, steps: Sequence[Step], reason: str) -> None:
        """Undoes the run, in reverse. Only before the point of no return."""
        self.journal.append("undoing", {"reason": reason}, run=run.id)
        run.undoing = reason
        self._undo(run, steps)

    def _failed(self, run: Run, step: Step, error: str, hint: str) -> None:
        self.journal.append("step_failed", {"step": step.name, "error": error, "hint": hint}, run=run.id)

    @staticmethod
    def _stays_open(run: Run, error: BaseException) -> bool:
        """Past the point of no return always. Before it only a migrate or a rebuild, for whose end nobody
        waits: after Ctrl-C, a lost connection or a full disk it is taken up again where it was.
        """
        if run.past_no_return:
            return True
        patient = run.intent in (Intent.MIGRATE, Intent.REBUILD)
        return patient and isinstance(error, KeyboardInterrupt | ServerGone | DiskFull)

    def _undo(self, run: Run, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            if step.name not in run.started or step.name in run.undone:
                continue
            self.announce(f"undo {step.name}")
            self.failpoint(f"{run.intent.value}.{step.name}:undo")
            try:
                step.undo()
            except ServerGone as e:
                # What is left on an unreachable server must not keep the application from serving;
                # the next run of this intent clears it before it makes its own.
                self.journal.append("undo_postponed", {"step": step.name, "error": str(e)}, run=run.id)
            else:
                self.journal.append("undo_done", {"step": step.name}, run=run.id)
            run.undone.add(step.name)
        self.journal.append("run_ended", {"outcome": "undone"}, run=run.id)
