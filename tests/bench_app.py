"""A small SQLite file of our own and its turnback.toml, for tests that need no application."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import apsw

from starter import STARTER

SCHEMA = """
CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE person (
  id INTEGER PRIMARY KEY AUTOINCREMENT, team_id INTEGER REFERENCES team (id), name TEXT, score REAL, picture BLOB,
  born DATETIME, active BOOLEAN NOT NULL DEFAULT 1
);
CREATE INDEX person_by_team ON person (team_id);
INSERT INTO team VALUES (1, 'red'), (2, 'blue');
"""

CONFIG = """\
[sqlite]
path = "app.db"
busy_seconds = 1

[state]
allow_any_filesystem = true

[postgres]
url = "env:APP_URL"
admin_url = "env:ADMIN_URL"
slot = "{slot}"
slot_timeout_seconds = 20
lock_timeout_seconds = 20
"""


class Bench:
    """A folder with app.db and turnback.toml, mode create, platform manual."""

    def __init__(self, folder: Path, app_dsn: str, admin_dsn: str, *, slot: str = "turnback", rows: int = 300, extra: str = "") -> None:
        self.folder = folder
        self.path = folder / "app.db"
        self.state = folder / "app.db.turnback"
        self.environment = os.environ | {"APP_URL": app_dsn, "ADMIN_URL": admin_dsn}
        folder.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(os.fspath(self.path))
        for _ in connection.execute("PRAGMA journal_mode=WAL"):
            pass
        for _ in connection.execute(SCHEMA):
            pass
        with connection:
            connection.executemany(
                "INSERT INTO person (team_id, name, score, picture, born, active) VALUES (?, ?, ?, ?, ?, ?)",
                [(1 + i % 2, f"name {i}", i / 7, bytes([i % 256]) * (i % 50), "2024-02-03 04:05:06", i % 2) for i in range(rows)],
            )
        connection.close()
        (folder / "turnback.toml").write_text(CONFIG.format(slot=slot) + extra)

    def turnback(self, *words: str, env: dict[str, str] | None = None, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return STARTER.run(words, self.folder, self.environment | (env or {}), timeout)

    def ok(self, *words: str, timeout: float = 180) -> dict[str, Any]:
        done = self.turnback(*words, "--json", timeout=timeout)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.guard_log()}"
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def refused(self, *words: str, env: dict[str, str] | None = None, status: int | None = None) -> str:
        """One clear line and a hint, no traceback; returns what was said on stderr."""
        done = self.turnback(*words, env=env)
        assert done.returncode != 0 and (status is None or done.returncode == status), (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr + (done.stdout if done.returncode == 3 else "")

    def guard_log(self) -> str:
        path = self.state / "guard.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def stop_guard(self) -> None:
        """SIGTERM to the lease's holder, waited for."""
        import signal
        import time

        from turnback.adapters.journal import Lease

        if not self.state.exists():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                lease = Lease(self.state / "lease")
                holder = lease.holder()
                lease.close()
                if holder is None:
                    return
                try:
                    os.kill(int(holder["pid"]), number)
                except ProcessLookupError:
                    return
                time.sleep(0.1)
