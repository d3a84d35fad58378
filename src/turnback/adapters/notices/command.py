"""A shell command that gets each notice as JSON on its standard input."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from threading import Lock
from typing import Any

from turnback.errors import NoticeError
from turnback.ports import Notice, Notifier

TAIL_BYTES = 4096
TURN_SECONDS = 0.05
LINE_CHARACTERS = 300


def to_json(notice: Notice) -> dict[str, Any]:
    """What stands on the command's standard input."""
    return {
        "key": notice.key,
        "event": notice.event,
        "severity": notice.severity,
        "title": notice.title,
        "text": notice.text,
        "utc": notice.utc.isoformat(),
        "resolved": notice.resolved,
        "fields": dict(notice.fields),
    }


class CommandNotifier(Notifier):
    """Status 0 is delivered. One that takes longer is killed with all of its group.

    It gets our environment without the variables in `withheld` (those that hold secrets of turnback's own).
    What it writes is read and not kept; its last line stands in the error.
    """

    name = "command"

    def __init__(
        self, command: str, timeout_seconds: float, *, folder: Path, withheld: Collection[str] = ()
    ) -> None:
        self._command = command
        self._timeout = timeout_seconds
        self._folder = folder
        self._withheld = frozenset(withheld)
        self._lock = Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def send(self, notice: Notice) -> None:
        with tempfile.TemporaryFile() as given:  # a pipe would wait for a command that does not read
            given.write(json.dumps(to_json(notice)).encode() + b"\n")
            given.seek(0)
            self._run(given.fileno())

    def _run(self, given: int) -> None:
        deadline = time.monotonic() + self._timeout
        with self._lock:
            if self._closed:
                raise NoticeError("the command was not run: the guard ends")
            process = self._start(given)
            self._running = process
        assert process.stdout is not None
        with process.stdout:
            try:
                tail = _output(process, deadline)
            finally:
                with self._lock:
                    self._running = None
                ended = process.poll()
                if ended is None:
                    _kill_group(process)
        if ended is None:
            raise NoticeError(f"the command did not end within {self._timeout:g} s{_last_line(tail)}")
        if ended < 0:
            raise NoticeError(f"the command was ended by signal {-ended}{_last_line(tail)}")
        if ended:
            raise NoticeError(f"the command ended with status {ended}{_last_line(tail)}")

    def _start(self, given: int) -> subprocess.Popen[bytes]:
        environment = {name: v for name, v in os.environ.items() if name not in self._withheld}
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                env=environment,
                cwd=self._folder,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as e:
            raise NoticeError(f"the command cannot be started: {e.strerror}") from e

    def close(self) -> None:
        """Kills what runs, from whatever thread."""
        with self._lock:
            self._closed = True
            if self._running is not None and self._running.returncode is None:
                _signal_group(self._running)


def _output(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Reads until the command has ended or the time is over; the end of what it wrote.

    It has ended when the shell has: what it left running in the background may hold the pipe for long.
    """
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    tail = b""
    open_ = True
    while (left := deadline - time.monotonic()) > 0:
        ended = process.poll() is not None
        if open_ and select.select([pipe], [], [], 0 if ended else min(left, TURN_SECONDS))[0]:
            chunk = os.read(pipe, 65536)
            open_ = bool(chunk)
            tail = (tail + chunk)[-TAIL_BYTES:]
        elif ended:
            break
        elif not open_:
            time.sleep(min(left, TURN_SECONDS))  # it has closed its output and works on
    return tail


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended at this very moment


def _last_line(tail: bytes) -> str:
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    last = "".join(c if c.isprintable() else "?" for c in last)
    return f": {last[:LINE_CHARACTERS]}" if last else ""
