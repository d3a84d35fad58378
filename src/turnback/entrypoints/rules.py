"""The guard's rules: what turnback.toml says becomes values that the core decides by."""

from __future__ import annotations

from collections.abc import Iterator

from turnback.core.watch.observation import DEPENDENCY
from turnback.core.watch.rules import (
    SEVERITIES,
    Consecutive,
    CrashLoop,
    ErrorRate,
    LatencyRule,
    LogErrors,
    Mode,
    NeverHealthy,
    PoolRule,
    Rules,
    Severity,
    SeverityRule,
)
from turnback.entrypoints.config import Config

CAUTIOUS = ("critical", "high")  # the severities that the profile `cautious` rolls back by itself

# Probes that are not configured by a table of their own, and how often they read, in seconds.
CAPTURE_SECONDS = 1.0
POSTGRES_SECONDS = 10.0
SLOT_SECONDS = 10.0
DISK_SECONDS = 10.0
PROCESS_SECONDS = 1.0
PLATFORM_SECONDS = 60.0


def rules(config: Config) -> Rules:
    """Every threshold, with the profile's defaults where the file says nothing."""
    guard, triggers = config.guard, config.guard.triggers
    defaults = Rules()
    return Rules(
        mode=guard.mode,
        database_health=Consecutive(
            triggers.database_health.failures or defaults.database_health.failures,
            triggers.database_health.enabled,
        ),
        application_health=Consecutive(
            triggers.application_health.failures or defaults.application_health.failures,
            triggers.application_health.enabled,
        ),
        never_healthy=NeverHealthy(
            triggers.never_healthy.seconds or config.app.health_timeout_seconds,
            triggers.never_healthy.enabled,
        ),
        crash_loop=CrashLoop(**triggers.crash_loop.model_dump()),
        error_rate=ErrorRate(**triggers.error_rate.model_dump()),
        latency=LatencyRule(**triggers.latency.model_dump()),
        pool=PoolRule(**triggers.pool.model_dump()),
        log_errors=LogErrors(**triggers.log_errors.model_dump()),
        severities={name: _severity(config, name, defaults.severities[name]) for name in SEVERITIES},
        critical_endpoints=guard.metrics.critical_endpoints,
        other_causes=guard.metrics.other_causes,
        alerts=dict(guard.alerts),
        warm_up_seconds=guard.warm_up_seconds,
        blind_after=guard.blind_after,
        intervals=dict(intervals(config)),
        rpo_objective_seconds=config.rollback.rpo_objective_seconds,
        max_lag_seconds=guard.max_lag_seconds,
        verification_days=guard.verification_days,
    )


def _severity(config: Config, name: Severity, default: SeverityRule) -> SeverityRule:
    chosen = config.guard.severities.get(name)
    cautious = config.guard.profile == "cautious" and name not in CAUTIOUS
    mode: Mode | None = "recommend" if cautious and config.guard.mode == "enforce" else None
    if chosen is None:
        return SeverityRule(default.above_share, default.objective_seconds, default.emergency, mode)
    return SeverityRule(
        default.above_share if chosen.above_share is None else chosen.above_share,
        default.objective_seconds if chosen.objective_seconds is None else chosen.objective_seconds,
        default.emergency if chosen.kind is None else chosen.kind == "emergency",
        chosen.mode or mode,
    )


def intervals(config: Config) -> Iterator[tuple[str, float]]:
    """(probe, seconds between readings) of the probes that this configuration has."""
    guard = config.guard
    if guard.application.url or config.app.health:
        yield "application", guard.application.interval_seconds
    if guard.database.url:
        yield "database", guard.database.interval_seconds
    if guard.server.enabled:
        yield "server", guard.server.interval_seconds
    if guard.synthetic.url:
        yield "synthetic", guard.synthetic.interval_seconds
    if guard.metrics.url or guard.metrics.prometheus:
        yield "metrics", guard.metrics.interval_seconds
    if guard.log.path or config.app.platform == "process":
        yield "log", guard.log.interval_seconds
    if config.app.platform == "process":
        yield "process", PROCESS_SECONDS
    if config.app.platform == "command" and config.app.sqlite.available:
        yield "platform", PLATFORM_SECONDS
    for name, dependency in guard.dependencies.items():
        yield DEPENDENCY + name, dependency.interval_seconds
    yield "postgres", POSTGRES_SECONDS
    yield "slot", SLOT_SECONDS
    yield "capture", CAPTURE_SECONDS
    yield "disk", DISK_SECONDS
