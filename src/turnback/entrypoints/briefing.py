"""`turnback brief`: gathers the facts of one page, without asking the server or holding the lease."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnback.app.status import assemble
from turnback.core.brief import Brief, Facts, brief
from turnback.core.incident import episodes
from turnback.core.plan import Plan
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError

_COLOURS = {True: "green", False: "red", None: "bold"}


def gather(setup: Setup) -> Brief:
    """From the journal, the plan, the guard's last report and the sizes of files."""
    config, records, state = setup.config, setup.journal.records(), setup.state()
    holder, reported, now = setup.lease.holder(), setup.reported() or {}, setup.clock.now()
    status = assemble(state, holder, reported or None, now)
    findings, baseline = setup.journal.last("findings"), setup.journal.last("baseline")
    return brief(
        Facts(
            now=now,
            state=state,
            next_command=status.next_command,
            findings=findings.body if findings is not None else None,
            plan=_plan(setup),
            episodes=episodes(records),
            baseline=baseline.body if baseline is not None else None,
            way_back_open=status.ready,
            reasons=status.reasons,
            warnings=status.warnings,
            rpo_seconds=status.rpo_seconds,
            guard_runs=holder is not None and str(holder["command"]).startswith(("guard", "exec")),
            reported=reported,
            rto_objective_seconds=config.rollback.rto_objective_seconds,
            rpo_objective_seconds=config.rollback.rpo_objective_seconds,
            keep_seconds=config.fallback.keep_seconds,
            database_bytes=_size(setup.sqlite.original()),
            fallback_bytes=_size(setup.sqlite.fallback),
            original_bytes=_size(setup.sqlite.kept),
            free_bytes=shutil.disk_usage(setup.sqlite.path.parent).free,
        )
    )


def _plan(setup: Setup) -> Plan | None:
    """The plan that counts; before assess there is none."""
    try:
        return setup.plan()
    except UsageError:
        return None  # no plan file yet, or not any more: the brief says what is known without


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def show(made: Brief) -> None:
    """On the terminal, without markup of anybody's but ours."""
    console = Console()
    console.print(f"[{_COLOURS[made.go]}]{escape(made.verdict)}[/]")
    for why in made.why:
        console.print(f"  {escape(why)}", soft_wrap=True)
    for heading, lines in made.parts:
        console.print(f"\n[bold]{heading}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
        table.add_column(overflow="fold", max_width=44)
        table.add_column(overflow="fold")
        for name, value in lines:
            table.add_row(escape(name), escape(value))
        console.print(table)
    console.print(f"\nnext: {escape(made.next_command)}")
