"""Validation: after a rollback as part of its steps, and at any time as `turnback validate`.

In a rollback the quick checks come as soon as the application is healthy, what reads whole tables while it
serves. Past the switch there is only forward: a failed check leaves the run open, and `turnback resume` looks
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from turnback.app.checks import Checks, Known
from turnback.app.sides import World
from turnback.core.phases import Intent, Phase
from turnback.core.plan import Plan
from turnback.core.state import Run, State
from turnback.core.validation import Check, Group, Report
from turnback.errors import CheckFailed, SourceError
from turnback.ports import Journal, Side

LOG_NOTE = "log_at_start"
SETTLE_SECONDS = 5.0  # an application that has just become healthy may still open a cache, or a pool
AGAIN_SECONDS = 0.5

_START = {"sqlite": (Intent.ROLLBACK, "start_on_sqlite"), "postgres": (Intent.CUTOVER, "start_on_postgres")}
_HINTS: dict[Group, str] = {
    "endpoints": "look at the application's log and at [validate.endpoints]",
    "page": "open the page; [validate] page and marker say what it has to show",
    "database": "`turnback verify` compares; the fenced original and PostgreSQL are whole",
    "rows": "`turnback verify` compares; the fenced original and PostgreSQL are whole",
    "state": "run the query of [validate.state] on the file",
    "resources": "look at the application's processes, and at the limits in [validate]",
    "log": "read these lines; where they mean no harm: [validate] max_log_errors, [guard.log] pattern",
}


def note_start(world: World, run: Run) -> None:
    """Before the application's first start on a side: where its log stands, so that what is older counts for
    nothing. A start that is repeated after a crash keeps the first one's.
    """
    if world.checks is None or world.checks.log is None or LOG_NOTE in run.notes:
        return
    try:
        mark = dict(world.checks.log.mark())
    except SourceError:
        return  # the check of the log will say that it cannot be read: no reason not to start
    world.note(run.id, LOG_NOTE, mark)
    run.notes[LOG_NOTE] = mark


def validate_now(world: World, run: Run) -> dict[str, Any]:
    """The quick checks, as the end of the step `validate`. Raises CheckFailed, after a short while in which a
    check that failed was made again.
    """
    checks = world.checks
    if checks is None:
        return {}
    known = what_is_known(checks, world.journal.state(), world.plan, "sqlite")
    until = world.clock.monotonic() + SETTLE_SECONDS
    while True:
        report = Report(tuple(checks.quick("sqlite", known)), world.clock.now(), "sqlite")
        if report.ok or world.clock.monotonic() > until:
            break
        world.clock.sleep(AGAIN_SECONDS)
    if not report.ok:
        keep(world.journal, report, "validate", run.id)
        raise failure(report)
    return {"validation": report.to_json()}


def validate_whole(
    world: World, run: Run, sound: Sequence[Check], comparison: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What reads whole tables, as the end of the step `watch_after`: with what the quick checks saw one
    report, in the journal whether it is good or not. `sound`: SQLite's own checks, where they were made
    already; `comparison` knows the rows at the switch. Raises CheckFailed.
    """
    checks = world.checks
    if checks is None:
        return {}
    quick = run.done.get("validate", {}).get("validation", {}).get("checks", ())
    known = what_is_known(checks, world.journal.state(), world.plan, "sqlite", comparison)
    report = Report(
        (
            *(Check.from_json(c) for c in quick),
            *(sound or checks.sound(world.plan)),
            *checks.counted(known),
            *checks.orphans(),
        ),
        world.clock.now(),
        "sqlite",
    )
    keep(world.journal, report, "watch_after", run.id)
    if not report.ok:
        raise failure(report)
    return {"validation": report.to_json()}


def validate(checks: Checks, journal: Journal, state: State, plan: Plan | None, side: Side) -> Report:
    """All checks of the application as it is now, on the side where it is; kept in the journal."""
    known = what_is_known(checks, state, plan, side)
    found = (*checks.quick(side, known), *checks.thorough(side, plan, known))
    report = Report(found, checks.clock.now(), side)
    keep(journal, report, "command", None)
    return report


def keep(journal: Journal, report: Report, when: str, run: str | None) -> None:
    """`when`: validate and watch_after are steps; command is `turnback validate`."""
    journal.append("validated", report.to_json() | {"when": when}, run=run)


def failure(report: Report) -> CheckFailed:
    groups = dict.fromkeys(_HINTS[c.group] for c in report.failed)
    return CheckFailed(
        f"the application on {report.side} is up and fails its validation: {report.headline()}",
        hint="; ".join(groups)
        + "; `turnback resume` validates again (a guard reads turnback.toml when it starts)",
    )


def what_is_known(
    checks: Checks,
    state: State,
    plan: Plan | None,
    side: Side,
    comparison: Mapping[str, Any] | None = None,
) -> Known:
    """From the run that brought the application to this side, where one did."""
    intent, step = _START[side]
    run = next((r for r in reversed(state.runs) if r.intent is intent and step in r.started), None)
    if run is None:
        return Known(_tables(checks, state, plan, side))
    proof = comparison or _comparison(run)
    rows = None
    if proof is not None:
        rows = {t["table"]: int(t[f"rows_{side}"]) for t in proof["tables"]}
        if side == "postgres" and plan is not None:
            rows = {t.postgres: rows[t.sqlite] for t in plan.tables if t.sqlite in rows}
    return Known(_tables(checks, state, plan, side), rows, run.notes.get(LOG_NOTE), run.step_times[step][0])


def _comparison(run: Run) -> Mapping[str, Any] | None:
    """Of the rows at the switch; where it was not made, a sentence stands in its place."""
    if run.intent is Intent.CUTOVER:
        proof = run.done.get("last_proof", {}).get("proof")
    else:
        proof = run.done.get("watch_after", {}).get("comparison")
    return proof if isinstance(proof, Mapping) else None


def _tables(checks: Checks, state: State, plan: Plan | None, side: Side) -> tuple[str, ...]:
    """Those that have to be there. Just after a rollback the original knows; a newer plan knows better."""
    if side == "postgres":
        return () if plan is None else tuple(t.postgres for t in plan.tables)
    if state.phase in (Phase.ROLLING_BACK, Phase.ON_SQLITE):
        try:
            kept = tuple(checks.kept_tables())
        except SourceError:
            kept = ()  # the original is damaged: that is no fault of the file that serves
        if kept:
            return kept
    return () if plan is None else tuple(t.sqlite for t in plan.tables)
