"""What the demo plays on: a folder, the example application under its guard, clients, and a clock."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.state import State
from turnback.entrypoints.output import say
from turnback.errors import PlatformError, TurnbackError
from turnback.ports import Record

CLIENTS = 4
EXAMPLE = Path("examples") / "hyperpage"

CONFIG = """\
[sqlite]
path = "data/hyperpage.db"

[state]
allow_any_filesystem = true

[postgres]
mode = "existing"

[app]
platform = "process"
health = "http://127.0.0.1:{port}/api/health"
stop_seconds = 5

[app.sqlite]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "true", DATABASE_PATH = "{{sqlite_path}}", PORT = "{port}" }}

[app.postgres]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "false", PORT = "{port}" }}
schema = "{python} {example}/migrate_postgres.py"
"""


def find_example() -> Path:
    """The example application's folder. Raises PlatformError where there is no clone around."""
    for parent in (Path.cwd(), *Path(__file__).resolve().parents):
        if (parent / EXAMPLE / "app.py").is_file():
            return parent / EXAMPLE
    raise PlatformError("the example application is not here", hint="run the demo in a clone of turnback")


@dataclass(slots=True)
class Timeline:
    """What happened when, shown as it happens."""

    begun: float = field(default_factory=time.monotonic)
    begun_at: float = field(default_factory=time.time)
    phases: list[tuple[str, float]] = field(default_factory=list)

    def say(self, text: str) -> None:
        say(f"{time.monotonic() - self.begun:7.2f} s  {text}")

    def phase(self, name: str, at: datetime | None = None) -> None:
        """A phase of the traffic begins, now without `at` (wall clock, as the clients' records have it)."""
        self.phases.append((name, time.time() if at is None else at.timestamp()))
        self.say(name)

    def seconds(self, at: datetime) -> float:
        """That moment on the demo's clock."""
        return round(at.timestamp() - self.begun_at, 2)

    def traffic(self, records: Path) -> list[dict[str, Any]]:
        """What the clients were told in each phase; an attempt belongs to the phase that it was sent in."""
        names = [name for name, _ in self.phases]
        starts = [at for _, at in self.phases]
        counts = [{"attempted": 0, "acknowledged": 0, "refused": 0} for _ in names]
        for path in sorted(records.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                attempt = json.loads(line)
                at = max((i for i, begun in enumerate(starts) if attempt["at"] >= begun), default=0)
                counts[at]["attempted"] += 1
                if attempt["outcome"] == "acknowledged":
                    counts[at]["acknowledged"] += 1
                else:
                    counts[at]["refused"] += 1
        return [{"name": n, "serving": n.startswith("on "), **c} for n, c in zip(names, counts, strict=True)]


class Stage:
    """`folder` is new and empty, and everything lies in it."""

    def __init__(self, folder: Path, example: Path) -> None:
        self.folder = folder
        self.example = example
        self.timeline = Timeline()
        self.port = _free_port()
        self.traffic = folder / "traffic"
        self.database = folder / "data" / "hyperpage.db"
        self.server = EmbeddedPostgres(folder / "data" / "hyperpage.db.turnback")
        self._journal = folder / "data" / "hyperpage.db.turnback" / "journal.db"
        self._stop_file = folder / "traffic.stop"
        self._clients: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fill(self, rows: int, more_config: str = "") -> None:
        """The application's database and turnback.toml."""
        self.database.parent.mkdir()
        self.traffic.mkdir()
        self._python(str(self.example / "fill.py"), str(self.database), "--rows", str(rows))
        config = CONFIG.format(port=self.port, python=sys.executable, example=self.example)
        choices = (self.example / "choices.toml").read_text()
        (self.folder / "turnback.toml").write_text("\n".join((config, more_config, choices)))

    def start_guard(self) -> None:
        """It starts the application; returns when that takes connections."""
        with (self.folder / "guard.log").open("wb") as log:
            self._guard = subprocess.Popen(
                self._turnback("guard"), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise PlatformError(f"the example application did not start: {self.guard_log()}", hint="")

    def guard_log(self) -> str:
        """Its end."""
        return (self.folder / "guard.log").read_text()[-1000:]

    def start_clients(self) -> None:
        for seed in range(CLIENTS):
            out = self.traffic / f"client-{seed}.jsonl"
            words: Sequence[str] = (self.url, str(out), str(seed), str(self._stop_file), "--think", "0.001")
            self._clients.append(
                subprocess.Popen([sys.executable, "-m", "turnback.entrypoints.demo_traffic", *words])
            )

    def command(self, *words: str) -> dict[str, Any]:
        """A command of turnback's, with --json. Raises TurnbackError with what it said when it fails."""
        done = subprocess.run(
            self._turnback(*words, "--json"), cwd=self.folder, capture_output=True, text=True
        )
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "hint"))]
            what = "; ".join(errors) or (done.stdout + done.stderr)[-2000:]
            raise TurnbackError(f"turnback {words[0]} ended with {done.returncode}: {what}", hint="")
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def records(self, kind: str | None = None) -> list[Record]:
        """The journal, as it is now."""
        with closing(SqliteJournal(self._journal)) as journal:
            return journal.records(kind=kind)

    def state(self) -> State:
        """What the journal comes to."""
        with closing(SqliteJournal(self._journal)) as journal:
            return journal.state()

    def judge(self) -> dict[str, Any]:
        """What the clients were promised against what the SQLite file holds."""
        words = ("-m", "turnback.entrypoints.demo_judge", str(self.database), str(self.traffic))
        verdict = json.loads(self._python(*words))
        assert isinstance(verdict, dict)
        return verdict

    def quiet(self) -> None:
        """Clients, guard and application have ended."""
        self._stop_file.touch()
        for client in self._clients:
            client.wait(timeout=30)
        self._clients.clear()
        if self._guard is None:
            return
        groups = {int(r.body["pid"]) for r in self.records("process_started")}
        self._guard.send_signal(signal.SIGTERM)
        self._guard.wait(timeout=30)
        self._guard = None
        for group in groups:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and _group_lives(group):
                time.sleep(0.02)

    def end(self) -> None:
        """Whatever happened: no process stays behind."""
        try:
            self.quiet()
        finally:
            self.server.remove()

    def _turnback(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "turnback", *words]

    def _python(self, *words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise PlatformError(
                f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr[-500:]}", hint=""
            )
        return done.stdout


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    assert isinstance(port, int)
    return port
