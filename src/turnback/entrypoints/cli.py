"""The command `turnback`: each command reads its options, asks a use case, and shows what came of it."""

from __future__ import annotations

import getpass
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from turnback import __version__
from turnback.app.engine import check, describe
from turnback.app.guard import Guard
from turnback.app.status import assemble
from turnback.app.steps_rollback import summary
from turnback.core.findings import blocking
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.entrypoints import certificates, embedded_server, exec_command, follow, output, verifying
from turnback.entrypoints import init as first
from turnback.entrypoints.config import FILE_NAME, load
from turnback.entrypoints.wiring import Setup
from turnback.errors import NeedsChoice, TurnbackError, UsageError

if TYPE_CHECKING:
    from turnback.app.assess import Assessment

MORE = "More"

app = typer.Typer(
    name="turnback",
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

_as_json = False


@contextmanager
def opened(config: Path, as_json: bool = False) -> Iterator[Setup]:
    """The application behind the configuration file, closed at the end."""
    global _as_json
    _as_json = as_json
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
        engine = setup.engine(
            plan, progress=output.TerminalProgress(), announce=lambda s: output.say(f"  {s}")
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
    here, there = ("sqlite", "postgres") if intent is Intent.CUTOVER else ("postgres", "sqlite")
    for sentence in setup.platform.describe("stop", here):  # type: ignore[arg-type]
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
    engine = setup.engine(setup.plan(), progress=output.TerminalProgress(), announce=output.say)
    steps = describe(engine.world, intent, options)
    if as_json:
        output.print_json(
            {"intent": intent.value, "steps": [{"step": n, "runs": lines} for n, lines in steps]}
        )
    else:
        output.print_steps(steps)


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
    global _as_json
    _as_json = as_json
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

    with opened(config, as_json) as setup:
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
    with opened(config, as_json) as setup:
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
    with opened(config, as_json) as setup:
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
def status(config: ConfigOption = Path(FILE_NAME), as_json: JsonOption = False) -> None:
    """Phase, whether the way back is open and why not, lag, RPO now, the next command."""
    with opened(config, as_json) as setup:
        now = assemble(setup.state(), setup.lease.holder(), setup.reported(), setup.clock.now())
        if as_json:
            output.print_json(now.to_json())
        else:
            output.print_status(now)


@app.command()
def rollback(
    config: ConfigOption = Path(FILE_NAME),
    emergency: Annotated[bool, flag("--emergency", "Wait at most 3 s for a graceful stop.")] = False,
    planned: Annotated[bool, flag("--planned", "The default: a graceful stop first.")] = False,
    trigger: Annotated[
        str | None,
        typer.Option(
            help="What moved you, for the record: user-report, integrity, performance or security.",
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
    if trigger not in (None, "user-report", "integrity", "performance", "security"):
        raise UsageError(
            f"--trigger {trigger} is not known", hint="user-report, integrity, performance or security"
        )
    options = {
        "emergency": emergency,
        "trigger": trigger,
        "reason": reason,
        "accept_loss": accept_loss,
    }
    with opened(config, as_json) as setup:
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
            if result["certificate"]:
                print(f"certificate: {result['certificate']} (and .html): {result['certificate_says']}")
            if not result["verified"]:
                print(f"Not compared in full after the switch: {result['comparison']}")


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


@app.command(rich_help_panel=MORE)
def plan(
    config: ConfigOption = Path(FILE_NAME),
    as_json: JsonOption = False,
) -> None:
    """The plan: what each table and column becomes, and the statements that make it."""
    from turnback.entrypoints import assessing

    with opened(config, as_json) as setup:
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
    with opened(config, as_json) as setup:
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


def caller() -> str:
    """Who acts, for the journal and for certificates."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@app.command(rich_help_panel=MORE)
def resume(config: ConfigOption = Path(FILE_NAME), as_json: JsonOption = False) -> None:
    """Go on with whatever was interrupted."""
    with opened(config, as_json) as setup:
        state = setup.state()
        unfinished = state.unfinished
        if unfinished is not None:
            resume_run(setup, state.open_run)
        result = {"resumed": unfinished, "phase": setup.state().phase.value}
        if as_json:
            output.print_json(result)
        else:
            print(f"{result['resumed'] or 'nothing was interrupted'}; the phase is {result['phase']}")


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
        engine = setup.engine(
            setup.plan(), progress=output.TerminalProgress(), announce=lambda s: output.say(f"  {s}")
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
    with opened(config, as_json) as setup:
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
    with opened(config, as_json) as setup:
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
) -> None:
    """All of it in a minute: an embedded PostgreSQL, the example application, under load, there and back."""
    global _as_json
    _as_json = as_json
    from turnback.entrypoints import demo

    raise typer.Exit(demo.run(as_json=as_json, rows=rows, seconds=seconds, keep=keep))


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 refused or failed, 2 usage, 3 findings need a choice, 130 interrupted."""
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        status_code = command(standalone_mode=False)
    except TurnbackError as e:
        output.print_error(e, as_json=_as_json)
        sys.exit(e.exit_status)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        output.say("interrupted: `turnback status` says what is next, `turnback resume` goes on")
        sys.exit(130)
    except Exception as e:
        if not hasattr(e, "format_message"):  # click's own usage errors
            raise
        output.say(f"error: {e.format_message()}")
        output.say("hint:  turnback --help")
        sys.exit(2)
    sys.exit(status_code if isinstance(status_code, int) else 0)
