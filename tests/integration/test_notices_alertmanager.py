"""Notices in a real Alertmanager (Debian's), and its webhook in the guard's listener."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnback.adapters.notices.alertmanager import AlertmanagerNotifier
from turnback.entrypoints.web.listener import Listener
from turnback.errors import NoticeError
from turnback.ports import Notice

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="Alertmanager (Debian package prometheus-alertmanager) is not here"
)

TOKEN = "the-token"
CONFIGURATION = """
route:
  receiver: guard
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: guard
    webhook_configs:
      - url: http://127.0.0.1:{port}/alerts
        send_resolved: true
        http_config:
          authorization:
            credentials: {token}
"""


@dataclass
class Alertmanager:
    url: str
    taken: list[Mapping[str, str]] = field(default_factory=list)  # by the listener

    def alerts(self) -> list[Any]:
        answer = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False, verify=False)
        found = answer.raise_for_status().json()
        assert isinstance(found, list)
        return found

    def names(self) -> list[str]:
        return sorted(a["labels"]["alertname"] for a in self.alerts())

    def notifier(self, application: str = "shop") -> AlertmanagerNotifier:
        return AlertmanagerNotifier(self.url, 5, application=application, repeat_seconds=300)


def await_true(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    assert BINARY is not None
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    made = Alertmanager(f"http://127.0.0.1:{port}")
    listener = Listener("127.0.0.1:0", TOKEN, dict, made.taken.extend)
    configuration = folder / "alertmanager.yml"
    configuration.write_text(CONFIGURATION.format(port=listener.start(), token=TOKEN))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                BINARY,
                f"--config.file={configuration}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return httpx.get(f"{made.url}/-/ready", trust_env=False, verify=False).is_success
            except httpx.HTTPError:
                return False

        await_true(ready)
        yield made
    finally:
        process.terminate()
        process.wait(60)
        listener.stop()


def notice(key: str, event: Any = "hold", **changes: Any) -> Notice:
    given = Notice(
        key,
        event,
        "high",
        "HOLD: 7.3 % of the requests fail",
        'the slot is lost; next: "turnback fallback rebuild"',
        datetime.now(UTC),
        fields={"application": "shop", "host": "web-1"},
    )
    return replace(given, **changes)


def end_all(manager: Alertmanager, *keys: str) -> None:
    for key in keys:
        manager.notifier().send(notice(key, "resolved", resolved=True))
    await_true(lambda: manager.names() == [])


def test_a_notice_is_an_alert_there_until_it_is_resolved(manager: Alertmanager) -> None:
    manager.notifier().send(notice("error-rate"))
    [alert] = manager.alerts()
    assert alert["labels"] == {
        "alertname": "TurnbackHold",
        "severity": "high",
        "application": "shop",
        "key": "error-rate",
        "source": "turnback",
    }
    assert alert["annotations"]["summary"] == "HOLD: 7.3 % of the requests fail"
    assert alert["annotations"]["turnback_host"] == "web-1"
    lasts = datetime.fromisoformat(alert["endsAt"]) - datetime.now(UTC)
    assert 890 < lasts.total_seconds() < 901
    manager.notifier().send(notice("error-rate"))  # said again: the same alert
    assert manager.names() == ["TurnbackHold"]
    end_all(manager, "error-rate")


def test_one_event_of_a_key_at_a_time_and_other_keys_and_applications_stay(manager: Alertmanager) -> None:
    odd = 'probe:"m\\etrics"\n{x="y"} ä'  # a key that a matcher has to quote
    manager.notifier("other").send(notice("error-rate", "page"))
    manager.notifier().send(notice("error-rate", "recommend"))
    manager.notifier().send(notice(odd, "page"))
    manager.notifier().send(notice("error-rate", "rollback", severity="critical"))
    assert manager.names() == ["TurnbackPage", "TurnbackPage", "TurnbackRollback"]
    manager.notifier().send(notice("error-rate", "rolled_back", resolved=True))
    await_true(lambda: manager.names() == ["TurnbackPage", "TurnbackPage"])
    manager.notifier("other").send(notice("error-rate", "resolved", resolved=True))
    end_all(manager, odd)


def test_its_webhook_is_what_the_listener_takes(manager: Alertmanager) -> None:
    def taken() -> list[Mapping[str, str]]:
        return [a for a in manager.taken if a["summary"].startswith("the pool")]

    manager.notifier().send(notice("pool", "page", title="the pool is exhausted"))
    await_true(lambda: bool(taken()))
    assert {k: v for k, v in taken()[0].items() if k != "fingerprint"} == {
        "name": "TurnbackPage",
        "severity": "high",
        "status": "firing",
        "summary": "the pool is exhausted",
    }
    manager.notifier().send(notice("pool", "resolved", title="the pool is fine", resolved=True))
    await_true(lambda: taken()[-1]["status"] == "resolved")
    assert taken()[-1]["summary"] == "the pool is fine"
    assert len({a["fingerprint"] for a in taken()}) == 1


def test_an_address_of_something_else_is_said(manager: Alertmanager) -> None:
    notifier = AlertmanagerNotifier(f"{manager.url}/elsewhere", 5, application="shop", repeat_seconds=300)
    with pytest.raises(NoticeError, match=r"^Alertmanager answered 404 Not Found$"):
        notifier.send(notice("error-rate"))
