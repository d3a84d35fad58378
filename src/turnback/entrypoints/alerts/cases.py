"""Series for the rules' tests, in promtool's notation, in steps of one scrape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from turnback.entrypoints.alerts.promql import labels, number
from turnback.entrypoints.alerts.rule import Case, Fired


def series(metric: str, *pairs: Mapping[str, str]) -> str:
    """The name of one series."""
    together = {k: v for p in pairs for k, v in p.items()}
    return f"{metric}{{{labels(together)}}}" if together else metric


@dataclass(frozen=True, slots=True)
class Scrapes:
    """Counts time in scrapes of `seconds` each."""

    seconds: float

    def count(self, seconds: float) -> int:
        """Scrapes that last at least so long."""
        return math.ceil(round(seconds / self.seconds, 6))

    def at(self, count: int) -> float:
        return count * self.seconds

    def before(self, for_seconds: float) -> float:
        """The last evaluation at which something that began at 0 has not lasted for so long."""
        return self.at(max(0, self.count(for_seconds) - 1))

    def after(self, for_seconds: float) -> float:
        """An evaluation at which something that began at 0 has lasted for so long."""
        return self.at(self.count(for_seconds) + 1)

    def constant(self, value: float, seconds: float) -> str:
        return self.growing(0, seconds, start=value)

    def growing(self, step: float, seconds: float, start: float = 0) -> str:
        """`step` more at each scrape, from `start` on, for `seconds` and a little more."""
        return f"{number(start)}+{number(step)}x{self.count(seconds) + 4}"


def lasting_cases(
    scrapes: Scrapes,
    for_seconds: float,
    sick: Mapping[str, float],
    healthy: Mapping[str, float],
    fires: Iterable[Fired],
    what: str,
) -> tuple[Case, ...]:
    """For a rule on gauges: fires when `sick` has lasted, not a moment earlier, and not when `healthy`."""
    end = scrapes.after(for_seconds)

    def constant(values: Mapping[str, float]) -> dict[str, str]:
        return {name: scrapes.constant(value, end) for name, value in values.items()}

    cases = [Case(what, constant(sick), end, tuple(fires)), Case(f"not {what}", constant(healthy), end)]
    if for_seconds:
        early = scrapes.before(for_seconds)
        cases.append(Case(f"{what}, but not for long enough", constant(sick), early))
    return tuple(cases)
