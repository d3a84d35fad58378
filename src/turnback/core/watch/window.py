"""Readings of counters over time become slices (what happened between two readings) and a window of them.

A reading is a total; only its growth says something. What the growth is:
- a series that fell has restarted: all it shows now is growth (PromQL's increase(), per series);
- a series that is new in an instance that was there before counts from 0: client libraries show a labelled
  series from its first event on, and the first failures of an endpoint must not be lost;
- a whole instance that is new counts from its second reading on: nobody knows how long it has run. The
  unnamed instance (one process) is known from the first reading, even an empty one;
- what is gone counts nothing; values that are no finite numbers count nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

from turnback.core.watch.baseline import RouteBaseline
from turnback.core.watch.observation import MetricsReading

GAP_INTERVALS = 3.5  # readings further apart than three intervals (and half of one for jitter) are a gap

Bounds = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """What happened between two readings. Counts are floats, as in Prometheus' text format."""

    requests: Mapping[str, float] = field(default_factory=dict)  # endpoint -> requests
    failures: Mapping[str, float] = field(default_factory=dict)  # endpoint -> of these, failed (5xx)
    latencies: Mapping[str, RouteBaseline] = field(default_factory=dict)  # endpoint -> histogram
    users: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # user -> (requests, failures)
    causes: Mapping[str, float] = field(default_factory=dict)  # cause -> failed requests

    @property
    def total(self) -> float:
        return sum(self.requests.values())

    @property
    def failed(self) -> float:
        return sum(self.failures.values())


def failed_status(status: str) -> bool:
    """5xx is failed; "500", "5xx" and "5XX" are that."""
    return len(status) == 3 and status[0] == "5"


def _growth(before: float | None, after: float) -> float:
    if not isfinite(after):
        return 0.0
    if before is None or not isfinite(before) or after < before:
        return after
    return after - before


def difference(before: MetricsReading, after: MetricsReading) -> Slice:
    """What happened between two readings of the same application."""
    known = {""}
    known.update(r.instance for r in before.requests)
    known.update(h.instance for h in before.latencies)
    totals = {(r.instance, r.endpoint, r.status, r.user): r.total for r in before.requests}
    requests: dict[str, float] = {}
    failures: dict[str, float] = {}
    users: dict[str, tuple[float, float]] = {}
    for r in after.requests:
        if r.instance not in known:
            continue
        grown = _growth(totals.get((r.instance, r.endpoint, r.status, r.user)), r.total)
        if grown <= 0:
            continue
        bad = grown if failed_status(r.status) else 0.0
        requests[r.endpoint] = requests.get(r.endpoint, 0.0) + grown
        if bad:
            failures[r.endpoint] = failures.get(r.endpoint, 0.0) + bad
        if r.user:
            seen, hurt = users.get(r.user, (0.0, 0.0))
            users[r.user] = (seen + grown, hurt + bad)
    known_causes = known | {c.instance for c in before.causes}
    cause_totals = {(c.instance, c.cause): c.total for c in before.causes}
    causes: dict[str, float] = {}
    for c in after.causes:
        if c.instance in known_causes:
            grown = _growth(cause_totals.get((c.instance, c.cause)), c.total)
            if grown > 0:
                causes[c.cause] = causes.get(c.cause, 0.0) + grown
    return Slice(requests, failures, _histograms(before, after, known), users, causes)


def _histograms(before: MetricsReading, after: MetricsReading, known: set[str]) -> dict[str, RouteBaseline]:
    """By endpoint. Instances whose bounds differ are laid onto the first one's."""
    earlier = {(h.instance, h.endpoint): h for h in before.latencies}
    grown: dict[str, RouteBaseline] = {}
    for h in after.latencies:
        if h.instance not in known or not h.totals or not all(map(isfinite, h.totals)):
            continue
        old = earlier.get((h.instance, h.endpoint))
        counts = h.totals
        if old is not None and old.bounds == h.bounds:  # other bounds: another release, a restart
            steps = tuple(a - b for a, b in zip(h.totals, old.totals, strict=True))
            if min(steps) >= 0:
                counts = steps
        if counts[-1] <= 0:
            continue
        there = grown.get(h.endpoint)
        if there is not None:
            laid = counts if there.bounds == h.bounds else rebucketed(h.bounds, counts, there.bounds)
            summed = tuple(a + b for a, b in zip(there.counts, laid, strict=True))
            grown[h.endpoint] = RouteBaseline(there.bounds, summed)
        else:
            grown[h.endpoint] = RouteBaseline(h.bounds, counts)
    return grown


