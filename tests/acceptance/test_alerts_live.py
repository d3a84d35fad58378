"""A real Prometheus and a real Alertmanager with the exported files, on loopback: the example application breaks.

The application is examples/hyperpage; the guard's side is its listener with a status that the test holds. What
Alertmanager sends has to arrive there, with the token.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import status_example
from journey import EXAMPLE, free_port
from turnback.core.watch.verdict import Outcome, Readiness, ReadinessPart, Verdict
from turnback.entrypoints.alerts import export
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.web.listener import Listener

TOOLS = ("prometheus", "prometheus-alertmanager")
MISSING = [t for t in TOOLS if shutil.which(t) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: nothing of this was tested with them"
)

# down_seconds: Prometheus needs some seconds for its first scrape, and a job without one is absent.
CONFIG = """\
[sqlite]
path = "app.db"
[guard]
listen = "127.0.0.1:{guard}"
[guard.metrics]
url = "http://127.0.0.1:{application}/api/metrics"
[guard.triggers.error_rate]
min_requests = 20
[guard.triggers.latency]
min_requests = 5
[guard.alerts]
ApplicationDown = "critical"
HighErrorRate = "high"
HighResponseTime = "medium"
[alerts]
name = "hyperpage"
alertmanager = "127.0.0.1:{alertmanager}"
scrape_seconds = 0.5
down_seconds = 7
database_seconds = 1
error_window_seconds = 3
error_for_seconds = 1
latency_window_seconds = 3
latency_for_seconds = 1
latency_limit_seconds = 0.5
"""
TOKEN = "a-token-of-this-test"
OWN = ("DatabaseConnectionFailed", "TurnbackNotReady", "TurnbackTriggerFiring")


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        content = answer.read()
    return json.loads(content) if content[:1] in (b"{", b"[") else content


def until(holds: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = holds()
        except (OSError, urllib.error.URLError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def verdict(trigger: str, outcome: Outcome, firing: bool = False) -> dict[str, Any]:
    return Verdict(trigger, outcome, 0.0, 3.0, firing, None, "").to_json()


class Stage:
    """Application, clients, listener, Prometheus and Alertmanager; `close` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {n: free_port() for n in ("guard", "application", "alertmanager", "prometheus")}
        self.received: list[Mapping[str, str]] = []
        self.status = status_example.full()
        self.healthy()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ending = threading.Event()
        (folder / "turnback.toml").write_text(CONFIG.format(**self.ports))
        self.exported = export.made(load(folder / "turnback.toml"))
        export.write(folder / "out", self.exported.files, yes=False)
        (folder / "out" / "turnback.token").write_text(TOKEN)
        self.listener = Listener(
            f"127.0.0.1:{self.ports['guard']}", TOKEN, lambda: self.status, self.take, known=None
        )
        self.listener.start()
        self.application = self.start_application()
        self.clients = [threading.Thread(target=self._ask_on, name=f"client-{n}") for n in range(4)]
        for client in self.clients:
            client.start()
        self._start(
            "prometheus-alertmanager",
            "--config.file=alertmanager.yml",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}",
            "--cluster.listen-address=",
        )
        self._start(
            "prometheus",
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        )

    def take(self, alerts: Sequence[Mapping[str, str]]) -> None:
        self.received += alerts

    def healthy(self, *verdicts: Mapping[str, Any], ready: bool = True) -> None:
        watch = dict(self.status["watch"])
        watch["verdicts"] = verdicts or (verdict("database-health", Outcome.OK),)
        watch["readiness"] = Readiness(ready, (ReadinessPart("slot", ready, ""),)).to_json()
        now = datetime.now(UTC).isoformat()
        self.status = {
            **self.status,
            "watch": watch,
            "last_verification": {"at": now, "equal": True},
            "last_drill": {"at": now},
            "decision": None,
        }

    def start_application(self) -> subprocess.Popen[bytes]:
        data = self.folder / "app.db"
        if not data.exists():
            fill = [sys.executable, str(EXAMPLE / "fill.py"), str(data), "--rows", "50"]
            subprocess.run(fill, check=True, stdout=subprocess.DEVNULL, timeout=60)
        environment = {"USE_SQLITE": "1", "DATABASE_PATH": str(data), "FAULTS": "1"}
        return self._start(
            sys.executable,
            str(EXAMPLE / "app.py"),
            **environment,
            PORT=str(self.ports["application"]),
        )

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{Path(words[0]).name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                words, cwd=self.folder / "out", env=environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def _ask_on(self) -> None:
        """Some 80 requests a second from four of them; what breaks is the test's own doing."""
        while not self._ending.wait(0.04):
            try:
                ask(self.url("application", "/api/rate_limits/none"))
            except OSError:
                pass  # 404, 500, or nobody there

    def url(self, whom: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[whom]}{path}"

    def fault(self, **switches: Any) -> None:
        ask(self.url("application", "/api/faults"), switches)

    def alerts(self) -> dict[str, str]:
        """What Prometheus says: name -> pending or firing."""
        found = ask(self.url("prometheus", "/api/v1/alerts"))["data"]["alerts"]
        return {a["labels"]["alertname"]: a["state"] for a in found}

    def fires(self, name: str) -> bool:
        return self.alerts().get(name) == "firing"

    def told(self, name: str) -> bool:
        """Whether Alertmanager has it."""
        found = ask(self.url("alertmanager", "/api/v2/alerts"))
        return any(a["labels"]["alertname"] == name for a in found)

    def heard(self, name: str, status: str) -> Mapping[str, str] | None:
        """What the guard's webhook got."""
        return next((a for a in self.received if (a["name"], a["status"]) == (name, status)), None)

    def close(self) -> None:
        self._ending.set()
        for client in self.clients:
            client.join(10)
        for process in self._processes:
            process.kill()
            process.wait(10)
        self.listener.stop()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_the_rules_fire_when_the_application_breaks_and_the_guard_hears_of_it(stage: Stage) -> None:
    def loaded() -> bool:
        targets = ask(stage.url("prometheus", "/api/v1/targets"))["data"]["activeTargets"]
        return {t["labels"]["job"]: t["health"] for t in targets} == {
            "hyperpage": "up",
            "hyperpage-turnback": "up",  # with the token
        }

    until(loaded, "both targets are up")
    groups = ask(stage.url("prometheus", "/api/v1/rules"))["data"]["groups"]
    assert {r["name"] for g in groups for r in g["rules"]} == {a.name for a in stage.exported.alerts}

    # healthy, for longer than any rule waits
    until(lambda: "pending" not in stage.alerts().values(), "nothing waits to fire")
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert "firing" not in stage.alerts().values()
        time.sleep(0.5)
    assert stage.received == []
    sick = ask(stage.url("prometheus", "/api/v1/rules"))["data"]["groups"]
    assert {r["health"] for g in sick for r in g["rules"]} == {"ok"}

    # a third of the requests fails, and the guard sees its own triggers and an unready way back
    stage.fault(error_share=0.4)
    stage.healthy(
        verdict("database-health", Outcome.BREACH), verdict("pool", Outcome.BREACH, firing=True), ready=False
    )
    for name in ("HighErrorRate", *OWN):
        until(lambda name=name: stage.fires(name), f"{name} fires")
        until(lambda name=name: stage.told(name), f"Alertmanager has {name}")
    heard = until(lambda: stage.heard("HighErrorRate", "firing"), "the guard hears of HighErrorRate")
    assert heard["summary"] == "Requests to hyperpage fail" and heard["severity"] == "warning"
    assert not stage.fires("ApplicationDown") and not stage.fires("HighResponseTime")

    # all well again: that is heard too
    stage.fault(error_share=0)
    stage.healthy()
    until(lambda: stage.heard("HighErrorRate", "resolved"), "the guard hears that HighErrorRate is over")
    until(lambda: "firing" not in stage.alerts().values(), "nothing fires any more")

    stage.fault(slow_ms=800)
    until(lambda: stage.heard("HighResponseTime", "firing"), "the guard hears of HighResponseTime")
    assert not stage.fires("HighErrorRate")

    stage.application.kill()
    stage.application.wait(10)
    until(lambda: stage.heard("ApplicationDown", "firing"), "the guard hears of ApplicationDown")
    assert {a["name"] for a in stage.received} == {"HighErrorRate", "HighResponseTime", "ApplicationDown"}
