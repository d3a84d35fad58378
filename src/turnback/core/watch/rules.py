"""The thresholds, as values. The defaults are the profile `runbook`; turnback.toml may change each of them.

Copied into the journal at cutover: what was agreed on then is what decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Mode = Literal["observe", "recommend", "enforce"]
Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")

AUTOMATIC = (
    "database-health",
    "application-health",
    "never-healthy",
    "crash-loop",
    "error-rate",
    "latency",
    "pool",
    "log-errors",
)
BY_HAND = ("user-report", "integrity", "performance", "security")
HARD = ("database-health", "application-health", "never-healthy", "crash-loop")  # no warm-up exempts these
ALERT = "alert:"  # a trigger of that prefix comes from Alertmanager


@dataclass(frozen=True, slots=True)
class Consecutive:
    """So many failed checks, one after the other."""

    failures: int
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class NeverHealthy:
    """Not one healthy answer within `seconds` of a start."""

    seconds: float = 60.0
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """The application ended by itself `exits` times within `within_seconds` (platform process)."""

    exits: int = 3
    within_seconds: float = 120.0
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Over `limit` (a share) of the requests of the last `window_seconds`, in every evaluation for more than
    `for_seconds`. Below the sample the verdict is no_data.
    """

    limit: float = 0.05
    for_seconds: float = 300.0
    window_seconds: float = 60.0
    min_requests: int = 50
    min_failures: int = 5
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class LatencyRule:
    """The quantile over `ratio` times the baseline's AND over it by `floor_seconds`, for `for_seconds`."""

    ratio: float = 1.5
    floor_seconds: float = 0.05
    for_seconds: float = 300.0
    window_seconds: float = 60.0
    min_requests: int = 100
    quantile: float = 0.95
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class PoolRule:
    """Waiters, acquire timeouts, or every allowed connection taken: in `breaches` of `of` readings."""

    breaches: int = 3
    of: int = 5
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class LogErrors:
    """Error lines a minute over `limit`, for `for_seconds`. Off by default: logs differ too much."""

    limit: float = 60.0
    for_seconds: float = 300.0
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class SeverityRule:
    """A line of the decision matrix."""

    above_share: float  # of what is affected
    objective_seconds: float | None
    emergency: bool
    mode: Mode | None = None  # None: the guard's


@dataclass(frozen=True, slots=True)
class Rules:
    mode: Mode = "recommend"
    database_health: Consecutive = Consecutive(3)
    application_health: Consecutive = Consecutive(5)
    never_healthy: NeverHealthy = NeverHealthy()
    crash_loop: CrashLoop = CrashLoop()
    error_rate: ErrorRate = ErrorRate()
    latency: LatencyRule = LatencyRule()
    pool: PoolRule = PoolRule()
    log_errors: LogErrors = LogErrors()
    # The decision matrix. `above_share`: critical from 95 %, high over 50 %, medium over 20 %.
    severities: Mapping[str, SeverityRule] = field(
        default_factory=lambda: {
            "critical": SeverityRule(0.95, 300.0, True),
            "high": SeverityRule(0.5, 900.0, True),
            "medium": SeverityRule(0.2, 3600.0, False),
            "low": SeverityRule(0.0, None, False),
        }
    )
    # Triggers whose severity is given, not counted; error-rate goes by the share of failed requests.
    trigger_severity: Mapping[str, str] = field(
        default_factory=lambda: {
            "database-health": "critical",
            "application-health": "critical",
            "never-healthy": "critical",
            "crash-loop": "critical",
            "latency": "medium",
            "pool": "high",
            "log-errors": "medium",
        }
    )
    critical_endpoints: tuple[str, ...] = ()
    other_causes: tuple[str, ...] = ()  # values of the cause label that are known not to be PostgreSQL
    alerts: Mapping[str, str] = field(default_factory=dict)  # Alertmanager's alert name -> severity
    warm_up_seconds: float = 120.0
    recover_share: float = 0.8  # a trigger recovers below this share of its limit, for as long as it took
    blind_after: int = 10  # so many readings without data, or intervals without a reading: a page
    intervals: Mapping[str, float] = field(default_factory=dict)  # probe -> seconds between readings
    rpo_objective_seconds: float = 0.0
    max_lag_seconds: float = 60.0  # readiness: a fallback further behind could not be drained in time
    verification_days: float = 7.0  # readiness: a green verification may be this old

    def to_json(self) -> dict[str, Any]:
        """For the journal at cutover, and the head of a trace."""
        return asdict(self)

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Rules:
        """Raises KeyError, TypeError or ValueError where they are no rules."""
        parts = {
            "database_health": Consecutive,
            "application_health": Consecutive,
            "never_healthy": NeverHealthy,
            "crash_loop": CrashLoop,
            "error_rate": ErrorRate,
            "latency": LatencyRule,
            "pool": PoolRule,
            "log_errors": LogErrors,
        }
        read: dict[str, Any] = {name: kind(**body[name]) for name, kind in parts.items() if name in body}
        if "severities" in body:
            read["severities"] = {n: SeverityRule(**line) for n, line in body["severities"].items()}
        for name in ("critical_endpoints", "other_causes"):
            if name in body:
                read[name] = tuple(body[name])
        return Rules(**{**body, **read})
