"""Alertmanager's webhook (`version` 4), read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = "4"
STATUSES = ("firing", "resolved")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of the webhook. `truncated`: alerts that Alertmanager left out of it (max_alerts)."""

    alerts: tuple[Mapping[str, str], ...]  # {"name", "severity", "status", "fingerprint", "summary"}
    truncated: int


def parse(body: bytes) -> Delivery:
    """Raises ValueError with one line that says what is wrong; quotes nothing of the body."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f'not an Alertmanager webhook: "version" must be "{VERSION}"')
    truncated = document.get("truncatedAlerts", 0)
    if not isinstance(truncated, int) or isinstance(truncated, bool) or truncated < 0:
        raise ValueError('"truncatedAlerts" must be a number')
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise ValueError('"alerts" must be a list')
    return Delivery(tuple(_alert(f"alerts[{i}]", alert) for i, alert in enumerate(alerts)), truncated)


def _alert(where: str, alert: Any) -> Mapping[str, str]:
    if not isinstance(alert, dict):
        raise ValueError(f"{where} must be an object")
    labels = _strings(where, alert, "labels")
    annotations = _strings(where, alert, "annotations")
    if not labels.get("alertname"):
        raise ValueError(f'{where}: "labels" must hold "alertname"')
    if alert.get("status") not in STATUSES:
        raise ValueError(f'{where}: "status" must be "firing" or "resolved"')
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:
        raise ValueError(f'{where}: "fingerprint" must be a string')
    return {
        "name": labels["alertname"],
        "severity": labels.get("severity", ""),
        "status": alert["status"],
        "fingerprint": fingerprint,
        "summary": annotations.get("summary") or annotations.get("description", ""),
    }


def _strings(where: str, alert: Mapping[str, Any], key: str) -> Mapping[str, str]:
    found = alert.get(key)
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f'{where}: "{key}" must be an object of strings')
    return found


def known_only(
    alerts: Sequence[Mapping[str, str]], known: frozenset[str] | None
) -> tuple[list[Mapping[str, str]], list[str]]:
    """(those that are a trigger, names of the others); without `known` all are."""
    taken = [a for a in alerts if known is None or a["name"] in known]
    return taken, sorted({a["name"] for a in alerts} - {a["name"] for a in taken})
