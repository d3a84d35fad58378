"""The guard's listener over real HTTP: who may ask, what is answered, and that no client can hold it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from status_example import full
from turnback.entrypoints.web import app as web_app
from turnback.entrypoints.web import listener as web_listener
from turnback.entrypoints.web.listener import Listener
from turnback.errors import ConfigError, DiskFull

PLAIN: dict[str, Any] = {"trust_env": False, "verify": False, "timeout": 10}  # no certificates are loaded
TOKEN = "a-token_of.the~tests"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Running:
    port: int = 0
    status: dict[str, Any] = field(default_factory=full)
    asked: int = 0
    taken: list[Mapping[str, str]] = field(default_factory=list)
    failing: bool = False

    def get_status(self) -> Mapping[str, Any]:
        self.asked += 1
        return self.status

    def take(self, alerts: Sequence[Mapping[str, str]]) -> None:
        if self.failing:
            raise DiskFull("the trace cannot be written: no room", hint="make room")
        self.taken += alerts

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(self.url + path, **PLAIN, **kwargs)

    def post(self, content: Any, **kwargs: Any) -> httpx.Response:
        headers = {**RIGHT, **kwargs.pop("headers", {})}
        return httpx.post(self.url + "/alerts", content=content, headers=headers, **PLAIN, **kwargs)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def say(self, raw: bytes) -> bytes:
        """What comes back until the other end closes."""
        with self.connect() as s:
            try:
                s.sendall(raw)
                return b"".join(iter(lambda: s.recv(65536), b""))
            except (ConnectionResetError, BrokenPipeError):
                return b""


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    listener = Listener("127.0.0.1:0", TOKEN, made.get_status, made.take, {"HighErrorRate", "DiskSlow"})
    made.port = listener.start()
    try:
        yield made
    finally:
        listener.stop()
        assert not any(t.name == "web" for t in threading.enumerate())


def alert(name: str = "HighErrorRate", **changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "severity": "warning", "job": "app"},
        "annotations": {"summary": "7 % of the requests fail"},
        "startsAt": "2026-11-23T05:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c0ffee",
    } | changes


def webhook(*alerts: Any, **changes: Any) -> bytes:
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "turnback",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }
    return json.dumps(body | changes).encode()


# ---- who may ask ----

WRONG = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer  {TOKEN}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": f"Bearer {TOKEN.upper()}"},
    {"Authorization": b"Bearer \xff\xfe\xe4"},
    {"X-Token": TOKEN},
]


@pytest.mark.parametrize("headers", WRONG, ids=range(len(WRONG)))
def test_without_the_token_nothing_is_told_or_taken(running: Running, headers: Any) -> None:
    for path in ("/metrics", "/status", "/alerts", "/", "/nothing/of/that", f"/metrics?token={TOKEN}"):
        answer = running.get(path, headers=headers)
        assert (answer.status_code, answer.text) == (401, "a token is needed\n"), path
        assert answer.headers["www-authenticate"] == "Bearer"
    posted = httpx.post(f"{running.url}/alerts", content=webhook(alert()), headers=headers, **PLAIN)
    assert posted.status_code == 401
    assert (running.asked, running.taken) == (0, [])


def test_healthz_is_for_anyone_and_says_only_ok(running: Running) -> None:
    answer = running.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert running.asked == 0
    assert running.get("/healthz/").status_code != 200 and running.get("//healthz").status_code == 401


def test_a_body_is_not_read_before_the_token_was_seen(running: Running) -> None:
    head = b"POST /alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
    assert running.say(head).startswith(b"HTTP/1.1 401 ")


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="token is empty"):
        Listener("127.0.0.1:0", "", dict, lambda alerts: None)


# ---- what is answered ----


def test_the_status_is_the_guards(running: Running) -> None:
    answer = running.get("/status", headers=RIGHT)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == running.status


def test_the_status_is_json_whatever_numbers_it_has(running: Running) -> None:
    running.status["watch"]["verdicts"][0]["value"] = float("inf")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    answer = running.get("/status", headers=RIGHT)
    assert json.loads(answer.text, parse_constant=refuse)["watch"]["verdicts"][0]["value"] == "inf"
    assert 'turnback_trigger_value{trigger="error-rate"} +Inf' in running.get("/metrics", headers=RIGHT).text


def test_the_metrics_are_of_the_last_status(running: Running) -> None:
    answer = running.get("/metrics", headers=RIGHT)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    assert families["turnback_lag_bytes"].samples[0].value == 4096
    running.status = full() | {"capture": None}
    assert "turnback_lag_bytes" not in running.get("/metrics", headers=RIGHT).text
    assert running.asked == 2


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not here"
)
def test_promtool_has_nothing_to_say_against_the_metrics(running: Running) -> None:
    text = running.get("/metrics", headers=RIGHT).content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_other_paths_and_methods(running: Running) -> None:
    assert running.get("/", headers=RIGHT).status_code == 404
    assert running.get("/alerts", headers=RIGHT).status_code == 405
    assert httpx.post(running.url + "/metrics", headers=RIGHT, **PLAIN).status_code == 405
    head = httpx.head(running.url + "/metrics", headers=RIGHT, **PLAIN)
    assert (head.status_code, head.content) == (200, b"")


# ---- alerts ----


def test_an_alert_becomes_what_the_guard_takes(running: Running) -> None:
    answer = running.post(webhook(alert(), alert("DiskSlow", status="resolved", fingerprint="b0b")))
    assert (answer.status_code, answer.json()) == (200, {"taken": 2, "ignored": [], "truncated": 0})
    assert running.taken == [
        {
            "name": "HighErrorRate",
            "severity": "warning",
            "status": "firing",
            "fingerprint": "c0ffee",
            "summary": "7 % of the requests fail",
        },
        {
            "name": "DiskSlow",
            "severity": "warning",
            "status": "resolved",
            "fingerprint": "b0b",
            "summary": "7 % of the requests fail",
        },
    ]


def test_alerts_that_are_no_trigger_are_accepted_and_said(running: Running) -> None:
    body = webhook(alert("Watchdog"), alert(), alert("CPUHot"), alert("Watchdog"), truncatedAlerts=3)
    answer = running.post(body)
    assert answer.status_code == 200
    assert answer.json() == {"taken": 1, "ignored": ["CPUHot", "Watchdog"], "truncated": 3}
    assert [a["name"] for a in running.taken] == ["HighErrorRate"]


def test_no_alerts_at_all_are_fine(running: Running) -> None:
    assert running.post(webhook()).json() == {"taken": 0, "ignored": [], "truncated": 0}


def without(key: str) -> dict[str, Any]:
    body = alert()
    del body[key]
    return body


GARBAGE: list[tuple[bytes, str]] = [
    (b"", "the body is not JSON"),
    (b"\xff\xfe\x00garbage", "the body is not JSON"),
    (b"[" * 500_000, "the body is not JSON"),
    (b'{"version": "4", "alerts": [' + b"9" * 10_000 + b"]}", "the body is not JSON"),
    (b"null", 'not an Alertmanager webhook: "version" must be "4"'),
    (b"[]", 'not an Alertmanager webhook: "version" must be "4"'),
    (webhook(alert(), version="3"), 'not an Alertmanager webhook: "version" must be "4"'),
    (webhook(alert(), version=4), 'not an Alertmanager webhook: "version" must be "4"'),
    (webhook(alerts={}), '"alerts" must be a list'),
    (webhook(alert(), truncatedAlerts="many"), '"truncatedAlerts" must be a number'),
    (webhook(alert(), truncatedAlerts=-1), '"truncatedAlerts" must be a number'),
    (webhook(alert(), 7), "alerts[1] must be an object"),
    (webhook(without("labels")), 'alerts[0]: "labels" must be an object of strings'),
    (webhook(alert(labels={"alertname": 7})), 'alerts[0]: "labels" must be an object of strings'),
    (webhook(alert(labels={"job": "a"})), 'alerts[0]: "labels" must hold "alertname"'),
    (webhook(alert(annotations=[])), 'alerts[0]: "annotations" must be an object of strings'),
    (webhook(alert(), alert(status="suppressed")), 'alerts[1]: "status" must be "firing" or "resolved"'),
    (webhook(without("fingerprint")), 'alerts[0]: "fingerprint" must be a string'),
]


@pytest.mark.parametrize(
    ("body", "line"), GARBAGE, ids=[line + f" {i}" for i, (_, line) in enumerate(GARBAGE)]
)
def test_what_is_no_webhook_is_refused_whole(running: Running, body: bytes, line: str) -> None:
    answer = running.post(body)
    assert (answer.status_code, answer.text) == (400, line + "\n")
    assert running.taken == []


def test_what_the_guard_cannot_keep_is_sent_again_by_alertmanager(running: Running) -> None:
    running.failing = True
    answer = running.post(webhook(alert()))
    assert (answer.status_code, answer.text) == (503, "the trace cannot be written: no room\n")


# ---- clients that do not behave ----


def test_a_body_that_is_too_long(running: Running) -> None:
    limit = web_app.MAX_BODY_BYTES
    head = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    declared = running.say(head + f"Content-Length: {limit + 1}\r\n\r\n".encode())
    assert declared.startswith(b"HTTP/1.1 413 ") and declared.endswith(b"the body is over 1,048,576 bytes\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    undeclared = running.say(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17 + b"0\r\n\r\n")
    assert undeclared == b"" or undeclared.startswith(b"HTTP/1.1 413 ")  # reset while it still sends
    assert running.taken == []
    just = webhook(alert(), padding="x" * (limit - 5000))
    assert limit - 5000 < len(just) <= limit and running.post(just).status_code == 200


def test_a_body_that_is_cut_off_is_not_taken(running: Running) -> None:
    body = webhook(alert())
    head = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with running.connect() as s:
        s.sendall(head.encode() + body[:-1])
    assert running.get("/healthz").status_code == 200
    assert running.taken == []


RAW = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,  # a TLS hello
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"POST /alerts HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    bytes(range(256)) * 100,
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_what_is_no_request_harms_nothing(
    running: Running, raw: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as short:
        short.setattr(web_listener, "CONNECTION_SECONDS", 0.3)
        answer = running.say(raw)
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"401", b"404")
    assert running.asked == 0
    assert running.get("/metrics", headers=RIGHT).status_code == 200
    assert capfd.readouterr().err == ""  # clients cannot fill the guard's log


def test_slow_clients_keep_nobody_out(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there may be connections, each with half a request: a scrape is answered meanwhile."""
    monkeypatch.setattr(web_listener, "CONNECTION_SECONDS", 60.0)
    with ExitStack() as held:
        slow = [held.enter_context(running.connect()) for _ in range(3 * web_listener.MAX_CONNECTIONS)]
        for s in slow:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        began = time.monotonic()
        assert running.get("/metrics", headers=RIGHT).status_code == 200
        assert time.monotonic() - began < 20
        ended = sum(_is_ended(s) for s in slow)
        assert ended >= 2 * web_listener.MAX_CONNECTIONS


