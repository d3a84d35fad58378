"""The series of the guard's /metrics, in an expression and in a rule's test."""

from __future__ import annotations

from dataclasses import dataclass

from turnback.entrypoints.alerts.application import GUARD_INSTANCE
from turnback.entrypoints.alerts.cases import Scrapes, series
from turnback.entrypoints.alerts.promql import Subjects, labels

PREFIX = "turnback_"


@dataclass(frozen=True, slots=True)
class GuardSeries:
    """`ask` selects in an expression; `series` is one by its whole name, in a test."""

    who: Subjects
    scrapes: Scrapes

    def ask(self, metric: str, more: str = "", **pairs: str) -> str:
        chosen = labels({**self.who.guard, **pairs})
        return f"{PREFIX}{metric}{{{chosen}{',' if more else ''}{more}}}"

    def series(self, metric: str, **pairs: str) -> str:
        return series(PREFIX + metric, self.labels(**pairs))

    def labels(self, **pairs: str) -> dict[str, str]:
        return {**self.who.guard, **GUARD_INSTANCE, **pairs}
