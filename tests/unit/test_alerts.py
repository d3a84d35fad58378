"""What `turnback alerts export` makes of a configuration, as values: nothing is run here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from turnback.adapters import telemetry
from turnback.entrypoints import cli as _registers  # noqa: F401
from turnback.entrypoints.alerts import export, kubernetes, promql
from turnback.entrypoints.alerts.prometheus import TOKEN_FILE
from turnback.entrypoints.command_line import app
from turnback.entrypoints.config import Config
from turnback.entrypoints.config_reading import load
from turnback.errors import ConfigError, UsageError

MINIMAL = """\
[sqlite]
path = "app.db"
[guard]
listen = "127.0.0.1:9464"
{guard}
[guard.metrics]
{metrics}
[alerts]
name = "hyperpage"
{alerts}
{more}
"""
URL = 'url = "http://127.0.0.1:3000/api/metrics"'
FOUR = {"ApplicationDown", "DatabaseConnectionFailed", "HighErrorRate", "HighResponseTime"}
OWN = {
    "TurnbackDown",
    "TurnbackStalled",
    "TurnbackNotReady",
    "TurnbackLag",
    "TurnbackSlotRetention",
    "TurnbackDivergence",
    "TurnbackTriggerFiring",
    "TurnbackTriggerBlind",
    "TurnbackCertificateOld",
    "TurnbackDrillOld",
    "TurnbackHeld",
    "TurnbackRolledBack",
    "TurnbackSwitching",
}


def configured(folder: Path, guard: str = "", metrics: str = URL, alerts: str = "", more: str = "") -> Config:
    path = folder / "turnback.toml"
    path.write_text(MINIMAL.format(guard=guard, metrics=metrics, alerts=alerts, more=more))
    return load(path)


def documents(exported: export.Exported, name: str) -> list[Any]:
    return list(yaml.safe_load_all(exported.files[name]))


def one(exported: export.Exported, name: str) -> Any:
    (document,) = documents(exported, name)
    return document


def rules_of(exported: export.Exported) -> dict[str, Any]:
    """By name; TurnbackTriggerFiring stands there twice and is left out."""
    found = [r for g in one(exported, "rules.yml")["groups"] for r in g["rules"]]
    return {r["alert"]: r for r in found if r["alert"] != "TurnbackTriggerFiring"}


@pytest.fixture
def exported(tmp_path: Path) -> export.Exported:
    return export.made(configured(tmp_path, more='[guard.alerts]\nHighErrorRate = "high"'))


# ---- rules ----


def test_all_the_rules_are_there_and_each_is_proven_both_ways(exported: export.Exported) -> None:
    assert {a.name for a in exported.alerts} == FOUR | OWN
    assert exported.left_out == {}
    for alert in exported.alerts:
        assert [c for c in alert.cases if c.fires], alert.name
        assert [c for c in alert.cases if not c.fires], alert.name
        names = [c.name for c in alert.cases]
        assert len(set(names)) == len(names), alert.name
    tests = one(exported, "rules_test.yml")["tests"]
    assert len(tests) == sum(len(a.cases) for a in exported.alerts)


def test_the_runbooks_numbers_are_the_defaults(exported: export.Exported) -> None:
    rules = rules_of(exported)
    told = {n: (rules[n]["for"], rules[n]["labels"]["severity"]) for n in sorted(FOUR)}
    assert told == {
        "ApplicationDown": ("1m", "critical"),
        "DatabaseConnectionFailed": ("2m", "warning"),
        "HighErrorRate": ("3m", "warning"),
        "HighResponseTime": ("5m", "warning"),
    }
    assert "> 0.05\n" in rules["HighErrorRate"]["expr"] and "[5m]" in rules["HighErrorRate"]["expr"]
    assert ">= 50\n" in rules["HighErrorRate"]["expr"]
    assert rules["HighResponseTime"]["expr"].startswith("histogram_quantile(0.95, sum by (le) (rate(")
    assert "> 2\n" in rules["HighResponseTime"]["expr"]


def test_every_number_comes_from_the_configuration(tmp_path: Path) -> None:
    """Each key, changed, changes the rule that it is about, and with it the rule's own tests."""
    before = export.made(configured(tmp_path))
    for keys, alert, shown in (
        ({"alerts": "down_seconds = 77"}, "ApplicationDown", "77s"),
        ({"alerts": "database_seconds = 78"}, "DatabaseConnectionFailed", "78s"),
        ({"alerts": "error_window_seconds = 79"}, "HighErrorRate", "[79s]"),
        ({"alerts": "error_for_seconds = 81"}, "HighErrorRate", "81s"),
        ({"alerts": "latency_limit_seconds = 0.8"}, "HighResponseTime", "> 0.8\n"),
        ({"alerts": "latency_window_seconds = 82"}, "HighResponseTime", "[82s]"),
        ({"alerts": "latency_for_seconds = 83"}, "HighResponseTime", "83s"),
        ({"alerts": "certificate_days = 3"}, "TurnbackCertificateOld", "> 259200"),
        ({"alerts": "drill_days = 2.5"}, "TurnbackDrillOld", "> 216000"),
        ({"guard": "max_lag_seconds = 33"}, "TurnbackLag", "> 33"),
        ({"guard": "blind_after = 7"}, "TurnbackTriggerBlind", "70s"),
        ({"more": "[guard.triggers.error_rate]\nlimit = 0.2"}, "HighErrorRate", "> 0.2\n"),
        ({"more": "[guard.triggers.error_rate]\nmin_requests = 11"}, "HighErrorRate", ">= 11\n"),
        ({"more": "[guard.triggers.error_rate]\nmin_failures = 3"}, "HighErrorRate", ">= 3"),
        ({"more": "[guard.triggers.latency]\nmin_requests = 12"}, "HighResponseTime", ">= 12"),
        ({"more": "[postgres]\nmax_retained_wal_bytes = 5000000"}, "TurnbackSlotRetention", "> 2500000"),
        ({"metrics": URL + '\nrequests = ["hits"]'}, "HighErrorRate", "rate(hits{"),
        ({"metrics": URL + '\nstatus_label = ["code"]'}, "HighErrorRate", 'code=~"5.."'),
        ({"metrics": URL + '\nlatency = ["took"]'}, "HighResponseTime", "rate(took_bucket{"),
        ({"metrics": URL + '\nignore_endpoints = ["/a.b"]'}, "HighErrorRate", r'endpoint!~"/a\\.b"'),
    ):
        after = export.made(configured(tmp_path, **keys))
        rule = rules_of(after)[alert]
        assert shown in f"{rule['expr']}\n{rule['for']}", (keys, rule)
        assert shown not in f"{rules_of(before)[alert]['expr']}\n{rules_of(before)[alert]['for']}", keys
        assert after.files["rules_test.yml"] != before.files["rules_test.yml"], keys


