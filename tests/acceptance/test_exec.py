"""`turnback exec -- CMD`: the entry point of a container runs CMD on whichever side the journal says."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench_app import Bench

# Says which side it was started on, and serves nobody.
APPLICATION = """
import os, time
with open("starts", "a") as file:
    print("postgres" if "DATABASE_URL" in os.environ else "sqlite", file=file)
time.sleep(600)
"""


@pytest.fixture
def bench(tmp_path: Path, database) -> Iterator[Bench]:
    made = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    (made.folder / "application.py").write_text(APPLICATION)
    yield made
    made.stop_guard()


def begin(bench: Bench) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "turnback", "exec", "--", sys.executable, "application.py"],
        cwd=bench.folder, env=bench.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    until(lambda: bench.ok("status")["guard"] is not None)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(60) == 0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_there_and_back_inside_a_container(bench: Bench) -> None:
    """The switch asks nobody, though the platform is manual: the application is exec's own child."""
    starts = bench.folder / "starts"
    said = lambda *sides: starts.exists() and starts.read_text().split() == list(sides)  # noqa: E731
    bench.ok("assess")
    bench.ok("migrate")
    container = begin(bench)
    try:
        until(lambda: said("sqlite"))
        assert bench.ok("cutover")["phase"] == "on_postgres"
        until(lambda: said("sqlite", "postgres"))
        end(container)
        assert running(bench) == []  # the container's stop ends the application too
        container = begin(bench)  # and its next start finds the side again
        until(lambda: said("sqlite", "postgres", "postgres"))
        assert bench.ok("rollback")["fenced"] is True
        until(lambda: said("sqlite", "postgres", "postgres", "sqlite"))
        assert len(running(bench)) == 1
    finally:
        end(container)
    assert running(bench) == []


def running(bench: Bench) -> list[int]:
    """Processes that run the application in this test's folder."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if words[1:2] == ["application.py"] and process.info["cwd"] == str(bench.folder):
            found.append(process.info["pid"])
    return found
