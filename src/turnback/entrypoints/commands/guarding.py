"""The guard: `turnback guard`, and `turnback exec` as the entry point of a container or unit."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from turnback.app.guard import Guard
from turnback.entrypoints import certificates, exec_command, output
from turnback.entrypoints.command_line import (
    MORE,
    ConfigOption,
    app,
    opened,
)
from turnback.entrypoints.config import FILE_NAME
from turnback.entrypoints.wiring import Setup


@app.command(rich_help_panel=MORE)
def guard(config: ConfigOption = Path(FILE_NAME)) -> None:
    """The long-running owner of capture and of the application's processes.

    SIGTERM leaves the application and PostgreSQL running; a new guard adopts them.
    """
    with opened(config) as setup:
        serve(setup, "guard")


def serve(setup: Setup, name: str) -> None:
    """Guards until SIGTERM or SIGINT."""
    setup.lease.acquire(name)
    certificates.prepare()
    the_guard = Guard(
        journal=setup.journal,
        clock=setup.clock,
        platform=setup.platform,
        make_engine=lambda intent: setup.engine(
            setup.plan(intent),
            progress=output.ReportedProgress(setup.progress_file),
            announce=lambda s: output.say(f"  {s}"),
        ),
        keep_server=setup.keep_server,
        status_file=setup.status_file,
        say=output.say,
        contact=setup.last_contact(),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: the_guard.stopping.set())
    the_guard.run()


@app.command(name="exec", rich_help_panel=MORE, context_settings={"ignore_unknown_options": True})
def exec_(
    command: Annotated[list[str], typer.Argument(help="The application's command, after --.")],
    config: ConfigOption = Path(FILE_NAME),
) -> None:
    """The guard as the entry point of the application's container or unit.

    Example: turnback exec -- python app.py
    """
    with opened(config) as setup:
        exec_command.run(setup, tuple(command), serve)
