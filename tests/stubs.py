"""Servers that a test puts between the parts of an application, to break what passes: HTTP and TCP on loopback."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked went away, or the test wanted it to fail."""


@contextmanager
def _served(answer: Any) -> Iterator[str]:
    """Runs `answer(handler)` for every request; gives the base address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            answer(self)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = _Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "text/plain") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Gateway:
    """What the guard's HTTP probes ask: passes on to the application, but for the paths that a test breaks.

    `fail(path, n)` answers 503 to the next n requests, exactly. `break_(path, how)` until `mend(path)`: refuse (the
    connection ends without an answer), garbage, huge (a page without end), silent (no answer at all).
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()  # answered 503 by `fail`
        self._failing: Counter[str] = Counter()
        self._broken: dict[str, str] = {}
        self._changed = threading.Condition()
        self._closed = False

    def fail(self, path: str, times: int) -> None:
        with self._changed:
            self._failing[path] = times

    def break_(self, path: str, how: str) -> None:
        with self._changed:
            self._broken[path] = how
            self._changed.notify_all()

    def mend(self, path: str) -> None:
        with self._changed:
            self._broken.pop(path, None)
            self._failing.pop(path, None)
            self._changed.notify_all()

    @contextmanager
    def serve(self) -> Iterator[str]:
        with _served(self._answer) as base:
            try:
                yield base
            finally:
                with self._changed:
                    self._closed = True
                    self._changed.notify_all()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        with self._changed:
            self.asked[path] += 1
            how = self._broken.get(path)
            fails = self._failing[path] > 0
            if fails:
                self._failing[path] -= 1
                self.failed[path] += 1
        if fails:
            _send(handler, 503, b"as the test wants it")
        elif how is None:
            self._pass_on(handler)
        elif how == "garbage":
            _send(handler, 200, b'http_requests_total{endpoint="/ 12\n\x00\xff{{{ 1 2 3\n' * 50)
        elif how == "huge":
            handler.send_response(200)
            handler.send_header("Content-Type", "text/plain")
            handler.end_headers()
            while not self._closed:
                handler.wfile.write(b"# " + b"x" * 65_000 + b"\n")
        elif how == "silent":
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._broken.get(path) != "silent", 60)
        else:
            assert how == "refuse", how
            handler.connection.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", handler.path)
            reply = connection.getresponse()
            body, kind = reply.read(), reply.headers["Content-Type"]
        except (OSError, http.client.HTTPException):
            handler.connection.shutdown(socket.SHUT_RDWR)  # as the application: nobody answers
        else:
            _send(handler, reply.status, body, kind)
        finally:
            connection.close()


class Receiver:
    """A webhook: keeps what it is sent. Also a service that an application needs: `ok` false answers 500."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.ok = True

    @contextmanager
    def serve(self) -> Iterator[str]:
        with _served(self._answer) as base:
            yield base

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        if length:
            self.bodies.append(json.loads(handler.rfile.read(length)))
        _send(handler, 200 if self.ok else 500, b"ok")

    def text(self) -> str:
        return "\n".join(json.dumps(body, ensure_ascii=False) for body in self.bodies)


class Cable:
    """A TCP port of loopback that leads to a unix socket. `cut` ends what runs through it and refuses what comes;
    `hang` lets nothing pass any more and ends nothing; `mend` makes it whole.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._state = "whole"
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        with self._changed:
            self._state = "cut"
            for end in self._open:
                _end(end)
            self._changed.notify_all()

    def hang(self) -> None:
        with self._changed:
            self._state = "hanging"

    def mend(self) -> None:
        with self._changed:
            self._state = "whole"
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._state = "closed"
            for end in self._open:
                _end(end)
            self._changed.notify_all()
        _end(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._state in ("cut", "closed"):
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self.target)
                except OSError:  # the server behind it is down
                    near.close()
                    far.close()
                    continue
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._carry, args=(one, other), daemon=True))
                self._threads[-1].start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                with self._changed:
                    self._changed.wait_for(lambda: self._state != "hanging")
                    if self._state != "whole":
                        break
                other.sendall(data)
        except OSError:
            pass  # cut: both ends are ended below
        with self._changed:
            for end in (one, other):
                _end(end)
            ended = {s for s in (one, other) if s not in self._open}
            self._open -= {one, other}
        if ended:  # the other direction has ended too: nobody uses the sockets any more
            one.close()
            other.close()


def _end(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # ended already


def through(cable: Cable, dsn: str) -> str:
    """The connection string, by way of the cable."""
    from psycopg import conninfo

    return conninfo.make_conninfo(dsn, host="127.0.0.1", port=str(cable.port))


def socket_of(dsn: str) -> str:
    """The unix socket that a connection string names."""
    from psycopg import conninfo

    parts = conninfo.conninfo_to_dict(dsn)
    return os.path.join(str(parts["host"]), f".s.PGSQL.{parts.get('port') or 5432}")
