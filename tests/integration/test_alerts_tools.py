"""promtool and amtool on what is exported: every rule fires when it must and only then; the tests can fail.

The runbook's own rules are run on the same series, to show that they say something else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnback.entrypoints.alerts import export, tools
from turnback.entrypoints.config_reading import load

HERE = {name: shutil.which(name) is not None for name in ("promtool", "amtool")}
promtool_needed = pytest.mark.skipif(
    not HERE["promtool"], reason="promtool is not installed: no rule was tested"
)
amtool_needed = pytest.mark.skipif(not HERE["amtool"], reason="amtool is not installed: no route was checked")

URL = 'url = "http://127.0.0.1:3000/api/metrics"'
PLAIN = """\
[sqlite]
path = "app.db"
[guard]
listen = "127.0.0.1:9464"
[guard.metrics]
url = "http://127.0.0.1:3000/api/metrics"
[guard.alerts]
HighErrorRate = "high"
[alerts]
name = "hyperpage"
"""
# Everything that changes a rule, otherwise than by default.
OTHERS = {
    "a second is a minute": PLAIN
    + """\
scrape_seconds = 0.25
down_seconds = 1
database_seconds = 2
error_window_seconds = 5
error_for_seconds = 3
latency_window_seconds = 5
latency_for_seconds = 5
latency_limit_seconds = 0.3
""",
    "numbers that are not round": """\
[sqlite]
path = "app.db"
[postgres]
max_retained_wal_bytes = 123456
[guard]
listen = "127.0.0.1:9464"
max_lag_seconds = 7.25
blind_after = 3
[guard.metrics]
url = "http://127.0.0.1:3000/metrics"
requests = ["http_server_requests_total"]
latency = ["took_seconds"]
status_label = ["code"]
endpoint_label = ["route"]
ignore_endpoints = ["/up?x=1", "/a\\\\b", "/say \\"hi\\"", "/é+(1)"]
[guard.triggers.error_rate]
limit = 0.333
min_requests = 7
min_failures = 1
[guard.triggers.latency]
min_requests = 3
[guard.alerts]
SlowDisk = "low"
[alerts]
scrape_seconds = 7
down_seconds = 61
error_window_seconds = 100
error_for_seconds = 0.5
latency_limit_seconds = 0.125
certificate_days = 0.5
""",
    "a Prometheus server, without the label of the endpoint": """\
