"""Series of metrics become a MetricsReading, by the configured names.

Counters are summed over the labels that do not matter (method, exception): within one process they start
again together. What cannot be a counter or a histogram (NaN, negative, falling buckets, the same series
twice) is refused as a whole: a reading that is half right would become a verdict.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from turnback.core.watch.observation import CauseCount, Latency, MetricsReading, Pool, RequestCount
from turnback.errors import ProbeError

MAX_SERIES = 5000  # of requests, after summing: a label with a value per request is no endpoint
MILLISECONDS = "_milliseconds"
INSTANCE = "instance"
EXPORTED = "exported_"  # Prometheus renames the application's label so where its own has that name

Labels = Mapping[str, str]


class Series(NamedTuple):
    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class MetricNames:
    """[guard.metrics]: of each list the first name that is there counts."""

    requests: Sequence[str]
    latency: Sequence[str]
    status_label: Sequence[str]
    endpoint_label: Sequence[str]
    user_label: str | None = None
    ignore_endpoints: Sequence[str] = ()
    pool_size: Sequence[str] = ()
    pool_in_use: Sequence[str] = ()
    pool_waiting: Sequence[str] = ()
    pool_timeouts: Sequence[str] = ()
    causes: str | None = None
    cause_label: str = "cause"

    def counters(self) -> list[str]:
        return [*self.requests, *self.pool_timeouts, *([self.causes] if self.causes else [])]

    def wanted(self) -> set[str]:
        """Every name a series of interest can have; a parser may add `_total` to a counter's."""
        counters = {n for name in self.counters() for n in (name, f"{name}_total")}
        gauges = {*self.pool_size, *self.pool_in_use, *self.pool_waiting}
        return counters | gauges | {f"{name}_bucket" for name in self.latency}


