"""One suite over the notifiers: Alertmanager's API, a webhook, a command. Each talks to something real."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

import patience
from turnback.adapters.notices.alertmanager import AlertmanagerNotifier
from turnback.adapters.notices.command import CommandNotifier
from turnback.adapters.notices.webhook import WebhookNotifier
from turnback.errors import NoticeError
from turnback.ports import Notice, Notifier

SECRET = "s3cret-path"
TIMEOUT = 0.6
NOTICE = Notice(
    key="error-rate",
    event="hold",
    severity="high",
    title="HOLD: error-rate fires & the way back is not open",
    text='7.3 % of 1,240 requests failed in the last 60 s (limit 5 %).\nNext: "turnback status" <now>.',
    utc=datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
    fields={"application": "shop", "host": "web-1", "run": ""},
)


class Endpoint(ThreadingHTTPServer):
    """Takes JSON at any path; for Alertmanager it gives back what is open, as that does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = "fine"
        self.requests: list[tuple[str, str, Any]] = []  # method, path, body
        self.open: list[dict[str, Any]] = []

    def handle_error(self, *_: Any) -> None:
        pass  # a client that has stopped reading


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        self._take(None)

    def do_POST(self) -> None:
        self._take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _take(self, body: Any) -> None:
        match self.server.behaviour:
            case "fine":
                self.server.requests.append((self.command, self.path, body))
                self._answer(200, json.dumps(self.server.open).encode() if body is None else b"ok")
            case "500":
                self._answer(500, f"no: {self.path}".encode())
            case "redirect":
                self._answer(302, b"", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            case "garbage":
                self.wfile.write(b"this is not HTTP\r\n\r\n" + self.path.encode())
            case "closes":
                self.connection.shutdown(socket.SHUT_RDWR)
            case "silent":
                time.sleep(3 * TIMEOUT)
            case "trickle":
                self.send_response(200)
                self.end_headers()
                for _ in range(30):
                    self.wfile.write(b"x")
                    time.sleep(TIMEOUT / 5)
            case "endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(b"x" * 100_000)

    def _answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Subject:
    notifier: Notifier
    received: Callable[[], list[Any]]  # what has arrived, as the other end sees it
    make_it: Callable[[str], None]  # how the other end behaves from now on
    shows: dict[str, str] = field(default_factory=dict)  # behaviour -> what the error says


# What the command does for each behaviour; it gets its notice from standard input.
SCRIPT = """
import json, os, sys, time
folder = sys.argv[1]
behaviour = open(os.path.join(folder, "behaviour")).read()
if behaviour == "refused":
    sys.exit("nobody there")
if behaviour == "500":
    print("first line"); print("no: the last line", flush=True); print("", file=sys.stderr); sys.exit(7)
if behaviour == "garbage":
    os.write(1, bytes(range(256)) * 10000); os.kill(os.getpid(), 9)
if behaviour == "silent":
    if os.fork() == 0:
        open(os.path.join(folder, "child"), "w").write(str(os.getpid()))
        time.sleep(60)
    print("working on it", flush=True); time.sleep(60)
given = json.load(sys.stdin)
with open(os.path.join(folder, "received"), "a") as f:
    f.write(json.dumps(given) + "\\n")
"""


@pytest.fixture(params=["alertmanager", "webhook", "command"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "command":
        made = command_subject(tmp_path)
    else:
        made = http_subject(request.param, request.getfixturevalue("endpoint"))
    try:
        yield made
    finally:
        made.notifier.close()


def command_subject(folder: Path) -> Subject:
    script = folder / "notify.py"
    script.write_text(SCRIPT)
    received, behaviour = folder / "received", folder / "behaviour"
    behaviour.write_text("fine")
    command = shlex.join([sys.executable, str(script), str(folder)])

    def make_it(how: str) -> None:
        behaviour.write_text(how)

    return Subject(
        CommandNotifier(command, 5.0, folder=folder),
        lambda: [json.loads(line) for line in received.read_text().splitlines()] if received.exists() else [],
        make_it,
        {
            "refused": "the command ended with status 1: nobody there",
            "500": "the command ended with status 7: no: the last line",
            "garbage": "the command ended with status 137: ",
        },
    )


def http_subject(name: str, endpoint: Endpoint) -> Subject:
    url = f"http://127.0.0.1:{endpoint.server_port}/{SECRET}"

    def make_it(how: str) -> None:
        endpoint.behaviour = how

    notifier: Notifier
    if name == "webhook":
        what, notifier = "the webhook", WebhookNotifier(url, TIMEOUT)
    else:
        what = "Alertmanager"
        notifier = AlertmanagerNotifier(url + "/", TIMEOUT, application="shop", repeat_seconds=300)
    shows = {
        "500": f"{what} answered 500 Internal Server Error",
        "redirect": f"{what} answered 302 Found",
        "garbage": f"{what}: no answer (RemoteProtocolError)",
        "closes": f"{what}: no answer (RemoteProtocolError)",
        "silent": f"{what}: no answer within {TIMEOUT:g} s",
        "trickle": f"{what}: no whole answer within {TIMEOUT:g} s",
        "endless": f"{what}: the answer is over 4,194,304 bytes",
    }
    return Subject(
        notifier, lambda: [body for method, _, body in endpoint.requests if method == "POST"], make_it, shows
    )


# ---- the contract ----


def test_it_delivers(subject: Subject) -> None:
    subject.notifier.send(NOTICE)
    [got] = subject.received()
    text = json.dumps(got, ensure_ascii=False)
    for part in ("HOLD: error-rate fires", "7.3 % of 1,240 requests", "high", "web-1"):
        assert part.lower() in text.lower()


def test_it_delivers_in_order_and_the_end_too(subject: Subject) -> None:
    for title in ("one", "two"):
        subject.notifier.send(replace(NOTICE, title=title))
    subject.notifier.send(replace(NOTICE, title="three", event="page", key="probe:metrics"))
    assert [next(t for t in ("one", "two", "three") if t in json.dumps(g)) for g in subject.received()] == [
        "one",
        "two",
        "three",
    ]


def test_every_failure_is_one_line_without_a_secret(subject: Subject) -> None:
    for behaviour in subject.shows:
        subject.make_it(behaviour)
        began = time.monotonic()
        with pytest.raises(NoticeError) as failed:
            subject.notifier.send(NOTICE)
        told = str(failed.value)
        assert told.startswith(subject.shows[behaviour]), behaviour
        assert "\n" not in told and told.isprintable() and len(told) < 500
        assert SECRET not in f"{told} {failed.value.hint}"
        assert failed.value.__cause__ is None or SECRET not in str(failed.value.__cause__)
        assert time.monotonic() - began < 20
    assert subject.received() == []


@pytest.mark.parametrize(
    "notifier",
    [
        WebhookNotifier(f"http://127.0.0.1:1/{SECRET}", TIMEOUT),
        AlertmanagerNotifier(f"http://127.0.0.1:1/{SECRET}", TIMEOUT, application="a", repeat_seconds=1),
    ],
    ids=lambda n: n.name,
)
def test_nobody_there(notifier: Notifier) -> None:
    with pytest.raises(NoticeError, match=r"^(the webhook|Alertmanager): no answer \(ConnectError\)$"):
        notifier.send(NOTICE)


def test_after_a_failure_it_delivers_again(subject: Subject) -> None:
    subject.make_it("500")
    with pytest.raises(NoticeError):
        subject.notifier.send(NOTICE)
    subject.make_it("fine")
    subject.notifier.send(NOTICE)
    assert len(subject.received()) == 1


def test_close_may_be_repeated(subject: Subject) -> None:
    subject.notifier.close()
    subject.notifier.close()


# ---- the webhook ----


def test_the_webhook_text_is_slacks(endpoint: Endpoint) -> None:
    WebhookNotifier(f"http://127.0.0.1:{endpoint.server_port}/{SECRET}", 5).send(NOTICE)
    assert endpoint.requests == [
        (
            "POST",
            f"/{SECRET}",
            {
                "text": "*[HIGH] HOLD: error-rate fires &amp; the way back is not open*\n"
                "7.3 % of 1,240 requests failed in the last 60 s (limit 5 %).\n"
                'Next: "turnback status" &lt;now&gt;.\n'
                "application shop · host web-1 · 2026-11-23 05:00:00 UTC"
            },
        )
    ]


def test_a_webhook_text_is_bounded_and_says_that_it_is_over(endpoint: Endpoint) -> None:
    notifier = WebhookNotifier(f"http://127.0.0.1:{endpoint.server_port}/", 5)
    notifier.send(replace(NOTICE, text="<" * 5000))
    notifier.send(replace(NOTICE, resolved=True))
    long, ended = [body["text"] for _, _, body in endpoint.requests]
    assert len(long) == 3000 and long.endswith("…")
    assert ended.startswith("*[RESOLVED] HOLD")


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:99999/", "http://" + "a" * 300 + "/", "http://x\ny/"]
)
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    with pytest.raises(NoticeError) as failed:
        WebhookNotifier(url, TIMEOUT).send(NOTICE)
    assert str(failed.value).startswith("the webhook: ") and "\n" not in str(failed.value)


def test_a_proxy_of_the_environment_serves_the_webhook_only(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{endpoint.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    WebhookNotifier(f"http://hooks.example.invalid/{SECRET}", 5).send(NOTICE)
    assert endpoint.requests[0][1] == f"http://hooks.example.invalid/{SECRET}"
    with pytest.raises(NoticeError, match="ConnectError"):
        AlertmanagerNotifier("http://127.0.0.1:1", 5, application="a", repeat_seconds=1).send(NOTICE)
    monkeypatch.setenv("http_proxy", "gopher://user:pass@proxy")
    with pytest.raises(NoticeError) as failed:
        WebhookNotifier(f"http://hooks.example.invalid/{SECRET}", 5).send(NOTICE)
    assert "pass" not in str(failed.value)


# ---- Alertmanager ----

NOW = datetime(2026, 11, 23, 5, 10, tzinfo=UTC)


def open_alert(event: str = "TurnbackRecommend", key: str = "error-rate") -> dict[str, Any]:
    labels = {"alertname": event, "severity": "low", "application": "shop", "key": key, "source": "turnback"}
    return {"labels": labels, "annotations": {}, "startsAt": "2026-11-23T04:00:00.123Z", "status": {}}


def send_to(endpoint: Endpoint, notice: Notice, now: datetime = NOW) -> list[Any]:
    url = f"http://127.0.0.1:{endpoint.server_port}"
    notifier = AlertmanagerNotifier(url, 5, application="shop", repeat_seconds=600, now=lambda: now)
    notifier.send(notice)
    return [body for method, _, body in endpoint.requests if method == "POST"]


def test_what_goes_on_is_an_alert_that_outlives_some_repeats(endpoint: Endpoint) -> None:
    [[alert]] = send_to(endpoint, NOTICE)
    assert alert == {
        "labels": {
            "alertname": "TurnbackHold",
            "severity": "high",
            "application": "shop",
            "key": "error-rate",
            "source": "turnback",
        },
        "annotations": {
            "summary": NOTICE.title,
            "description": NOTICE.text,
            "turnback_application": "shop",
            "turnback_host": "web-1",
            "turnback_run": "",
        },
        "startsAt": "2026-11-23T05:00:00+00:00",
        "endsAt": "2026-11-23T05:40:00+00:00",
    }


def test_another_event_of_the_key_ends_the_former_in_the_same_request(endpoint: Endpoint) -> None:
    endpoint.open = [open_alert()]
    [[ended, alert]] = send_to(endpoint, NOTICE)
    assert ended["labels"] == endpoint.open[0]["labels"]
    assert (ended["startsAt"], ended["endsAt"]) == ("2026-11-23T04:00:00.123000+00:00", NOW.isoformat())
    assert alert["labels"]["alertname"] == "TurnbackHold"


@pytest.mark.parametrize("notice", [replace(NOTICE, resolved=True), replace(NOTICE, event="normal")])
def test_the_end_ends_what_a_former_guard_left_too(endpoint: Endpoint, notice: Notice) -> None:
    endpoint.open = [open_alert(), open_alert("TurnbackHold")]
    [ended] = send_to(endpoint, notice)
    assert [a["labels"]["alertname"] for a in ended] == ["TurnbackRecommend", "TurnbackHold"]
    assert {a["endsAt"] for a in ended} == {NOW.isoformat()}


def test_nothing_open_needs_no_end(endpoint: Endpoint) -> None:
    assert send_to(endpoint, replace(NOTICE, resolved=True)) == []


def test_a_clock_that_was_put_back_ends_no_alert_before_it_began(endpoint: Endpoint) -> None:
    endpoint.open = [open_alert()]
    early = NOW - timedelta(days=1)
    [[ended, alert]] = send_to(endpoint, NOTICE, early)
    assert ended["startsAt"] == ended["endsAt"]
    assert alert["startsAt"] == early.isoformat() < alert["endsAt"]


@pytest.mark.parametrize(
    "answer",
    [{}, ["x"], [{"labels": {}}], [open_alert() | {"startsAt": "yesterday"}],
     [open_alert() | {"startsAt": "2026-11-23T04:00:00"}], [open_alert(key="another")], None, 7],
)  # fmt: skip
def test_an_answer_of_something_else_is_not_believed(endpoint: Endpoint, answer: Any) -> None:
    endpoint.open = answer
    with pytest.raises(NoticeError, match=r"^Alertmanager: the answer is not that of its API v2$"):
        send_to(endpoint, NOTICE)
    assert [method for method, _, _ in endpoint.requests] == ["GET"]


# ---- the command ----


def test_the_commands_input_is_the_notice(tmp_path: Path) -> None:
    subject = command_subject(tmp_path)
    subject.notifier.send(NOTICE)
    assert subject.received() == [
        {
            "key": "error-rate",
            "event": "hold",
            "severity": "high",
            "title": NOTICE.title,
            "text": NOTICE.text,
            "utc": "2026-11-23T05:00:00+00:00",
            "resolved": False,
            "fields": {"application": "shop", "host": "web-1", "run": ""},
        }
    ]


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    command_subject(tmp_path).make_it("silent")
    command = shlex.join([sys.executable, str(tmp_path / "notify.py"), str(tmp_path)])
    began = time.monotonic()
    with pytest.raises(NoticeError) as failed:
        CommandNotifier(command, 1.0, folder=tmp_path).send(NOTICE)
    assert str(failed.value) == "the command did not end within 1 s: working on it"
    assert time.monotonic() - began < 30
    await_gone(int((tmp_path / "child").read_text()))


def test_close_ends_a_command_that_hangs(tmp_path: Path) -> None:
    subject = command_subject(tmp_path)
    subject.make_it("silent")
    told: list[str] = []

    def send() -> None:
        try:
            subject.notifier.send(NOTICE)
        except NoticeError as e:
            told.append(str(e))

    thread = threading.Thread(target=send)
    thread.start()
    await_true(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
    subject.notifier.close()
    thread.join(30)
    assert not thread.is_alive() and told[0].startswith("the command was ended by signal 9")
    await_gone(int((tmp_path / "child").read_text()))
    with pytest.raises(NoticeError, match="the guard ends"):
        subject.notifier.send(NOTICE)


@pytest.mark.parametrize(
    "command",
    [
        "true",  # reads nothing of a notice that no pipe would hold
        "exec >&- 2>&-; sleep 0.2",  # closes its output, and works on
        "sleep 60 & echo $! > left",  # leaves something behind that holds the output
        "(while echo x; do :; done) & echo $! > left",
    ],
)
def test_a_command_is_done_when_it_has_ended(tmp_path: Path, command: str) -> None:
    began = time.monotonic()
    CommandNotifier(command, 20.0, folder=tmp_path).send(replace(NOTICE, text="x" * 1_000_000))
    assert time.monotonic() - began < 30
    if (tmp_path / "left").exists():
        left = int((tmp_path / "left").read_text())
        if "sleep" in command:  # let be: it may be a daemon
            psutil.Process(left).kill()
        await_gone(left)


def test_a_command_does_not_get_turnbacks_own_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_URL", "postgresql://turnback:s3cret@db/app")
    monkeypatch.setenv("MAIL_TO", "ops@example.org")
    CommandNotifier("env > seen", 5, folder=tmp_path, withheld={"ADMIN_URL"}).send(NOTICE)
    seen = (tmp_path / "seen").read_text()
    assert "MAIL_TO=ops@example.org" in seen and "s3cret" not in seen
    assert os.environ["ADMIN_URL"]


def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(NoticeError, match="cannot be started: No such file or directory"):
        CommandNotifier("true", 5, folder=tmp_path / "gone").send(NOTICE)
    with pytest.raises(NoticeError, match=r"status 127: .*not found"):
        CommandNotifier("no-such-command-here", 5, folder=tmp_path).send(NOTICE)


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def await_gone(pid: int) -> None:
    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await_true(gone)
