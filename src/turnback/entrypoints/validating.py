"""What [validate] asks for, put together: as checks for the steps of a rollback, and `turnback validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnback.adapters.log_tail import LogFile
from turnback.adapters.postgres.checks import ServerChecks
from turnback.adapters.probes.endpoints import Asker
from turnback.adapters.sqlite.checks import FileChecks
from turnback.adapters.usage import usage
from turnback.app import normal as waiting
from turnback.app.checks import Checks
from turnback.app.engine import primary_side
from turnback.app.probing import Prober
from turnback.app.validate import validate as validate_side
from turnback.app.watching import ON_SQLITE
from turnback.core.phases import Intent, Phase
from turnback.core.plan import Plan
from turnback.core.validation import Endpoint, Expectations, Report, StateRow, reference
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.normal import BackToNormal
from turnback.core.watch.observation import DEPENDENCY
from turnback.core.watch.recording import newest
from turnback.entrypoints import output
from turnback.entrypoints.config import Config
from turnback.errors import UsageError
from turnback.ports import Side

if TYPE_CHECKING:
    from turnback.entrypoints.wiring import Setup

PATIENCE = 2  # times [validate] watch_seconds, and
PATIENCE_SECONDS = 60.0  # until what is measured over a window has one

_SIGNS = {True: "[green]ok[/]", False: "[red]failed[/]", None: "-"}


def checks(setup: Setup) -> Checks:
    """What the steps of a rollback look at, and `turnback validate`."""
    config = setup.config
    kept = FileChecks(setup.sqlite.kept, config.sqlite.busy_seconds, config.sqlite_extensions)
    return Checks(
        expectations=expectations(config),
        ask=Asker(),
        file=FileChecks(setup.sqlite.path, config.sqlite.busy_seconds, config.sqlite_extensions),
        server=lambda: ServerChecks(setup.urls.app_dsn, config.postgres.schema_name),
        usage=usage,
        kept_tables=lambda: kept.tables() if kept.path.exists() else (),
        log=log(setup),
        platform=setup.platform,
        clock=setup.clock,
    )


def log(setup: Setup) -> LogFile | None:
    """The application's log, where it is known."""
    from turnback.entrypoints.probing import log_path  # which imports wiring, which imports this

    path = log_path(setup)
    return None if path is None else LogFile(path)


def expectations(config: Config) -> Expectations:
    """[validate], which was checked as a whole when the file was read."""
    wanted = config.validate_
    page = None
    if wanted.page is not None:
        page = Endpoint(wanted.page, _address(config, wanted.page), 200, wanted.marker)
    return Expectations(
        endpoints=_endpoints(config),
        page=page,
        state=tuple(StateRow(name, row.query, row.expect) for name, row in wanted.state.items()),
        orphans=tuple(reference(text) for text in wanted.orphans),
        max_memory_bytes=wanted.max_memory_bytes,
        max_cpu_percent=wanted.max_cpu_percent,
        log_lines=wanted.log_lines,
        max_log_errors=wanted.max_log_errors,
        log_pattern=config.guard.log.pattern,
    )


def _endpoints(config: Config) -> tuple[Endpoint, ...]:
    """Those of [validate.endpoints]; without any the health address alone, which answers 2xx."""
    health = config.app.health
    if config.validate_.endpoints:
        return tuple(
            Endpoint(path, _address(config, path), e.status, e.contains)
            for path, e in config.validate_.endpoints.items()
        )
    return (Endpoint(urlsplit(health).path or "/", health, None),) if health is not None else ()


def _address(config: Config, path: str) -> str:
    base = config.validate_.base or _origin(config.app.health or "")
    return urljoin(base, path)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def validate(setup: Setup) -> Report:
    """On the side where the application is now. Raises UsageError while a run moves it."""
    return validate_side(checks(setup), setup.journal, setup.state(), plan(setup), side(setup))


def side(setup: Setup) -> Side:
    now = primary_side(setup.state())
    if now is None:
        raise UsageError(
            "the application is being moved: it is on neither side",
            hint="`turnback status` says how far it is",
        )
    return now


def plan(setup: Setup) -> Plan | None:
    """None before the first assess."""
    return setup.plan() if setup.state().plan_digest is not None else None


def await_normal(setup: Setup) -> dict[str, Any]:
    """Kept in the journal. Raises UsageError on PostgreSQL, CheckFailed where it does not become normal."""
    from turnback.entrypoints.probing import probes  # which imports wiring, which imports this

    if side(setup) != "sqlite":
        raise UsageError(
            "back to normal is a question after a rollback; the application is on PostgreSQL",
            hint="there the guard watches: `turnback status`",
        )
    state, seconds = setup.state(), setup.config.validate_.watch_seconds
    cutover, rollback = state.last(Intent.CUTOVER), state.last(Intent.ROLLBACK)
    frozen = newest(setup.journal.records()) or (cutover.notes.get("baseline") if cutover else None)
    baseline = Baseline.from_json(frozen) if frozen else None
    watched = [p for p in probes(setup, lambda: None) if p.name in ON_SQLITE or p.name.startswith(DEPENDENCY)]
    found = waiting.await_normal(
        Prober(watched, setup.clock),
        BackToNormal(setup.rules, baseline, seconds),
        setup.clock,
        PATIENCE * seconds + PATIENCE_SECONDS,
        output.say,
    )
    run = rollback.id if rollback is not None and state.phase is Phase.ON_SQLITE else None
    setup.journal.append("normal_again", found, run=run)
    return found


def print_report(report: Report) -> None:
    """On stdout, one line a check."""
    console = Console()
    table = Table(
        title=f"The application on {report.side}, {report.at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left"
    )
    for heading in ("", "check", "expected", "seen"):
        table.add_column(heading, overflow="fold")
    for check in report.checks:
        table.add_row(
            _SIGNS[check.ok],
            escape(f"{check.group}: {check.name}"),
            escape(check.expected),
            escape(check.seen),
        )
    console.print(table)
    console.print(escape(report.headline()), soft_wrap=True)
