"""Platform `process`: turnback runs the application itself, one command for each side.

The process group is journalled before the command executes, so a guard that starts after ours died adopts
the live application and never starts a second one. The application outlives the guard: it has a session
of its own and writes to a file.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from turnback.adapters.platforms.command import PREPARE_SECONDS, run_command
from turnback.adapters.platforms.environment import ENGINE, OTHER, Surroundings, open_log, still_runs
from turnback.adapters.platforms.lifetimes import MARKER, Launch, birth, in_group, leader_alive, members
from turnback.errors import PlatformError
from turnback.ports import Journal, Platform, Side

STARTED, STOPPING, STOPPED = "process_started", "process_stopping", "process_stopped"
EXITED, ADOPTED = "process_exited", "process_adopted"

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_SECONDS = 60.0  # up for so long: the next exit counts as the first
KILL_SECONDS = 10.0  # after SIGKILL only the kernel can still hold a process
LAUNCH_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessSide:
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: str | None = None  # shell command, before the stop


class ProcessPlatform(Platform):
    """See ports.Platform. Safe to be called from several threads: a stop holds the others back."""

    name = "process"

    def __init__(
        self,
        sides: Mapping[Side, ProcessSide],
        surroundings: Surroundings,
        journal: Journal,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = sides
        self._surroundings = surroundings
        self._journal = journal
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._children: set[int] = set()  # ours to reap
        self._known: str | None = None  # marker of the launch that we made or adopted
        self._exits = 0
        self._up_since = 0.0
        self._again_at: float | None = None

    # ---- what can be seen --------------------------------------------------------------------

    def running(self, side: Side) -> bool:
        launch = self._launch(side)
        return launch is not None and bool(members(launch))

    def owned_pids(self) -> frozenset[int]:
        launch = self._launch("sqlite") or self._launch("postgres")
        return frozenset() if launch is None else members(launch)

    def describe(self, action: Literal["prepare", "stop", "start"], side: Side) -> list[str]:
        configured = self._sides[side]
        match action:
            case "prepare":
                return [configured.prepare] if configured.prepare else []
            case "stop":
                return [f"SIGTERM, then SIGKILL, to the application's processes on {ENGINE[side]}"]
            case "start":
                names = sorted({*configured.env, *([self._surroundings.url_env] * (side == "postgres"))})
                given = f"  (environment: {', '.join(names)})" if names else ""
                return [shlex.join(self._argv(side)) + given]

    # ---- what is done ------------------------------------------------------------------------

    def prepare(self, side: Side) -> None:
        if command := self._sides[side].prepare:
            run_command(
                self._surroundings.command(command),
                self._surroundings.environment(side, self._sides[side].env),
                self._surroundings.log,
                PREPARE_SECONDS,
                cwd=self._surroundings.working_directory,
                secrets=self._surroundings.secrets(side),
            )

    def start(self, side: Side) -> None:
        """Starts the side's command, or adopts it where it runs. Raises PlatformError when the other side's
        runs, or when the command cannot be executed.
        """
        with self._lock:
            other = self._launch(OTHER[side])
            if other is not None and (left := members(other)):
                raise still_runs(OTHER[side], f" ({_pids(left)})")
            launch = self._launch(side)
            if launch is not None:
                if leader_alive(launch) and not self._was_stopped(launch):
                    self._adopt(side, launch)
                    return
                self._end(launch, graceful_seconds=1.0)  # a dead leader's children, or a stop cut short
            self._spawn(side)

    def stop(self, side: Side, *, graceful_seconds: float) -> None:
        """SIGTERM, after `graceful_seconds` SIGKILL; returns when none of its processes is left."""
        with self._lock:
            launch = self._launch(side)
            if launch is None or self._was_stopped(launch):
                if launch is not None:  # a daemon that came to light after the stop
                    self._end(launch, graceful_seconds=graceful_seconds)
                return
            self._journal.append(STOPPING, {"side": side, "pid": launch.pid, "marker": launch.marker})
            forced = self._end(launch, graceful_seconds=graceful_seconds)
            self._journal.append(
                STOPPED, {"side": side, "pid": launch.pid, "marker": launch.marker, "forced": forced}
            )

    def supervise(self, side: Side) -> str | None:
        """Adopts a live application, starts a dead one again (after 1, 2, 4 .. 30 s).

        Never starts what was not started through `start`, or was stopped through `stop`.
        """
        if not self._lock.acquire(blocking=False):
            return None  # a stop or start is under way
        try:
            launch = self._launch(side)
            if launch is None or self._was_stopped(launch):
                return None
            if leader_alive(launch):
                return self._adopt(side, launch)
            return self._start_again(side, launch)
        finally:
            self._lock.release()

    def _start_again(self, side: Side, launch: Launch) -> str | None:
        if self._again_at is None:
            if self._monotonic() - self._up_since >= STEADY_SECONDS:
                self._exits = 0
            wait = BACKOFF_SECONDS[min(self._exits, len(BACKOFF_SECONDS) - 1)]
            self._exits += 1
            self._again_at = self._monotonic() + wait
            status = self._reap(launch.pid)
            self._journal.append(
                EXITED, {"side": side, "pid": launch.pid, "marker": launch.marker, "status": status}
            )
            return f"the application (pid {launch.pid}) {_ending(status)}; it starts again in {wait:.0f} s"
        if self._monotonic() < self._again_at:
            return None
        self._end(launch, graceful_seconds=1.0)
        try:
            pid = self._spawn(side)
        except PlatformError as e:
            self._again_at = self._monotonic() + BACKOFF_SECONDS[-1]
            return f"the application could not be started again: {e}"
        return f"the application was started again (pid {pid})"

    # ---- launches ----------------------------------------------------------------------------

    def _launch(self, side: Side) -> Launch | None:
        """The newest launch, where it was of that side: the two sides never run at the same time."""
        record = self._journal.last(STARTED)
        if record is None or record.body["side"] != side:
            return None
        return Launch(record.body["pid"], record.body["birth"], record.body["marker"])

    def _was_stopped(self, launch: Launch) -> bool:
        record = self._journal.last(STOPPING)
        return record is not None and record.body["marker"] == launch.marker

    def _adopt(self, side: Side, launch: Launch) -> str | None:
        if self._known == launch.marker:
            return None
        self._known = launch.marker
        self._up_since = self._monotonic()
        self._again_at = None
        self._journal.append(ADOPTED, {"side": side, "pid": launch.pid, "marker": launch.marker})
        return f"the running application was adopted (pid {launch.pid})"

    def _argv(self, side: Side) -> list[str]:
        return [self._surroundings.command(part) for part in self._sides[side].command]

    def _spawn(self, side: Side) -> int:
        argv, surroundings = self._argv(side), self._surroundings
        marker = uuid.uuid4().hex
        environment = surroundings.environment(side, self._sides[side].env) | {MARKER: marker}
        ours, theirs = socket.socketpair()
        log = open_log(surroundings.log)
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
        with ours:
            ours.settimeout(LAUNCH_SECONDS)
            try:
                process = subprocess.Popen(
                    [*launcher, str(theirs.fileno()), *argv],
                    env=environment,
                    cwd=surroundings.working_directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as e:
                raise self._not_started(side, e.strerror or str(e)) from e
            finally:
                theirs.close()
                os.close(log)
            process.returncode = 0  # let go: it outlives us, `_reap` waits for it, not Popen
            self._children.add(process.pid)
            self._journal.append(
                STARTED,
                {
                    "side": side,
                    "pid": process.pid,
                    "birth": birth(process.pid),
                    "marker": marker,
                    "command": argv,
                },
            )
            self._known, self._up_since, self._again_at = marker, self._monotonic(), None
            try:
                ours.sendall(b"!")
                problem = ours.recv(1000).decode(errors="replace")  # nothing: the command executes
            except OSError as e:
                problem = f"its launcher did not answer: {e}"
        if problem:
            raise self._not_started(side, problem)
        return process.pid

    def _not_started(self, side: Side, problem: str) -> PlatformError:
        return PlatformError(
            f"the application's command `{shlex.join(self._argv(side))}` cannot be started: {problem}",
            hint=f"check [app.{side}] command and [app] working_directory;"
            f" its output: {self._surroundings.log}",
        )

    # ---- ends --------------------------------------------------------------------------------

    def _end(self, launch: Launch, *, graceful_seconds: float) -> bool:
        """Ends every process of the launch. True when one had to be killed. Raises PlatformError."""
        left = self._members(launch)
        if os.getpid() in left:
            raise PlatformError(
                "turnback was started by the application that it should stop",
                hint="run it from another shell or service",
            )
        forced = False
        for number, seconds in ((signal.SIGTERM, graceful_seconds), (signal.SIGKILL, KILL_SECONDS)):
            if not left:
                return forced
            forced = number == signal.SIGKILL
            _signal(launch, left, number)
            deadline = time.monotonic() + seconds
            while (left := self._members(launch)) and time.monotonic() < deadline:
                if forced:
                    _signal(launch, left, number)  # one that was born meanwhile
                time.sleep(POLL_SECONDS)
        if left:
            raise PlatformError(
                f"processes of the application cannot be killed ({_pids(left)})",
                hint="look at them with `ps -o pid,stat,wchan,command`; then run `turnback resume`",
            )
        return forced

    def _members(self, launch: Launch) -> frozenset[int]:
        self._reap(launch.pid)
        return members(launch)

    def _reap(self, pid: int) -> int | None:
        """The exit status of our own child (negative: the signal); None: it runs, or was not ours."""
        if pid not in self._children:
            return None
        done, status = os.waitpid(pid, os.WNOHANG)
        if done == 0:
            return None
        self._children.discard(pid)
        return os.waitstatus_to_exitcode(status)


def _signal(launch: Launch, pids: frozenset[int], number: signal.Signals) -> None:
    """To the whole group at once, and one by one to those that left it."""
    if any(in_group(pid, launch.pid) for pid in pids):
        try:
            os.killpg(launch.pid, number)
        except ProcessLookupError:
            pass  # ended between the look and the signal
    for pid in pids:
        if not in_group(pid, launch.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # as above


def _pids(pids: frozenset[int]) -> str:
    return f"pid {', '.join(str(p) for p in sorted(pids))}"


def _ending(status: int | None) -> str:
    if status is None:
        return "has ended"  # adopted: its status went to another parent
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
