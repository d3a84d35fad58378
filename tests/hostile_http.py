"""An HTTP server for probes that behaves as applications, proxies and attackers do. Raw sockets: no framing helps it.

/ok  /metrics  /openmetrics  /html  /json  /sick  /login  /drip-headers  /drip-body  /silent  /half
/reset  /garbage  /endless  /gzip  /bomb  /not-text  /truncated  /short  /no-type  /echo
/bad-gateway  /gateway-timeout
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from metrics_pages import OPENMETRICS, TEXT, python_openmetrics, python_text

BOMB = gzip.compress(b"0" * 10_000_000)
LONGEST = 200.0  # seconds that a client could be kept, if it let itself


class Hostile:
    """`seen` are the requests as they came: (request line, headers and body as text)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen: list[tuple[str, str]] = []
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._accept = threading.Thread(target=self._serve)
        self._accept.start()

    def stop(self) -> None:
        self.stopping.set()
        with socket.create_connection(self._listener.getsockname()):
            self._accept.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self.stopping.is_set():
                client.close()
                return
            thread = threading.Thread(target=self._answer, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _answer(self, client: socket.socket) -> None:
        try:
            client.settimeout(30)
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            path = self._request(client)
            if path is not None:
                self._behave(client, path)
        except OSError:
            pass  # the probe has hung up, as it should
        finally:
            client.close()

    def _request(self, client: socket.socket) -> str | None:
        request = b""
        while b"\r\n\r\n" not in request:
            got = client.recv(65536)
            if not got:
                return None
            request += got
        head, _, body = request.decode("latin-1").partition("\r\n\r\n")
        line, *headers = head.split("\r\n")
        length = next((int(h[15:]) for h in headers if h.lower().startswith("content-length:")), 0)
        while len(body) < length:
            body += client.recv(65536).decode("latin-1")
        self.seen.append((line, "\r\n".join([*headers, "", body])))
        return line.split(" ")[1].partition("?")[0]

    def _behave(self, client: socket.socket, path: str) -> None:
        match path:
            case "/ok" | "/echo":
                reply(client, b"fine")
            case "/metrics":
                reply(client, python_text().encode(), TEXT)
            case "/openmetrics":
                reply(client, python_openmetrics().encode(), OPENMETRICS)
            case "/no-type":
                reply(client, python_text().encode(), None)
            case "/html":
                reply(client, b"<!DOCTYPE html><html></html>", "text/html")
            case "/json":
                reply(client, b'{"status": "UP"}', "application/json")
            case "/sick":
                reply(client, b"no", status="503 Service Unavailable")
            case "/bad-gateway":
                reply(client, b"nginx", status="502 Bad Gateway")
            case "/gateway-timeout":
                reply(client, b"nginx", status="504 Gateway Timeout")
            case "/login":
                client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n")
            case "/not-text":
                reply(client, b"http_requests_total \xff\xfe 1\n", TEXT)
            case "/garbage":
                client.sendall(bytes(range(256)) * 100)
            case "/silent":
                self.stopping.wait(LONGEST)
            case "/half":
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
                self.stopping.wait(LONGEST)
            case "/drip-headers":
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                self._drip(client)
            case "/drip-body":
                client.sendall(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: 1000000\r\n\r\n".encode()
                )
                self._drip(client)
            case "/reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "/endless":
                client.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\n\r\n".encode())
                until = time.monotonic() + LONGEST
                while time.monotonic() < until and not self.stopping.is_set():
                    client.sendall(b'http_requests_total{status="200"} 1\n' * 10_000)
            case "/gzip":
                reply(client, gzip.compress(python_text().encode()), TEXT, "Content-Encoding: gzip\r\n")
            case "/bomb":
                reply(client, BOMB, TEXT, "Content-Encoding: gzip\r\n")
            case "/truncated":
                page = python_text().encode()
                reply(client, page[: len(page) // 2], TEXT, length=len(page))
            case "/short":
                page = python_text().encode()
                reply(client, page[: len(page) // 2 + 3], TEXT)
            case _:
                reply(client, b"", status="404 Not Found")

    def _drip(self, client: socket.socket) -> None:
        until = time.monotonic() + LONGEST
        while time.monotonic() < until and not self.stopping.wait(0.02):
            client.sendall(b"a")


def reply(
    client: socket.socket,
    body: bytes,
    kind: str | None = "text/plain",
    more: str = "",
    *,
    status: str = "200 OK",
    length: int | None = None,
) -> None:
    named = f"Content-Type: {kind}\r\n" if kind is not None else ""
    size = len(body) if length is None else length
    client.sendall(f"HTTP/1.1 {status}\r\n{named}{more}Content-Length: {size}\r\n\r\n".encode() + body)


@contextmanager
def hostile(tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    server = Hostile(tls)
    try:
        yield server
    finally:
        server.stop()
