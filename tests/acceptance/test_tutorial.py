"""The tutorial, typed as it stands: each command works, and shows what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from journey import ROOT, free_port

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BY_OTHERS = ("make ", ". .venv", "cp -r", "turnback guard", "pkill", "cd ..")  # done here otherwise
WHERE = "/var/tmp/hyperpage"


def blocks() -> Iterator[tuple[str, str]]:
    """(language, text) of what stands between fences."""
    yield from re.findall(r"(?ms)^```(\w*)\n(.*?)^```", PAGE)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines that the page shows below it."""
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        lines = part.splitlines()
        count = 1
        while lines[count - 1].endswith("\\") or (lines[0].count('"') % 2 and count < 2):
            count += 1
        yield "\n".join(lines[:count]), lines[count:]


def shape(line: str) -> str:
    """What does not differ from run to run."""
    line = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UUID", line)
    line = re.sub(r"\b\w+@[\w.-]+(?=:)", "WHO", line)
    return " ".join(re.sub(r"[0-9][0-9A-F./:TZ]*", "N", line).split())


@pytest.mark.long
def test_each_command_shows_what_the_page_shows(tmp_path: Path) -> None:
    port = str(free_port())
    folder = tmp_path / "hyperpage"
    shutil.copytree(ROOT / "examples" / "hyperpage", folder)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "110"}

    def typed(command: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", here(command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        expected = (0, 3) if command == "turnback assess" else (0,)
        assert done.returncode in expected, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines() + done.stderr.splitlines()

    def here(text: str) -> str:
        return text.replace("3000", port).replace(WHERE, str(folder))

    missing = []
    with guards(folder, environment) as guard:
        first_toml = True
        for language, block in blocks():
            if language == "toml":
                with (folder / "turnback.toml").open("w" if first_toml else "a") as file:
                    file.write(here(block) + "\n")
                first_toml = False
                continue
            for command, shown in commands(block):
                if command == "turnback guard":
                    guard.start()
                    await_health(port)
                if command.startswith(BY_OTHERS) or command == "turnback server remove --yes":
                    continue
                said = {shape(line) for line in typed(command)}
                for line in shown:
                    if "..." in line or line[:1] in "┏┃┡│└-d" or not line.strip():
                        continue  # shortened, or the widths of a table and the sizes of files
                    if shape(here(line)) not in said:
                        missing.append(f"{command}\n    not shown: {line}\n    but: " + "\n         ".join(sorted(said)))
        assert missing == [], "\n".join(missing)
        assert "guards " in guard.log.read_text() and "tells nobody" in guard.log.read_text()


class Guard:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment, self.log = folder, environment, folder.parent / "guard.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                ["turnback", "guard"], cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )


@contextmanager
def guards(folder: Path, environment: dict[str, str]) -> Iterator[Guard]:
    guard = Guard(folder, environment)
    try:
        yield guard
    finally:
        if guard.process is not None:
            guard.process.send_signal(signal.SIGINT)
            guard.process.wait(60)
        applications = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["python", "app.py"]]
        for process in applications:  # as the page does it, of this folder only
            if process.cwd() == str(folder):
                process.terminate()
        subprocess.run(["turnback", "server", "remove", "--yes"], cwd=folder, env=environment, check=True, timeout=120)


def await_health(port: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the application does not serve")
