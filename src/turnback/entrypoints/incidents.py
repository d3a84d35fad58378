"""`turnback report`: reads the journal and what lies beside it. No lease, no server, no question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnback.core.certificate import FORMAT
from turnback.core.incident import Around, Episode, LogExcerpt, certificate_summary, episodes, stamp
from turnback.core.incident_account import Incident, duration, incident
from turnback.core.incident_measured import outcome
from turnback.core.log_excerpt import around as lines_around
from turnback.core.log_excerpt import newest
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError

LOG_BYTES = 4 * 1024 * 1024  # of the log's end: what was around a decision is long gone in a longer one
LOG_READING = b'"probe":"log"'
NEAR = timedelta(minutes=10)
_TONES = {"good": "green", "warn": "yellow", "bad": "red"}


def find(setup: Setup, ident: str | None) -> Incident:
    """The incident of that id (of a run or a decision; the begin of one is enough), else the newest."""
    found = episodes(setup.journal.records())
    if not found:
        raise UsageError(
            "there was no incident: the journal has no rollback and no decision",
            hint="`turnback status` says where the move stands",
        )
    if ident is None:
        return _incident(setup, found[-1])
    matching = [e for e in found if any(name.startswith(ident) for name in e.names)]
    exact = [e for e in matching if ident in e.names] or matching
    if len(exact) != 1:
        what = "no incident has" if not exact else f"{len(exact)} incidents have"
        raise UsageError(f"{what} the id {ident}", hint="`turnback report --list` names them all")
    return _incident(setup, exact[0])


def listed(setup: Setup) -> list[dict[str, Any]]:
    """Every incident in a line, the oldest first."""
    lines = []
    for episode in episodes(setup.journal.records()):
        decision, run = episode.decision or {}, episode.run
        lines.append(
            {
                "id": episode.id,
                "begun_at": stamp(episode.begun_at),
                "outcome": outcome(episode),
                "trigger": decision.get("trigger") or (run.options.get("trigger") if run else None),
                "automatic": (run.options.get("automatic") if run else None) or decision.get("automatic"),
            }
        )
    return lines


def _incident(setup: Setup, episode: Episode) -> Incident:
    config = setup.config
    return incident(
        episode,
        Around(
            now=setup.clock.now(),
            rto_objective_seconds=config.rollback.rto_objective_seconds,
            rpo_objective_seconds=config.rollback.rpo_objective_seconds,
            certificate=certificate(setup, episode),
            log=log_excerpt(setup, episode),
            slot=config.postgres.slot,
        ),
    )


# ---- what lies beside the journal ----------------------------------------------------------------


def certificate(setup: Setup, episode: Episode) -> dict[str, Any] | None:
    """The rollback's own. A comparison that failed has left one too, which no step's result names."""
    run = episode.run
    if run is None:
        return None
    named = run.done.get("watch_after", {}).get("certificate")
    paths = [Path(named)] if named else sorted(setup.certificates_folder.glob("*-rollback*.json"))
    for path in reversed(paths):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # moved away, or damaged: the report says that there is none
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            continue
        begun = datetime.fromisoformat(document["begun_at"].replace("Z", "+00:00"))
        if named or begun.timestamp() >= int(run.started_at.timestamp()):
            return certificate_summary(document, str(path))
    return None


def log_path(setup: Setup) -> Path:
    """The application's log: what is configured, else where the platform writes its output."""
    configured = setup.config.guard.log.path
    return setup.config.folder / configured if configured else setup.state_folder / "application.log"


def log_excerpt(setup: Setup, episode: Episode) -> LogExcerpt:
    """The file's lines around the decision; where it has none of that time, what the guard read then."""
    path = log_path(setup)
    lines: list[str] = []
    try:
        lines = _tail(path)
        how = "the log is empty"
    except OSError as e:
        how = f"not available: {e.strerror}"
    chosen = lines_around(lines, episode.zero, datetime.now().astimezone().tzinfo or UTC)
    if chosen is not None and chosen[0]:
        return LogExcerpt(str(path), tuple(chosen[0]), chosen[1])
    if read := _read_by_the_guard(setup, episode.zero):
        return LogExcerpt(
            str(path), tuple(newest(read)), "the newest lines with errors, as the guard read them then"
        )
    if chosen is not None:
        how = chosen[1]
    elif lines:
        how = "the newest lines: they carry no time, so they may be of later"
        return LogExcerpt(str(path), tuple(newest(lines)), how)
    return LogExcerpt(str(path), (), how)


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES))
        return file.read().decode(errors="replace").splitlines()


