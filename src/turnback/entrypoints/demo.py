"""`turnback demo`: the example application moves to PostgreSQL and back under load, and a judge counts.

Everything is done by the real commands as processes of their own, as a user would type them; with
`automatic` the way back is the guard's own. The clients never pause at a switch and never retry; the judge
reads nothing but the SQLite file and what the clients were told.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnback.entrypoints import demo_automatic
from turnback.entrypoints.demo_stage import Stage, find_example
from turnback.entrypoints.output import print_json
from turnback.errors import PlatformError

Json = dict[str, Any]


def run(*, as_json: bool, rows: int, seconds: float, keep: Path | None, automatic: bool = False) -> int:
    """The whole demo. Returns the exit status: 1 when anything was lost, doubled or not verified, and with
    `automatic` when it was not the guard that rolled back, for the reason that was made.
    """
    example = find_example()
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="turnback-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PlatformError(f"{folder} is not empty", hint="name a new folder")
    stage = Stage(folder, example)
    try:
        result = play(stage, rows, seconds, automatic=automatic, keep=keep is not None)
    finally:
        stage.end()
        if keep is None:
            shutil.rmtree(folder)
    if as_json:
        print_json(result)
    else:
        _print_summary(result)
    return 0 if passed(result) else 1


def passed(result: Json) -> bool:
    """Whether nothing was lost or doubled, all was verified, and every serving phase served."""
    served = all(p["acknowledged"] > 0 for p in result["phases"] if p["serving"])
    exact = result["lost"] == 0 and result["duplicated"] == 0 and result["refused_present"] == 0
    told = result["automatic"]
    return exact and result["verified"] is True and served and (told is None or demo_automatic.passed(told))


def play(stage: Stage, rows: int, seconds: float, *, automatic: bool, keep: bool) -> Json:
    """There and back. `seconds` of traffic in each phase in which the application serves."""
    timeline = stage.timeline
    say = timeline.say
    say(f"filling the example application with {rows} rows over eight tables")
    stage.fill(rows, demo_automatic.CONFIG.format(url=stage.url) if automatic else "")
    stage.start_guard()
    say("the application serves on SQLite; clients begin to write")
    stage.start_clients()
    timeline.phase("on SQLite")
    time.sleep(seconds)
    say("turnback assess")
    stage.command("assess")
    say("turnback migrate")
    migrated = stage.command("migrate")
    say(f"migrated {migrated['rows']} rows, equal on both sides, while SQLite took writes")
    time.sleep(seconds)
    timeline.phase("cutover")
    cutover = stage.command("cutover")
    timeline.phase("on PostgreSQL")
    say(f"PostgreSQL serves; downtime {cutover['downtime_seconds']:.2f} s")
    if automatic:
        demo_automatic.explain(stage)
    time.sleep(seconds)
    decision = None
    if automatic:
        rollback, decision = demo_automatic.roll_back(stage)
    else:
        timeline.phase("rollback")
        rollback = stage.command("rollback", "--emergency", "--reason", "demo", "--yes")
    timeline.phase("on SQLite again")
    say(f"SQLite serves again with every write; RTO {rollback['rto_measured_seconds']:.2f} s")
    time.sleep(seconds)
    stage.quiet()
    say("the judge reads the SQLite file")
    verdict = stage.judge()
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
        "phases": timeline.traffic(stage.traffic),
        "details": verdict["details"],
        "automatic": None if decision is None else demo_automatic.account(stage, decision, keep),
    }


def _print_summary(result: Json) -> None:
    console = Console()
    phases = Table(title="Traffic", title_justify="left")
    for heading in ("phase", "attempted", "acknowledged", "refused"):
        phases.add_column(heading, justify="left" if heading == "phase" else "right")
    for p in result["phases"]:
        phases.add_row(p["name"], str(p["attempted"]), str(p["acknowledged"]), str(p["refused"]))
    console.print(phases)
    if result["automatic"] is not None:
        itself = Table(title="By itself", title_justify="left", show_header=False)
        for name, text in demo_automatic.rows(result["automatic"]):
            itself.add_row(name, escape(text))
        console.print(itself)
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
        console.print(f"  {escape(line)}")
    console.print("[green]nothing was lost[/]" if passed(result) else "[red]FAILED[/]")
    if result["automatic"] is None:
        console.print("turnback demo --automatic: PostgreSQL breaks, and the guard rolls back by itself")
