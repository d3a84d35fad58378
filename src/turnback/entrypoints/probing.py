"""The probes of this application, from its configuration. Named as in rules.intervals."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from psycopg import conninfo

from turnback.adapters.platforms.command import run_command
from turnback.adapters.postgres.connect import place
from turnback.adapters.postgres.own_probe import ServerProbe
from turnback.adapters.postgres.view import ActivityProbe, SlotProbe
from turnback.adapters.probes.fetch import shown
from turnback.adapters.probes.http_check import HttpCheck, Synthetic
from turnback.adapters.probes.log import LogErrors
from turnback.adapters.probes.machine import Available, Disk, Processes
from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.adapters.probes.reading import MetricNames
from turnback.app.capture import CaptureStatus
from turnback.app.own_probes import CaptureProbe, IntegrityProbe, Proof, VerificationProbe
from turnback.core.watch.observation import DEPENDENCY
from turnback.entrypoints import certificates, rules
from turnback.entrypoints.config import Config
from turnback.entrypoints.config_guard import (
    CheckSection,
    DependencySection,
    MetricsSection,
    SyntheticSection,
)
from turnback.entrypoints.wiring import Setup
from turnback.errors import TurnbackError
from turnback.ports import Probe

AVAILABLE_SECONDS = 30.0  # for [app.sqlite] available
KNOWN_SECONDS = 10.0  # between two looks at what turnback knows itself


def probes(setup: Setup, capture: Callable[[], CaptureStatus | None]) -> list[Probe]:
    """Every probe that is configured. None connects to anything before its first `observe`."""
    config, guard = setup.config, setup.config.guard
    found: list[Probe] = []
    if health := guard.application.url or config.app.health:
        found.append(_check("application", health, guard.application))
    if guard.database.url:
        found.append(_check("database", guard.database.url, guard.database))
    for name, dependency in guard.dependencies.items():
        found.append(_check(DEPENDENCY + name, dependency.url, dependency))
    if guard.synthetic.url:
        found.append(_synthetic(guard.synthetic.url, guard.synthetic))
    if metrics := metrics_probe(config):
        found.append(metrics)
    return found + _of_the_machine(setup) + _of_postgres(setup) + _of_capture(setup, capture)


def targets(setup: Setup) -> dict[str, str]:
    """What each check asks that may be named wrongly, as its observations show it: no secret is in it. The
    address of the embedded server is turnback's own.
    """
    config, guard = setup.config, setup.config.guard
    found: dict[str, str] = {}
    if health := guard.application.url or config.app.health:
        found["application"] = shown(health)
    if guard.database.url:
        found["database"] = shown(guard.database.url)
    for name, dependency in guard.dependencies.items():
        found[DEPENDENCY + name] = shown(dependency.url)
    if (synthetic := guard.synthetic).url:
        found["synthetic"] = f"{synthetic.method} {shown(synthetic.url)} {synthetic.expect}"
    if guard.server.enabled and config.postgres.mode == "existing":
        try:
            found["server"] = place(setup.urls.app_dsn)
        except TurnbackError:  # each of its observations says why
            found["server"] = "not known"
    return found


def metrics_probe(config: Config) -> MetricsText | MetricsQuery | None:
    """The application's metrics, from its own endpoint or from Prometheus; None: not configured."""
    section = config.guard.metrics
    if section.url is not None:
        return MetricsText(
            section.url,
            metric_names(section),
            section.max_bytes,
            section.interval_seconds,
            section.timeout_seconds,
        )
    if section.prometheus is not None:
        return MetricsQuery(
            section.prometheus,
            section.selector,
            metric_names(section),
            section.max_bytes,
            section.interval_seconds,
            section.timeout_seconds,
        )
    return None


def metric_names(section: MetricsSection) -> MetricNames:
    return MetricNames(
        requests=section.requests,
        latency=section.latency,
        status_label=section.status_label,
        endpoint_label=section.endpoint_label,
        user_label=section.user_label,
        ignore_endpoints=section.ignore_endpoints,
        pool_size=section.pool_size,
        pool_in_use=section.pool_in_use,
        pool_waiting=section.pool_waiting,
        pool_timeouts=section.pool_timeouts,
        causes=section.causes,
        cause_label=section.cause_label,
    )


