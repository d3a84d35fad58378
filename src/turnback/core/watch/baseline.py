"""The baseline: how the application answered while it was on SQLite. Frozen into the journal at cutover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from turnback.core.watch.observation import bounds_to_json


@dataclass(frozen=True, slots=True)
class RouteBaseline:
    """One endpoint's histogram of the time that was recorded (differences of the counters)."""

    bounds: tuple[float, ...]  # seconds; the last is infinity
    counts: tuple[float, ...]  # cumulative over the bounds


@dataclass(frozen=True, slots=True)
class Baseline:
    recorded_at: str  # ISO 8601, UTC
    seconds: float  # how long was recorded
    routes: Mapping[str, RouteBaseline]
    requests: int
    p95_seconds: float  # over all routes
    spread_seconds: float | None  # of the p95 between parts of the recording; None: one part only
    error_share: float
    source: str  # "turnback baseline", "cutover: since the application's start"

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        for route in body["routes"].values():
            route["bounds"] = bounds_to_json(route["bounds"])
            route["counts"] = list(route["counts"])
        return body

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Baseline:
        routes = {
            name: RouteBaseline(tuple(float(b) for b in r["bounds"]), tuple(r["counts"]))
            for name, r in body["routes"].items()
        }
        return Baseline(**{**body, "routes": routes})
