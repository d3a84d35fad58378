"""Proof and care: plan, verify, resume, server, fallback, demo."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from turnback.app.engine import check
from turnback.app.status import assemble
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.entrypoints import certificates, embedded_server, follow, output, verifying, worlds
from turnback.entrypoints.command_line import (
    MORE,
    ConfigOption,
    JsonOption,
    YesOption,
    app,
    caller,
    flag,
    opened,
    run_intent,
)
from turnback.entrypoints.config import FILE_NAME
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError


@app.command(rich_help_panel=MORE)
def plan(
    config: ConfigOption = Path(FILE_NAME),
    as_json: JsonOption = False,
) -> None:
    """The plan: what each table and column becomes, and the statements that make it."""
    from turnback.entrypoints import assessing

    with opened(config) as setup:
        assessing.show_plan(setup, as_json)


@app.command(rich_help_panel=MORE)
def verify(
    config: ConfigOption = Path(FILE_NAME),
    full: Annotated[
        bool, flag("--full", "Every row of every table, with a certificate (the default).")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="This many random rows, on a way that shares no code with the comparison of --full.",
            metavar="N",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="With --sample: the seed that was printed, for the same rows.", metavar="S"),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Compare nothing: check the seal of this certificate.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that both sides hold the same data, now.

    --full leaves a certificate beside the journal: a JSON file, sealed, and a page to print or to send.

    Example: turnback verify --sample 1000
    """
    if (full, sample is not None, certificate is not None).count(True) > 1 or (
        seed is not None and not sample
    ):
        raise UsageError(
            "--full, --sample and --certificate are three different things, and --seed belongs to --sample",
            hint="give one of them",
        )
    if certificate is not None:
        document = certificates.check(certificate)
        if as_json:
            output.print_json({"seal": "holds", "certificate": document})
        else:
            print(certificates.said(document))
        return
    with opened(config) as setup:
        if sample is not None:
            from turnback.entrypoints import sampling

            sampled = sampling.sample(setup, output.TerminalProgress(), sample, seed)
            if as_json:
                output.print_json(sampled.to_json())
            else:
                output.print_sample(sampled)
            if not sampled.equal:
                raise typer.Exit(1)
            return
        result = verifying.verify(setup, output.TerminalProgress(), caller())
        if as_json:
            output.print_json(result.to_json())
        else:
            print(result.headline())
            print(f"certificate: {result.path} (and .html)")
        if not result.equal:
            raise typer.Exit(1)


@app.command(rich_help_panel=MORE)
def resume(config: ConfigOption = Path(FILE_NAME), as_json: JsonOption = False) -> None:
    """Go on with whatever was interrupted."""
    with opened(config) as setup:
        state = setup.state()
        unfinished = state.unfinished
        if unfinished is not None:
            resume_run(setup, state.open_run)
        result = {"resumed": unfinished, "phase": setup.state().phase.value}
        if as_json:
            output.print_json(result)
        else:
            went = f"the {unfinished} has ended" if unfinished else "nothing was interrupted"
            print(f"{went}; the phase is {result['phase']}")


def resume_run(setup: Setup, run: Run | None) -> None:
    """The guard goes on by itself when it starts; all but a cutover need none."""
    after = setup.journal.records()[-1].sequence
    if run is not None and run.intent is Intent.CUTOVER and follow.guard_pid(setup) is None:
        follow.ensure_guard(setup)
        follow.follow_run(setup, after, run.id)
    elif follow.guard_pid(setup) is not None:
        follow.ask(setup, "resume", {})
    else:
        setup.lease.acquire("resume")
        engine = worlds.engine(
            setup, setup.plan(), progress=output.TerminalProgress(), announce=lambda s: output.say(f"  {s}")
        )
        try:
            engine.resume()
        finally:
            engine.release()


class ServerAction(StrEnum):
    """What `turnback server` does."""

    STATUS = "status"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"


@app.command(rich_help_panel=MORE)
def server(
    action: Annotated[ServerAction, typer.Argument(help="status, start, stop, or remove (with its data).")],
    config: ConfigOption = Path(FILE_NAME),
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """The embedded PostgreSQL: it outlives guard and commands, and is stopped here.

    Example: turnback server stop
    """
    with opened(config) as setup:
        running = embedded_server.act(setup, action.value, yes=yes)
        if as_json:
            output.print_json({"running": running})
        else:
            print(f"the embedded PostgreSQL {'runs' if running else 'does not run'}")


class FallbackAction(StrEnum):
    """What `turnback fallback` does."""

    REBUILD = "rebuild"


@app.command(rich_help_panel=MORE)
def fallback(
    action: Annotated[
        FallbackAction, typer.Argument(help="rebuild: a new slot, and a fallback equal from there on.")
    ],
    config: ConfigOption = Path(FILE_NAME),
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """The way back when the fallback or its slot is lost: made anew from the kept original and PostgreSQL.

    The application serves on. Example: turnback fallback rebuild
    """
    assert action is FallbackAction.REBUILD
    with opened(config) as setup:
        check(setup.state(), Intent.REBUILD, {})
        now = assemble(setup.state(), setup.lease.holder(), setup.reported(), setup.clock.now())
        if now.ready and not yes:
            output.say("the way back is open; until the new fallback is ready there will be none")
            if not sys.stdin.isatty():
                raise UsageError(
                    "an open way back is given up only when somebody says so", hint="repeat with --yes"
                )
            if not typer.confirm("Make the fallback anew?", err=True):
                raise typer.Exit(1)
        run = run_intent(setup, Intent.REBUILD, {}, guarded=True)
        rows = run.done["correct_rows"]["rows"]
        streaming = run.done["start_capture"]["streaming"]
        if as_json:
            output.print_json({"rows": rows, "streaming": streaming, "phase": setup.state().phase.value})
        else:
            print(
                f"the fallback is new, proven equal; {sum(rows.values())} rows differed from the original. "
                + ("Capture streams: the way back is open" if streaming else "turnback status says the rest")
            )


@app.command(name="demo", rich_help_panel=MORE)
def demo_(
    as_json: JsonOption = False,
    rows: Annotated[
        int, typer.Option(help="Rows to fill the example application with.", metavar="N")
    ] = 50_000,
    seconds: Annotated[
        float, typer.Option(help="Seconds of traffic in each serving phase.", metavar="S")
    ] = 8.0,
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything in this new folder.", metavar="DIR")
    ] = None,
    automatic: Annotated[
        bool, flag("--automatic", "PostgreSQL breaks under load, and the guard rolls back by itself.")
    ] = False,
) -> None:
    """All of it in a minute: an embedded PostgreSQL, the example application, under load, there and back.

    Example: turnback demo --automatic
    """
    from turnback.entrypoints import demo

    raise typer.Exit(demo.run(as_json=as_json, rows=rows, seconds=seconds, keep=keep, automatic=automatic))
