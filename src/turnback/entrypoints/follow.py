"""How a command reaches the guard: it starts one where needed, writes an intent, and follows the journal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from turnback.core.state import Run
from turnback.entrypoints.output import FollowedProgress, say
from turnback.entrypoints.wiring import Setup
from turnback.errors import PlatformError, TurnbackError
from turnback.ports import Record

POLL_SECONDS = 0.05
GUARD_START_SECONDS = 30.0
GONE_POLLS = 40
STOPPED_POLLS = 40
FAILED_POLLS = 40  # behind a failed step: then it stays open, and is not undone
STATUS = "look at `turnback status`"


class Failed(TurnbackError):
    """What the guard said of an intent that it could not carry out."""

    def __init__(self, message: str, *, hint: str, exit_status: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status  # type: ignore[misc]  # of a class elsewhere, here of the guard's error


def guard_pid(setup: Setup) -> int | None:
    """The pid of the guard that holds the lease and listens; None where there is none."""
    holder = setup.lease.holder()
    if holder is None or not str(holder["command"]).startswith(("guard", "exec")):
        return None
    started = setup.journal.last("guard_started")
    return int(holder["pid"]) if started is not None and started.body["pid"] == holder["pid"] else None


def runs_the_application(setup: Setup) -> bool:
    """Whether an `exec` guards: then the application is its child, whatever [app] platform says."""
    holder = setup.lease.holder()
    return holder is not None and str(holder["command"]).startswith("exec") and guard_pid(setup) is not None


def ensure_guard(setup: Setup) -> int:
    """A guard that listens: the one there is, or a new one, detached from this terminal."""
    pid = guard_pid(setup)
    if pid is not None:
        return pid
    log = setup.state_folder / "guard.log"
    log.touch(mode=0o600)
    command = [sys.executable, "-m", "turnback", "guard", "--config", str(setup.config.file)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ.copy(),
        )
    deadline = time.monotonic() + GUARD_START_SECONDS
    while time.monotonic() < deadline:
        pid = guard_pid(setup)
        if pid is not None:
            return pid
        if process.poll() is not None:
            raise PlatformError(f"the guard did not start: {_last_line(log)}", hint=f"its log is {log}")
        time.sleep(POLL_SECONDS)
    raise PlatformError(
        f"the guard did not start within {GUARD_START_SECONDS:.0f} s", hint=f"its log is {log}"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["no output"])[-1].removeprefix("error: ")


def ask(setup: Setup, intent: str, options: Mapping[str, Any]) -> None:
    """Hands the intent to the guard and follows it to its end. Raises what the guard met.

    A guard that dies and is started again answers nothing that the former was asked: it goes on with the run
    that was under way, and that is followed then.
    """
    ident = uuid.uuid4().hex
    under_way = setup.state().open_run
    runs = set() if under_way is None else {under_way.id}
    record = setup.journal.append("intent", {"id": ident, "intent": intent, "options": dict(options)})
    anew = False
    failure: Record | None = None
    quiet = 0

    def ended(new: Sequence[Record]) -> bool:
        nonlocal anew, failure, quiet
        quiet = 0 if new else quiet + 1
        for record in new:
            body = record.body
            match record.kind:
                case "intent_failed" if body["id"] == ident:
                    raise Failed(body["error"], hint=body["hint"], exit_status=body["exit_status"])
                case "intent_done" if body["id"] == ident:
                    return True
                case "run_started" if record.run:
                    runs.add(record.run)
                case "guard_started":
                    anew = True
                case "step_failed" if anew and record.run in runs:
                    failure = record
                case "undoing":
                    failure = None
        if failure is not None and quiet >= FAILED_POLLS:
            told = failure.body
            raise TurnbackError(f"{told['step']} failed: {told['error']}", hint=told["hint"] or STATUS)
        return anew and _ended_by_another(setup, runs)

    _follow(setup, record.sequence, ended)


def _ended_by_another(setup: Setup, runs: set[str]) -> bool:
    """Whether the last of these runs is over, in the hands of a guard that was not asked for it."""
    state = setup.state()
    run = next((r for r in reversed(state.runs) if r.id in runs), None)
    if run is None:
        raise PlatformError("the guard was started anew before it began this", hint="give the command again")
    return _is_over(run) and state.open_run is None


def _is_over(run: Run) -> bool:
    if run.outcome == "undone":
        raise TurnbackError(f"the {run.intent.value} was undone: {run.undoing}", hint=STATUS)
    return run.outcome == "done"


def follow_run(setup: Setup, after: int, run_id: str) -> None:
    """Follows a run that the guard took up by itself. Raises TurnbackError when it did not end well."""

    def ended(_: Sequence[Record]) -> bool:
        state = setup.state()
        return _is_over(next(r for r in state.runs if r.id == run_id)) and state.open_run is None

    _follow(setup, after, ended)


def _follow(setup: Setup, after: int, ended: Callable[[Sequence[Record]], bool]) -> None:
    progress = FollowedProgress(setup.progress_file)
    gone = quiet = 0
    try:
        while True:
            new = setup.journal.records(after=after)
            quiet = 0 if new else quiet + 1
            for record in new:
                after = record.sequence
                progress.end()
                _say_step(record)
            if ended(new):
                return
            progress.look()
            pid = guard_pid(setup)
            gone = gone + 1 if pid is None else 0
            if pid is not None and quiet and quiet % STOPPED_POLLS == 0:
                _refuse_stopped(pid)
            if gone > GONE_POLLS:
                raise PlatformError(
                    "the guard has died", hint="run `turnback resume`: it goes on where it was"
                )
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the guard goes on with it: `turnback status --watch` shows it") from None
    finally:
        progress.end()


def _refuse_stopped(pid: int) -> None:
    """A guard that is stopped by a signal keeps its lease, and does nothing: nobody must wait for it."""
    try:
        stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return
    if stopped:
        raise PlatformError(
            f"the guard (pid {pid}) is stopped and does nothing",
            hint=f"`kill -CONT {pid}`: it goes on, with this too; or `kill -9 {pid}`, then `turnback status`",
        )


def _say_step(record: Record) -> None:
    at = record.at.strftime("%H:%M:%S")
    match record.kind:
        case "run_started":
            say(f"{at}  {record.body['intent']}")
        case "step_started":
            say(f"{at}    {record.body['step']}")
        case "step_failed":
            say(f"{at}    {record.body['step']} failed: {record.body['error']}")
        case "undoing":
            say(f"{at}    undoing: {record.body['reason']}")
        case "undo_done":
            say(f"{at}    undone: {record.body['step']}")
        case "undo_postponed":
            say(f"{at}    not undone yet: {record.body['step']}: {record.body['error']}")
        case "run_ended":
            say(f"{at}  {record.body['outcome']}")
