"""python -m benchmarks [assess|load|compare|capture|rollback|fidelity ...]: all, where none is named."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import assessment, capture, comparison, fidelity, load, rollback

RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "assess": assessment.run,
    "load": load.run,
    "compare": comparison.run,
    "capture": capture.run,
    "rollback": rollback.run,
    "fidelity": fidelity.run,
}


def circumstances() -> dict[str, Any]:
    """When, of which commit, on what kind of machine."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": done.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main(arguments: list[str]) -> int:
    """Prints one JSON document; progress goes to stderr. 1 when a goal of `rollback` was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    names = parser.parse_args(arguments).names or list(RUNS)
    if unknown := set(names) - set(RUNS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    report: dict[str, Any] = {"circumstances": circumstances()}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        report[name] = RUNS[name]()
    print(json.dumps(report, indent=2))
    return 0 if report.get("rollback", {"met": True})["met"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
