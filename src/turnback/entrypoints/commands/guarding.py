"""The guard: `turnback guard`, and `turnback exec` as the entry point of a container or unit."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from turnback.entrypoints import certificates, exec_command, output
from turnback.entrypoints.command_line import (
    MORE,
    ConfigOption,
    JsonOption,
    app,
    flag,
    opened,
)
from turnback.entrypoints.config import FILE_NAME
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError


@app.command(rich_help_panel=MORE)
def guard(
    config: ConfigOption = Path(FILE_NAME),
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Guard nothing: print what a recorded trace leads to, by turnback.toml as it stands.",
            metavar="FILE",
        ),
    ] = None,
    recorded_rules: Annotated[
        bool, flag("--recorded-rules", "With --replay: by the rules that the trace was recorded with.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The long-running owner of capture and of the application's processes; it watches, and decides.

    SIGTERM leaves the application and PostgreSQL running; a new guard adopts them.

    Example: turnback guard --replay data/app.db.turnback/trace.jsonl
    """
    if replay is not None:
        from turnback.entrypoints import replaying

        told = replaying.replayed(replay, None if recorded_rules else load(config))
        if as_json:
            output.print_json(told)
        else:
            replaying.show(told)
        return
    if recorded_rules or as_json:
        raise UsageError(
            "--recorded-rules and --json belong to --replay", hint="turnback guard --replay FILE --json"
        )
    with opened(config) as setup:
        serve(setup, "guard")


def serve(setup: Setup, name: str) -> None:
    """Guards until SIGTERM or SIGINT."""
    from turnback.entrypoints.guarding import Guarding  # with uvicorn: no other command waits for its import

    setup.lease.acquire(name)
    certificates.prepare()
    guarding = Guarding(setup, name)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: guarding.guard.stopping.set())
    guarding.run()


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
