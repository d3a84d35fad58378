"""A Grafana dashboard: what the guard sees, on one page. The limits in it are the guard's own series."""

from __future__ import annotations

from typing import Any

from turnback.entrypoints.alerts.promql import Subjects, duration, labels
from turnback.entrypoints.config import Config

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT = 8, 7  # of Grafana's 24 columns: three panels a row


def dashboard(config: Config, who: Subjects) -> dict[str, Any]:
    """The JSON that Grafana imports; it asks for the data source."""
    panels = [
        {**_panel(title, kind, unit, queries), "id": i + 1, "gridPos": _place(i)}
        for i, (title, kind, unit, queries) in enumerate(_panels(config, who))
    ]
    return {
        "title": f"turnback: {config.alerts.name}",
        "uid": f"turnback-{config.alerts.name}"[:40],
        "tags": ["turnback"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panels(config: Config, who: Subjects) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(title, kind, unit, [(query, legend)])"""
    own = labels(who.guard)
    panels = [
        ("Phase", "stat", "none", [(f"turnback_phase{{{own}}} == 1", "{{phase}}")]),
        ("Way back", "stat", "bool_yes_no", [(f"turnback_ready{{{own}}}", "ready")]),
        ("Parts of readiness", "state-timeline", "bool", [(f"turnback_ready_part{{{own}}}", "{{part}}")]),
        (
            "Triggers that fire",
            "state-timeline",
            "bool",
            [(f"turnback_trigger_firing{{{own}}}", "{{trigger}}")],
        ),
        (
            "Triggers: value as a share of the limit",
            "timeseries",
            "percentunit",
            [(f"turnback_trigger_value{{{own}}} / turnback_trigger_limit{{{own}}}", "{{trigger}}")],
        ),
        (
            "Verdicts that are not ok",
            "state-timeline",
            "bool",
            [(f'turnback_trigger_verdict{{{own},verdict!="ok"}} == 1', "{{trigger}}: {{verdict}}")],
        ),
        ("Fallback behind PostgreSQL", "timeseries", "s", [(f"turnback_lag_seconds{{{own}}}", "lag")]),
        ("RPO now", "timeseries", "s", [(f"turnback_rpo_seconds{{{own}}}", "RPO")]),
        (
            "Write-ahead log of the slot",
            "timeseries",
            "bytes",
            [
                (f"turnback_slot_retained_bytes{{{own}}}", "kept"),
                (f"turnback_slot_safe_wal_bytes{{{own}}}", "room left"),
            ],
        ),
        (
            "Last comparison and last drill",
            "stat",
            "s",
            [
                (f"time() - turnback_last_verification_timestamp_seconds{{{own}}}", "comparison"),
                (f"time() - turnback_last_drill_timestamp_seconds{{{own}}}", "drill"),
            ],
        ),
    ]
    return panels + _application_panels(config, who)


def _application_panels(config: Config, who: Subjects) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    if who.application is None:
        return []
    metrics, panels = config.guard.metrics, []
    chosen = ",".join(p for p in (labels(who.application), who.ignored) if p)
    if metrics.requests and metrics.status_label:
        name, window = metrics.requests[0], duration(config.alerts.error_window_seconds)
        failed = f'{chosen},{metrics.status_label[0]}=~"5.."'
        share = f"sum(rate({name}{{{failed}}}[{window}])) / sum(rate({name}{{{chosen}}}[{window}]))"
        panels.append(("Requests that fail", "timeseries", "percentunit", [(share, "failed")]))
    if metrics.latency:
        name, window = metrics.latency[0], duration(config.alerts.latency_window_seconds)
        buckets = f"sum by (le) (rate({name}_bucket{{{chosen}}}[{window}]))"
        queries = [(f"histogram_quantile({q}, {buckets})", f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)]
        panels.append(("Durations", "timeseries", "s", queries))
    return panels


def _panel(title: str, kind: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "title": title,
        "type": kind,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(queries)
        ],
    }


def _place(i: int) -> dict[str, int]:
    row, column = divmod(i, 24 // WIDTH)
    return {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT}
