"""Looking at the application: `turnback validate`, `turnback baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from turnback.entrypoints import baselines, output, validating
from turnback.entrypoints.command_line import MORE, ConfigOption, JsonOption, app, flag, opened
from turnback.entrypoints.config import FILE_NAME


@app.command(rich_help_panel=MORE)
def validate(
    config: ConfigOption = Path(FILE_NAME),
    watch: Annotated[
        bool, flag("--watch", "Then watch until everything was normal for `watch_seconds`.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The application now: endpoints, page, database, state, resources, log; each with what was expected.

    Exit status 1 when a check failed. Example: turnback validate --watch
    """
    with opened(config) as setup:
        report = validating.validate(setup)
        if not as_json:
            validating.print_report(report)
        normal = validating.await_normal(setup) if watch and report.ok else None
        if as_json:
            output.print_json(report.to_json() | ({"normal": normal} if watch else {}))
        elif normal is not None:
            print(f"back to normal: for {normal['seconds']:.0f} s, by {len(normal['judged'])} triggers")
            for trigger, why in normal["not_judged"].items():
                print(f"    not judged: {trigger}: {why}")
        if not report.ok:
            raise typer.Exit(1)


@app.command(rich_help_panel=MORE)
def baseline(
    config: ConfigOption = Path(FILE_NAME),
    seconds: Annotated[float, typer.Option(min=1, help="How long to record.", metavar="N")] = 60,
    as_json: JsonOption = False,
) -> None:
    """Record latency and errors while on SQLite: what the guard compares with later.

    It reads the metrics endpoint, and needs at least 100 requests. Example: turnback baseline --seconds 300
    """
    with opened(config) as setup:
        made = baselines.record(setup, seconds, output.TerminalProgress())
        if as_json:
            output.print_json(made.to_json())
        else:
            print(baselines.said(made))