def test_the_guards_rules_ask_for_metrics_that_the_guard_has(exported: export.Exported) -> None:
    known = {m.name: {*m.labels, "job", "instance"} for m in telemetry.METRICS}
    asked = set()
    texts = [r["expr"] for g in one(exported, "rules.yml")["groups"] for r in g["rules"]]
    board = json.loads(exported.files["grafana-dashboard.json"])
    texts += [t["expr"] for p in board["panels"] for t in p["targets"]]
    for text in texts:
        for name, inside in re.findall(r"\b(turnback_\w+)\{([^}]*)\}", text):
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) <= known[name], (name, inside)
            asked.add(name)
    assert len(asked) > 12


def test_severities_are_those_of_the_matrix(tmp_path: Path) -> None:
    config = configured(tmp_path, more='[guard.alerts]\nSlowDisk = "low"\nQueueFull = "critical"')
    both = [
        (r["labels"]["severity"], r["expr"])
        for g in one(export.made(config), "rules.yml")["groups"]
        for r in g["rules"]
        if r["alert"] == "TurnbackTriggerFiring"
    ]
    minor = '"latency|log-errors|alert:SlowDisk"'
    assert [(s, minor in e) for s, e in both] == [("critical", True), ("warning", True)]
    assert f"trigger!~{minor}" in both[0][1] and f"trigger=~{minor}" in both[1][1]


