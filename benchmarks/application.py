"""The example application in a folder of its own, driven by the real commands, and paced traffic on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.entrypoints.demo_traffic import Client
from turnback.ports import Record

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "hyperpage"
START_SECONDS = 30.0
COMMAND_SECONDS = 3600.0
POLL_SECONDS = 0.05
CONFIG = """\
[sqlite]
path = "data/app.db"

[state]
allow_any_filesystem = true

[postgres]
mode = "existing"

[app]
platform = "process"
health = "http://127.0.0.1:{port}/api/health"
health_timeout_seconds = 60
stop_seconds = 5

[app.sqlite]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "true", DATABASE_PATH = "{{sqlite_path}}", PORT = "{port}" }}

[app.postgres]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "false", PORT = "{port}" }}
schema = "{python} {example}/migrate_postgres.py"

{choices}
"""


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Application:
    """Hyperpage with about `rows` rows in `folder`, on an embedded PostgreSQL, under a guard.

    `filled`: a file that was filled before; it is copied. `close` ends every process and removes the server.
    """

    def __init__(self, folder: Path, rows: int, filled: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.state = folder / "data" / "app.db.turnback"
        self._guard: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        database = folder / "data" / "app.db"
        if filled is not None:
            shutil.copyfile(filled, database)
        else:
            self._run([str(EXAMPLE / "fill.py"), str(database), "--rows", str(rows), "--seed", "1"])
        choices = (EXAMPLE / "choices.toml").read_text()
        (folder / "turnback.toml").write_text(
            CONFIG.format(port=self.port, python=sys.executable, example=EXAMPLE, choices=choices)
        )

    def start(self) -> None:
        """The guard, and through it the application on SQLite. Returns when it serves."""
        with (self.folder / "guard.log").open("ab") as out:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "turnback", "guard"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.serving():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the application did not start: {self._log()}")
            time.sleep(POLL_SECONDS)

    def serving(self) -> bool:
        """Whether something listens on the application's port."""
        with closing(socket.socket()) as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def turnback(self, *words: str) -> dict[str, Any]:
        """The command with --json, to its end. Raises RuntimeError where it fails."""
        value = json.loads(self._run(["-m", "turnback", *words, "--json"]))
        assert isinstance(value, dict)
        return value

    def step_seconds(self, intent: str) -> dict[str, float]:
        """Of the last run of that intent: how long each of its steps took, by the journal."""
        records = self._records()
        started = [r for r in records if r.kind == "run_started" and r.body["intent"] == intent]
        run = started[-1].run
        begun: dict[str, Record] = {}
        seconds: dict[str, float] = {}
        for record in records:
            if record.run != run:
                continue
            if record.kind == "step_started":
                begun[record.body["step"]] = record
            elif record.kind == "step_done":
                step = record.body["step"]
                seconds[step] = round((record.at - begun[step].at).total_seconds(), 3)
        return seconds

    def close(self) -> None:
        """No process of this application stays behind."""
        try:
            groups = {int(r.body["pid"]) for r in self._records() if r.kind == "process_started"}
            if self._guard is not None:
                self._guard.send_signal(signal.SIGTERM)
                self._guard.wait(60)
            for group in groups:
                try:
                    os.killpg(group, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # ended before
        finally:
            EmbeddedPostgres(self.state).remove()

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{words}: {done.returncode}\n{done.stderr[-3000:]}\n{self._log()}")
        return done.stdout

    def _log(self) -> str:
        path = self.folder / "guard.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _records(self) -> list[Record]:
        if not (self.state / "journal.db").exists():
            return []
        journal = SqliteJournal(self.state / "journal.db")
        try:
            return journal.records()
        finally:
            journal.close()


class Traffic:
    """`clients` threads that together try `per_second` writes a second, until `stop`.

    Each write has its own moment: one that is refused or late does not move the next.
    """

    def __init__(self, port: int, per_second: float, clients: int = 4) -> None:
        self._stopping = threading.Event()
        self._acknowledged: list[list[float]] = [[] for _ in range(clients)]  # moments (monotonic)
        self._threads = [
            threading.Thread(
                target=self._write,
                args=(f"http://127.0.0.1:{port}", n, clients / per_second, self._acknowledged[n]),
                name=f"client-{n}",
            )
            for n in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def pause(self, seconds: float) -> None:
        """Lets them write for so long."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> int:
        return sum(map(len, self._acknowledged))

    def longest_silence(self) -> float:
        """The longest time (seconds) in which no client was told that a write stands: what users see."""
        moments = sorted(at for told in self._acknowledged for at in told)
        return max((b - a for a, b in pairwise(moments)), default=0.0)

    def _write(self, url: str, number: int, every: float, acknowledged: list[float]) -> None:
        client = Client(url, "benchmark", number)
        due = time.monotonic() + every * number / len(self._acknowledged)
        try:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                attempt = client.step()
                now = time.monotonic()
                if attempt.outcome == "acknowledged":
                    acknowledged.append(now)
                due = max(due + every, now)  # what was missed while nobody served is not made up for
        finally:
            client.close()
