"""Names, matchers and durations in Prometheus' spelling, and which series the rules are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from turnback.entrypoints.config import Config
from turnback.errors import ConfigError

_METACHARACTERS = re.compile(r"([\\.+*?()|\[\]{}^$])")  # RE2's
_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def duration(seconds: float) -> str:
    """300 -> "5m", 0.5 -> "500ms": one number and one unit. Prometheus counts whole milliseconds."""
    milliseconds = round(seconds * 1000)
    unit, size = next((u, s) for u, s in _UNITS if milliseconds % s == 0)
    return f"{milliseconds // size}{unit}" if milliseconds else "0s"


def spelled(seconds: float) -> str:
    """For a sentence: 120 -> "2 m"."""
    text = duration(seconds)
    number = text.rstrip("dhms")
    return f"{number} {text[len(number) :]}"


def number(value: float) -> str:
    """Without an exponent and without digits that say nothing: 0.05, 60, 16777216."""
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quoted(text: str) -> str:
    """A PromQL string (the escapes of Go)."""
    return '"' + text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


def one_of(values: Iterable[str]) -> str:
    """A PromQL string with the regular expression that matches these values only."""
    return quoted("|".join(_METACHARACTERS.sub(r"\\\1", v) for v in values))


def labels(pairs: Mapping[str, str]) -> str:
    """`job="app",instance="a"`: the inside of a selector, or of a series."""
    return ",".join(f"{name}={quoted(value)}" for name, value in pairs.items())


@dataclass(frozen=True, slots=True)
class Subjects:
    """The series that the rules are about.

    `application` are the labels that every series of the application has; None: nothing scrapes it, and the
    rules on its metrics are left out. `guard` are those of the guard's own /metrics.
    """

    application: Mapping[str, str] | None
    guard: Mapping[str, str]
    ignored: str  # `endpoint!~"..."`: probes and scrapes are no requests; empty where none is named


def guard_job(config: Config) -> str:
    return f"{config.alerts.name}-turnback"


def subjects(config: Config) -> Subjects:
    """Raises ConfigError where the selector of a Prometheus server does not name one application."""
    metrics = config.guard.metrics
    application: Mapping[str, str] | None = None
    if metrics.prometheus:
        application = _selected(config)
    elif metrics.url:
        application = {"job": config.alerts.name}
    ignored = ""
    if metrics.ignore_endpoints and metrics.endpoint_label:
        ignored = f"{metrics.endpoint_label[0]}!~{one_of(metrics.ignore_endpoints)}"
    return Subjects(application, {"job": guard_job(config)}, ignored)


def _selected(config: Config) -> dict[str, str]:
    """`job="app",env="prod"` as a mapping: only such labels are told by absent(), and can be tested."""
    rest, found = config.guard.metrics.selector.strip(), {}
    while rest:
        match = _MATCHER.match(rest)
        if match is None:
            break
        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
        rest = rest[match.end() :].strip()
    if rest or not found:
        raise ConfigError(
            f'{config.file.name}: [guard.metrics] selector: alerts need label="value" pairs that name the'
            " application",
            hint="for example selector = 'job=\"app\"'",
        )
    return found
