"""The decision matrix: how bad what fires is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnback.core.watch.rules import ALERT, SEVERITIES, Rules
from turnback.core.watch.window import Slice, Window

CRITICAL_ENDPOINT_SHARE = 0.5  # over half of a critical endpoint's requests failing is severity high


@dataclass(frozen=True, slots=True)
class Graded:
    """A severity and, where it was counted, what it was counted from."""

    severity: str
    share: float | None = None
    of: str = "requests"  # or users, or critical endpoints


def worse(a: str, b: str) -> bool:
    """Whether `a` is worse than `b`."""
    return SEVERITIES.index(a) < SEVERITIES.index(b)


def of_share(rules: Rules, share: float) -> str:
    """The worst line that the share reaches: critical FROM its share on, the others OVER theirs, low always.

    (The runbook: "> 50 % of users affected" is high, "> 20 %" medium, complete failure critical.)
    """
    for name in SEVERITIES[:-1]:
        above = rules.severities[name].above_share
        if share > above or (name == "critical" and share >= above):
            return name
    return SEVERITIES[-1]


def of_errors(rules: Rules, window: Window) -> Graded:
    """Counted in users where the series name them, else in requests; critical endpoints on top."""
    if window.users:
        hurt = sum(1 for _, failed in window.users.values() if failed > 0)
        share, of = hurt / len(window.users), "users"
    else:
        share, of = (window.failed / window.total if window.total else 0.0), "requests"
    graded = Graded(of_share(rules, share), share, of)
    worst = worst_of(rules.critical_endpoints, window, rules.error_rate.min_failures)
    if worst is not None and worst[1] > CRITICAL_ENDPOINT_SHARE and worse("high", graded.severity):
        return Graded("high", worst[1], "critical endpoints")
    return graded


def worst_of(endpoints: Sequence[str], of: Window | Slice, min_failures: float) -> tuple[str, float] | None:
    """(name, share of its requests that failed) of the worst of them with so many failures."""
    shares = [
        (of.failures.get(name, 0.0) / of.requests[name], name)
        for name in endpoints
        if of.failures.get(name, 0.0) >= min_failures and of.requests.get(name, 0.0) > 0
    ]
    return max(shares)[::-1] if shares else None


def of_trigger(rules: Rules, trigger: str) -> Graded:
    """Of a trigger whose severity is given. One that is missing in the matrix counts as medium."""
    if trigger.startswith(ALERT):
        return Graded(rules.alerts.get(trigger.removeprefix(ALERT), "medium"))
    return Graded(rules.trigger_severity.get(trigger, "medium"))
