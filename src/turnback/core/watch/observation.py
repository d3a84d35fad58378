"""What a probe saw, or why it saw nothing; and the readings of the probes that give more than ok or not.

The trace is a file of observations, one JSON object a line: it holds all that a decision rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# The probes, and what `value` holds. All are JSON values; seconds are floats, bytes are ints.
#   application, database, dependency:NAME   {"ok": bool, "detail": str, "seconds": float}: an HTTP check;
#       ok false is a check that failed (refused, no answer in time, a status that was not expected);
#       and "answered": false where nobody answered, or a proxy said that nobody did (502, 504)
#   server      {"ok": bool, "detail": str, "seconds": float, "step": "connect" | "read" | "write"}: the
#       guard's own session on PostgreSQL
#   synthetic   {"ok": bool, "detail": str, "seconds": float}: one request to the application
#   metrics     MetricsReading.to_json(): the application's counters
#   postgres    {"connections", "max_connections", "role_connections", "role_limit" (None: none),
#                "waiting" (sessions waiting for a lock), "oldest_transaction_seconds", "deadlocks" (counter)}
#   slot        {"wal_status": "reserved" | "extended" | "unreserved" | "lost" | None (no slot),
#                "safe_wal_size": int | None, "retained_bytes": int}
#   capture     {"state", "lag_bytes", "lag_seconds", "contact_age_seconds" (since lag 0; None: never),
#                "lost": bool, "warning": str | None, "error": str | None}
#   disk        {"free_bytes": int, "needed_bytes": int}: where the fallback and the state lie
#   log         {"errors": int (counter), "lines": [the newest matching ones]}
#   process     {"starts": int, "exits": int (counters), "started": bool (runs now)}; platform process only
#   platform    {"ok": bool, "detail": str}: whether the SQLite side could be started now
#   verification  {"equal": bool, "age_seconds": float, "what": str}
#   integrity   {"ok": bool, "detail": str, "age_seconds": float}: the fallback's last quick_check
#   alert       {"name", "severity", "status": "firing" | "resolved", "fingerprint", "summary"}; and
#       "before" where the guard says itself what it knew: it fired before that, and was not resolved since
#   situation   Situation.to_json(): where the move stands; from the guard, at every change
PROBES = (
    "application",
    "database",
    "server",
    "synthetic",
    "metrics",
    "postgres",
    "slot",
    "capture",
    "disk",
    "log",
    "process",
    "platform",
    "verification",
    "integrity",
    "alert",
    "situation",
)
DEPENDENCY = "dependency:"  # a probe of that prefix: something the application needs that is not PostgreSQL


@dataclass(frozen=True, slots=True)
class Observation:
    """`at` counts seconds of a clock that never jumps, and orders everything; `utc` is for people.

    `value` is what was read (see PROBES). `error` says why there is none: the probe itself broke or could not
    be asked (unreadable metrics, no answer from a metrics endpoint). One of the two is None.
    """

    at: float
    utc: datetime
    probe: str
    value: Mapping[str, Any] | None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"at": round(self.at, 3), "utc": self.utc.isoformat(), "probe": self.probe}
        return body | ({"error": self.error} if self.value is None else {"value": self.value})

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Observation:
        """Raises KeyError, TypeError or ValueError where it is no observation."""
        utc = datetime.fromisoformat(body["utc"])
        return Observation(float(body["at"]), utc, str(body["probe"]), body.get("value"), body.get("error"))


@dataclass(frozen=True, slots=True)
class RequestCount:
    """A counter of requests; one series. `instance` is "" where there is one process only."""

    endpoint: str
    status: str  # as exported: "200", "5xx"
    total: float
    instance: str = ""
    user: str = ""  # where a label names it


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram of one endpoint: cumulative counts, one per bound (seconds; the last is infinity)."""

    endpoint: str
    bounds: tuple[float, ...]
    totals: tuple[float, ...]
    instance: str = ""


def bounds_to_json(bounds: tuple[float, ...]) -> list[float | str]:
    """JSON has no infinity: it becomes "inf", which float() reads."""
    return ["inf" if b == float("inf") else b for b in bounds]


@dataclass(frozen=True, slots=True)
class Pool:
    """The application's connection pool; None: not exported. `timeouts` is a counter."""

    size: float | None = None
    in_use: float | None = None
    waiting: float | None = None
    timeouts: float | None = None


@dataclass(frozen=True, slots=True)
class CauseCount:
    """A counter of failed requests by what they failed on, where the application exports one."""

    cause: str
    total: float
    instance: str = ""


@dataclass(frozen=True, slots=True)
class MetricsReading:
    requests: tuple[RequestCount, ...] = ()
    latencies: tuple[Latency, ...] = ()
    pool: Pool = Pool()
    causes: tuple[CauseCount, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Compact: a trace holds one every few seconds. Infinity is the string "inf"."""
        return {
            "requests": [[r.endpoint, r.status, r.total, r.instance, r.user] for r in self.requests],
            "latencies": [
                [
                    h.endpoint,
                    bounds_to_json(h.bounds),
                    list(h.totals),
                    h.instance,
                ]
                for h in self.latencies
            ],
            "pool": [self.pool.size, self.pool.in_use, self.pool.waiting, self.pool.timeouts],
            "causes": [[c.cause, c.total, c.instance] for c in self.causes],
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> MetricsReading:
        return MetricsReading(
            tuple(RequestCount(*r) for r in body["requests"]),
            tuple(
                Latency(endpoint, tuple(float(b) for b in bounds), tuple(totals), instance)
                for endpoint, bounds, totals, instance in body["latencies"]
            ),
            Pool(*body["pool"]),
            tuple(CauseCount(*c) for c in body["causes"]),
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the move stands, as far as a decision needs it."""

    phase: str
    open_run: str | None = None  # an intent under way: triggers are suspended
    serving_since: float | None = None  # `at` of the application's start on this side: warm-up counts from it
    latched: bool = False  # the one automatic rollback has been taken
    unproven: tuple[str, ...] = ()  # checks that were never answered properly, at the address they ask now

    def to_json(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "open_run": self.open_run,
            "serving_since": self.serving_since,
            "latched": self.latched,
            "unproven": list(self.unproven),
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Situation:
        return Situation(**{**body, "unproven": tuple(body.get("unproven", ()))})