def _is_ended(s: socket.socket) -> bool:
    s.settimeout(0.05)
    try:
        return s.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /met",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n\r\n[".encode(),
    ],
    ids=["nothing", "line", "headers", "body"],
)  # fmt: skip
def test_a_connection_ends_when_its_time_is_over(
    running: Running, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_listener, "CONNECTION_SECONDS", 0.4)
    with running.connect() as s:
        began = time.monotonic()
        s.sendall(begin)
        try:
            while time.monotonic() - began < 60:  # a byte now and then does not make it last
                s.settimeout(0.1)
                try:
                    if s.recv(100) == b"":
                        break
                except TimeoutError:
                    s.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert 0.3 < time.monotonic() - began < 30
    assert running.taken == []


def test_a_client_that_does_not_read_holds_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_listener, "CONNECTION_SECONDS", 0.5)
    running.status = full() | {"padding": "x" * 20_000_000}
    request = f"GET /status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with running.connect() as s:
        s.sendall(request)
        time.sleep(0.1)
        assert running.get("/healthz").status_code == 200
        time.sleep(0.8)
        assert len(_rest(s)) < 20_000_000


def _rest(s: socket.socket) -> bytes:
    received = bytearray()
    try:
        while chunk := s.recv(1 << 20):
            received += chunk
    except ConnectionResetError:
        pass
    return bytes(received)


