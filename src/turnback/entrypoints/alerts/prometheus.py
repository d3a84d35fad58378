"""What Prometheus is told: whom to scrape, which rules, and the rules' own tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from turnback.entrypoints.alerts.promql import duration, guard_job
from turnback.entrypoints.alerts.rule import Alert
from turnback.entrypoints.config import Config
from turnback.errors import ConfigError

TOKEN_FILE = "turnback.token"  # beside the configuration: Prometheus and Alertmanager take it as relative
RULES = "rules.yml"


def groups(config: Config, application: Sequence[Alert], own: Sequence[Alert]) -> dict[str, Any]:
    """The rule groups, as rules.yml and a PrometheusRule hold them."""
    name, interval = config.alerts.name, duration(config.alerts.scrape_seconds)
    return {
        "groups": [
            {
                "name": group,
                "interval": interval,
                "rules": [a.to_prometheus(name) for a in alerts],
            }
            for group, alerts in ((f"{name}.application", application), (f"{name}.turnback", own))
        ]
    }


def rules_test(config: Config, alerts: Sequence[Alert]) -> dict[str, Any]:
    """promtool's unit tests: every rule, firing and not."""
    seconds = config.alerts.scrape_seconds
    return {
        "rule_files": [RULES],
        "evaluation_interval": duration(seconds),
        "tests": [t for a in alerts for t in a.to_tests(config.alerts.name, seconds)],
    }


def prometheus(config: Config) -> dict[str, Any]:
    """The whole prometheus.yml. The application's job is there where its own endpoint is configured."""
    interval = duration(config.alerts.scrape_seconds)
    jobs = [_guard(config)]
    if config.guard.metrics.url and not config.guard.metrics.prometheus:
        jobs.insert(0, _application(config, config.guard.metrics.url))
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [RULES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [config.alerts.alertmanager]}]}]},
        "scrape_configs": jobs,
    }


def _application(config: Config, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(
            f"{config.file.name}: [guard.metrics] url: holds a user or a password",
            hint="let the application serve its metrics to the machine that scrapes it, without one",
        )
    job: dict[str, Any] = {
        "job_name": config.alerts.name,
        "scheme": parts.scheme,
        "metrics_path": parts.path or "/",
    }
    if parts.query:
        job["params"] = parse_qs(parts.query, keep_blank_values=True)
    return job | {"static_configs": [{"targets": [parts.netloc]}]}


def _guard(config: Config) -> dict[str, Any]:
    return {
        "job_name": guard_job(config),
        "metrics_path": "/metrics",
        "authorization": {"type": "Bearer", "credentials_file": TOKEN_FILE},
        "static_configs": [{"targets": [guard_address(config)]}],
    }


def guard_address(config: Config) -> str:
    """Host and port of the guard's listener, as this machine reaches it."""
    listen = config.guard.listen
    if listen is None:
        raise ConfigError(
            f"{config.file.name}: [guard] listen: is needed: the guard's alerts rest on its /metrics",
            hint='for example listen = "127.0.0.1:9464"',
        )
    host, _, port = listen.rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}"
