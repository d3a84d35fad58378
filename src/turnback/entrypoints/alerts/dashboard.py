"""A Grafana dashboard: what the guard sees, on one page. The limits in it are the guard's own series.

The form is Grafana's classic dashboard model (schema version 39), which 11, 12 and 13 import:
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from turnback.entrypoints.alerts.promql import Subjects, duration, labels
from turnback.entrypoints.config import Config

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT = 8, 7  # of Grafana's 24 columns: three panels a row

LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "auto",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
    },
    "state-timeline": {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": LEGEND,
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "timeseries": {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
}


def _said(good: int) -> dict[str, Any]:
    """0 and 1 as no and yes, in green and red."""
    names = {"0": "no", "1": "yes"}
    said = {v: {"text": n, "color": "green" if int(v) == good else "red"} for v, n in names.items()}
    return {"mappings": [{"type": "value", "options": said}]}


GOOD, BAD = _said(1), _said(0)  # what 1 is
LIMITED = {
    "thresholds": {
        "mode": "absolute",
        "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}],
    },
    "custom": {"thresholdsStyle": {"mode": "line"}},
}


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` are pairs of PromQL and legend; `field` and `options` stand over what its kind has."""

    title: str
    kind: Literal["stat", "state-timeline", "timeseries"]
    unit: str  # Grafana's id of it
    queries: Sequence[tuple[str, str]]
    field: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None

    def to_grafana(self) -> dict[str, Any]:
        now = self.kind == "stat"  # of the range's end: a phase that is over is none
        return {
            "title": self.title,
            "type": self.kind,
            "datasource": SOURCE,
            "options": {**OPTIONS[self.kind], **(self.options or {})},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, **(self.field or {})},
                "overrides": [],
            },
            "targets": [
                {
                    "refId": chr(65 + i),
                    "datasource": SOURCE,
                    "expr": query,
                    "legendFormat": legend,
                    "instant": now,
                    "range": not now,
                }
                for i, (query, legend) in enumerate(self.queries)
            ],
        }


def dashboard(config: Config, who: Subjects) -> dict[str, Any]:
    """The JSON that Grafana imports; it asks for the data source."""
    panels = [
        {**panel.to_grafana(), "id": i + 1, "gridPos": _place(i)}
        for i, panel in enumerate(_panels(config, who))
    ]
    return {
        "title": f"turnback: {config.alerts.name}",
        "uid": f"turnback-{config.alerts.name}"[:40],
        "tags": ["turnback"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "regex": "",
                    "multi": False,
                    "includeAll": False,
                    "hide": 0,
                    "refresh": 1,
                    "options": [],
                }
            ]
        },
        "panels": panels,
    }


def _panels(config: Config, who: Subjects) -> list[Panel]:
    own = labels(who.guard)
    panels = [
        Panel(
            "Phase",
            "stat",
            "none",
            [(f"turnback_phase{{{own}}} == 1", "{{phase}}")],
            options={"textMode": "name", "colorMode": "none"},
        ),
        Panel("Way back", "stat", "none", [(f"turnback_ready{{{own}}}", "ready")], GOOD),
        Panel(
            "Parts of readiness",
            "state-timeline",
            "none",
            [(f"turnback_ready_part{{{own}}}", "{{part}}")],
            GOOD,
        ),
        Panel(
            "Triggers that fire",
            "state-timeline",
            "none",
            [(f"turnback_trigger_firing{{{own}}}", "{{trigger}}")],
            BAD,
        ),
        Panel(
            "Triggers: value as a share of the limit",
            "timeseries",
            "percentunit",
            [(f"turnback_trigger_value{{{own}}} / turnback_trigger_limit{{{own}}}", "{{trigger}}")],
            LIMITED,
        ),
        Panel(
            "Verdicts that are not ok",
            "state-timeline",
            "none",
            [(f'turnback_trigger_verdict{{{own},verdict!="ok"}} == 1', "{{trigger}}: {{verdict}}")],
            BAD,
        ),
        Panel("Fallback behind PostgreSQL", "timeseries", "s", [(f"turnback_lag_seconds{{{own}}}", "lag")]),
        Panel("RPO now", "timeseries", "s", [(f"turnback_rpo_seconds{{{own}}}", "RPO")]),
        Panel(
            "Write-ahead log of the slot",
            "timeseries",
            "bytes",
            [
                (f"turnback_slot_retained_bytes{{{own}}}", "kept"),
                (f"turnback_slot_safe_wal_bytes{{{own}}}", "room left"),
                (f"turnback_wal_fuse_limit_bytes{{{own}}}", "the WAL fuse"),
            ],
        ),
        Panel(
            "Last comparison and last drill",
            "stat",
            "s",
            [
                (f"time() - turnback_last_verification_timestamp_seconds{{{own}}}", "comparison"),
                (f"time() - turnback_last_drill_timestamp_seconds{{{own}}}", "drill"),
            ],
            options={"textMode": "value_and_name", "colorMode": "none"},
        ),
    ]
    return panels + _application_panels(config, who)


def _application_panels(config: Config, who: Subjects) -> list[Panel]:
    if who.application is None:
        return []
    metrics, panels = config.guard.metrics, []
    chosen = ",".join(p for p in (labels(who.application), who.ignored) if p)
    if metrics.requests and metrics.status_label:
        name, window = metrics.requests[0], duration(config.alerts.error_window_seconds)
        failed = f'{chosen},{metrics.status_label[0]}=~"5.."'
        # An application that has never failed has no such series, which is no failures and not no data.
        some = f"(sum(rate({name}{{{failed}}}[{window}])) or vector(0))"
        share = f"{some} / sum(rate({name}{{{chosen}}}[{window}]))"
        panels.append(Panel("Requests that fail", "timeseries", "percentunit", [(share, "failed")]))
    if metrics.latency:
        name, window = metrics.latency[0], duration(config.alerts.latency_window_seconds)
        buckets = f"sum by (le) (rate({name}_bucket{{{chosen}}}[{window}]))"
        queries = [(f"histogram_quantile({q}, {buckets})", f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)]
        panels.append(Panel("Durations", "timeseries", "s", queries))
    return panels


def _place(i: int) -> dict[str, int]:
    row, column = divmod(i, 24 // WIDTH)
    return {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT}