def test_with_a_prometheus_server_its_selector_names_the_application(tmp_path: Path) -> None:
    metrics = 'prometheus = "http://127.0.0.1:9090"\nselector = \'job="web", env="a\\"b"\''
    made = export.made(configured(tmp_path, metrics=metrics))
    rules = rules_of(made)
    chosen = r'job="web",env="a\"b"'
    assert (
        rules["ApplicationDown"]["expr"]
        == f"max by (job, env) (up{{{chosen}}}) == 0 or absent(up{{{chosen}}})"
    )
    assert f"{{{chosen},endpoint!~" in rules["HighErrorRate"]["expr"]
    jobs = [j["job_name"] for j in one(made, "prometheus.yml")["scrape_configs"]]
    assert jobs == ["hyperpage-turnback"]  # the other is scraped already


def test_without_metrics_of_the_application_it_says_what_is_left_out(tmp_path: Path) -> None:
    made = export.made(configured(tmp_path, metrics=""))
    assert set(made.left_out) == FOUR - {"DatabaseConnectionFailed"}
    assert all("[guard.metrics] url" in why for why in made.left_out.values())
    assert "Left out: HighErrorRate" in made.files["README.md"]
    assert {a.name for a in made.alerts} == OWN | {"DatabaseConnectionFailed"}


@settings(max_examples=15, deadline=None)
@given(
    seconds=st.lists(st.floats(0.4, 5000).map(lambda s: round(s, 3)), min_size=4, max_size=4),
    limit=st.floats(0.001, 0.99).map(lambda s: round(s, 4)),
    endpoint=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
    scrape=st.sampled_from([0.05, 0.1]),
)
def test_whatever_the_numbers_the_files_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[float], limit: float, endpoint: str, scrape: float
) -> None:
    names = ("down_seconds", "error_window_seconds", "error_for_seconds", "latency_for_seconds")
    alerts = "\n".join(f"{n} = {s}" for n, s in zip(names, seconds, strict=True))
    config = configured(
        tmp_path_factory.mktemp("config"),
        metrics=f"{URL}\nignore_endpoints = [{json.dumps(endpoint, ensure_ascii=False)}]",
        alerts=f"{alerts}\nscrape_seconds = {scrape}",
        more=f"[guard.triggers.error_rate]\nlimit = {limit}",
    )
    made = export.made(config)
    rule = rules_of(made)["HighErrorRate"]
    assert f"> {promql.number(limit)}\n" in rule["expr"]
    inside = re.search(r'endpoint!~("(?:[^"\\]|\\.)*")', rule["expr"])
    assert inside is not None
    unquoted = re.sub(r"\\(.)", r"\1", inside[1][1:-1])
    assert re.fullmatch(unquoted, endpoint)  # RE2's escapes of these characters are Python's too
    for name in made.files:
        if name.endswith(".yml"):
            assert documents(made, name)


