"""The seven commands of a move: init, assess, migrate, cutover, status, rollback; and `turnback` alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnback import __version__
from turnback.app.engine import check
from turnback.app.status import Status, assemble
from turnback.app.steps_rollback import summary
from turnback.core.findings import blocking
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.core.watch import by_hand
from turnback.core.watch.rules import BY_HAND, SEVERITIES
from turnback.entrypoints import certificates, output, picture
from turnback.entrypoints import init as first
from turnback.entrypoints.command_line import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    YesOption,
    app,
    consent,
    flag,
    opened,
    run_intent,
    show_steps,
)
from turnback.entrypoints.config import FILE_NAME
from turnback.entrypoints.wiring import Setup
from turnback.errors import NeedsChoice, UsageError

if TYPE_CHECKING:
    from turnback.app.assess import Assessment


@app.callback(invoke_without_command=True)
def bare(
    context: typer.Context,
    version: Annotated[bool, flag("--version", "Show the version.")] = False,
) -> None:
    """Without a command: the status and the next command."""
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        if not Path(FILE_NAME).exists():
            print("There is no turnback.toml here. The next command is: turnback init   (or: turnback demo)")
            raise typer.Exit
        status()


@app.command()
def init(
    sqlite: Annotated[
        Path | None, typer.Option(help="The application's SQLite file.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the smallest turnback.toml from what is found here.

    Example: turnback init --sqlite data/app.db
    """
    path = first.write_config(Path.cwd(), sqlite)
    if as_json:
        output.print_json({"written": str(path), "next_command": "turnback assess"})
    else:
        print(f"wrote {path.name}; look at it, then: turnback assess")


