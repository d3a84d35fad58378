"""A recording becomes a baseline: readings of the application's counters, while it was on SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

from turnback.core.watch.baseline import Baseline, RouteBaseline
from turnback.core.watch.observation import MetricsReading
from turnback.core.watch.window import Slice, Window, difference, quantile, rebucketed
from turnback.errors import ProbeError

MIN_REQUESTS = 100  # fewer are no sample of a p95: five of them are slower than it
PARTS = 5
P95 = 0.95


def recorded(slices: Sequence[Slice], *, at: str, seconds: float, source: str) -> Baseline:
    """The baseline of these slices, oldest first. `at`: ISO 8601, UTC.

    Raises ProbeError where they are no sample: too few requests, or no histogram of durations.
    """
    whole = _summed(slices)
    requests = round(whole.total)
    if requests < MIN_REQUESTS:
        raise ProbeError(
            f"{requests} requests were counted in {seconds:.0f} s: a baseline needs at least {MIN_REQUESTS}",
            hint="record for longer (`turnback baseline --seconds N`), or while there is traffic",
        )
    routes = _routes(whole)
    timed = sum(r.counts[-1] for r in routes.values())
    p95 = _p95(routes)
    if p95 is None or timed < MIN_REQUESTS:
        raise ProbeError(
            f"{requests} requests were counted, and the durations of {timed:.0f} of them",
            hint="export a histogram of request durations, and name it in [guard.metrics] latency",
        )
    return Baseline(
        recorded_at=at,
        seconds=round(seconds, 3),
        routes=routes,
        requests=requests,
        p95_seconds=p95,
        spread_seconds=_spread(slices),
        error_share=whole.failed / whole.total,
        source=source,
    )


def since_start(reading: MetricsReading) -> Slice:
    """All that the application has counted since it started: every series counts from 0."""
    nothing = replace(
        reading,
        requests=tuple(replace(r, total=0.0) for r in reading.requests),
        latencies=tuple(replace(h, totals=(0.0,) * len(h.totals)) for h in reading.latencies),
        causes=tuple(replace(c, total=0.0) for c in reading.causes),
    )
    return difference(nothing, reading)


def _summed(slices: Sequence[Slice]) -> Window:
    window = Window(inf)
    for at, one in enumerate(slices):
        window.add(at, one)
    return window


def _routes(window: Window) -> dict[str, RouteBaseline]:
    """By endpoint. One whose buckets changed while it was recorded is laid onto the first ones."""
    routes: dict[str, RouteBaseline] = {}
    for (endpoint, bounds), counts in window.latencies.items():
        there = routes.get(endpoint)
        if there is None:
            routes[endpoint] = RouteBaseline(bounds, tuple(counts))
            continue
        laid = rebucketed(bounds, counts, there.bounds)
        summed = tuple(a + b for a, b in zip(there.counts, laid, strict=True))
        routes[endpoint] = RouteBaseline(there.bounds, summed)
    return routes


def _p95(routes: Mapping[str, RouteBaseline]) -> float | None:
    """Seconds, over all routes together."""
    onto = tuple(sorted({b for route in routes.values() for b in route.bounds}))
    laid = [rebucketed(r.bounds, r.counts, onto) for r in routes.values()]
    return quantile(onto, [sum(counts) for counts in zip(*laid, strict=True)], P95)


def _spread(slices: Sequence[Slice]) -> float | None:
    """Between the slowest and the fastest p95 of the recording's parts, in seconds; None where it has fewer
    than PARTS that say something.
    """
    if len(slices) < PARTS:
        return None
    edges = [len(slices) * i // PARTS for i in range(PARTS + 1)]
    parts = [slices[a:b] for a, b in pairwise(edges)]
    found = [p95 for part in parts if (p95 := _p95(_routes(_summed(part)))) is not None]
    return max(found) - min(found) if len(found) == PARTS else None


def newest(records: Sequence[Any]) -> Mapping[str, Any] | None:
    """The body of the newest `baseline` record of this stay on SQLite: one from before the last cutover
    measured another file, perhaps another release.
    """
    found: Mapping[str, Any] | None = None
    cutovers = set()
    for record in records:
        if record.kind == "run_started" and record.body["intent"] == "cutover":
            cutovers.add(record.run)
        elif record.kind == "run_ended" and record.run in cutovers and record.body["outcome"] == "done":
            found = None
        elif record.kind == "baseline":
            found = record.body
    return found