def quantile(bounds: Sequence[float], counts: Sequence[float], q: float) -> float | None:
    """Seconds below which the share `q` lies, linear inside a bucket; None: nothing was counted.

    PromQL's histogram_quantile: the last bound is infinite, and a quantile that lies in that bucket is the
    highest finite bound. None too where there is no finite bound.
    """
    if len(bounds) < 2 or not counts or counts[-1] <= 0:
        return None
    rank = q * counts[-1]
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank and count > below:
            if bound == inf:
                return lower
            if bound <= 0:
                return bound
            return lower + (bound - lower) * (rank - below) / (count - below)
        # Cumulative counts that fall (a reading in the middle of an update) are taken as level.
        below = max(below, count)
        if bound != inf:
            lower = bound
    return lower


def rebucketed(bounds: Bounds, counts: Sequence[float], onto: Bounds) -> tuple[float, ...]:
    """Cumulative counts on other bounds, linear inside a bucket: wrong by one bucket's width at most.

    What lies beyond the last finite bound stays beyond every finite bound that is higher.
    """
    laid: list[float] = []
    at, lower, below = 0, 0.0, 0.0
    for bound in onto:
        while at < len(bounds) and bounds[at] <= bound:
            lower, below = bounds[at], counts[at]
            at += 1
        if at == len(bounds):
            laid.append(counts[-1])
        elif bounds[at] == inf or bound <= lower:
            laid.append(below)
        else:
            laid.append(below + (counts[at] - below) * (bound - lower) / (bounds[at] - lower))
    return tuple(laid)


class Readings:
    """Turns readings into slices: None for the first one, and for one behind a gap."""

    def __init__(self, interval: float) -> None:
        self._gap = GAP_INTERVALS * interval
        self._before: tuple[float, MetricsReading] | None = None

    def take(self, at: float, reading: MetricsReading) -> Slice | None:
        before, self._before = self._before, (at, reading)
        if before is None or at - before[0] > self._gap:
            return None
        return difference(before[1], reading)


class Window:
    """The sum of the slices that lie in the last `seconds`: each is added once and taken off once.

    A slice counts while its end is in the window. Endpoints, users and causes are as many as the series.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._slices: deque[tuple[float, Slice]] = deque()
        self.requests: dict[str, float] = {}
        self.failures: dict[str, float] = {}
        self.causes: dict[str, float] = {}
        self.users: dict[str, tuple[float, float]] = {}
        self.latencies: dict[tuple[str, Bounds], list[float]] = {}
        self.total = 0.0
        self.failed = 0.0

    def add(self, at: float, what: Slice) -> None:
        """A slice that ends at `at`; those that are over leave."""
        self._slices.append((at, what))
        self._count(what, 1)
        self.pass_to(at)

    def pass_to(self, at: float) -> None:
        """Half-open: what ended `seconds` ago, or before, is out."""
        while self._slices and self._slices[0][0] <= at - self.seconds:
            self._count(self._slices.popleft()[1], -1)

    def _count(self, what: Slice, sign: int) -> None:
        self.total += sign * what.total
        self.failed += sign * what.failed
        _sum(self.requests, what.requests.items(), sign)
        _sum(self.failures, what.failures.items(), sign)
        _sum(self.causes, what.causes.items(), sign)
        for user, (seen, hurt) in what.users.items():
            a, b = self.users.get(user, (0.0, 0.0))
            if a + sign * seen > 0:
                self.users[user] = (a + sign * seen, b + sign * hurt)
            else:
                self.users.pop(user, None)
        for endpoint, h in what.latencies.items():
            key = (endpoint, h.bounds)
            there = self.latencies.setdefault(key, [0.0] * len(h.bounds))
            for i, count in enumerate(h.counts):
                there[i] += sign * count
            if there[-1] <= 0:
                del self.latencies[key]


def _sum(into: dict[str, float], items: Iterable[tuple[str, float]], sign: int) -> None:
    for name, count in items:
        total = into.get(name, 0.0) + sign * count
        if total > 0:
            into[name] = total
        else:
            into.pop(name, None)
