"""One turnback at a time, one application at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from test_adoption import APPLICATION, applications, platform_in, settle

from bench_app import Bench
from mutants import Mutant, Place, demand, nothing
from turnback.adapters import journal as journals
from turnback.adapters.journal import SqliteJournal
from turnback.adapters.platforms import process
from turnback.core.phases import Intent
from turnback.entrypoints.assessing import assess
from turnback.entrypoints.command_line import run_intent
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import LeaseHeld
from two_sides import Silent

HOLDER = """
import sys
from pathlib import Path
from turnback.adapters.journal import Lease
with Lease(Path(sys.argv[1])) as lease:
    lease.acquire("rollback")
    print("held", flush=True)
    sys.stdin.read()
"""

# Dies between the launch and its record. argv: folder, tests' folder, where the launcher lies.
GUARD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_adoption import platform_in
from turnback.adapters.journal import SqliteJournal
from turnback.adapters.platforms import process

class Mortal(SqliteJournal):
    def append(self, kind, body, *, run=None):
        if kind == "process_started":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().append(kind, body, run=run)

process.__file__ = sys.argv[3]
folder = Path(sys.argv[1])
platform_in(folder, Mortal(folder / "state/journal.db")).start("sqlite")
"""


def two_turnbacks_at_once(place: Place) -> None:
    """The second is told who holds the lease, and has done nothing."""
    bench = Bench(place.folder / "lease", place.database.app_dsn, place.database.admin_dsn, rows=5)
    for name in ("APP_URL", "ADMIN_URL"):
        place.patch.setenv(name, bench.environment[name])
    with closing(Setup(load(bench.folder / "turnback.toml"))) as setup:
        assess(setup, Silent())
        words = [sys.executable, "-c", HOLDER, os.fspath(setup.state_folder / "lease")]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin is not None and holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            said = ""
            try:
                run_intent(setup, Intent.MIGRATE, {"again": False}, guarded=False)
            except LeaseHeld as e:
                said = str(e)
            holder.stdin.close()
        demand(not setup.state().runs, "two turnbacks acted at once")
        assert f"pid {holder.pid} " in said


def a_guard_that_dies_before_the_record_of_a_start(place: Place) -> None:
    """Nobody would find that application again: it must not come to life, and the next one is alone."""
    folder = place.folder / "launch"
    folder.mkdir()
    (folder / "app.py").write_text(APPLICATION)
    tests = Path(sys.modules["test_adoption"].__file__ or "").parent
    words = [sys.executable, "-c", GUARD, os.fspath(folder), os.fspath(tests), process.__file__]
    assert subprocess.run(words, timeout=60).returncode == -signal.SIGKILL
    place.patch.setattr(process, "__file__", process.__spec__.origin)  # the next guard is a proper one
    try:
        settle(folder)
        with SqliteJournal(folder / "state/journal.db") as journal:
            platform = platform_in(folder, journal)
            platform.start("sqlite")
            count = len(applications(folder))
            demand(count == 1, f"{count} applications run at once")
            platform.stop("sqlite", graceful_seconds=5)
    finally:
        for pid in applications(folder):
            os.kill(pid, signal.SIGKILL)


def _no_lock(place: Place) -> None:
    place.patch.setattr(journals.fcntl, "flock", nothing)


def _no_go_ahead(place: Place) -> None:
    """A launcher that does not wait, in a folder of its own."""
    original = Path(process.__file__)
    text = original.with_name("launch.py").read_text()
    waits = "if not os.read(fd, 1):"
    assert waits in text
    (place.folder / "launch.py").write_text(text.replace(waits, "if False:"))
    place.patch.setattr(process, "__file__", os.fspath(place.folder / original.name))


MUTANTS = {
    "the lease": Mutant(
        "the lease is not a lock",
        _no_lock,
        two_turnbacks_at_once,
        "two turnbacks acted at once",
    ),
    "the go-ahead of the launcher": Mutant(
        "the launcher executes the application before its start is in the journal",
        _no_go_ahead,
        a_guard_that_dies_before_the_record_of_a_start,
        "2 applications run at once",
    ),
}