class Reader:
    """Takes the series of one page or answer, and makes the reading."""

    def __init__(self, names: MetricNames) -> None:
        self._names = names
        self._wanted = names.wanted()
        self._series: defaultdict[str, list[Series]] = defaultdict(list)
        self._seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()

    def add(self, series: Series) -> None:
        """Raises ProbeError: the same series twice."""
        if series.name not in self._wanted:
            return
        key = (series.name, frozenset(series.labels.items()))
        if key in self._seen:
            raise ProbeError(f"{_shown(series)} is there twice")
        self._seen.add(key)
        self._series[series.name].append(series)

    def reading(self) -> MetricsReading:
        """Raises ProbeError: values that cannot be, a counter of requests without a status."""
        return MetricsReading(self._requests(), self._latencies(), self._pool(), self._causes())

    # ---- requests --------------------------------------------------------------------------------

    def _requests(self) -> tuple[RequestCount, ...]:
        names = self._names
        there = [found for name in names.requests if (found := self._counter(name))]
        if not there:
            return ()
        for found in there:
            if any(_label(s.labels, names.status_label) for s in found):
                break
        else:
            first = there[0][0]
            raise ProbeError(
                f"{first.name} has none of the labels {', '.join(names.status_label)}: it has "
                f"{', '.join(sorted(first.labels)) or 'no labels'}",
                hint="name the label with the status in [guard.metrics] status_label",
            )
        totals: defaultdict[tuple[str, str, str, str], float] = defaultdict(float)
        for series in found:
            endpoint = _label(series.labels, names.endpoint_label)
            if endpoint in names.ignore_endpoints:
                continue
            user = series.labels.get(names.user_label, "") if names.user_label else ""
            instance = series.labels.get(INSTANCE, "")
            key = (endpoint, _label(series.labels, names.status_label), instance, user)
            totals[key] += _count(series)
        if len(totals) > MAX_SERIES:
            raise ProbeError(
                f"{found[0].name} has {len(totals)} series after summing, {MAX_SERIES} at most are read",
                hint="an endpoint label with a value per request is none: export the route's template",
            )
        return tuple(RequestCount(e, s, total, i, u) for (e, s, i, u), total in sorted(totals.items()))

    def _counter(self, name: str) -> list[Series]:
        return self._series.get(name) or self._series.get(f"{name}_total") or []

    # ---- latency ---------------------------------------------------------------------------------

    def _latencies(self) -> tuple[Latency, ...]:
        for name in self._names.latency:
            if found := self._series.get(f"{name}_bucket"):
                return tuple(self._histograms(name, found))
        return ()  # a summary's quantiles cannot be added up: without buckets there is no latency

    def _histograms(self, name: str, found: Iterable[Series]) -> Iterable[Latency]:
        unit = 0.001 if name.endswith(MILLISECONDS) else 1.0
        groups: defaultdict[tuple[str, str], defaultdict[float, float]] = defaultdict(
            lambda: defaultdict(float)
        )
        parts: defaultdict[tuple[str, str, float], int] = defaultdict(int)
        for series in found:
            endpoint = _label(series.labels, self._names.endpoint_label)
            if endpoint in self._names.ignore_endpoints:
                continue
            group = (endpoint, series.labels.get(INSTANCE, ""))
            bound = _bound(series)
            groups[group][bound] += _count(series)
            parts[(*group, bound)] += 1
        for (endpoint, instance), totals in sorted(groups.items()):
            bounds = sorted(totals)
            if bounds[-1] != math.inf:
                raise ProbeError(f"{name} of {endpoint or 'no endpoint'} lacks its bucket +Inf")
            if len({parts[endpoint, instance, bound] for bound in bounds}) > 1:
                raise ProbeError(f"{name} of {endpoint or 'no endpoint'} has series with different buckets")
            counts = [totals[bound] for bound in bounds]
            if any(later < earlier for earlier, later in pairwise(counts)):
                raise ProbeError(f"{name} of {endpoint or 'no endpoint'} is not cumulative")
            yield Latency(endpoint, tuple(b * unit for b in bounds), tuple(counts), instance)

    # ---- pool and causes -------------------------------------------------------------------------

    def _pool(self) -> Pool:
        names = self._names
        size, in_use = self._gauge(names.pool_size), self._gauge(names.pool_in_use)
        fullest = max(
            (labels for labels in size.keys() & in_use.keys()),
            key=lambda labels: (in_use[labels] / size[labels] if size[labels] else 0.0, sorted(labels)),
            default=None,
        )
        timeouts = next((found for name in names.pool_timeouts if (found := self._counter(name))), [])
        waiting = self._gauge(names.pool_waiting)
        return Pool(
            # Of several pools (a process each, or one for reading) the fullest: a sum would hide it.
            size[fullest] if fullest is not None else _sum(size.values()),
            in_use[fullest] if fullest is not None else _sum(in_use.values()),
            _sum(waiting.values()),
            _sum(map(_count, timeouts)),
        )

    def _gauge(self, names: Sequence[str]) -> dict[frozenset[tuple[str, str]], float]:
        found = next((self._series[name] for name in names if name in self._series), [])
        return {frozenset(s.labels.items()): _finite(s) for s in found}

    def _causes(self) -> tuple[CauseCount, ...]:
        names = self._names
        totals: defaultdict[tuple[str, str], float] = defaultdict(float)
        for series in self._counter(names.causes) if names.causes else ():
            cause, instance = series.labels.get(names.cause_label, ""), series.labels.get(INSTANCE, "")
            totals[cause, instance] += _count(series)
        if len(totals) > MAX_SERIES:
            raise ProbeError(f"{names.causes} has {len(totals)} series, {MAX_SERIES} at most are read")
        return tuple(CauseCount(c, total, i) for (c, i), total in sorted(totals.items()))


def _label(labels: Labels, names: Sequence[str]) -> str:
    for name in names:
        value = labels.get(EXPORTED + name) or labels.get(name)
        if value:
            return value
    return ""


def _finite(series: Series) -> float:
    if not math.isfinite(series.value):
        raise ProbeError(f"{_shown(series)} is {series.value}")
    return series.value


def _count(series: Series) -> float:
    """The value of a counter or bucket."""
    if _finite(series) < 0:
        raise ProbeError(f"{_shown(series)} is {series.value}, a counter is never negative")
    return series.value


def _bound(series: Series) -> float:
    text = series.labels.get("le", "")
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise ProbeError(f"{_shown(series)} has no bound `le`, but {text[:40]!r}")
    return bound


def _sum(values: Iterable[float]) -> float | None:
    there = list(values)
    return math.fsum(there) if there else None


def _shown(series: Series) -> str:
    labels = ", ".join(f"{k}={v!r}" for k, v in sorted(series.labels.items()))
    return f"{series.name}{{{labels}}}"[:200]
