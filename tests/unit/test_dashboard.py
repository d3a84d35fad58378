"""The Grafana dashboard: its form, as Grafana's published schema has it, and that no panel is dead by its making.

What its queries give is asked of a real Prometheus in tests/acceptance/test_alerts_live_chain.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnback.entrypoints.alerts import export
from turnback.entrypoints.config_reading import load

CONFIG = """\
[sqlite]
path = "app.db"
[guard]
listen = "127.0.0.1:9464"
{metrics}
[alerts]
name = "hyperpage"
"""
OWN = '[guard.metrics]\nurl = "http://127.0.0.1:3000/api/metrics"'
# From grafana/grafana: kinds/dashboard/dashboard_kind.cue and the panelcfg.cue of each panel. Closed: Grafana drops
# what it does not know, and a misspelled option is silently none.
DASHBOARD = {
    "title": str, "uid": str, "tags": list, "schemaVersion": int, "editable": bool, "graphTooltip": int,
    "timezone": str, "refresh": str, "time": dict, "annotations": dict, "templating": dict, "panels": list,
}  # fmt: skip
PANEL = {
    "id": int, "title": str, "type": str, "datasource": dict, "gridPos": dict, "options": dict,
    "fieldConfig": dict, "targets": list,
}  # fmt: skip
FIELD = {"unit": str, "min": int, "mappings": list, "thresholds": dict, "custom": dict}
TARGET = {"refId": str, "datasource": dict, "expr": str, "legendFormat": str, "instant": bool, "range": bool}
VARIABLE = {
    "name": str, "label": str, "type": str, "query": str, "regex": str, "multi": bool, "includeAll": bool,
    "hide": int, "refresh": int, "options": list,
}  # fmt: skip
OPTIONS = {
    "stat": {
        "reduceOptions": dict, "orientation": ("auto", "vertical", "horizontal"),
        "textMode": ("auto", "value", "value_and_name", "name", "none"),
        "colorMode": ("value", "background", "background_solid", "none"),
        "graphMode": ("none", "line", "area"), "justifyMode": ("auto", "center"),
    },
    "state-timeline": {
        "mergeValues": bool, "showValue": ("auto", "always", "never"), "alignValue": ("center", "left", "right"),
        "rowHeight": float, "legend": dict, "tooltip": dict,
    },
    "timeseries": {"legend": dict, "tooltip": dict},
}  # fmt: skip
LEGEND = {"showLegend": bool, "displayMode": ("list", "table", "hidden"), "placement": ("bottom", "right"), "calcs": list}
TOOLTIP = {"mode": ("single", "multi", "none"), "sort": ("asc", "desc", "none")}
UNITS = {"none", "s", "bytes", "percentunit"}  # ids of grafana-data's valueFormats


def board(folder: Path, metrics: str = OWN) -> dict[str, Any]:
    (folder / "turnback.toml").write_text(CONFIG.format(metrics=metrics))
    made = export.made(load(folder / "turnback.toml")).files["grafana-dashboard.json"]
    found = json.loads(made)
    assert isinstance(found, dict)
    return found


def check(where: str, value: dict[str, Any], schema: dict[str, Any], *, whole: bool = True) -> None:
    assert set(value) <= schema.keys(), f"{where}: {set(value) - schema.keys()} is not in the schema"
    assert not whole or set(value) == schema.keys(), f"{where}: {schema.keys() - set(value)} is missing"
    for key, one in value.items():
        allowed = schema[key]
        held = one in allowed if isinstance(allowed, tuple) else type(one) is allowed
        assert held, f"{where}.{key}: {one!r} is not {allowed}"


def test_it_has_the_form_that_grafana_publishes(tmp_path: Path) -> None:
    found = board(tmp_path)
    check("dashboard", found, DASHBOARD)
    (variable,) = found["templating"]["list"]
    check("variable", variable, VARIABLE)
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert set(found["time"]) == {"from", "to"} and found["annotations"] == {"list": []}
    assert found["uid"].isascii() and len(found["uid"]) <= 40
    for panel in found["panels"]:
        name = panel["title"]
        check(name, panel, PANEL)
        check(f"{name}.options", panel["options"], OPTIONS[panel["type"]])
        for part, schema in (("legend", LEGEND), ("tooltip", TOOLTIP)):
            if part in panel["options"]:
                check(f"{name}.{part}", panel["options"][part], schema)
        assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
        check(f"{name}.field", panel["fieldConfig"]["defaults"], FIELD, whole=False)
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert [t["refId"] for t in panel["targets"]] == [chr(65 + i) for i in range(len(panel["targets"]))]
        for target in panel["targets"]:
            check(f"{name}.target", target, TARGET)
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${source}"}


def test_each_kind_asks_for_what_it_can_show(tmp_path: Path) -> None:
    """A stat of a range shows the newest value of every series that ever was: a phase that is long over."""
    panels = {p["title"]: p for p in board(tmp_path)["panels"]}
    for panel in panels.values():
        assert {t["instant"] for t in panel["targets"]} == {panel["type"] == "stat"}
        assert {t["range"] for t in panel["targets"]} == {panel["type"] != "stat"}
    assert panels["Phase"]["options"]["textMode"] == "name", "its value is always 1"


@pytest.mark.parametrize(
    ("title", "good"),
    [("Way back", "1"), ("Parts of readiness", "1"), ("Triggers that fire", "0"), ("Verdicts that are not ok", "0")],
)  # fmt: skip
def test_what_is_yes_or_no_is_said_and_coloured_so(tmp_path: Path, title: str, good: str) -> None:
    (panel,) = (p for p in board(tmp_path)["panels"] if p["title"] == title)
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert mapping["type"] == "value"
    assert {v: (o["text"], o["color"]) for v, o in mapping["options"].items()} == {
        "0": ("no", "green" if good == "0" else "red"),
        "1": ("yes", "green" if good == "1" else "red"),
    }


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: no query was parsed")
@pytest.mark.parametrize(
    "metrics",
    [OWN, '[guard.metrics]\nprometheus = "http://127.0.0.1:9090"\nselector = \'job="web",env="a\\"b"\'', ""],
    ids=["its own metrics", "a Prometheus server's", "none"],
)
def test_every_query_is_promql(tmp_path: Path, metrics: str) -> None:
    """By Prometheus' own parser: each as a recording rule."""
    asked = [t["expr"] for p in board(tmp_path, metrics)["panels"] for t in p["targets"]]
    assert len(asked) >= 12
    rules = [{"record": f"panel:{i}", "expr": expr} for i, expr in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "panels.yml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and f"{len(asked)} rules found" in done.stdout, done.stdout + done.stderr