def _read_by_the_guard(setup: Setup, at: datetime) -> list[str]:
    """The lines of the trace's last reading of the log by `at`; the trace may have lost it: it is bounded."""
    older = setup.trace_file.with_name(f"{setup.trace_file.stem}.1{setup.trace_file.suffix}")
    lines: list[str] = []
    for path in (older, setup.trace_file):
        for reading in _log_readings(path):
            moment = datetime.fromisoformat(reading["utc"])
            if at - NEAR <= moment <= at and (reading.get("value") or {}).get("lines"):
                lines = [str(line) for line in reading["value"]["lines"]]
    return lines


def _log_readings(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                if LOG_READING in line:
                    yield json.loads(line)
    except (FileNotFoundError, ValueError):
        return  # no guard has recorded here, or one died in this very line


# ---- on the terminal -----------------------------------------------------------------------------


def show_list(lines: list[dict[str, Any]]) -> None:
    if not lines:
        print("there was no incident")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("begun (UTC)", "outcome", "trigger", "started by", "id"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        by = {True: "the guard", False: "a person", None: "not recorded"}[line["automatic"]]
        cells = (
            line["begun_at"][:19].replace("T", " "),
            line["outcome"],
            line["trigger"] or "",
            by,
            line["id"],
        )
        table.add_row(*map(escape, cells))
    Console().print(table)


def show(found: Incident) -> None:
    """The incident in about a screen; the page has the rest."""
    console = Console()

    def line(name: str, text: str) -> None:
        console.print(f"[bold]{name:<12}[/]{escape(text)}", soft_wrap=True)

    console.print(f"[bold]{escape(found.headline)}[/]  {escape(found.id)}\n")
    console.print(escape(found.account))
    console.print()
    for name, text in summary_lines(found):
        line(name, text)
    if found.steps:
        console.print()
        table = Table(box=None, pad_edge=False)
        for heading in ("step", "outcome", "took", "after"):
            table.add_column(heading, justify="right" if heading in ("took", "after") else "left")
        for s in found.steps:
            took = duration(s.seconds) if s.seconds is not None else ""
            after = duration(s.end_seconds) if s.end_seconds is not None else ""
            table.add_row(s.step, s.outcome, took, after)
        console.print(table)
    console.print("\n[bold]Timeline[/] (UTC)")
    for e in found.timeline:
        took = f" ({duration(e.seconds)})" if e.seconds is not None else ""
        tone = _TONES.get(e.tone)
        text = f"  {e.at.astimezone(UTC):%H:%M:%S.%f}"[:-3] + f"  {e.what}{took}"
        console.print(f"[{tone}]{escape(text)}[/]" if tone else escape(text), soft_wrap=True)
    if found.open:
        console.print("\n[bold]Open[/]")
        for text in found.open:
            console.print(f"  - {escape(text)}", soft_wrap=True)
    console.print("\nThe whole of it, to print and to fill in: turnback report --html FILE")


def summary_lines(found: Incident) -> Iterator[tuple[str, str]]:
    """(name, text) of what a person looks for first."""
    s = found.started
    who = {True: "the guard", False: "a person", None: "not recorded"}[s["automatic"]]
    details = [s["by"], f"turnback {s['version']}" if s["version"] else None, s["utc"]]
    yield "started by", ", ".join([who, *(d for d in details if d)])
    yield (
        "trigger",
        (found.trigger or "none given") + (f", severity {found.severity}" if found.severity else ""),
    )
    if found.steps:
        yield "RTO", _against(found.rto.seconds, found.rto.objective_seconds, found.rto.met)
        yield "RPO", _against(found.rpo.seconds, found.rpo.objective_seconds, found.rpo.met)
    if found.downtime_seconds is not None:
        yield "away for", duration(found.downtime_seconds)
    if found.detection_seconds is not None:
        yield "decided in", f"{duration(found.detection_seconds)} from the first breach"
    if found.certificate is not None:
        seal = "" if found.certificate["seal_holds"] else "; THE SEAL IS BROKEN"
        yield "certificate", f"{found.certificate['verdict']}{seal}: {found.certificate['path']}"
    if found.loss_manifest is not None:
        yield (
            "loss",
            f"what PostgreSQL committed after {found.loss_manifest['last_applied_lsn']} stayed behind",
        )


def _against(seconds: float | None, objective: float | None, met: bool | None) -> str:
    if seconds is None:
        return "not measured"
    said = {True: "met", False: "MISSED", None: "no objective"}[met]
    return f"{duration(seconds)}, objective {duration(objective)}: {said}"
