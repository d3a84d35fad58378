"""The health probe against a real server: what is ok, what is not, and that it never hangs or raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from turnback.adapters.probes import HttpProbe


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        match path:
            case "/ok":
                self.answer(200, b"fine")
            case "/empty":
                self.answer(204, b"")
            case "/sick":
                self.answer(503, b"database down")
            case "/missing":
                self.answer(404, b"")
            case "/slash":
                self.answer(301, b"", location="/ok")
            case "/login":
                self.answer(302, b"", location="http://localhost:1/ok")
            case "/circle":
                self.answer(302, b"", location="/circle")
            case "/nowhere":
                self.answer(302, b"")
            case "/huge":
                self.answer(200, b"x" * 1_000_000)
            case "/trickle":
                self.send_response(200)
                self.end_headers()
                for _ in range(1000):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            case "/silent":
                time.sleep(1)
            case "/broken":
                self.wfile.write(b"this is not HTTP\r\n\r\n")

    def answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass  # a probe that stops reading


@pytest.fixture
def address() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("path", "ok", "answer"),
    [
        ("/ok", True, "200 OK"),
        ("/empty", True, "204 No Content"),
        ("/slash", True, "200 OK"),
        ("/huge", True, "200 OK"),
        ("/sick", False, "503 Service Unavailable"),
        ("/missing", False, "404 Not Found"),
        ("/login", False, "302, a redirect to elsewhere"),
        ("/nowhere", False, "302, a redirect to nowhere"),
        ("/circle", False, "too many redirects"),
        ("/broken", False, "no answer (RemoteProtocolError)"),
        ("/silent", False, "no answer (ReadTimeout)"),
        ("/trickle", False, "no whole answer within 0.5 s"),
    ],
)
def test_what_counts_as_healthy(address: str, path: str, ok: bool, answer: str) -> None:
    seconds = 0.5 if path in ("/silent", "/trickle") else 20  # whoever answers has time
    health = HttpProbe(address + path, seconds).check()
    assert (health.ok, health.detail) == (ok, f"GET {address}{path}: {answer}")
    assert 0 <= health.seconds < 20


def test_no_listener_is_an_answer_too(address: str) -> None:
    health = HttpProbe("http://127.0.0.1:1/ok", 0.5).check()
    assert not health.ok and health.detail == "GET http://127.0.0.1:1/ok: no answer (ConnectError)"


def test_the_detail_shows_no_credentials(address: str) -> None:
    health = HttpProbe(address.replace("//", "//user:s3cret@") + "/ok?token=s3cret", 20).check()
    assert health.ok and "s3cret" not in health.detail


def test_a_proxy_of_our_environment_is_not_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert HttpProbe(address + "/ok", 20).check().ok
