"""One alert with the cases that prove it: values, before they become Prometheus' or promtool's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnback.entrypoints.alerts.promql import duration, spelled

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that a case expects: labels of its series, and the value its description shows."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Series as promtool writes them (`0+1x20`: 21 samples, one per scrape), and what holds `at` seconds in.

    `fires` empty: nothing of the rule's name may fire.
    """

    name: str
    series: Mapping[str, str]
    at: float
    fires: tuple[Fired, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """`description` may use `{{ $labels.NAME }}` and the forms of $value that `shown` knows."""

    name: str
    component: str
    severity: Severity
    expr: str
    for_seconds: float
    summary: str
    description: str
    action: str  # what to do next
    cases: tuple[Case, ...]

    def labels(self, application: str) -> dict[str, str]:
        return {"severity": self.severity, "component": self.component, "application": application}

    def annotations(self) -> dict[str, str]:
        return {"summary": self.summary, "description": self.description, "action": self.action}

    def to_prometheus(self, application: str) -> dict[str, Any]:
        """A rule of a rule group."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": duration(self.for_seconds),
            "labels": self.labels(application),
            "annotations": self.annotations(),
        }

    def to_tests(self, application: str, interval_seconds: float) -> list[dict[str, Any]]:
        """promtool's tests, one per case."""
        tests = []
        for case in self.cases:
            expected = [
                {
                    "exp_labels": {**fired.labels, **self.labels(application)},
                    "exp_annotations": {k: shown(v, fired) for k, v in self.annotations().items()},
                }
                for fired in case.fires
            ]
            test = {"eval_time": duration(case.at), "alertname": self.name, "exp_alerts": expected}
            series = [{"series": s, "values": v} for s, v in case.series.items()]
            verb = "fires" if case.fires else "does not fire"
            tests.append(
                {
                    "name": f"{self.name} ({self.severity}) {verb}: {case.name}",
                    "interval": duration(interval_seconds),
                    "input_series": series,
                    "alert_rule_test": [test],
                }
            )
        return tests


PERCENT = "{{ $value | humanizePercentage }}"
SHORT = '{{ printf "%.3g" $value }}'
WHOLE = '{{ printf "%.0f" $value }}'


def label(name: str) -> str:
    return f"{{{{ $labels.{name} }}}}"


def shown(text: str, fired: Fired) -> str:
    """What Prometheus makes of an annotation: the few forms that the rules use."""
    text = text.replace(PERCENT, f"{fired.value * 100:.4g}%")
    text = text.replace(SHORT, f"{fired.value:.3g}").replace(WHOLE, f"{fired.value:.0f}")
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: fired.labels.get(m[1], ""), text)
    assert "{{" not in text, text
    return text


def lasting(for_seconds: float) -> str:
    """For a description: " for 2 m", or nothing."""
    return f" for {spelled(for_seconds)}" if for_seconds else ""
