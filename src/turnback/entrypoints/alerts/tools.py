"""What promtool and amtool say about exported files."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from turnback.entrypoints.alerts.prometheus import RULES, TOKEN_FILE

Result = Literal["passed", "failed", "not run"]
SECONDS = 300.0  # for one of them; the rules' tests take a few
# Alertmanager 0.26 reads a webhook's address from a file; an older amtool knows no such key.
TOO_OLD = re.compile(r"field url_file not found")


@dataclass(frozen=True, slots=True)
class Judged:
    """What was run, and what came of it; `detail` is the tool's own words, or why it did not run."""

    what: str
    result: Result
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "result": self.result, "detail": self.detail}


def judge(folder: Path) -> Iterator[Judged]:
    """Every check that there is a tool for; the others as "not run"."""
    return (run(folder, *words) for words in checks(folder))


def checks(folder: Path) -> list[tuple[str, ...]]:
    """The tools with their arguments. promtool asks for the token too, which is not exported."""
    without = () if (folder / TOKEN_FILE).exists() else ("--syntax-only",)
    return [
        ("promtool", "check", "config", *without, "prometheus.yml"),
        ("promtool", "check", "rules", RULES),
        ("promtool", "test", "rules", "rules_test.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ]


def run(folder: Path, tool: str, *arguments: str) -> Judged:
    """One of them, in the folder of the files."""
    what = " ".join((tool, *arguments))
    if shutil.which(tool) is None:
        return Judged(what, "not run", f"{tool} is not installed")
    try:
        done = subprocess.run(
            [tool, *arguments], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Judged(what, "failed", f"no answer within {SECONDS:.0f} s")
    except OSError as e:
        return Judged(what, "not run", f"{tool} cannot be run: {e.strerror}")
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        return Judged(what, "passed", said)
    if TOO_OLD.search(said):
        return Judged(what, "not run", f"this {tool} is older than 0.26 and cannot read url_file")
    return Judged(what, "failed", said)
