"""The files of `turnback alerts export`: made whole in memory, then written, each at once or not at all.

A list of what was written, with hashes, lies beside them: a file that is not on it, or was changed since, is
somebody else's and stays unless --yes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from turnback.entrypoints.alerts import kubernetes, prometheus
from turnback.entrypoints.alerts.alertmanager import alertmanager, webhook_path
from turnback.entrypoints.alerts.application import application_alerts, left_out
from turnback.entrypoints.alerts.dashboard import dashboard
from turnback.entrypoints.alerts.own import own_alerts
from turnback.entrypoints.alerts.promql import Subjects, duration, subjects
from turnback.entrypoints.alerts.readme import readme
from turnback.entrypoints.alerts.rule import Alert
from turnback.entrypoints.alerts.yaml_text import dumped
from turnback.entrypoints.config import Config
from turnback.errors import ConfigError, DiskFull, UsageError

WRITTEN = ".turnback-alerts.json"
MODE = 0o644  # Prometheus runs as somebody else; there is no secret in any of them
SAMPLES = 4  # scrapes that a rate has to look at to survive one that is missed


@dataclass(frozen=True, slots=True)
class Exported:
    """What a configuration gives: the files by their path below DIR, and what it cannot give."""

    files: Mapping[str, str]
    alerts: tuple[Alert, ...]
    left_out: Mapping[str, str]  # alert -> why


def made(config: Config) -> Exported:
    """Everything, without touching the disk. Raises ConfigError where the configuration does not suffice."""
    _check(config)
    guard, webhook = prometheus.guard_address(config), webhook_path(config)
    who = subjects(config)
    application, own = list(application_alerts(config, who)), list(own_alerts(config, who))
    groups = prometheus.groups(config, application, own)
    told = alertmanager(config, f"http://{guard}", prometheus.TOKEN_FILE, webhook)
    missing = left_out(config, who)
    files = {
        "prometheus.yml": _headed(_JOBS, dumped(prometheus.prometheus(config))),
        prometheus.RULES: _headed(_names(config, who), dumped(groups)),
        "rules_test.yml": _headed(_TESTS, dumped(prometheus.rules_test(config, [*application, *own]))),
        "alertmanager.yml": _headed(_ALERTMANAGER, dumped(told)),
        "grafana-dashboard.json": json.dumps(dashboard(config, who), indent=2) + "\n",
        "kubernetes/prometheusrule.yml": _headed((), dumped(*kubernetes.prometheus_rule(config, groups))),
        "kubernetes/servicemonitor.yml": _headed(_MONITORS, dumped(*kubernetes.monitors(config))),
        "kubernetes/alertmanager.yml": _headed(
            _cluster(config), dumped(*kubernetes.alertmanager_objects(config))
        ),
        "README.md": readme(config, missing),
    }
    return Exported(files, (*application, *own), missing)


def write(folder: Path, files: Mapping[str, str], *, yes: bool) -> list[Path]:
    """Writes them all, or refuses before the first. Returns their paths, in order.

    Raises UsageError (a file there is not ours), DiskFull.
    """
    foreign = [] if yes else list(_foreign(folder, files))
    if foreign:
        raise UsageError(
            f"{folder}: {', '.join(foreign)} {'is' if len(foreign) == 1 else 'are'} there and not (or no"
            " longer) what `turnback alerts export` wrote",
            hint="give another folder, or overwrite with --yes",
        )
    hashes = {name: _sha256(text.encode()) for name, text in files.items()}
    try:
        for name, text in files.items():
            _replace(folder / name, text)
        _replace(folder / WRITTEN, json.dumps(hashes, indent=2) + "\n")
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else UsageError)(
            f"{e.filename or folder}: cannot be written: {e.strerror}",
            hint="free room there, or give another folder; then repeat",
        ) from e
    return [folder / name for name in files]


def outdated(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The files below `folder` that are not what the configuration gives now: name -> what is wrong."""
    found = {}
    for name, text in files.items():
        try:
            there = (folder / name).read_bytes()
        except OSError as e:
            found[name] = e.strerror or "cannot be read"
        else:
            if there != text.encode():
                found[name] = "is not what turnback.toml gives now"
    return found


def _check(config: Config) -> None:
    alerts = config.alerts
    for key in ("error_window_seconds", "latency_window_seconds"):
        if getattr(alerts, key) < SAMPLES * alerts.scrape_seconds:
            raise ConfigError(
                f"{config.file.name}: [alerts] {key}: {getattr(alerts, key):g} s is shorter than {SAMPLES}"
                f" scrapes of {alerts.scrape_seconds:g} s",
                hint="a rate needs samples: a longer window, or a shorter scrape_seconds",
            )
    if config.guard.triggers.error_rate.limit >= 1:
        raise ConfigError(
            f"{config.file.name}: [guard.triggers.error_rate] limit: a share is never over 1",
            hint="for example limit = 0.05",
        )


def _foreign(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    try:
        ours = json.loads((folder / WRITTEN).read_text())
    except (OSError, ValueError):
        ours = {}
    for name, text in files.items():
        try:
            there = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError:
            yield name
            continue
        if _sha256(there) not in (ours.get(name), _sha256(text.encode())):
            yield name


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    new.chmod(MODE)
    new.replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- what stands at the head of a file ----

_MADE = ("Made by `turnback alerts export` from turnback.toml. Change that and export again.",)
_JOBS = (
    "",
    "Before and after a rollback the application answers at the same address: one job, and the same rules.",
    "Which side serves is turnback_phase. The guard's job goes on too: it watches on SQLite, and decides",
    "on PostgreSQL. Health is what the guard says it is (turnback_trigger_*): a health page is JSON.",
    f"{prometheus.TOKEN_FILE} beside this file holds the guard's token: README.md.",
)
_TESTS = ("", "promtool test rules rules_test.yml: every rule, firing and not firing.")
_ALERTMANAGER = (
    "",
    f"{prometheus.TOKEN_FILE} beside this file holds the guard's token: README.md.",
    "Receiver `turnback` hears only what [guard.alerts] names as triggers.",
)
_MONITORS = ("", "Before a rollback (on PostgreSQL), after it (component: rollback), and the guard.")


def _names(config: Config, who: Subjects) -> tuple[str, ...]:
    if who.application is None:
        return ("", "No metrics of the application are configured: [guard.metrics] url or prometheus.")
    metrics = config.guard.metrics
    names = ", ".join(n[0] for n in (metrics.requests, metrics.latency, metrics.status_label) if n)
    return (
        "",
        f"Names of the application's metrics and labels: {names}.",
        "They are the first of each list of [guard.metrics]; the guard takes the first that is there. Where",
        "the application has others, write those into [guard.metrics] and export again.",
    )


def _cluster(config: Config) -> tuple[str, ...]:
    return (
        "",
        f"The Secret {kubernetes.secret(config)} is not in here: README.md says how to make it.",
        f"Notices are repeated after {duration(config.guard.notify.repeat_seconds)}.",
    )


def _headed(lines: tuple[str, ...], text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in (*_MADE, *lines)) + text
