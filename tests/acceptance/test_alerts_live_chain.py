"""The whole chain with nothing held: application, Prometheus, Alertmanager and a running guard that may roll back.

Everything is exported from the guard's own turnback.toml; times are scaled by configuration. Prometheus and
Alertmanager are Debian's, on loopback.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_alerts_live import MISSING, ask, until

from guarded import Guarded
from journey import free_port
from turnback.app.hearing import Hearing
from turnback.entrypoints.alerts import export
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.web.listener import Listener
from turnback.entrypoints.wiring import SystemClock

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: nothing of this was tested with them"
)
TOKEN = "a-token-of-this-test"


@contextmanager
def running(folder: Path, *words: str) -> Iterator[Path]:
    """A process in that folder; gives its log."""
    log = folder / f"{words[0]}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=out)
    try:
        yield log
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def alertmanager(folder: Path, port: int) -> Iterator[Path]:
    with running(
        folder,
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ) as log:
        yield log


def exported(folder: Path) -> Path:
    """From turnback.toml in that folder; with the token beside."""
    out = folder / "monitoring"
    export.write(out, export.made(load(folder / "turnback.toml")).files, yes=False)
    return out


# ---- what a guard does not take -----------------------------------------------------------------


def test_what_the_guard_does_not_take_comes_again_as_it_is_then(tmp_path: Path) -> None:
    """Decision 23, with a real Alertmanager and the exported route."""
    guard, port = free_port(), free_port()
    (tmp_path / "turnback.toml").write_text(
        f'[sqlite]\npath = "app.db"\n[guard]\nlisten = "127.0.0.1:{guard}"\n'
        '[guard.alerts]\nCheckoutBroken = "critical"\n'
    )
    out = exported(tmp_path)
    (out / "turnback.token").write_text(TOKEN)
    hearing = Hearing(SystemClock())
    hearing.close("a cutover is under way")
    refused: list[list[Any]] = []

    def post(alerts: Any) -> str | None:
        why = hearing.post(alerts)
        if why is not None:
            refused.append(list(alerts))
        return why

    began = datetime.now(UTC)

    def raise_(place: str, *, over: bool = False) -> None:
        alert = {
            "labels": {"alertname": "CheckoutBroken", "place": place},
            "startsAt": began.isoformat(),
            "endsAt": (datetime.now(UTC) + timedelta(minutes=0 if over else 10)).isoformat(),
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v2/alerts",
            json.dumps([alert]).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).close()

    def taken() -> list[str]:
        seen.extend(o.value["status"] for o in hearing.drain() if o.value is not None)
        return seen

    seen: list[str] = []
    with ExitStack() as ending:
        listener = Listener(f"127.0.0.1:{guard}", TOKEN, dict, post, ["CheckoutBroken"])
        listener.start()
        ending.callback(listener.stop)
        ending.enter_context(alertmanager(out, port))
        until(lambda: ask(f"http://127.0.0.1:{port}/-/ready") is not None, "Alertmanager is ready")
        raise_("the run's own downtime")
        until(lambda: refused, "it is refused")
        raise_("the run's own downtime", over=True)
        raise_("real")
        hearing.open()
        until(lambda: len(taken()) > 1, "it comes again")
    assert sorted(seen) == ["firing", "resolved"], "what is over is not said to fire"


# ---- the chain ----------------------------------------------------------------------------------


@pytest.mark.long
def test_the_application_breaks_and_an_alert_rolls_it_back(guarded: Callable[..., Guarded]) -> None:
    ports = {name: free_port() for name in ("alertmanager", "prometheus")}
    listen = f"127.0.0.1:{free_port()}"
    g = guarded(
        {
            "guard": {
                "listen": listen,
                "warm_up_seconds": 20,
                "alerts": {"HighErrorRate": "high", "ApplicationDown": "critical"},
                "triggers": {"error_rate": {"enabled": False}},  # the alert's turn
            },
            "alerts": {
                "name": "hyperpage",
                "alertmanager": f"127.0.0.1:{ports['alertmanager']}",
                "scrape_seconds": 0.5,
                "down_seconds": 2,
                "database_seconds": 2,
                "error_window_seconds": 3,
                "error_for_seconds": 1,
                "latency_window_seconds": 3,
                "latency_limit_seconds": 30,
            },
        }
    )
    g.environment.pop("POOL_PATIENCE")
    g.start_guard()
    g.wait_until(g.serving, "the application serves")
    g.start_load()
    out = exported(g.folder)
    token = (g.state / "guard.token").read_text().strip()
    (out / "turnback.token").write_text(token)

    def asked(expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.quote(expression)
        found = ask(f"http://127.0.0.1:{ports['prometheus']}/api/v1/query?query={query}")
        assert found["status"] == "success", found
        return list(found["data"]["result"])

    def phase(name: str) -> bool:
        return any(r["value"][1] == "1" for r in asked(f'turnback_phase{{phase="{name}"}}'))

    def jobs_up() -> bool:
        targets = ask(f"http://127.0.0.1:{ports['prometheus']}/api/v1/targets")["data"]["activeTargets"]
        return {t["labels"]["job"]: (t["health"], t["lastError"]) for t in targets} == {
            "hyperpage": ("up", ""),
            "hyperpage-turnback": ("up", ""),
        }

    def active() -> set[str]:
        found = ask(f"http://127.0.0.1:{ports['alertmanager']}/api/v2/alerts?active=true")
        return {a["labels"]["alertname"] for a in found}

    with ExitStack() as ending:
        ending.enter_context(alertmanager(out, ports["alertmanager"]))
        log = ending.enter_context(
            running(
                out,
                "prometheus",
                "--config.file=prometheus.yml",
                f"--storage.tsdb.path={out / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
            )
        )
        until(jobs_up, "both jobs are scraped", 30)
        assert scrape_is_clean(listen, token)

        # the cutover's own downtime raises ApplicationDown, or the fence HighErrorRate: neither rolls back
        g.ok("cutover")
        g.wait_until(g._sees_all, lambda: f"the guard sees, and is ready\n{g.told()}", 60)
        until(lambda: phase("on_postgres") and jobs_up(), "Prometheus sees PostgreSQL serve", 30)
        raised = asked('max_over_time(ALERTS{alertname="ApplicationDown",alertstate="firing"}[2m])')
        assert raised, "the cutover took long enough to raise it"
        until(lambda: not {"HighErrorRate", "ApplicationDown"} & active(), "nothing of it is left", 60)
        g.wait_until(lambda: g.verdicts()["alert:HighErrorRate"]["outcome"] == "ok", "all is well")
        warm = time.monotonic() + 22
        while time.monotonic() < warm:  # past the warm-up
            assert g.decisions("rollback") == [], g.told()
            time.sleep(0.5)

        # every panel of the dashboard shows something; of its queries only these may be empty while all is well
        may_be_empty = ("turnback_last_drill", 'verdict!="ok"', "turnback_slot_safe_wal_bytes")
        panels = json.loads((out / "grafana-dashboard.json").read_text())["panels"]
        queries = [t["expr"] for p in panels for t in p["targets"]]
        assert len(panels) == 12
        for query in queries:
            assert asked(query) or any(part in query for part in may_be_empty), query

        g.execute("REVOKE INSERT ON users, jobs, job_history FROM app")
        run = g.wait_rolled_back(120)
        assert run.options["trigger"] == "alert:HighErrorRate"

        # after it: the same configuration, the other side, and the alerts are over
        until(lambda: phase("on_sqlite") and jobs_up(), "Prometheus sees SQLite serve", 30)
        until(lambda: "TurnbackRolledBack" in active(), "it is told that a rollback has ended", 30)
        until(lambda: not {"HighErrorRate", "ApplicationDown"} & active(), "the alerts are over", 60)
        assert scrape_is_clean(listen, token)
        g.load.wait(20)
        warned = [
            line for line in log.read_text().splitlines() if "level=warn" in line or "level=error" in line
        ]
        assert not [line for line in warned if "component=notifier" not in line], warned
    g.assert_rolled_back("alert:HighErrorRate", "high", says=("Alertmanager reports HighErrorRate",))


def scrape_is_clean(address: str, token: str) -> bool:
    """promtool says nothing of the guard's page."""
    request = urllib.request.Request(
        f"http://{address}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        page = answer.read()
    if shutil.which("promtool") is None:
        return bool(page)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    return True
