"""A whole move of the example application, driven by the real commands as a user would type them.

Used by the acceptance and crash tests: an application folder, the guard as a process of its own, clients that
write all the time, and the judge that reads nothing but the SQLite file.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from starter import STARTER
from turnback.adapters.journal import Lease, SqliteJournal

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "hyperpage"

CONFIG = """\
[sqlite]
path = "data/app.db"
busy_seconds = 5

[state]
allow_any_filesystem = true

[postgres]
url = "env:APP_URL"
admin_url = "env:ADMIN_URL"
mode = "existing"
slot = "{slot}"
slot_timeout_seconds = 20
lock_timeout_seconds = 20

[app]
platform = "process"
health = "http://127.0.0.1:{port}/api/health"
health_timeout_seconds = {health_timeout}
stop_seconds = 3

[app.sqlite]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "true", DATABASE_PATH = "{{sqlite_path}}", PORT = "{port}", FAULTS = "1" }}

[app.postgres]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "false", PORT = "{port}", FAULTS = "1"{postgres_env} }}
schema = "{python} {example}/migrate_postgres.py"
"""


_PORTS = itertools.count(secrets.randbelow(1500))


def free_port() -> int:
    """A free port that nobody else is given meanwhile: below those that the kernel hands out, each once, and
    other ones for each worker of pytest-xdist.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 20_000 + worker % 8 * 1500 + next(_PORTS) % 1500
        with closing(socket.socket()) as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Journey:
    """One application in one folder. `close` ends every process that it started."""

    def __init__(
        self,
        folder: Path,
        app_dsn: str,
        admin_dsn: str,
        *,
        rows: int = 200,
        slot: str = "turnback",
        health_timeout: float = 60,
        postgres_env: Mapping[str, str] | None = None,
        extra: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = os.environ | {"APP_URL": app_dsn, "ADMIN_URL": admin_dsn}
        self.database = folder / "data" / "app.db"
        self.state = folder / "data" / "app.db.turnback"
        self.traffic = folder / "traffic"
        self.stop_file = folder / "traffic.stop"
        self.clients: list[subprocess.Popen[bytes]] = []
        self.guards: list[subprocess.Popen[bytes]] = []
        (folder / "data").mkdir(parents=True)
        self.traffic.mkdir()
        self.python(str(EXAMPLE / "fill.py"), str(self.database), "--rows", str(rows), "--seed", "1")
        added = "".join(f', {k} = "{v}"' for k, v in (postgres_env or {}).items())
        text = CONFIG.format(
            slot=slot, port=self.port, health_timeout=health_timeout,
            python=sys.executable, example=EXAMPLE, postgres_env=added,
        )
        choices = EXAMPLE / "choices.toml"
        (folder / "turnback.toml").write_text(text + "\n" + (choices.read_text() if choices.exists() else "") + extra)

    def configure(self, old: str, new: str) -> None:
        """Changes turnback.toml, before anything is started."""
        path = self.folder / "turnback.toml"
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    # ---- processes ----

    def python(self, *words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def turnback(self, *words: str, failpoint: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The command to its end, whatever its exit status."""
        added = {"TURNBACK_FAILPOINT": failpoint} if failpoint else {}
        return STARTER.run(words, self.folder, self.environment | added, timeout)

    def ok(self, *words: str) -> dict[str, Any]:
        """The command with --json, which must succeed."""
        done = self.turnback(*words, "--json")
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.guard_log()}"
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def begin(self, *words: str, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        """The command as a process that is not waited for; its output goes to a file."""
        with (self.folder / "begun.log").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "turnback", *words],
                cwd=self.folder,
                env=self.environment | ({"TURNBACK_FAILPOINT": failpoint} if failpoint else {}),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )

    def start_guard(self, failpoint: str | None = None) -> None:
        """A guard, listening and with the application up."""
        before = len(self.records("guard_started"))
        with (self.folder / "guard.log").open("ab") as out:
            self.guards.append(
                subprocess.Popen(
                    [sys.executable, "-m", "turnback", "guard"],
                    cwd=self.folder,
                    env=self.environment | ({"TURNBACK_FAILPOINT": failpoint} if failpoint else {}),
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                )
            )
        self.wait_until(lambda: len(self.records("guard_started")) > before, "the guard listens")

    def guard_log(self) -> str:
        texts = [p.read_text(errors="replace") for p in (self.folder / "guard.log", self.state / "guard.log") if p.exists()]
        return "\n".join(texts)[-3000:]

    def guard_pid(self) -> int | None:
        lease = Lease(self.state / "lease")
        try:
            holder = lease.holder()
        finally:
            lease.close()
        return None if holder is None else int(holder["pid"])

    def kill_guard(self) -> None:
        """SIGKILL to whoever holds the lease."""
        pid = self.guard_pid()
        assert pid is not None, "nobody holds the lease"
        os.kill(pid, signal.SIGKILL)
        for guard in self.guards:
            if guard.pid == pid:
                guard.wait(60)
        self.wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "dead")

    # ---- journal ----

    def records(self, kind: str | None = None) -> list[Any]:
        if not (self.state / "journal.db").exists():
            return []
        journal = SqliteJournal(self.state / "journal.db")
        try:
            return journal.records(kind=kind)
        finally:
            journal.close()

    @staticmethod
    def wait_until(holds: Any, what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
            time.sleep(0.03)

    def wait_failpoint(self, name: str) -> None:
        self.wait_until(lambda: any(r.body["name"] == name for r in self.records("failpoint")), f"failpoint {name}")

    # ---- traffic ----

    def serving(self) -> bool:
        with closing(socket.socket()) as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start_clients(self, count: int = 2) -> None:
        self.wait_until(self.serving, "the application serves")
        for seed in range(count):
            out = self.traffic / f"client-{len(self.clients)}-{seed}.jsonl"
            words = (f"http://127.0.0.1:{self.port}", str(out), str(seed), str(self.stop_file), "--think", "0.01")
            self.clients.append(
                subprocess.Popen([sys.executable, "-m", "turnback.entrypoints.demo_traffic", *words])
            )

    def acknowledged(self) -> int:
        return sum(
            line.count('"acknowledged"') for p in self.traffic.glob("*.jsonl") for line in p.read_text().splitlines()
        )

    def wait_traffic(self, more: int = 20) -> None:
        """Until so many more writes were acknowledged."""
        goal = self.acknowledged() + more
        self.wait_until(lambda: self.acknowledged() >= goal, f"{more} more acknowledged writes")

    def stop_clients(self) -> None:
        self.stop_file.touch()
        for client in self.clients:
            assert client.wait(60) == 0, "a client failed"
        self.clients.clear()

    def judge(self) -> dict[str, Any]:
        self.stop_clients()
        self.stop_application()
        verdict = json.loads(
            self.python("-m", "turnback.entrypoints.demo_judge", str(self.database), str(self.traffic))
        )
        assert isinstance(verdict, dict)
        return verdict

    def stop_application(self) -> None:
        """The guard, then the application's groups, as the journal knows them."""
        pid = self.guard_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        for guard in self.guards:
            guard.wait(60)
        if pid is not None:
            self.wait_until(lambda: self.guard_pid() is None, "the guard has stopped")
        for number in (signal.SIGTERM, signal.SIGKILL):
            for record in self.records("process_started"):
                _signal_group(int(record.body["pid"]), number)
            deadline = time.monotonic() + 30
            while self.serving() and time.monotonic() < deadline:
                time.sleep(0.05)
        assert not self.serving(), "the application could not be stopped"

    def close(self) -> None:
        self.stop_file.touch()
        for client in self.clients:
            client.kill()
            client.wait()
        self.stop_application()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass
