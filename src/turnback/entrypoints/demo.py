"""`turnback demo`: the example application moves to PostgreSQL and back under load, and a judge counts.

Everything is done by the real commands as processes of their own, as a user would type them. The clients
never pause at a switch and never retry; the judge reads nothing but the SQLite file and what the clients
were told.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.entrypoints.output import print_json, say
from turnback.errors import PlatformError, TurnbackError

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
health_timeout_seconds = 30
stop_seconds = 5

[app.sqlite]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "true", DATABASE_PATH = "{{sqlite_path}}", PORT = "{port}" }}

[app.postgres]
command = ["{python}", "{example}/app.py"]
env = {{ USE_SQLITE = "false", PORT = "{port}" }}
schema = "{python} {example}/migrate_postgres.py"
"""


@dataclass(slots=True)
class Timeline:
    """What happened when, shown as it happens."""

    begun: float = field(default_factory=time.monotonic)
    phases: list[tuple[str, float]] = field(default_factory=list)

    def say(self, text: str) -> None:
        say(f"{time.monotonic() - self.begun:7.2f} s  {text}")

    def phase(self, name: str) -> None:
        """A phase of the traffic begins now (wall clock, as the clients' records have it)."""
        self.phases.append((name, time.time()))
        self.say(name)


def run(*, as_json: bool, rows: int, seconds: float, keep: Path | None) -> int:
    """The whole demo. Returns the exit status: 1 when anything was lost, doubled or not verified."""
    example = _example()
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="turnback-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PlatformError(f"{folder} is not empty", hint="name a new folder")
    demo = _Demo(folder, example, rows, seconds)
    try:
        result = demo.play()
    finally:
        demo.end()
        if keep is None:
            shutil.rmtree(folder)
    if as_json:
        print_json(result)
    else:
        _print_summary(result)
    return 0 if passed(result) else 1


def passed(result: dict[str, Any]) -> bool:
    """Whether nothing was lost or doubled, all was verified, and every serving phase served."""
    served = all(p["acknowledged"] > 0 for p in result["phases"] if p["serving"])
    exact = result["lost"] == 0 and result["duplicated"] == 0 and result["refused_present"] == 0
    return exact and result["verified"] is True and served


def _example() -> Path:
    for parent in (Path.cwd(), *Path(__file__).resolve().parents):
        if (parent / EXAMPLE / "app.py").is_file():
            return parent / EXAMPLE
    raise PlatformError("the example application is not here", hint="run the demo in a clone of turnback")


class _Demo:
    def __init__(self, folder: Path, example: Path, rows: int, seconds: float) -> None:
        self.folder = folder
        self.example = example
        self.rows = rows
        self.seconds = seconds
        self.timeline = Timeline()
        self.port = _free_port()
        self.traffic = folder / "traffic"
        self.stop_file = folder / "traffic.stop"
        self.clients: list[subprocess.Popen[bytes]] = []
        self.guard: subprocess.Popen[bytes] | None = None
        self.database = folder / "data" / "hyperpage.db"
        self.state = folder / "data" / "hyperpage.db.turnback"

    def play(self) -> dict[str, Any]:
        say_ = self.timeline.say
        (self.folder / "data").mkdir()
        self.traffic.mkdir()
        say_(f"filling the example application with {self.rows} rows over eight tables")
        self._python(str(self.example / "fill.py"), str(self.database), "--rows", str(self.rows))
        config = CONFIG.format(port=self.port, python=sys.executable, example=self.example)
        choices = self.example / "choices.toml"
        (self.folder / "turnback.toml").write_text(
            config + ("\n" + choices.read_text() if choices.exists() else "")
        )
        log = (self.folder / "guard.log").open("wb")
        with log:
            self.guard = subprocess.Popen(
                self._turnback("guard"), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._await_application()
        say_("the application serves on SQLite; clients begin to write")
        self._start_clients()
        self.timeline.phase("on SQLite")
        self._pause()
        say_("turnback assess")
        self._command("assess")
        say_("turnback migrate")
        migrated = self._command("migrate")
        say_(f"migrated {migrated['rows']} rows, equal on both sides, while SQLite took writes")
        self._pause()
        self.timeline.phase("cutover")
        cutover = self._command("cutover")
        self.timeline.phase("on PostgreSQL")
        say_(f"PostgreSQL serves; downtime {cutover['downtime_seconds']:.2f} s")
        self._pause()
        self.timeline.phase("rollback")
        rollback = self._command("rollback", "--emergency", "--reason", "demo", "--yes")
        self.timeline.phase("on SQLite again")
        say_(f"SQLite serves again with every write; RTO {rollback['rto_measured_seconds']:.2f} s")
        self._pause()
        self._stop_clients()
        self._stop_guard_and_application()
        say_("the judge reads the SQLite file")
        verdict = json.loads(
            self._module("turnback.entrypoints.demo_judge", str(self.database), str(self.traffic))
        )
        return {
            "rows_migrated": migrated["rows"],
            "acknowledged": verdict["acknowledged"],
            "lost": verdict["lost"],
            "duplicated": verdict["duplicated"],
            "refused_present": verdict["refused_present"],
            "cutover_downtime_seconds": cutover["downtime_seconds"],
            "rto_seconds": rollback["rto_measured_seconds"],
            "rpo_seconds": rollback["rpo_measured_seconds"],
            "verified": migrated["verified"] and rollback["verified"],
            "phases": self._count_phases(),
            "details": verdict["details"],
        }

    def end(self) -> None:
        """Whatever happened: no process stays behind."""
        self._stop_clients()
        try:
            self._stop_guard_and_application()
        finally:
            EmbeddedPostgres(self.state).remove()

    # ---- processes ----

    def _turnback(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "turnback", *words]

    def _command(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            self._turnback(*words, "--json"),
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "hint"))]
            what = "; ".join(errors) or (done.stdout + done.stderr)[-2000:]
            raise TurnbackError(f"turnback {words[0]} ended with {done.returncode}: {what}", hint="")
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def _python(self, *words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise PlatformError(f"{words[0]} ended with {done.returncode}: {done.stderr[-500:]}", hint="")
        return done.stdout

    def _module(self, name: str, *words: str) -> str:
        return self._python("-m", name, *words)

    def _start_clients(self) -> None:
        for seed in range(CLIENTS):
            out = self.traffic / f"client-{seed}.jsonl"
            place = (f"http://127.0.0.1:{self.port}", str(out), str(seed), str(self.stop_file))
            words: Sequence[str] = (*place, "--think", "0.001")
            self.clients.append(
                subprocess.Popen([sys.executable, "-m", "turnback.entrypoints.demo_traffic", *words])
            )

    def _stop_clients(self) -> None:
        self.stop_file.touch()
        for client in self.clients:
            client.wait(timeout=30)
        self.clients.clear()

    def _stop_guard_and_application(self) -> None:
        if self.guard is None:
            return
        pids = _application_groups(self.state)
        self.guard.send_signal(signal.SIGTERM)
        self.guard.wait(timeout=30)
        self.guard = None
        for group in pids:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and _group_lives(group):
                time.sleep(0.02)

    def _await_application(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        log = (self.folder / "guard.log").read_text()[-1000:]
        raise PlatformError(f"the example application did not start: {log}", hint="")

    def _pause(self) -> None:
        time.sleep(self.seconds)

    def _count_phases(self) -> list[dict[str, Any]]:
        names = [name for name, _ in self.timeline.phases]
        starts = [at for _, at in self.timeline.phases]
        counts = [{"attempted": 0, "acknowledged": 0, "refused": 0} for _ in names]
        for path in sorted(self.traffic.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                attempt = json.loads(line)
                at = max((i for i, begun in enumerate(starts) if attempt["at"] >= begun), default=0)
                counts[at]["attempted"] += 1
                if attempt["outcome"] == "acknowledged":
                    counts[at]["acknowledged"] += 1
                else:
                    counts[at]["refused"] += 1
        return [{"name": n, "serving": n.startswith("on "), **c} for n, c in zip(names, counts, strict=True)]


def _application_groups(state: Path) -> set[int]:
    from turnback.adapters.journal import SqliteJournal

    journal = SqliteJournal(state / "journal.db")
    try:
        return {int(r.body["pid"]) for r in journal.records(kind="process_started")}
    finally:
        journal.close()


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


def _print_summary(result: dict[str, Any]) -> None:
    console = Console()
    phases = Table(title="Traffic", title_justify="left")
    for heading in ("phase", "attempted", "acknowledged", "refused"):
        phases.add_column(heading, justify="left" if heading == "phase" else "right")
    for p in result["phases"]:
        phases.add_row(p["name"], str(p["attempted"]), str(p["acknowledged"]), str(p["refused"]))
    console.print(phases)
    summary = Table(title="There and back", title_justify="left", show_header=False)
    for name in (
        "rows_migrated",
        "acknowledged",
        "lost",
        "duplicated",
        "cutover_downtime_seconds",
        "rto_seconds",
        "rpo_seconds",
        "verified",
    ):
        summary.add_row(name.replace("_", " "), str(result[name]))
    console.print(summary)
    for line in result["details"]:
        console.print(f"  {line}")
    console.print("[green]nothing was lost[/]" if passed(result) else "[red]FAILED[/]")