def log_path(setup: Setup) -> Path | None:
    """The application's log; None where nobody knows it."""
    config = setup.config
    if config.guard.log.path is not None:
        return config.folder / config.guard.log.path
    return setup.state_folder / "application.log" if setup.platform.name == "process" else None


def _check(name: str, url: str, section: CheckSection | DependencySection) -> Probe:
    return HttpCheck(name, url, section.interval_seconds, section.timeout_seconds)


def _synthetic(url: str, section: SyntheticSection) -> Probe:
    return Synthetic(
        url, section.method, section.body, section.expect, section.interval_seconds, section.timeout_seconds
    )


def _of_the_machine(setup: Setup) -> list[Probe]:
    log, fallback = setup.config.guard.log, setup.sqlite.fallback
    path = log_path(setup)
    available = setup.config.app.sqlite.available if setup.config.app.platform == "command" else None
    found: list[Probe] = [
        Disk(
            (fallback.parent, setup.state_folder),
            (fallback.with_name(fallback.name + "-wal"),),
            rules.DISK_SECONDS,
        )
    ]
    if path is not None:
        found.append(LogErrors(path, re.compile(log.pattern), log.interval_seconds))
    if setup.platform.name == "process":
        found.append(Processes(setup.journal, rules.PROCESS_SECONDS))
    if available is not None:
        run = _available(setup, available)
        found.append(Available(run, rules.PLATFORM_SECONDS, AVAILABLE_SECONDS))
    return found


def _available(setup: Setup, command: str) -> Callable[[], None]:
    # A log of its own, of the last time only: its lines are no errors of the application's.
    around = setup.surroundings("available.log")

    def run() -> None:
        around.log.unlink(missing_ok=True)
        run_command(
            around.command(command),
            around.environment("sqlite", setup.config.app.sqlite.env),
            around.log,
            AVAILABLE_SECONDS,
            cwd=around.working_directory,
        )

    return run


def _of_postgres(setup: Setup) -> list[Probe]:
    section, slot = setup.config.guard.server, setup.config.postgres.slot

    def app_dsn() -> str:
        return setup.urls.app_dsn

    def admin_dsn() -> str:
        return setup.urls.admin_dsn

    def role() -> str:
        return str(conninfo.conninfo_to_dict(app_dsn()).get("user") or "")

    found: list[Probe] = [
        ActivityProbe(admin_dsn, role, rules.POSTGRES_SECONDS),
        SlotProbe(admin_dsn, slot, rules.SLOT_SECONDS),
    ]
    if section.enabled:
        own = ServerProbe(
            app_dsn, admin_dsn, slot, section.write, section.interval_seconds, section.timeout_seconds
        )
        found.append(own)
    return found


def _of_capture(setup: Setup, capture: Callable[[], CaptureStatus | None]) -> list[Probe]:
    return [
        CaptureProbe(capture, setup.clock, setup.last_contact, rules.CAPTURE_SECONDS),
        IntegrityProbe(capture, setup.clock, KNOWN_SECONDS),
        VerificationProbe(setup.journal, setup.clock, _Certified(setup.certificates_folder), KNOWN_SECONDS),
    ]


class _Certified:
    """The newest certificate of `turnback verify`; each file is read once. Their names begin with the UTC."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[Path, Proof] | None = None

    def __call__(self) -> Proof | None:
        found = sorted(
            self._folder.glob("*-verify*.json"), key=lambda p: (p.name.partition("-")[0], len(p.name), p)
        )
        if not found:
            return None
        if self._known is None or self._known[0] != found[-1]:
            document = certificates.check(found[-1])
            proof = Proof(datetime.fromisoformat(document["ended_at"]), "verify", bool(document["equal"]))
            self._known = found[-1], proof
        return self._known[1]
