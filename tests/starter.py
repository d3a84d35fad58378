"""Starts the command from a process that has imported it already: what Python and its imports cost is paid once.

The command is a process of its own as ever: its environment, folder, output, exit status and end are its own, and
it ends as an interpreter does. What it shares with the others is that it was forked after `import turnback...`
instead of before. Guards, and all that a test sends signals to, are started as a user starts them.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST_REQUEST = 1 << 18


class Starter:
    """`run` is subprocess.run of `python -m turnback`, with output as text."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        request = json.dumps({"words": list(words), "folder": str(folder), "environment": dict(environment)})
        told, tells = os.pipe()
        with (
            open(os.devnull) as nothing,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            open(told) as answer,
        ):
            try:
                files = [nothing.fileno(), out.fileno(), err.fileno(), tells]
                socket.send_fds(self._connected(), [request.encode()], files)
            finally:
                os.close(tells)
            pid = int(answer.readline())
            ready, _, _ = select.select([answer], [], [], timeout)
            if not ready:
                os.kill(pid, signal.SIGKILL)
            status = answer.readline().strip()
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(list(words), int(status), out.read(), err.read())
        if not ready:
            raise subprocess.TimeoutExpired(done.args, timeout, done.stdout, done.stderr)
        return done

    def close(self) -> None:
        if self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.wait(60)
            self._process = self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_REQUEST)
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(other.fileno())],
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        return self._socket


STARTER = Starter()


def serve(requests: socket.socket) -> bool:
    """Forks for each request. Returns in the forked command, True, and at the end of the requests, False."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not message:
            return False
        if os.fork() == 0:
            requests.close()
            return wait_for_command(json.loads(message), files)
        for file in files:
            os.close(file)


def wait_for_command(request: dict[str, object], files: list[int]) -> bool:
    """In a process for each command: its parent, which tells its pid and its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, tells = files
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        for number, file in enumerate(standard):
            os.dup2(file, number)
            os.close(file)
        environment = request["environment"]
        assert isinstance(environment, dict) and isinstance(request["words"], list)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(str(request["folder"]))
        random.seed()
        sys.argv = ["turnback", *request["words"]]
        return True
    os.write(tells, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(tells, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    from turnback.entrypoints.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    gc.freeze()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        main()