def test_many_at_once(running: Running) -> None:
    def ask(i: int) -> int:
        return (
            running.post(webhook(alert(fingerprint=str(i)))).status_code
            if i % 3 == 0
            else running.get(("/metrics", "/status")[i % 2], headers=RIGHT).status_code
        )

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(120))) == {200}
    assert sorted(int(a["fingerprint"]) for a in running.taken) == list(range(0, 120, 3))


# ---- its beginning and end ----


def test_a_port_that_is_taken_is_one_line_and_nothing_runs() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        listener = Listener(f"127.0.0.1:{port}", TOKEN, dict, lambda alerts: None)
        with pytest.raises(ConfigError) as failed:
            listener.start()
        assert str(failed.value) == f"[guard] listen: 127.0.0.1:{port}: Address already in use"
        assert "choose another address" in failed.value.hint
        listener.stop()
    assert not any(t.name == "web" for t in threading.enumerate())


@pytest.mark.parametrize("address", ["127.0.0.1:65536", "no.such.host.invalid:0", "203.0.113.7:0"])
def test_an_address_that_is_not_ours_is_one_line(address: str) -> None:
    with pytest.raises(ConfigError) as failed:
        Listener(address, TOKEN, dict, lambda alerts: None).start()
    assert str(failed.value).startswith(f"[guard] listen: {address}: ") and "\n" not in str(failed.value)


def test_the_end_is_quick_whoever_is_connected_and_frees_the_port() -> None:
    listener = Listener("127.0.0.1:0", TOKEN, dict, lambda alerts: None)
    port = listener.start()
    with closing(socket.create_connection(("127.0.0.1", port))) as slow:
        slow.sendall(b"POST /alerts HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.05)
        began = time.monotonic()
        listener.stop()
        listener.stop()
        assert time.monotonic() - began < 20
    again = Listener(f"127.0.0.1:{port}", TOKEN, dict, lambda alerts: None)
    assert again.start() == port
    again.stop()
