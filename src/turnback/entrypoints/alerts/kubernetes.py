"""The same for a cluster with the Prometheus operator: rules, monitors, and an Alertmanager that is complete.

The labels are the runbook's: `app` and `component`. Pods of the application carry `app: NAME` and `component:
application` (on PostgreSQL) or `component: rollback` (on SQLite); the guard's carry `app: NAME-turnback`. The
Alertmanager has an `app` of its own: with the application's it would be among the pods of its Service.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from turnback.entrypoints.alerts.alertmanager import alertmanager
from turnback.entrypoints.alerts.promql import duration, guard_job
from turnback.entrypoints.alerts.yaml_text import dumped
from turnback.entrypoints.config import Config
from turnback.errors import ConfigError

SECRETS = "/etc/alertmanager-secrets"  # beside the ConfigMap's folder: that one is read-only
TOKEN_KEY, WEBHOOK_KEY = "token", "receiver-url"

_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*(:(?P<tag>[\w][\w.-]*))?(@sha256:(?P<digest>[0-9a-f]{64}))?")


def prometheus_rule(config: Config, groups: dict[str, Any]) -> list[dict[str, Any]]:
    name = f"{config.alerts.name}-rollback-alerts"
    return [_object(config, "monitoring.coreos.com/v1", "PrometheusRule", name, "monitoring", groups)]


def monitors(config: Config) -> list[dict[str, Any]]:
    """ServiceMonitors with the Services they choose: the application before and after a rollback, the guard.

    `jobLabel: app` gives both of the application's the job that the rules name: a rollback changes no rule.
    """
    name, interval = config.alerts.name, duration(config.alerts.scrape_seconds)
    made: list[dict[str, Any]] = []
    metrics = config.guard.metrics
    if metrics.url and not metrics.prometheus:
        parts = urlsplit(metrics.url)
        endpoint: dict[str, Any] = {
            "port": "metrics",
            "path": parts.path or "/",
            "scheme": parts.scheme,
            "interval": interval,
        }
        if parts.query:
            endpoint["params"] = parse_qs(parts.query, keep_blank_values=True)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        for component, suffix in (("application", "-metrics"), ("rollback", "-metrics-rollback")):
            pods = {"app": name, "component": component}
            made += _monitored(config, name + suffix, pods, port, endpoint)
    guard = {
        "port": "metrics",
        "path": "/metrics",
        "interval": interval,
        "authorization": {"type": "Bearer", "credentials": {"name": secret(config), "key": TOKEN_KEY}},
    }
    pods = {"app": guard_job(config), "component": "guard"}
    return made + _monitored(config, guard_job(config), pods, _guard_port(config), guard)


def alertmanager_objects(config: Config) -> list[dict[str, Any]]:
    """ConfigMap, Deployment, Service. The Secret that they name is the user's to make: it holds secrets."""
    name = f"{config.alerts.name}-alertmanager"
    pods = {"app": name, "component": "alertmanager"}
    guard = f"http://{guard_job(config)}.{config.alerts.namespace}.svc:{_guard_port(config)}"
    webhook = f"{SECRETS}/{WEBHOOK_KEY}" if config.alerts.receiver_webhook else None
    text = dumped(alertmanager(config, guard, f"{SECRETS}/{TOKEN_KEY}", webhook))
    service = {"selector": pods, "ports": [{"name": "web", "port": 9093, "targetPort": "web"}]}
    return [
        _object(config, "v1", "ConfigMap", name, "alertmanager", body={"data": {"alertmanager.yml": text}}),
        _object(config, "apps/v1", "Deployment", name, "alertmanager", _deployment(config, name, pods, text)),
        _object(config, "v1", "Service", name, "alertmanager", service),
    ]


def secret(config: Config) -> str:
    """The name of the Secret with the guard's token (and the people's webhook)."""
    return f"{config.alerts.name}-turnback"


def _deployment(config: Config, name: str, pods: dict[str, str], text: str) -> dict[str, Any]:
    keys = [TOKEN_KEY, *([WEBHOOK_KEY] if config.alerts.receiver_webhook else [])]
    container = {
        "name": "alertmanager",
        "image": pinned(config),
        "args": [
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",  # one replica: nobody to gossip with
        ],
        "ports": [{"name": "web", "containerPort": 9093}],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": "web"}},
        "livenessProbe": {"httpGet": {"path": "/-/healthy", "port": "web"}},
        "resources": {
            "requests": {"memory": "64Mi", "cpu": "50m"},
            "limits": {"memory": "128Mi", "cpu": "100m"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/alertmanager", "readOnly": True},
            {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
            {"name": "data", "mountPath": "/alertmanager"},
        ],
    }
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": pods},
        "template": {
            # another configuration is another pod: Alertmanager does not read it again by itself
            "metadata": {
                "labels": pods,
                "annotations": {"turnback/configuration": hashlib.sha256(text.encode()).hexdigest()},
            },
            "spec": {
                "securityContext": {"fsGroup": 65534},
                "containers": [container],
                "volumes": [
                    {"name": "config", "configMap": {"name": name}},
                    {
                        "name": "secrets",
                        "secret": {
                            "secretName": secret(config),
                            "items": [{"key": k, "path": k} for k in keys],
                        },
                    },
                    {"name": "data", "emptyDir": {}},
                ],
            },
        },
    }


def pinned(config: Config) -> str:
    """The image, which names one version. Raises ConfigError for `latest` and for no version at all."""
    image = config.alerts.alertmanager_image
    match = _IMAGE.fullmatch(image)
    if match is None or not (match["digest"] or match["tag"]) or match["tag"] == "latest":
        raise ConfigError(
            f"{config.file.name}: [alerts] alertmanager_image: {image} is not one version",
            hint='name a version or a digest: "prom/alertmanager:v0.28.1"',
        )
    return image


def _guard_port(config: Config) -> int:
    assert config.guard.listen is not None, "checked by prometheus.guard_address"
    return int(config.guard.listen.rpartition(":")[2])


def _monitored(
    config: Config, name: str, pods: dict[str, str], port: int, endpoint: dict[str, Any]
) -> list[dict[str, Any]]:
    """A headless Service with the pods' labels as its own, and the ServiceMonitor that chooses it by them."""
    service = {
        "clusterIP": "None",
        "selector": pods,
        "ports": [{"name": "metrics", "port": port, "targetPort": port}],
    }
    monitor = {"jobLabel": "app", "selector": {"matchLabels": pods}, "endpoints": [endpoint]}
    made = [
        _object(config, "v1", "Service", name, pods["component"], service),
        _object(config, "monitoring.coreos.com/v1", "ServiceMonitor", name, pods["component"], monitor),
    ]
    for m in made:
        m["metadata"]["labels"] = dict(pods)
    return made


def _object(
    config: Config,
    version: str,
    kind: str,
    name: str,
    component: str,
    spec: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": config.alerts.namespace,
            "labels": {"app": config.alerts.name, "component": component},
        },
        **(body if body is not None else {"spec": spec}),
    }