[sqlite]
path = "app.db"
[guard]
listen = "127.0.0.1:9464"
[guard.metrics]
prometheus = "http://127.0.0.1:9090"
selector = 'job="web",env="prod"'
endpoint_label = []
""",
    "no metrics of the application": '[sqlite]\npath = "app.db"\n[guard]\nlisten = "127.0.0.1:9464"\n',
}


def exported(folder: Path, text: str = PLAIN) -> export.Exported:
    (folder / "turnback.toml").write_text(text)
    made = export.made(load(folder / "turnback.toml"))
    export.write(folder, made.files, yes=True)
    return made


def promtool(folder: Path, *words: str, stdin: str | None = None) -> tuple[int, str]:
    done = subprocess.run(
        ["promtool", *words],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_is_tested_where(record_property: Any) -> None:
    """Said where it can be read: this machine has, or has not, the tools that the rest of this file needs."""
    record_property("tools", json.dumps(HERE))
    if not all(HERE.values()):
        pytest.skip(f"not installed: {', '.join(n for n, there in HERE.items() if not there)}")


@promtool_needed
@pytest.mark.parametrize("text", [PLAIN, *OTHERS.values()], ids=["as it comes", *OTHERS])
def test_every_rule_passes_its_tests(tmp_path: Path, text: str) -> None:
    exported(tmp_path, text)
    for words in tools.checks(tmp_path)[:-1]:
        assert words[0] == "promtool"
        assert (found := tools.run(tmp_path, *words)).result == "passed", found.detail


@promtool_needed
def test_each_alert_is_in_a_test_that_fires_and_in_one_that_does_not(tmp_path: Path) -> None:
    """Read from the files alone, as somebody else would."""
    exported(tmp_path)
    rules = yaml.safe_load((tmp_path / "rules.yml").read_text())
    names = {r["alert"] for g in rules["groups"] for r in g["rules"]}
    fires, quiet = set(), set()
    for test in yaml.safe_load((tmp_path / "rules_test.yml").read_text())["tests"]:
        for part in test["alert_rule_test"]:
            (fires if part["exp_alerts"] else quiet).add(part["alertname"])
    assert names == fires == quiet and len(names) == 17


@promtool_needed
@pytest.mark.parametrize("always", [True, False], ids=["always fires", "never fires"])
def test_the_tests_can_fail(tmp_path: Path, always: bool) -> None:
    """Each rule in turn says nothing, or always something: promtool says which test that breaks."""
    exported(tmp_path, OTHERS["a second is a minute"])
    rules = yaml.safe_load((tmp_path / "rules.yml").read_text())
    tests = yaml.safe_load((tmp_path / "rules_test.yml").read_text())
    every = [r for g in rules["groups"] for r in g["rules"]]
    for rule in every:
        broken = {**rule, "expr": "vector(1)" if always else "vector(1) > 2"}
        (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [broken]}]}))
        severity = rule["labels"]["severity"]
        mine = [t for t in tests["tests"] if t["name"].startswith(f"{rule['alert']} ({severity})")]
        (tmp_path / "rules_test.yml").write_text(yaml.safe_dump({**tests, "tests": mine}))
        status, said = promtool(tmp_path, "test", "rules", "rules_test.yml")
        assert status != 0 and f"alertname: {rule['alert']}" in said, (rule["alert"], said)


@promtool_needed
def test_a_configuration_that_prometheus_does_not_take_is_failed(tmp_path: Path) -> None:
    exported(tmp_path)
    for name in ("prometheus.yml", "rules.yml", "rules_test.yml"):
        path = tmp_path / name
        good = path.read_text()
        path.write_text(
            good.replace("job_name", "job-name").replace("alert:", "alarm:").replace("name", "nome")
        )
        (found,) = (tools.run(tmp_path, *c) for c in tools.checks(tmp_path) if c[-1] == name)
        assert found.result == "failed" and found.detail, name
        path.write_text(good)


@promtool_needed
def test_with_the_token_in_place_the_whole_configuration_is_checked(tmp_path: Path) -> None:
    exported(tmp_path)
    assert "--syntax-only" in next(tools.judge(tmp_path)).what
    (tmp_path / "turnback.token").write_text("token")
    first = next(tools.judge(tmp_path))
    assert first.what == "promtool check config prometheus.yml" and first.result == "passed", first.detail


# ---- the runbook's rules, on the same series ----

RUNBOOK = """\
groups:
- name: runbook
  rules:
  - alert: RunbookDatabaseConnectionFailed
    expr: http_requests_total{job="hyperpage",endpoint="/api/health/database"} == 0
    for: 2m
  - alert: RunbookHighErrorRate
    expr: rate(http_requests_total{job="hyperpage",status=~"5.."}[5m]) > 0.05
    for: 3m
  - alert: RunbookHighResponseTime
    expr: histogram_quantile(0.95, rate(http_request_duration_seconds_bucket{job="hyperpage"}[5m])) > 2
    for: 5m