@pytest.mark.parametrize(
    "seconds, text", [(300, "5m"), (90, "90s"), (0.5, "500ms"), (3600, "1h"), (86400 * 7, "7d"), (0, "0s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert promql.duration(seconds) == text


# ---- Prometheus and Alertmanager ----


def test_health_pages_are_not_scraped_as_metrics(tmp_path: Path) -> None:
    """The runbook's health job scrapes JSON: `up` is 0 for ever. Ours asks /metrics pages only."""
    config = configured(
        tmp_path,
        more="[guard.application]\nurl = 'http://127.0.0.1:3000/api/health'\n"
        "[guard.database]\nurl = 'http://127.0.0.1:3000/api/health/database'",
    )
    made = export.made(config)
    paths = [j["metrics_path"] for j in one(made, "prometheus.yml")["scrape_configs"]]
    assert paths == ["/api/metrics", "/metrics"]
    assert not any("health" in p for p in paths)
    for monitor in documents(made, "kubernetes/servicemonitor.yml"):
        assert not any("health" in e["path"] for e in monitor["spec"].get("endpoints", ()))


def test_the_scrape_configuration(tmp_path: Path) -> None:
    metrics = 'url = "https://app.example:8443/m?format=text&a=1&a=2"'
    made = one(export.made(configured(tmp_path, metrics=metrics)), "prometheus.yml")
    assert made["rule_files"] == ["rules.yml"]
    assert made["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["127.0.0.1:9093"]
    application, guard = made["scrape_configs"]
    assert application == {
        "job_name": "hyperpage",
        "scheme": "https",
        "metrics_path": "/m",
        "params": {"format": ["text"], "a": ["1", "2"]},
        "static_configs": [{"targets": ["app.example:8443"]}],
    }
    assert guard["authorization"] == {"type": "Bearer", "credentials_file": TOKEN_FILE}


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", ":9464"])
def test_the_guard_is_scraped_at_an_address_that_exists(tmp_path: Path, listen: str) -> None:
    path = tmp_path / "turnback.toml"
    path.write_text(f'[sqlite]\npath = "app.db"\n[guard]\nlisten = "{listen}"\nlisten_anywhere = true\n')
    job = one(export.made(load(path)), "prometheus.yml")["scrape_configs"][-1]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]


def test_alertmanager_tells_the_guard_its_triggers_only(exported: export.Exported, tmp_path: Path) -> None:
    made = one(exported, "alertmanager.yml")
    to_guard = [r for r in made["route"]["routes"] if r["receiver"] == "turnback"]
    assert [r["matchers"] for r in to_guard] == [['alertname=~"HighErrorRate"']]
    assert to_guard[0]["continue"] is True  # people hear it too
    (receiver,) = (r for r in made["receivers"] if r["name"] == "turnback")
    webhook = receiver["webhook_configs"][0]
    assert webhook["url"] == "http://127.0.0.1:9464/alerts"
    assert webhook["http_config"]["authorization"]["credentials_file"] == TOKEN_FILE
    without = one(export.made(configured(tmp_path)), "alertmanager.yml")
    assert [r["name"] for r in without["receivers"]] == ["people", "nobody"]
    assert {r["receiver"] for r in without["route"]["routes"]} == {"people", "nobody"}


def test_every_receiver_of_a_route_exists_and_every_inhibiting_alert_is_made(
    exported: export.Exported,
) -> None:
    made = one(exported, "alertmanager.yml")
    receivers = {r["name"] for r in made["receivers"]}
    assert {made["route"]["receiver"], *(r["receiver"] for r in made["route"]["routes"])} <= receivers
    sources = {
        re.search(r'alertname="(\w+)"', " ".join(i["source_matchers"]))[1] for i in made["inhibit_rules"]
    }  # type: ignore[index]
    assert sources == {"ApplicationDown", "TurnbackSwitching"} <= {a.name for a in exported.alerts}


def test_no_secret_is_in_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TOKEN", "s3cret-token")
    (tmp_path / "hook").write_text("https://hooks.example/s3cret-path")
    config = configured(tmp_path, guard='token = "env:GUARD_TOKEN"', alerts='receiver_webhook = "file:hook"')
    files = export.made(config).files
    assert "s3cret" not in "".join(files.values())
    assert f"url_file: {tmp_path / 'hook'}" in files["alertmanager.yml"]
    assert "url_file: /etc/alertmanager-secrets/receiver-url" in files["kubernetes/alertmanager.yml"]
    assert str(tmp_path) not in "".join(t for n, t in files.items() if n.startswith("kubernetes/"))


# ---- what cannot be exported ----


@pytest.mark.parametrize(
    "keys, told",
    [
        ({"alerts": 'alertmanager_image = "prom/alertmanager:latest"'}, "[alerts] alertmanager_image"),
        ({"alerts": 'alertmanager_image = "prom/alertmanager"'}, "[alerts] alertmanager_image"),
        ({"alerts": 'alertmanager_image = "prom alertmanager:v1"'}, "[alerts] alertmanager_image"),
        ({"alerts": 'receiver_webhook = "env:HOOK"'}, "[alerts] receiver_webhook"),
        ({"alerts": "scrape_seconds = 60\nerror_window_seconds = 200"}, "[alerts] error_window_seconds"),
        ({"alerts": "scrape_seconds = 60\nlatency_window_seconds = 90"}, "[alerts] latency_window_seconds"),
        ({"metrics": 'url = "http://me:s3cret@127.0.0.1/m"'}, "[guard.metrics] url"),
        ({"metrics": 'prometheus = "http://127.0.0.1:9090"'}, "[guard.metrics] selector"),
        (
            {"metrics": 'prometheus = "http://127.0.0.1:9090"\nselector = \'job=~"a|b"\''},
            "[guard.metrics] selector",
        ),
        ({"more": '[guard.alerts]\nTurnbackTriggerFiring = "high"'}, "[guard.alerts] TurnbackTriggerFiring"),
        ({"more": '[guard.alerts]\nDatabaseConnectionFailed = "high"'}, "[guard.alerts] DatabaseConnection"),
        ({"more": "[guard.triggers.error_rate]\nlimit = 1.0"}, "[guard.triggers.error_rate] limit"),
    ],
)
def test_a_configuration_that_cannot_be_exported(tmp_path: Path, keys: Mapping[str, str], told: str) -> None:
    """With the key, in one line, and with what to write instead."""
    with pytest.raises(ConfigError) as caught:
        export.made(configured(tmp_path, **keys))
    assert told in str(caught.value) and "\n" not in str(caught.value) and caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_without_a_listener_there_is_nothing_to_watch_the_guard_by(tmp_path: Path) -> None:
    path = tmp_path / "turnback.toml"
    path.write_text('[sqlite]\npath = "app.db"\n')
    with pytest.raises(ConfigError, match=r"\[guard\] listen"):
        export.made(load(path))


# ---- Kubernetes ----


def problems(objects: list[dict[str, Any]], secrets: set[str]) -> list[str]:
    """What the runbook's manifests get wrong, looked for in any manifests."""
    found = []
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for o in objects:
        by_kind.setdefault(o["kind"], []).append(o)
    pods = [d["spec"]["template"] for d in by_kind.get("Deployment", [])]
    maps = {o["metadata"]["name"] for o in by_kind.get("ConfigMap", [])}
    mounted = set()
    for pod in pods:
        volumes = {v["name"]: v for v in pod["spec"].get("volumes", [])}
        for container in pod["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                volume = volumes.get(mount["name"])
                if volume is None:
                    found.append(f"no volume {mount['name']}")
                elif "configMap" in volume:
                    mounted.add(volume["configMap"]["name"])
                elif "secret" in volume and volume["secret"]["secretName"] not in secrets:
                    found.append(f"no Secret {volume['secret']['secretName']}")
            image = container["image"]
            if ":" not in image or image.endswith(":latest"):
                found.append(f"image {image} is no version")
            if "/" in image and re.search(r"[.:]", image.split("/")[0]):
                found.append(f"image {image} names a registry")
    found += [f"ConfigMap {name} is mounted nowhere" for name in sorted(maps - mounted)]
    found += [f"no ConfigMap {name}" for name in sorted(mounted - maps)]
    services = by_kind.get("Service", [])
    for d in by_kind.get("Deployment", []):
        chosen, labels = d["spec"]["selector"]["matchLabels"], d["spec"]["template"]["metadata"]["labels"]
        if not chosen.items() <= labels.items():
            found.append(f"Deployment {d['metadata']['name']} does not choose its own pods")
        if not any(s["spec"]["selector"].items() <= labels.items() for s in services):
            found.append(f"Deployment {d['metadata']['name']} has no Service")
    for m in by_kind.get("ServiceMonitor", []):
        chosen = m["spec"]["selector"]["matchLabels"]
        matching = [s for s in services if chosen.items() <= s["metadata"]["labels"].items()]
        ports = {p["name"] for s in matching for p in s["spec"]["ports"]}
        if len(matching) != 1:
            found.append(f"ServiceMonitor {m['metadata']['name']} chooses {len(matching)} Services")
        if not {e["port"] for e in m["spec"]["endpoints"]} <= ports:
            found.append(f"ServiceMonitor {m['metadata']['name']} names a port that no Service has")
    return found


# Its Alertmanager and its Prometheus configuration, in shape: nothing is mounted, nothing leads there.
RUNBOOK = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: rollback-prometheus, labels: {app: hyperpage}}
data: {prometheus.yml: ""}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: alertmanager-rollback, labels: {app: hyperpage, component: alertmanager}}
spec:
  selector: {matchLabels: {app: hyperpage, component: alertmanager}}
  template:
    metadata: {labels: {app: hyperpage, component: alertmanager}}
    spec:
      containers:
      - {name: alertmanager, image: "prom/alertmanager:latest", ports: [{containerPort: 9093}]}
"""


def test_the_check_finds_the_runbooks_faults() -> None:
    assert problems(list(yaml.safe_load_all(RUNBOOK)), set()) == [
        "image prom/alertmanager:latest is no version",
        "ConfigMap rollback-prometheus is mounted nowhere",
        "Deployment alertmanager-rollback has no Service",
    ]


@pytest.mark.parametrize("webhook", ["", 'receiver_webhook = "file:hook"'])
def test_the_objects_fit_together(tmp_path: Path, webhook: str) -> None:
    config = configured(tmp_path, alerts=webhook + '\nnamespace = "shop"')
    made = export.made(config)
    objects = [o for n in made.files if n.startswith("kubernetes/") for o in documents(made, n)]
    assert problems(objects, {kubernetes.secret(config)}) == []
    assert {o["metadata"]["namespace"] for o in objects} == {"shop"}
    assert [o["kind"] for o in objects] == [
        "PrometheusRule",
        *["Service", "ServiceMonitor"] * 3,
        *["ConfigMap", "Deployment", "Service"],
    ]
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(set(names)) == len(names)
    dns = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
    assert all(dns.fullmatch(name) for _, name in names)


def test_what_the_cluster_gets_is_what_the_plain_files_say(exported: export.Exported) -> None:
    rule = one(exported, "kubernetes/prometheusrule.yml")
    assert rule["spec"] == one(exported, "rules.yml")
    told, _, _ = documents(exported, "kubernetes/alertmanager.yml")
    inside = yaml.safe_load(told["data"]["alertmanager.yml"])
    plain = one(exported, "alertmanager.yml")
    assert inside["route"] == plain["route"] and inside["inhibit_rules"] == plain["inhibit_rules"]
    receiver = inside["receivers"][-1]["webhook_configs"][0]
    assert receiver["url"] == "http://hyperpage-turnback.default.svc:9464/alerts"


def test_the_alertmanager_has_its_configuration_its_service_and_the_runbooks_resources(
    exported: export.Exported,
) -> None:
    _, deployment, service = documents(exported, "kubernetes/alertmanager.yml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"memory": "64Mi", "cpu": "50m"},
        "limits": {"memory": "128Mi", "cpu": "100m"},
    }
    (file,) = (a.split("=", 1)[1] for a in container["args"] if a.startswith("--config.file="))
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert Path(file).parent == Path(mounts["config"])
    assert service["spec"]["ports"][0]["targetPort"] in {p["name"] for p in container["ports"]}
    # and its pods are not among the application's: the runbook's `app: hyperpage` is the Service's selector
    assert deployment["spec"]["template"]["metadata"]["labels"]["app"] != "hyperpage"


def test_before_and_after_a_rollback_the_job_is_the_same(exported: export.Exported) -> None:
    objects = documents(exported, "kubernetes/servicemonitor.yml")
    services = {o["metadata"]["name"]: o for o in objects if o["kind"] == "Service"}
    monitors = {o["metadata"]["name"]: o for o in objects if o["kind"] == "ServiceMonitor"}
    both = ("hyperpage-metrics", "hyperpage-metrics-rollback")
    jobs = {services[n]["metadata"]["labels"][monitors[n]["spec"]["jobLabel"]] for n in both}
    assert jobs == {"hyperpage"}
    before, after = (services[n]["spec"]["selector"] for n in both)
    assert before != after  # no pod is scraped twice
    guard = monitors["hyperpage-turnback"]["spec"]["endpoints"][0]["authorization"]
    assert guard["credentials"] == {"name": "hyperpage-turnback", "key": "token"}


# ---- the dashboard ----


def test_the_dashboards_panels_have_a_place_each(exported: export.Exported) -> None:
    board = json.loads(exported.files["grafana-dashboard.json"])
    cells = [
        (x, y)
        for p in board["panels"]
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) == 23
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"]) == 12
    assert all(
        t["expr"] and t["datasource"]["uid"] == "${source}" for p in board["panels"] for t in p["targets"]
    )


# ---- writing ----


def test_files_are_written_and_made_again(exported: export.Exported, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = export.write(out, exported.files, yes=False)
    assert [str(p.relative_to(out)) for p in written] == list(exported.files)
    assert all((out / n).read_text() == t for n, t in exported.files.items())
    assert {p.stat().st_mode & 0o777 for p in written} == {0o644}
    assert not list(out.rglob(".*.new"))
    changed = {n: t + "\n" for n, t in exported.files.items()}
    export.write(out, changed, yes=False)  # what it wrote itself it may write again
    assert export.outdated(out, changed) == {}
    assert set(export.outdated(out, exported.files)) == set(exported.files)


@pytest.mark.parametrize("name", ["rules.yml", "kubernetes/alertmanager.yml", "README.md"])
def test_somebody_elses_file_stays(exported: export.Exported, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(UsageError, match=re.escape(name)) as caught:
        export.write(out, exported.files, yes=False)
    assert "--yes" in caught.value.hint
    assert [str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()] == [name]  # nothing was begun
    assert (out / name).read_text() == "mine"
    export.write(out, exported.files, yes=True)
    assert (out / name).read_text() == exported.files[name]


def test_a_file_that_was_edited_stays(exported: export.Exported, tmp_path: Path) -> None:
    export.write(tmp_path, exported.files, yes=False)
    (tmp_path / "rules.yml").write_text("edited")
    with pytest.raises(UsageError, match=r"rules\.yml is there and not"):
        export.write(tmp_path, {**exported.files, "rules.yml": "another"}, yes=False)
    assert (tmp_path / "rules.yml").read_text() == "edited"


def test_a_folder_that_cannot_be_written(exported: export.Exported, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError) as caught:
        export.write(tmp_path / "out", exported.files, yes=True)
    assert "cannot be written" in str(caught.value) and caught.value.hint


# ---- the command ----


def run(tmp_path: Path, *words: str, status: int = 0) -> str:
    config = ["--config", str(tmp_path / "turnback.toml")]
    result = CliRunner().invoke(app, ["alerts", *words, *config])
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout


def test_export_lists_what_it_wrote(tmp_path: Path) -> None:
    configured(tmp_path, metrics="")
    out = tmp_path / "monitoring"
    told = run(tmp_path, "export", str(out))
    assert str(out / "kubernetes/prometheusrule.yml") in told.splitlines()
    assert "left out: HighErrorRate: " in told
    document = json.loads(run(tmp_path, "export", str(out), "--json"))
    assert {Path(p).name for p in document["written"]} >= {"prometheus.yml", "grafana-dashboard.json"}
    assert set(document["alerts"]) == OWN | {"DatabaseConnectionFailed"}
    assert set(document["left_out"]) == FOUR - {"DatabaseConnectionFailed"}


def test_a_tool_that_is_not_there_is_said_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(tmp_path)
    out = str(tmp_path / "monitoring")
    run(tmp_path, "export", out)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = run(tmp_path, "test", out, status=1)
    assert told.count("not run") == 4
    assert "promtool is not installed" in told and "amtool is not installed" in told
    told = run(tmp_path, "test", out, "--allow-missing")
    assert told.count("not run") == 4
    checks = json.loads(run(tmp_path, "test", out, "--json", "--allow-missing"))["checks"]
    assert [c["result"] for c in checks] == ["not run"] * 4


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    configured(tmp_path)
    words = ["alerts", "test", str(tmp_path / "none"), "--config", str(tmp_path / "turnback.toml")]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError) and "no such folder" in str(result.exception)


def test_files_that_are_no_longer_what_the_configuration_gives_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path)
    out = tmp_path / "monitoring"
    run(tmp_path, "export", str(out))
    monkeypatch.setenv("PATH", str(tmp_path))
    configured(tmp_path, more="[guard.triggers.error_rate]\nlimit = 0.02")
    told = run(tmp_path, "test", str(out), "--allow-missing", status=1)
    assert "rules.yml: is not what turnback.toml gives now: export again" in told
    (out / "alertmanager.yml").unlink()
    told = run(tmp_path, "test", str(out), "--allow-missing", status=1)
    assert "alertmanager.yml: No such file or directory" in told
