"""From what fires, and whether the way back is ready, to what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from turnback.core.watch.rules import AUTOMATIC, SEVERITIES, Mode, Rules
from turnback.core.watch.severity import Graded
from turnback.core.watch.sight import Sight
from turnback.core.watch.verdict import Action, Outcome, Readiness, ReadinessPart, Verdict
from turnback.core.watch.window import Window

# What may fail without PostgreSQL being the cause. The others are PostgreSQL itself, or a dead application.
DISCRIMINATED = ("application-health", "error-rate", "latency", "log-errors")
OTHER_CAUSE_SHARE = 0.5  # over this share of the failures is of causes that are not PostgreSQL

LATCHED = "the one automatic rollback of this cutover has been taken"


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger that fires. `held_back`: why a rollback would not help."""

    trigger: str
    graded: Graded
    held_back: str | None = None


_STRONGEST: tuple[Mode, ...] = ("enforce", "recommend", "observe")


def chosen(fired: Sequence[Fired], rules: Rules) -> Fired:
    """First what nothing holds back, then what more is done about, what is worst, the triggers' order."""

    def rank(one: Fired) -> tuple[bool, int, int, int]:
        order = AUTOMATIC.index(one.trigger) if one.trigger in AUTOMATIC else len(AUTOMATIC)
        severity = one.graded.severity
        mode = _STRONGEST.index(mode_of(rules, severity))
        return one.held_back is not None, mode, SEVERITIES.index(severity), order

    return min(fired, key=rank)


def held_back(
    trigger: str, database: Outcome, causes: Window, rules: Rules, sight: Sight, at: float
) -> str | None:
    """Why the cause is known not to be PostgreSQL; None where it is not known. Only with the database ok."""
    if trigger not in DISCRIMINATED or database is not Outcome.OK:
        return None
    failing = sight.failing_dependencies(at)
    if failing:
        names = ", ".join(sorted(failing))
        return f"the database is ok, and what fails is not PostgreSQL: {names}"
    causes.pass_to(at)
    # Failures that the application counts under no cause may be PostgreSQL's.
    total = max(sum(causes.causes.values()), causes.failed)
    others = {c: n for c, n in causes.causes.items() if c in rules.other_causes}
    if total > 0 and sum(others.values()) > OTHER_CAUSE_SHARE * total:
        share = 100 * sum(others.values()) / total
        return (
            f"the database is ok, and {share:.0f} % of the {total:.0f} failures in the last"
            f" {causes.seconds:g} s are not PostgreSQL's: {', '.join(sorted(others))}"
        )
    return None


def mode_of(rules: Rules, severity: str) -> Mode:
    return rules.severities[severity].mode or rules.mode


def action(rules: Rules, one: Fired, ready: Readiness, *, latched: bool) -> tuple[Action, str | None]:
    """What to do about it while on PostgreSQL, and why that is no rollback."""
    mode = mode_of(rules, one.graded.severity)
    if mode == "observe":
        return Action.OBSERVE, one.held_back
    if one.held_back is not None or mode == "recommend":
        return Action.RECOMMEND, one.held_back
    if latched:
        return Action.HOLD, LATCHED
    if ready.ready:
        return Action.ROLLBACK, None
    missing = "; ".join(f"{p.name}: {p.detail}" for p in blocking(ready))
    return Action.HOLD, f"the way back is not ready ({missing})"


def blocking(ready: Readiness) -> list[ReadinessPart]:
    """The parts that stand in the way; one that nobody looks at does not."""
    return [p for p in ready.parts if p.ok is False]


def reason(
    verdict: Verdict,
    one: Fired,
    what: Action,
    why_not: str | None,
    ready: Readiness,
    at: float,
    utc: datetime,
) -> str:
    """One sentence: what, since when, how bad, and what follows."""
    told = f"{one.trigger}: {verdict.sentence}"
    if verdict.since is not None:
        begun = utc - timedelta(seconds=at - verdict.since)
        told += f", since {begun:%H:%M:%S} UTC ({at - verdict.since:.0f} s)"
    told += f"; severity {one.graded.severity}"
    if one.graded.share is not None:
        told += f", {100 * one.graded.share:.1f} % of {one.graded.of} affected"
    match what:
        case Action.ROLLBACK if ready.lossy:
            tail = "PostgreSQL is unreachable and the last contact is inside the RPO: rolling back"
        case Action.ROLLBACK:
            tail = "the way back is ready: rolling back"
        case Action.HOLD:
            tail = f"no rollback: {why_not}"
        case Action.RECOMMEND if why_not:
            tail = f"no rollback by itself: {why_not}"
        case Action.RECOMMEND:
            tail = "a rollback is recommended"
        case Action.OBSERVE:
            tail = "recorded only (mode observe)" + (f"; {why_not}" if why_not else "")
        case _:
            tail = "it is still so on SQLite, where there is nothing to roll back to"
    return f"{told}; {tail}"
