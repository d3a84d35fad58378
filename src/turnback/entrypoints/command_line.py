"""What every command shares: the Typer application, options, the opened setup, the run of an intent."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from turnback.app.engine import check, describe
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.entrypoints import follow, output, worlds
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError
from turnback.ports import Side

MORE = "More"


class Interrupted(Exception):
    """Ctrl-C in a command; the text says who goes on."""


class Commands(TyperGroup):
    """typer would make of Ctrl-C an exit without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as e:
            said = str(e) or "`turnback status` says what is next, `turnback resume` goes on"
            raise Interrupted(said) from None


app = typer.Typer(
    name="turnback",
    cls=Commands,
    help="Moves an application from SQLite to PostgreSQL, and back without losing a write.",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def flag(name: str, meaning: str) -> Any:
    """An option without a value; --help shows no type behind it."""
    return typer.Option(name, help=meaning, metavar="")


ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.", metavar="FILE")]
JsonOption = Annotated[bool, flag("--json", "One JSON document on stdout; progress on stderr.")]
DryRunOption = Annotated[bool, flag("--dry-run", "Show each step and command; do nothing.")]
YesOption = Annotated[bool, flag("--yes", "Answer yes where it asks.")]


@contextmanager
def opened(config: Path) -> Iterator[Setup]:
    """The application behind the configuration file, closed at the end."""
    setup = Setup(load(config))
    try:
        yield setup
    finally:
        setup.close()


def run_intent(setup: Setup, intent: Intent, options: dict[str, Any], *, guarded: bool) -> Run:
    """Through the guard where one listens (or where `guarded` asks for one), else in this process."""
    check(setup.state(), intent, options)
    options |= {"by": caller()}
    plan = setup.plan(intent)
    options |= {"plan": setup.record_plan(plan)}
    if guarded:
        follow.ensure_guard(setup)
    if follow.guard_pid(setup) is not None:
        follow.ask(setup, intent.value, options)
    else:
        setup.lease.acquire(intent.value)
        engine = worlds.engine(
            setup, plan, progress=output.TerminalProgress(), announce=lambda s: output.say(f"  {s}")
        )
        try:
            engine.execute(intent, options)
        finally:
            engine.release()
    return setup.state().runs[-1]


def consent(setup: Setup, intent: Intent, yes: bool) -> None:
    """Platform manual: a person stops and starts the application, and says so before anything begins."""
    if setup.config.app.platform != "manual" or yes or follow.runs_the_application(setup):
        return
    sides: tuple[Side, Side] = ("sqlite", "postgres")
    here, there = sides if intent is Intent.CUTOVER else reversed(sides)
    for sentence in setup.platform.describe("stop", here):
        output.say(sentence)
    if not sys.stdin.isatty():
        raise UsageError(
            "somebody must stop the application, and nobody can be asked here",
            hint="stop it, then repeat with --yes (or configure [app] platform)",
        )
    if not typer.confirm(
        f"Is it stopped? It may be started on {there} when this command has ended", err=True
    ):
        raise typer.Exit(1)


def show_steps(setup: Setup, intent: Intent, options: dict[str, Any], as_json: bool) -> None:
    check(setup.state(), intent, options)
    engine = worlds.engine(setup, setup.plan(), progress=output.TerminalProgress(), announce=output.say)
    steps = describe(engine.world, intent, options)
    if as_json:
        output.print_json(
            {"intent": intent.value, "steps": [{"step": n, "runs": lines} for n, lines in steps]}
        )
    else:
        output.print_steps(steps)


def caller() -> str:
    """Who acts, for the journal and for certificates."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
