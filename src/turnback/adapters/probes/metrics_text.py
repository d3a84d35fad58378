"""The application's own metrics endpoint: Prometheus' text format, or OpenMetrics where it insists.

Only the lines of configured names go through the parser; every other line is looked at by form alone, so
that a page of ten thousand series costs what it must, and garbage is found wherever it stands. Sources: the
exposition formats, https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as openmetrics_families
from prometheus_client.parser import text_fd_to_metric_families as text_families

from turnback.adapters.probes.fetch import Fetcher, shown
from turnback.adapters.probes.reading import MetricNames, Reader, Series
from turnback.core.watch.observation import MetricsReading
from turnback.errors import ProbeError
from turnback.ports import Probe

ACCEPT = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5"
OPENMETRICS = "application/openmetrics-text"
MAX_LINE = 65536  # characters

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Possessive quantifiers: a line made of spaces must not be tried in every way to split it.
_SAMPLE = re.compile(
    rf"\s*+(?P<name>{_NAME})?+(?:\s*+\{{(?P<labels>.*)\}})?"
    r"\s++(?P<value>[-+0-9a-zA-Z._]++)(?:\s++[-+0-9.eE]++)?\s*+(?:#\s*+\{.*)?"  # timestamp, exemplar
)
_COMMENT = re.compile(rf"\s*#(?:\s+(?:HELP|TYPE|UNIT)\s+(?P<name>{_NAME}))?.*")
_QUOTED = re.compile(rf'\s*"(?P<name>{_NAME})"')  # the name may stand among the labels
_SUFFIX = re.compile(r"_(?:total|count|bucket|sum|created)$")


@dataclass(slots=True)
class MetricsText(Probe):
    """metrics, from the endpoint at `url`."""

    url: str
    names: MetricNames
    max_bytes: int
    interval_seconds: float
    timeout_seconds: float
    name: str = "metrics"
    _fetcher: Fetcher = field(init=False)

    def __post_init__(self) -> None:
        self._fetcher = Fetcher.to(self.url, self.timeout_seconds, self.max_bytes)

    def observe(self) -> Mapping[str, Any]:
        return self.read().to_json()

    def read(self) -> MetricsReading:
        """Raises ProbeError, with the address and one line."""
        try:
            return self._read(time.monotonic() + self.timeout_seconds)
        except ProbeError as e:
            hint = e.hint or "look at that page yourself, and at [guard.metrics]"
            raise ProbeError(f"{shown(self.url)}: {e}", hint=hint) from None

    def close(self) -> None:
        """Nothing is kept open."""

    def _read(self, deadline: float) -> MetricsReading:
        answer = self._fetcher.fetch(headers={"Accept": ACCEPT}, deadline=deadline)
        if answer.status != 200:
            raise ProbeError(f"answered {answer}")
        if not answer.whole:
            raise ProbeError(
                f"more than {self.max_bytes} bytes", hint="raise [guard.metrics] max_bytes if that is right"
            )
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise ProbeError(f"answered compressed ({encoding[:40]}), which was not asked for")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("", "text/plain", OPENMETRICS):
            raise ProbeError(f"answered {kind[:80]}, that is no page of metrics")
        try:
            text = answer.body.decode("utf-8")
        except UnicodeDecodeError:
            raise ProbeError("not UTF-8") from None
        return parse(text, self.names, openmetrics=kind == OPENMETRICS, deadline=deadline)


def parse(text: str, names: MetricNames, *, openmetrics: bool, deadline: float) -> MetricsReading:
    """A page as a reading. Raises ProbeError: not that format, cut off, or not done by the deadline."""
    if not text.strip():
        raise ProbeError("an empty page")
    if not text.endswith("\n"):
        raise ProbeError("the page is cut off: its last line has no end")
    page = _Page(text, names, openmetrics, deadline)
    reader = Reader(names)
    try:
        for family in page.families():
            for sample in family.samples:
                reader.add(Series(sample.name, sample.labels, float(sample.value)))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as e:
        # What the parser raises for lines that it cannot read; its text may quote the whole line.
        raise ProbeError(f"line {page.line}: {_cut(str(e)) or 'cannot be read'}") from None
    reading = reader.reading()
    if reading == MetricsReading() and not page.known:
        first = ", ".join([*names.requests, *names.latency][:3])
        raise ProbeError(
            f"none of the configured metrics is there ({first}, ...)",
            hint="name the application's metrics in [guard.metrics] requests and latency",
        )
    return reading


class _Page:
    """The lines of one page, those of the wanted families going to the parser."""

    def __init__(self, text: str, names: MetricNames, openmetrics: bool, deadline: float) -> None:
        self._text = text
        self._openmetrics = openmetrics
        self._deadline = deadline
        self._bases = {_base(name) for name in names.wanted()}
        self.line = 0
        self.known = False  # one of the wanted names was there, perhaps without a series yet

    def families(self) -> Iterable[Metric]:
        parser = openmetrics_families if self._openmetrics else text_families
        families: Iterable[Metric] = parser(cast(TextIO, self._lines()))  # it only goes through them
        return families

    def _lines(self) -> Iterator[str]:
        ended = False
        for line in self._text.split("\n")[:-1]:
            self.line += 1
            if time.monotonic() > self._deadline:
                raise ProbeError(f"reading the page takes too long (stopped at line {self.line})")
            if ended:
                raise ProbeError(f"line {self.line}: something behind # EOF")
            if len(line) > MAX_LINE:
                raise ProbeError(f"line {self.line} has more than {MAX_LINE} characters")
            if self._openmetrics and line == "# EOF":
                ended = True
            elif not self._is_wanted(line):
                continue
            yield line + "\n"
        if self._openmetrics and not ended:
            raise ProbeError("the page is cut off: # EOF is missing")

    def _is_wanted(self, line: str) -> bool:
        if not line.strip():
            return False
        if match := _COMMENT.fullmatch(line):
            name = match["name"]
        elif match := _SAMPLE.fullmatch(line):
            name = match["name"] or _quoted_name(match["labels"])
            if name is None:
                raise ProbeError(f"line {self.line} is no line of metrics: {_cut(line)}")
        else:
            raise ProbeError(f"line {self.line} is no line of metrics: {_cut(line)}")
        wanted = name is not None and _base(name) in self._bases
        self.known = self.known or wanted
        return wanted


def _quoted_name(labels: str | None) -> str | None:
    match = _QUOTED.match(labels or "")
    return match["name"] if match else None


def _base(name: str) -> str:
    return _SUFFIX.sub("", name)


def _cut(text: str) -> str:
    return ascii(text[:80])[1:-1]
