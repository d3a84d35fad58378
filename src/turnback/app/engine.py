"""Runs an intent from its start or from where it was interrupted. Used by the guard and by commands alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnback.app import steps_cutover, steps_migrate, steps_rebuild, steps_rollback
from turnback.app.runner import Runner, Step
from turnback.app.sides import World
from turnback.core.phases import Intent, Phase, transition
from turnback.core.plan_steps import STEPS
from turnback.core.state import Run, State
from turnback.errors import TurnbackError, UsageError, WayBackLost
from turnback.ports import Side

_STEPS: dict[Intent, Callable[[World, Run], tuple[Step, ...]]] = {
    Intent.MIGRATE: steps_migrate.steps,
    Intent.CUTOVER: steps_cutover.steps,
    Intent.ROLLBACK: steps_rollback.steps,
    Intent.REBUILD: steps_rebuild.steps,
}


def primary_side(state: State) -> Side | None:
    """Where the application belongs now; None while a run moves it and could still be undone."""
    run = state.open_run
    if run is not None and run.past_no_return:
        return "postgres" if run.intent is Intent.CUTOVER else "sqlite"
    match state.phase:
        case Phase.ON_POSTGRES | Phase.ACCEPTED:
            return "postgres"
        case Phase.CUTTING_OVER | Phase.ROLLING_BACK:
            return None
        case _:
            return "sqlite"


@dataclass(slots=True)
class Engine:
    world: World

    def state(self) -> State:
        return self.world.journal.state()

    def execute(self, intent: Intent, options: Mapping[str, Any]) -> Run:
        """A new run of the intent, to its end. Raises UsageError where it does not fit the phase."""
        check(self.state(), intent, options)
        run_id = f"{intent.value}-{secrets.token_hex(4)}"
        self.world.journal.append(
            "run_started", {"intent": intent.value, "options": dict(options)}, run=run_id
        )
        return self._carry_out(run_id)

    def resume(self) -> Run | None:
        """Goes on with the open run, if there is one."""
        state = self.state()
        if state.open_run is not None:
            return self._carry_out(state.open_run.id)
        if state.not_fenced:
            self.fence_late()
            return None
        return self._rollback_after_failed_cutover(state)

    def _carry_out(self, run_id: str) -> Run:
        runner = Runner(self.world.journal, self.world.failpoint, self.world.announce)
        run = runner.current(run_id)
        try:
            return runner.carry_out(run, steps_of(self.world, run))
        except TurnbackError as e:
            run = runner.current(run_id)
            if not (run.intent is Intent.CUTOVER and run.past_no_return and run.outcome is None):
                raise
            # Past its point of no return a failed cutover is a rollback with drain: writes may be there.
            self.world.journal.append("run_ended", {"outcome": "done", "unhealthy": str(e)}, run=run_id)
            rolled_back = self._rollback_after_failed_cutover(self.state())
            assert rolled_back is not None
            raise TurnbackError(
                f"the cutover failed after the application had started on PostgreSQL: {e}",
                hint="it was rolled back with everything that PostgreSQL had taken; SQLite serves. "
                "Look at the application's log before the next cutover",
            ) from e

    def _rollback_after_failed_cutover(self, state: State) -> Run | None:
        """A cutover that ended unhealthy and whose rollback has not begun (the process died between)."""
        cutover = state.failed_cutover
        if cutover is None:
            return None
        assert cutover.failure is not None
        reason = f"never healthy after the cutover: {cutover.failure['error']}"
        return self.execute(
            Intent.ROLLBACK,
            {"trigger": "never-healthy", "reason": reason, "emergency": True, "automatic": True},
        )

    def ensure_capture(self) -> None:
        """In the phase on_postgres the fallback is kept current, by this process."""
        state = self.state()
        cutover = state.last(Intent.CUTOVER)
        if state.phase is not Phase.ON_POSTGRES or state.way_back_lost is not None:
            return
        if cutover is not None and self.world.capture is None:
            self.world.capture = self.world.new_capture(cutover.notes["fingerprint"])
            self.world.capture.start()

    def fence_late(self) -> bool:
        """After a rollback without the server: fences it as soon as it answers. Returns whether it did."""
        state = self.state()
        if not state.not_fenced or not self.world.postgres.reachable():
            return False
        rollback = state.last(Intent.ROLLBACK)
        known = (rollback.notes.get("position") or {}).get("system_identifier") if rollback else None
        if known is not None and self.world.postgres.system()[0] != known:
            return False  # another server answers at that address
        fence = self.world.postgres.fence(self.world.plan)
        try:
            fence.raise_()
            fence.prove()
        finally:
            fence.close()
        self.world.postgres.drop_slot()  # nobody reads it any more, and it would fill the server's disk
        self.world.journal.append("fenced_late", {})
        return True

    def release(self) -> None:
        """Ends what lives in this process; the application and PostgreSQL run on."""
        if self.world.capture is not None:
            self.world.capture.stop()
            self.world.capture = None


def check(state: State, intent: Intent, options: Mapping[str, Any]) -> None:
    """Raises UsageError where the intent cannot begin now."""
    if state.open_run is not None:
        raise UsageError(
            f"a {state.open_run.intent.command} is under way or was interrupted",
            hint="run `turnback resume` to go on with it",
        )
    transition(state.phase, intent)
    if intent is Intent.ROLLBACK and not options.get("accept_loss"):
        refuse_without_way_back(state)
    if intent is Intent.MIGRATE:
        refuse_clearing_a_loss(state, options)
    if (
        intent is Intent.MIGRATE
        and state.phase in (Phase.MIGRATED, Phase.ON_SQLITE)
        and not options.get("again")
    ):
        raise UsageError(
            f"this was migrated already (the phase is {state.phase.value})",
            hint="`turnback migrate --again` clears the plan's tables in PostgreSQL and loads them anew",
        )


def refuse_without_way_back(state: State) -> None:
    """The fallback lacks what was written since: nothing rolls back to it in silence. Raises WayBackLost."""
    lost = state.way_back_lost
    if lost is not None:
        raise WayBackLost(
            f"no way back: {lost['why']}",
            hint="`turnback fallback rebuild` makes a new one while the application serves, then roll back."
            " With PostgreSQL gone for good, --accept-loss goes on with what the fallback has"
            + (f" (up to {lost['applied_lsn']})" if lost.get("applied_lsn") else ""),
        )


def refuse_clearing_a_loss(state: State, options: Mapping[str, Any]) -> None:
    """After a rollback without the server PostgreSQL holds writes that nothing else has."""
    rollback = state.last(Intent.ROLLBACK)
    manifest = rollback.notes.get("loss_manifest") if rollback is not None else None
    clears = options.get("again") and not options.get("accept_loss")
    if state.phase is Phase.ON_SQLITE and manifest and clears:
        raise UsageError(
            "PostgreSQL holds writes that the last rollback could not bring back; --again would clear them",
            hint="dump its tables first (pg_dump), then repeat with --accept-loss",
        )


def steps_of(world: World, run: Run) -> Sequence[Step]:
    """The run's steps, in the order that core.plan_steps names."""
    steps = _STEPS[run.intent](world, run)
    assert tuple(s.name for s in steps) == STEPS[run.intent]
    return steps


def describe(world: World, intent: Intent, options: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """For --dry-run: each step with the commands that it would run."""
    run = Run("dry-run", intent, dict(options), world.clock.now())
    return [(s.name, s.describe()) for s in steps_of(world, run)]
