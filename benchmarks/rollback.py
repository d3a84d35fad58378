"""Rollback time does not grow with the database: two sizes, the same traffic, step by step."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.traffic import Traffic
from turnback.core.phases import Intent
from turnback.core.state import State
from turnback.entrypoints.demo_stage import Stage, find_example

SMALL, LARGE = 50_000, 5_000_000  # rows
WRITES_PER_SECOND = 50.0
TRAFFIC_SECONDS = 15.0
WINDOW = (  # the steps between the stop and the first healthy answer
    "stop_application",
    "fence_postgres",
    "drain_to_fence",
    "gate",
    "promote_fallback",
    "start_on_sqlite",
    "validate",
)
RATIO_WANTED, SECONDS_WANTED = 1.5, 10.0


@dataclass(frozen=True, slots=True)
class Rollback:
    """One there and back. Times in seconds; `silence` is what the clients saw during the rollback."""

    rows: int
    cutover_downtime: float
    acknowledged: int  # writes on PostgreSQL
    downtime: float
    rto: float
    silence: float
    verified: bool
    steps: dict[str, float]
    cutover_steps: dict[str, float]


def run(
    *,
    small: int = SMALL,
    large: int = LARGE,
    times: int = 3,
    large_times: int = 2,
    per_second: float = WRITES_PER_SECOND,
    seconds: float = TRAFFIC_SECONDS,
) -> dict[str, Any]:
    """The report: each rollback, the medians of both sizes, their ratio, and both times of each step."""
    measured = {
        "small": measure(small, times, per_second, seconds),
        "large": measure(large, large_times, per_second, seconds),
    }
    return report(measured, small, large)


def report(measured: dict[str, list[Rollback]], small: int, large: int) -> dict[str, Any]:
    """From the rollbacks of both sizes: keys "small" and "large"."""
    downtime = {size: median(r.downtime for r in them) for size, them in measured.items()}
    rto = {size: median(r.rto for r in them) for size, them in measured.items()}
    steps = {
        step: {size: median(r.steps[step] for r in them) for size, them in measured.items()}
        for step in WINDOW
    }
    cutover = {size: median(r.cutover_downtime for r in them) for size, them in measured.items()}
    ratio = rto["large"] / rto["small"]
    return {
        "runs": {size: [asdict(r) for r in them] for size, them in measured.items()},
        "downtime_seconds": downtime,
        "rto_measured_seconds": rto,
        "downtime_ratio": downtime["large"] / downtime["small"],
        "rto_ratio": ratio,
        "steps": steps,
        "cutover_downtime_seconds": cutover,
        "cutover_seconds_per_million_rows": (cutover["large"] - cutover["small"]) / (large - small) * 1e6,
        "wanted": f"ratio below {RATIO_WANTED}, both below {SECONDS_WANTED:.0f} s",
        "met": ratio < RATIO_WANTED and max(rto.values()) < SECONDS_WANTED,
    }


def measure(rows: int, times: int, per_second: float, seconds: float) -> list[Rollback]:
    """So many times there and back with a database of that size."""
    with tempfile.TemporaryDirectory(prefix="turnback-bench-") as folder:
        stage = Stage(Path(folder), find_example())
        try:
            stage.fill(rows)
            stage.start_guard()
            stage.command("assess")
            return [_there_and_back(stage, rows, n, per_second, seconds) for n in range(times)]
        finally:
            stage.end()


def _there_and_back(stage: Stage, rows: int, number: int, per_second: float, seconds: float) -> Rollback:
    stage.command("migrate", *(["--again"] if number else []))
    cutover = stage.command("cutover", "--yes")
    traffic = Traffic(stage.url, per_second)
    traffic.start()
    try:
        traffic.pause(seconds)
        written = traffic.acknowledged
        back = stage.command("rollback", "--emergency", "--reason", "benchmark", "--yes")
    finally:
        traffic.stop()
    state = stage.state()
    return Rollback(
        rows=rows,
        cutover_downtime=cutover["downtime_seconds"],
        acknowledged=written,
        downtime=back["downtime_seconds"],
        rto=back["rto_measured_seconds"],
        silence=round(traffic.longest_silence(), 3),
        verified=back["verified"],
        steps=_step_seconds(state, Intent.ROLLBACK),
        cutover_steps=_step_seconds(state, Intent.CUTOVER),
    )


def _step_seconds(state: State, intent: Intent) -> dict[str, float]:
    """Of the last run of that intent: how long each of its steps took, by the journal."""
    run = state.last(intent)
    assert run is not None
    times = run.step_times.items()
    return {step: round((end - begun).total_seconds(), 3) for step, (begun, end) in times if end is not None}