"""
REQUESTS = 'http_requests_total{job="hyperpage",endpoint="%s",status="%s"}'
BUCKET = 'http_request_duration_seconds_bucket{job="hyperpage",endpoint="%s",le="%s"}'
COUNT = 'http_request_duration_seconds_count{job="hyperpage",endpoint="%s"}'
VERDICT = 'turnback_trigger_verdict{job="hyperpage-turnback",trigger="database-health",verdict="%s"}'


def firing(folder: Path, series: dict[str, str], at: str, *names: str) -> set[str]:
    """Which of these alerts fire. Asked as: none does; promtool tells those that do nevertheless."""
    test = {
        "rule_files": ["rules.yml", "runbook.yml"],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": n, "exp_alerts": []} for n in names],
            }
        ],
    }
    (folder / "runbook.yml").write_text(RUNBOOK)
    (folder / "asked.yml").write_text(yaml.safe_dump(test))
    status, said = promtool(folder, "test", "rules", "asked.yml")
    found = set(re.findall(r"alertname: (\w+)", said))
    assert (status != 0) == bool(found), said
    return found


@promtool_needed
def test_a_database_that_fails_every_check_is_seen(tmp_path: Path) -> None:
    """A counter of health requests grows while they fail: compared with 0 it says nothing, or everything."""
    exported(tmp_path)
    both = ("DatabaseConnectionFailed", "RunbookDatabaseConnectionFailed")
    failing = {
        REQUESTS % ("/api/health/database", "503"): "10+1x80",
        VERDICT % "breach": "1+0x80",
        VERDICT % "ok": "0+0x80",
    }
    assert firing(tmp_path, failing, "5m", *both) == {"DatabaseConnectionFailed"}
    fine = {
        REQUESTS % ("/api/health/database", "200"): "10+1x80",
        REQUESTS % ("/api/health/database", "503"): "0+0x80",  # never failed: and the runbook's rule fires
        VERDICT % "breach": "0+0x80",
        VERDICT % "ok": "1+0x80",
    }
    assert firing(tmp_path, fine, "5m", *both) == {"RunbookDatabaseConnectionFailed"}


@promtool_needed
def test_errors_are_a_share_and_not_a_number_per_second(tmp_path: Path) -> None:
    exported(tmp_path)
    both = ("HighErrorRate", "RunbookHighErrorRate")
    busy = {  # one in a thousand fails, of 200 requests a second
        REQUESTS % ("/api/jobs", "200"): "0+999x200",
        REQUESTS % ("/api/jobs", "500"): "0+1x200",
    }
    assert firing(tmp_path, busy, "12m", *both) == {"RunbookHighErrorRate"}
    spread = {REQUESTS % (f"/api/jobs/{n}", "500"): "0+0.2x200" for n in range(10)}  # 0.04 a second each
    spread[REQUESTS % ("/api/jobs", "200")] = "0+2x200"  # half of all requests fail
    assert firing(tmp_path, spread, "12m", *both) == {"HighErrorRate"}


@promtool_needed
def test_a_quantile_is_taken_over_all_and_not_of_each_series(tmp_path: Path) -> None:
    exported(tmp_path)
    both = ("HighResponseTime", "RunbookHighResponseTime")
    series = {}
    for endpoint, fast, slow in (("/api/jobs", 100, 0), ("/api/report", 0, 1)):
        series[BUCKET % (endpoint, "0.1")] = f"0+{fast}x200"
        series[BUCKET % (endpoint, "2")] = f"0+{fast}x200"
        series[BUCKET % (endpoint, "5")] = series[BUCKET % (endpoint, "+Inf")] = f"0+{fast + slow}x200"
        series[COUNT % endpoint] = f"0+{fast + slow}x200"
    assert firing(tmp_path, series, "15m", *both) == {"RunbookHighResponseTime"}


@promtool_needed
def test_a_health_page_is_no_page_of_metrics(tmp_path: Path) -> None:
    """What the runbook scrapes at /api/health: Prometheus cannot read it, `up` would be 0 for ever."""
    status, said = promtool(tmp_path, "check", "metrics", stdin='{"status": "ok", "engine": "postgres"}\n')
    assert status != 0, said
    good = "# HELP turnback_up 1.\n# TYPE turnback_up gauge\nturnback_up 1\n"
    assert promtool(tmp_path, "check", "metrics", stdin=good)[0] == 0


# ---- Alertmanager ----


def judged(folder: Path) -> tools.Judged:
    return tools.run(folder, *tools.checks(folder)[-1])


@amtool_needed
@pytest.mark.parametrize("text", [PLAIN, OTHERS["no metrics of the application"]], ids=["triggers", "none"])
def test_alertmanager_takes_its_configuration(tmp_path: Path, text: str) -> None:
    exported(tmp_path, text)
    assert judged(tmp_path).result == "passed", judged(tmp_path).detail
    told = next(iter(yaml.safe_load_all((tmp_path / "kubernetes/alertmanager.yml").read_text())))
    (tmp_path / "alertmanager.yml").write_text(told["data"]["alertmanager.yml"])
    assert judged(tmp_path).result == "passed", judged(tmp_path).detail


@amtool_needed
def test_a_configuration_that_alertmanager_does_not_take_is_failed(tmp_path: Path) -> None:
    exported(tmp_path)
    path = tmp_path / "alertmanager.yml"
    path.write_text(path.read_text().replace("receiver: nobody", "receiver: somebody"))
    assert judged(tmp_path).result == "failed" and "somebody" in judged(tmp_path).detail


@amtool_needed
def test_a_webhook_from_a_file_passes_or_needs_a_newer_tool(tmp_path: Path) -> None:
    """url_file came with Alertmanager 0.26; an older amtool has not judged anything then, and that is said."""
    exported(tmp_path, PLAIN + 'receiver_webhook = "file:hook"\n')
    found = judged(tmp_path)
    assert found.result == "passed" or (found.result == "not run" and "0.26" in found.detail), found
    path = tmp_path / "alertmanager.yml"  # all but that key is right
    path.write_text(re.sub(r"url_file: .*", "url: http://127.0.0.1/", path.read_text()))
    assert judged(tmp_path).result == "passed"


@amtool_needed
@pytest.mark.parametrize(
    "labels, receivers",
    [
        ({"alertname": "HighErrorRate", "severity": "warning"}, "turnback,people"),
        ({"alertname": "ApplicationDown", "severity": "critical"}, "people"),
        ({"alertname": "TurnbackLag", "severity": "warning"}, "people"),
        ({"alertname": "TurnbackSwitching", "severity": "info"}, "nobody"),
        (
            {"alertname": "TurnbackHold", "severity": "high", "key": "pool"},
            "people",
        ),  # the guard's own notice
        ({"alertname": "SomebodyElses"}, "people"),
    ],
)
def test_who_hears_what(tmp_path: Path, labels: dict[str, str], receivers: str) -> None:
    exported(tmp_path)
    words = [f"{k}={v}" for k, v in labels.items()]
    done = subprocess.run(
        ["amtool", "config", "routes", "test", "--config.file", str(tmp_path / "alertmanager.yml"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == receivers, done.stderr
