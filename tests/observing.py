"""An application under watch, in simulated time: what its probes would say, given to a Watch.

Nothing waits. `Scene.run` goes on by so many seconds with the application in the state that is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import exp, inf
from typing import Any

from turnback.core.watch.baseline import Baseline, RouteBaseline
from turnback.core.watch.observation import (
    CauseCount,
    Latency,
    MetricsReading,
    Observation,
    Pool,
    RequestCount,
    Situation,
)
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action, Decision, Verdict
from turnback.core.watch.watch import Watch
from turnback.core.watch.window import quantile

BEGUN = datetime(2026, 11, 23, tzinfo=UTC)
BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, inf)
STEP = 5.0  # seconds: everything happens at a multiple of it
INTERVALS = {
    "capture": 5.0,
    "application": 10.0,
    "database": 10.0,
    "server": 5.0,
    "metrics": 10.0,
    "postgres": 10.0,
    "slot": 10.0,
    "disk": 10.0,
}
ENFORCE = Rules(mode="enforce", intervals=INTERVALS)

GOOD: dict[str, dict[str, Any]] = {
    "capture": {
        "state": "streaming",
        "lag_bytes": 0,
        "lag_seconds": 0.0,
        "contact_age_seconds": 0.1,
        "lost": False,
        "warning": None,
        "error": None,
    },
    "slot": {"wal_status": "reserved", "safe_wal_size": None, "retained_bytes": 1024},
    "disk": {"free_bytes": 10**10, "needed_bytes": 10**8},
    "postgres": {
        "connections": 20,
        "max_connections": 100,
        "role_connections": 10,
        "role_limit": None,
        "waiting": 0,
        "oldest_transaction_seconds": 0.1,
        "deadlocks": 0,
    },
}


def observation(
    at: float, probe: str, value: Mapping[str, Any] | None = None, error: str | None = None
) -> Observation:
    if value is None and error is None:
        error = "made to fail"
    return Observation(at, BEGUN + timedelta(seconds=at), probe, value, error)


def check(ok: bool, detail: str = "", **more: Any) -> dict[str, Any]:
    return {"ok": ok, "detail": detail or ("200" if ok else "connection refused"), "seconds": 0.01, **more}


def histogram(requests: float, mean: float, bounds: Sequence[float] = BOUNDS) -> tuple[float, ...]:
    """Exponentially distributed durations, cumulative."""
    return tuple(requests if b == inf else requests * (1 - exp(-b / mean)) for b in bounds)


def baseline(
    means: Mapping[str, float], bounds: Sequence[float] = BOUNDS, shares: Mapping[str, float] | None = None
) -> Baseline:
    """A recording of 10,000 requests on each endpoint (or by `shares`) with these mean durations."""
    routes = {
        e: RouteBaseline(tuple(bounds), histogram(10_000 * (shares or {}).get(e, 1.0), mean, bounds))
        for e, mean in means.items()
    }
    counts = [sum(r.counts[i] for r in routes.values()) for i in range(len(bounds))]
    p95 = quantile(bounds, counts, 0.95) or 0.0
    return Baseline(BEGUN.isoformat(), 600.0, routes, int(counts[-1]), p95, None, 0.0, "turnback baseline")


@dataclass
class Application:
    """Its counters, as an exporter would show them."""

    requests: dict[tuple[str, str, str], float] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    causes: dict[str, float] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)
    bounds: tuple[float, ...] = BOUNDS

    def serve(
        self, endpoint: str, requests: float, failing: float = 0.0, mean: float = 0.05, user: str = ""
    ) -> None:
        """So many requests, that share of them answered with 500."""
        for status, count in (("200", requests * (1 - failing)), ("500", requests * failing)):
            if count:
                key = (endpoint, status, user)
                self.requests[key] = self.requests.get(key, 0.0) + count
        there = self.latencies.setdefault(endpoint, [0.0] * len(self.bounds))
        for i, count in enumerate(histogram(requests, mean, self.bounds)):
            there[i] += count

    def restart(self) -> None:
        self.requests.clear()
        self.latencies.clear()
        self.causes.clear()

    def reading(self) -> MetricsReading:
        """Whole numbers, as counters are."""
        return MetricsReading(
            tuple(RequestCount(e, s, _whole(n), "", user) for (e, s, user), n in self.requests.items()),
            tuple(Latency(e, self.bounds, tuple(map(_whole, t))) for e, t in self.latencies.items()),
            self.pool,
            tuple(CauseCount(c, _whole(n)) for c, n in self.causes.items()),
        )


def _whole(count: float) -> float:
    return float(int(count + 1e-6))


class Scene:
    """A watch, and what it is given. `rate` is requests a second over all endpoints of `mix`."""

    def __init__(
        self,
        rules: Rules = ENFORCE,
        baseline: Baseline | None = None,
        *,
        phase: str = "on_postgres",
        serving_since: float | None = -1000.0,
        begin: float = 0.0,
    ) -> None:
        self.rules = rules
        self.watch = Watch(rules, baseline)
        self.app = Application()
        self.at = begin
        self.given: list[Observation] = []
        self.decisions: list[Decision] = []
        self.situation = Situation(phase, None, serving_since)
        self.situate()

    def give(self, probe: str, value: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        self.take(observation(self.at, probe, value, error))

    def take(self, o: Observation) -> None:
        self.given.append(o)
        decision = self.watch.take(o)
        if decision is not None:
            self.decisions.append(decision)

    def situate(self, **changes: Any) -> None:
        self.situation = replace(self.situation, **changes)
        self.give("situation", self.situation.to_json())

    def run(
        self,
        seconds: float,
        *,
        rate: float = 20.0,
        failing: float = 0.0,
        mean: float = 0.05,
        mix: Mapping[str, float] | None = None,
        means: Mapping[str, float] | None = None,
        off: Sequence[str] = (),
        broken: Sequence[str] = (),
        **values: Any,
    ) -> Scene:
        """Goes on for `seconds`. A probe in `off` says nothing, one in `broken` gives an error. Others say what
        `values` gives them: a bool (a check), or changes to what is good. Dependencies: dependency_NAME.
        """
        means = means or {}
        end = self.at + seconds
        while self.at + STEP <= end + 1e-9:
            self.at = round(self.at + STEP, 6)
            for endpoint, share in (mix or {"/": 1.0}).items():
                self.app.serve(endpoint, rate * share * STEP, failing, means.get(endpoint, mean))
            for probe, every in self.rules.intervals.items():
                if self.at % every > 1e-6 or probe in off:
                    continue
                if probe in broken:
                    self.give(probe, error="made to fail")
                else:
                    self.give(probe, self._value(probe, values))
        return self

    def _value(self, probe: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        given = values.get(probe.replace(":", "_"))
        if probe == "metrics":
            return self.app.reading().to_json()
        if probe in GOOD:
            return GOOD[probe] | (given or {})
        if isinstance(given, Mapping):
            return given
        if probe == "process":
            return {"starts": 1, "exits": 0, "started": True}
        if probe == "log":
            return {"errors": 0, "lines": []}
        more = {"step": "connect"} if probe == "server" else {}
        return check(given is None or bool(given), **more)

    def verdict(self, trigger: str) -> Verdict:
        return next(v for v in self.watch.verdicts if v.trigger == trigger)

    @property
    def actions(self) -> list[tuple[str, str]]:
        return [(d.action.value, d.trigger) for d in self.decisions]

    @property
    def rollbacks(self) -> list[Decision]:
        return [d for d in self.decisions if d.action is Action.ROLLBACK]