@app.command()
def assess(
    config: ConfigOption = Path(FILE_NAME),
    html: Annotated[
        Path | None,
        typer.Option(help="Also write it as one page, to read, print or send.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Profile every value, try every right, and write turnback.plan.json.

    All findings at once. Exit status 3 when some need a choice.

    Example: turnback assess --html assessment.html
    """
    from turnback.entrypoints import assessing  # with sqlglot: no other command waits for its import

    with opened(config) as setup:
        assessment = assessing.assess(setup, output.TerminalProgress())
        if html is not None:
            write_page(setup, assessment, html)
        if as_json:
            output.print_json(assessment.to_json())
        else:
            output.print_assessment(assessment)
        if blocking(assessment.findings):
            raise typer.Exit(NeedsChoice.exit_status)
        if not as_json:
            print(f"wrote {setup.config.plan_path.name}; review it, commit it, then: turnback migrate")


def write_page(setup: Setup, assessment: Assessment, path: Path) -> None:
    """The assessment as HTML, for its owner alone: it names tables, columns and keys."""
    from turnback.entrypoints.pages.assessment import assessment_page  # with jinja2: imported when needed

    page = assessment_page(assessment, path=str(setup.sqlite.path), at=setup.clock.now())
    try:
        certificates.write_private(path, page)
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}", hint="name a file in a folder that you may write to") from e
    output.say(f"wrote {path}")


@app.command()
def migrate(
    config: ConfigOption = Path(FILE_NAME),
    again: Annotated[
        bool, flag("--again", "Clear the plan's tables in PostgreSQL first, and lift its fence.")
    ] = False,
    accept_loss: Annotated[
        bool, flag("--accept-loss", "Clear even what a rollback without PostgreSQL left there alone.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Schema, data, indexes, constraints, sequences, and the proof that both sides are equal."""
    options = {"again": again, "accept_loss": accept_loss}
    with opened(config) as setup:
        if dry_run:
            show_steps(setup, Intent.MIGRATE, options, as_json)
            return
        run = run_intent(setup, Intent.MIGRATE, options, guarded=False)
        result = {"rows": run.done["copy_rows"]["rows"], "verified": "proof" in run.done["prove_copy"]}
        if as_json:
            output.print_json(
                result | {"phase": setup.state().phase.value, "proof": run.done["prove_copy"]["proof"]}
            )
        else:
            print(f"certificate: {run.done['prove_copy']['proof']['certificate']} (and .html)")
            print(f"migrated {result['rows']} rows, equal on both sides; next: turnback cutover")


@app.command()
def cutover(
    config: ConfigOption = Path(FILE_NAME),
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move the application to PostgreSQL; the SQLite fallback is kept current from then on.

    Every failure before the application's first start on PostgreSQL is undone, and SQLite serves again.
    """
    with opened(config) as setup:
        if dry_run:
            show_steps(setup, Intent.CUTOVER, {}, as_json)
            return
        check(setup.state(), Intent.CUTOVER, {})
        consent(setup, Intent.CUTOVER, yes)
        run = run_intent(setup, Intent.CUTOVER, {}, guarded=True)
        healthy = run.done["await_healthy"].get("seconds")
        down = downtime(run)
        if as_json:
            output.print_json(
                {"phase": setup.state().phase.value, "downtime_seconds": down, "healthy": healthy}
            )
        else:
            print(f"PostgreSQL serves; the application was away for {down:.2f} s. Back: turnback rollback")


def downtime(run: Run) -> float:
    """Seconds from the stop of the application to its first healthy answer on the other side."""
    last = "await_healthy" if run.intent is Intent.CUTOVER else "validate"
    begun, ended = run.step_times["stop_application"][0], run.step_times[last][1]
    assert ended is not None
    return (ended - begun).total_seconds()


@app.command()
def status(
    config: ConfigOption = Path(FILE_NAME),
    watch: Annotated[
        bool, flag("--watch", "Go on until Ctrl-C: each trigger, its value and limit, when it would fire.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Phase, whether the way back is open and why not, lag, RPO now, the next command.

    Example: turnback status --watch
    """
    if watch and as_json:
        raise UsageError("--watch and --json contradict each other", hint="give one of them")
    with opened(config) as setup:

        def look() -> Status:
            edited = datetime.fromtimestamp(setup.config.file.stat().st_mtime, UTC)
            return assemble(setup.state(), setup.lease.holder(), setup.reported(), setup.clock.now(), edited)

        if watch:
            picture.follow(look, setup.clock.now, setup.progress_file)
        elif as_json:
            output.print_json(look().to_json())
        else:
            picture.print_status(look())


@app.command()
def rollback(
    config: ConfigOption = Path(FILE_NAME),
    emergency: Annotated[bool, flag("--emergency", "Wait at most 3 s for a graceful stop.")] = False,
    planned: Annotated[
        bool, flag("--planned", "A graceful stop first. Without either: by severity.")
    ] = False,
    trigger: Annotated[
        str | None,
        typer.Option(
            help="What moved you, for the record: user-report, integrity, performance or security.",
            metavar="NAME",
        ),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(
            help="critical, high, medium or low: its line of the decision matrix says whether it is an"
            " emergency. Without it that of the trigger.",
            metavar="NAME",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.", metavar="TEXT")] = None,
    accept_loss: Annotated[
        bool,
        flag("--accept-loss", "Go on without PostgreSQL: what it alone holds stays behind."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Back to SQLite with every write: stop, fence, drain, prove, switch, validate.

    Example: turnback rollback --emergency --reason "checkout fails"
    """
    if emergency and planned:
        raise UsageError("--emergency and --planned contradict each other", hint="give one of them")
    for name, given, known in (("trigger", trigger, BY_HAND), ("severity", severity, SEVERITIES)):
        if given is not None and given not in known:
            choices = f"{', '.join(known[:-1])} or {known[-1]}"
            raise UsageError(f"--{name} {given} is not known", hint=choices)
    with opened(config) as setup:
        grade = by_hand.severity(trigger, setup.rules, severity)
        by_severity = setup.rules.severities[grade].emergency
        options = {
            "emergency": emergency or (by_severity and not planned),
            "trigger": trigger,
            "severity": grade,
            "reason": reason,
            "accept_loss": accept_loss,
        }
        if dry_run:
            show_steps(setup, Intent.ROLLBACK, options, as_json)
            return
        check(setup.state(), Intent.ROLLBACK, options)
        consent(setup, Intent.ROLLBACK, yes)
        run = run_intent(setup, Intent.ROLLBACK, options, guarded=False)
        result = summary(run) | {"downtime_seconds": downtime(run), "phase": setup.state().phase.value}
        if as_json:
            output.print_json(result)
        else:
            fenced = "fenced" if result["fenced"] else "NOT FENCED"
            print(
                f"SQLite serves again. RTO {result['rto_measured_seconds']} s, "
                f"RPO {result['rpo_measured_seconds']} s, PostgreSQL {fenced}"
            )
            if result["untried"]:
                print(f"The fence was proven by the administrator alone; not tried {result['untried']}")
            if result["validation"]:
                print(f"validation: {result['validation']}")
            if result["certificate"]:
                print(f"certificate: {result['certificate']} (and .html): {result['certificate_says']}")
            if not result["verified"]:
                print(f"Not compared in full after the switch: {result['comparison']}")
