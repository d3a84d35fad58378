"""The application's metrics as a Prometheus server has scraped them, through its query API.

Asked is for the raw samples of the last minutes, not for an instant: an instant carries on a sample for five
minutes (documentation: Querying basics, Staleness), and tells no sample's own time. So a series counts while
its newest sample is not older than two of its scrape intervals, by Prometheus' own clock.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import pairwise
from statistics import median
from typing import Any
from urllib.parse import urlencode

from turnback.adapters.probes.fetch import Answer, Fetcher, shown
from turnback.adapters.probes.reading import MetricNames, Reader, Series
from turnback.core.watch.observation import MetricsReading
from turnback.errors import ProbeError
from turnback.ports import Probe

RANGE_SECONDS = 180  # two samples of a scrape a minute are in it
STALE_INTERVALS = 2.0
CLOCK_SECONDS = 1.0  # HTTP's Date has whole seconds


@dataclass(slots=True)
class MetricsQuery(Probe):
    """metrics, from the Prometheus server at `url`; `selector` are label matchers: `job="app"`."""

    url: str
    selector: str
    names: MetricNames
    max_bytes: int
    interval_seconds: float
    timeout_seconds: float
    name: str = "metrics"
    _fetcher: Fetcher = field(init=False)

    def __post_init__(self) -> None:
        address = self.url.rstrip("/") + "/api/v1/query"
        self._fetcher = Fetcher.to(address, self.timeout_seconds, self.max_bytes)

    def observe(self) -> Mapping[str, Any]:
        return self.read().to_json()

    def read(self) -> MetricsReading:
        """Raises ProbeError, with the address and one line."""
        try:
            answer = self._fetcher.fetch(
                "POST",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode({"query": self.query}).encode(),
            )
            return self._reading(answer)
        except ProbeError as e:
            hint = e.hint or "look at [guard.metrics] prometheus and selector"
            raise ProbeError(f"Prometheus at {shown(self.url)}: {e}", hint=hint) from None

    def close(self) -> None:
        """Nothing is kept open."""

    @property
    def query(self) -> str:
        names = "|".join(re.escape(name) for name in sorted(self.names.wanted()))
        matchers = f"__name__=~{json.dumps(names)}" + (f",{self.selector}" if self.selector.strip() else "")
        return f"{{{matchers}}}[{RANGE_SECONDS}s]"

    def _reading(self, answer: Answer) -> MetricsReading:
        result = _result(answer, self.max_bytes)
        now = _date(answer)
        series = [_samples(entry) for entry in result]
        if not series:
            raise ProbeError(
                "it has no such series", hint="try the selector in Prometheus; names: [guard.metrics]"
            )
        interval = _scrape_interval([times for _, times, _ in series], self.interval_seconds)
        reader, newest = Reader(self.names), max(times[-1] for _, times, _ in series)
        if now - newest > STALE_INTERVALS * interval + CLOCK_SECONDS:
            raise ProbeError(
                f"its newest sample is {now - newest:.0f} s old, it scrapes every {round(interval, 1):g} s",
                hint="look at Prometheus' targets: it does not reach the application",
            )
        for labels, times, value in series:
            if now - times[-1] <= STALE_INTERVALS * interval + CLOCK_SECONDS:
                name = labels["__name__"]
                reader.add(Series(name, {k: v for k, v in labels.items() if k != "__name__"}, value))
        return reader.reading()


def _result(answer: Answer, max_bytes: int) -> Sequence[Any]:
    if not answer.whole:
        raise ProbeError(f"more than {max_bytes} bytes", hint="a selector that matches less")
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):  # the latter where it nests without end
        raise ProbeError(f"answered {answer}, no JSON") from None
    if not isinstance(body, dict) or body.get("status") != "success":
        said = body.get("error") if isinstance(body, dict) else None
        raise ProbeError(f"answered {answer}: {ascii(str(said or 'no reason'))[1:-1][:200]}")
    data = body.get("data")
    result = data.get("result") if isinstance(data, dict) and data.get("resultType") == "matrix" else None
    if not isinstance(result, list):
        raise ProbeError("its answer is no range of samples")
    return result


def _samples(entry: Any) -> tuple[Mapping[str, str], list[float], float]:
    """Labels, times of the samples, newest value. Raises ProbeError."""
    try:
        labels = {str(k): str(v) for k, v in entry["metric"].items()}
        if "__name__" not in labels:
            raise ProbeError("a series without a name")
        times = [float(at) for at, _ in entry["values"]]
        if not all(map(math.isfinite, times)):
            raise ValueError("a sample without a time")
        return labels, times, float(entry["values"][-1][1])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise ProbeError(
            "a series of its answer has another form", hint="native histograms are not read"
        ) from None


def _scrape_interval(series: Sequence[Sequence[float]], otherwise: float) -> float:
    """Between two samples, as most series have it; with one sample each, the probe's own interval."""
    gaps = [b - a for times in series for a, b in pairwise(times[-3:])]
    return max(median(gaps), 0.001) if gaps else otherwise


def _date(answer: Answer) -> float:
    """Prometheus' own clock, Unix seconds: ours need not agree with it."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        raise ProbeError("its answer has no date") from None
