"""A guard is killed anywhere around the start of the application: the next one never starts a second."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.platforms.environment import Surroundings
from turnback.adapters.platforms.process import ProcessPlatform, ProcessSide

APPLICATION = """
import os, time
with open("started", "a") as f:
    f.write(f"{os.getpid()}\\n")
while True:
    time.sleep(60)
"""

# argv: folder, where to die: before / after the record of the start, or never (then it waits).
GUARD = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_adoption import platform_in
from turnback.adapters.journal import SqliteJournal

class Mortal(SqliteJournal):
    def append(self, kind, body, *, run=None):
        if kind == "process_started" and sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        record = super().append(kind, body, run=run)
        if kind == "process_started" and sys.argv[3] == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return record

folder = Path(sys.argv[1])
print("go", flush=True)
platform_in(folder, Mortal(folder / "state/journal.db")).start("sqlite")
print("started", flush=True)
time.sleep(60)
"""


def platform_in(folder: Path, journal: SqliteJournal) -> ProcessPlatform:
    around = Surroundings(
        folder / "app.db", lambda: "postgresql://h/d", "DATABASE_URL", folder, folder / "log"
    )
    return ProcessPlatform(
        {"sqlite": ProcessSide((sys.executable, "-S", str(folder / "app.py")))}, around, journal
    )


def guard(folder: Path, dies: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", GUARD, str(folder), str(Path(__file__).parent), dies],
        stdout=subprocess.PIPE,
        text=True,
    )


def applications(folder: Path) -> list[int]:
    """Every live process that executes the application, whoever started it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-1:] == [str(folder / "app.py")] and "launch.py" not in str(
                process.cmdline()
            ):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def launchers(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "launch.py" in line and str(folder) in line:
            found.append(process.pid)
    return found


def settle(folder: Path) -> None:
    """A launcher without a parent ends by itself, within moments."""
    deadline = time.monotonic() + 60
    while launchers(folder):
        assert time.monotonic() < deadline, "a launcher outlived its guard"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "app.py").write_text(APPLICATION)
    try:
        yield tmp_path
    finally:
        for pid in applications(tmp_path):
            os.kill(pid, signal.SIGKILL)


def test_a_started_application_outlives_its_guard_and_is_adopted(folder: Path) -> None:
    with guard(folder, "never") as process:
        assert process.stdout is not None
        assert process.stdout.readline() + process.stdout.readline() == "go\nstarted\n"
        (pid,) = applications(folder)
        process.send_signal(signal.SIGKILL)
    with SqliteJournal(folder / "state/journal.db") as journal:
        platform = platform_in(folder, journal)
        assert platform.running("sqlite")
        assert platform.supervise("sqlite") == f"the running application was adopted (pid {pid})"
        platform.start("sqlite")
        assert applications(folder) == [pid]
        platform.stop("sqlite", graceful_seconds=5)
        assert applications(folder) == []


def test_sigterm_to_the_guard_leaves_the_application_running(folder: Path) -> None:
    with guard(folder, "never") as process:
        assert process.stdout is not None
        assert process.stdout.readline() + process.stdout.readline() == "go\nstarted\n"
        process.terminate()
    assert len(applications(folder)) == 1


@pytest.mark.parametrize("dies", ["before", "after"])
def test_killed_around_the_record_nothing_is_executed(folder: Path, dies: str) -> None:
    with guard(folder, dies) as process:
        assert process.stdout is not None
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    settle(folder)
    assert applications(folder) == []
    assert not (folder / "started").exists()
    with SqliteJournal(folder / "state/journal.db") as journal:
        assert (journal.last("process_started") is None) == (dies == "before")
        platform = platform_in(folder, journal)
        assert not platform.running("sqlite")
        platform.start("sqlite")
        assert len(applications(folder)) == 1
        platform.stop("sqlite", graceful_seconds=5)


def kill_at_random_points(folder: Path, kills: int, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    adopted = 0
    for _ in range(kills):
        with guard(folder, "never") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        settle(folder)
        before = applications(folder)
        assert len(before) <= 1
        with SqliteJournal(folder / "state/journal.db") as journal:
            platform = platform_in(folder, journal)
            assert platform.running("sqlite") == bool(before)
            platform.start("sqlite")
            now = applications(folder)
            assert len(now) == 1
            if before:
                assert now == before
                adopted += 1
            if chance.random() < 0.7:
                platform.stop("sqlite", graceful_seconds=5)
                assert applications(folder) == []
    print(f"adopted {adopted} of {kills}")


def test_killed_at_random_points_there_is_never_a_second(folder: Path) -> None:
    kill_at_random_points(folder, 8, random.SystemRandom().randrange(2**32))


@pytest.mark.long
def test_killed_at_random_points_many_times(folder: Path) -> None:
    kill_at_random_points(folder, 60, random.SystemRandom().randrange(2**32))
