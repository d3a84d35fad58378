"""Hyperpage: a small web application that runs on SQLite or on PostgreSQL.

Environment: USE_SQLITE=1 and DATABASE_PATH, or DATABASE_URL; PORT (3000), BIND (127.0.0.1), POOL_SIZE (8);
DEPENDENCY_URL, another service that /api/tools asks.
FAULTS=1 allows POST /api/faults; FAULT_SLOW_MS, FAULT_ERROR_SHARE, FAULT_HOLD_POOL, FAULT_DATABASE_DOWN and
FAULT_UNHEALTHY set the same switches at the start.

A write is acknowledged (200 or 201) after COMMIT only. Any other answer to a write says in its JSON whether
it was applied: false, or null when the connection broke in COMMIT and nobody knows.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import random
import signal
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from metrics import Metrics
from store import Conflict, Refused, Store, Unknown, now_ms, open_store

GRACE_SECONDS = 1.8  # for requests in flight at SIGTERM


class Resource(NamedTuple):
    """A table, its key, and what a client may send, the token aside."""

    key: str
    fields: dict[str, type | tuple[type, ...]]
    created_at: bool = False
    key_from_client: bool = False


NUMBER = (int, float)
RESOURCES = {
    "users": Resource(
        "id", {"email": str, "name": str, "is_admin": bool, "score": NUMBER, "avatar": str}, created_at=True
    ),
    "jobs": Resource(
        "id",
        {"user_id": str, "type": str, "status": str, "payload": (dict, list), "attempts": int},
        created_at=True,
    ),
    "tool_configs": Resource(
        "id", {"id": str, "name": str, "enabled": bool, "config": (dict, list)}, key_from_client=True
    ),
    "rate_limits": Resource("key", {"key": str, "remaining": NUMBER}, key_from_client=True),
}
EVENT: dict[str, type | tuple[type, ...]] = {"job_id": int, "message": str}
HEALTH = ("/api/health", "/api/health/database")
FIXED = ("/", *HEALTH, "/api/metrics", "/api/events", "/api/tools", "/api/faults")
DEPENDENCY_SECONDS = 2.0
PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Hyperpage</title>
<h1>Hyperpage</h1><p>All your tools on one page.</p></html>
"""


class Faults:
    """The switches, off unless somebody asks for them."""

    NAMES = ("slow_ms", "error_share", "hold_pool", "database_down", "unhealthy")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: list[Any] = []
        self.slow_ms = 0.0
        self.error_share = 0.0
        self.hold_pool = self.database_down = self.unhealthy = False

    def set(self, **switches: Any) -> None:
        for name, value in switches.items():
            if name not in self.NAMES:
                raise ValueError(f"no such fault: {name}")
            setattr(self, name, type(getattr(self, name))(value))
        pool = self._store.pool
        pool.down = self.database_down
        while self.hold_pool and len(self._held) < pool.size:
            self._held.append(pool.acquire())
        while not self.hold_pool and self._held:
            pool.release(self._held.pop())

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.NAMES}


class Answer(Exception):
    """Ends a request early. `cause`: what a 5xx failed on, for the metrics."""

    def __init__(self, status: int, body: dict[str, Any], cause: str | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.cause = status, body, cause


class Hyperpage(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], store: Store, *, faults_allowed: bool, dependency: str | None
    ) -> None:
        self.store = store
        self.dependency = dependency
        self.metrics = Metrics(store.pool)
        self.faults = Faults(store)
        self.faults_allowed = faults_allowed
        self.stopping = False
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def finish(self) -> None:
        """No new connections; requests that have arrived are answered; then the connections end."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RD)  # what has arrived can still be read
                except OSError:
                    pass  # the client was faster
            self._changed.wait_for(lambda: not self._connections, GRACE_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):  # clients may go away
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    server: Hyperpage

    def answer(self) -> None:
        started = time.monotonic()
        path = self.path.partition("?")[0]
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        length = self.headers.get("Content-Length") or "0"
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        content_type = "application/json"
        cause = None
        try:
            reply: bytes | dict[str, Any]
            if self.server.faults.slow_ms and path not in ("/api/faults", "/api/metrics"):
                time.sleep(self.server.faults.slow_ms / 1000)
            if (self.command, path) == ("GET", "/"):
                status, reply, content_type = 200, PAGE, "text/html; charset=utf-8"
            elif (self.command, path) == ("GET", "/api/metrics"):
                status, reply, content_type = 200, self.server.metrics.text(), "text/plain; version=0.0.4"
            else:
                status, reply = self.route(parts, body)
        except Answer as e:
            status, reply, cause = e.status, e.body, e.cause
        except Conflict as e:
            status, reply = 409, {"error": str(e), "applied": False}
        except Refused as e:
            status, reply, cause = 503, {"error": str(e), "applied": False}, "database"
        except Unknown as e:
            status, reply, cause = 500, {"error": str(e), "applied": None}, "database"
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.server.metrics.observe(_endpoint(path, parts), status, time.monotonic() - started, cause)
        if self.server.stopping:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def route(self, parts: list[str], body: bytes) -> tuple[int, dict[str, Any]]:
        server, method = self.server, self.command
        match method, parts:
            case "GET", ["api", "health"]:
                if server.faults.unhealthy:
                    return 503, {"status": "unhealthy", "engine": server.store.engine}
                return 200, {"status": "ok", "engine": server.store.engine}
            case "GET", ["api", "health", "database"]:
                server.store.ping()
                return 200, {"status": "ok", "engine": server.store.engine}
            case "POST", ["api", "faults"] if server.faults_allowed:
                try:
                    server.faults.set(**_object(body))
                except (ValueError, TypeError) as e:
                    raise Answer(400, {"error": str(e)}) from e
                return 200, server.faults.shown()
            case _ if server.faults.error_share and random.random() < server.faults.error_share:
                raise Answer(500, {"error": "a fault was asked for", "applied": False}, "fault")
            case "GET", ["api", "tools"] if server.dependency is not None:
                return self.tools(server.dependency)
            case "POST", ["api", "events"]:
                values = _values(_object(body), EVENT, needs=tuple(EVENT))
                server.store.insert("job_history", values | {"at": now_ms()}, None)
                return 201, {"token": values["token"]}
            case _, ["api", name, *rest] if name in RESOURCES and len(rest) < 2:
                return self.rest(name, rest[0] if rest else None, body)
            case _:
                return 404, {"error": "no such page", "applied": False}

    def tools(self, dependency: str) -> tuple[int, dict[str, Any]]:
        """What another service says; no database is asked."""
        try:
            with urllib.request.urlopen(dependency, timeout=DEPENDENCY_SECONDS) as answer:
                return 200, {"bytes": len(answer.read())}
        except OSError as e:
            raise Answer(502, {"error": f"the other service: {e}", "applied": False}, "dependency") from e

    def rest(self, table: str, key: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        store, resource, method = self.server.store, RESOURCES[table], self.command
        identity: Any = key if key is None else _identity(table, key)
        match method, key:
            case "POST", None:
                needs = (resource.key,) if resource.key_from_client else ()
                values = _values(_object(body), resource.fields, needs)
                moment = now_ms()
                values["updated_at"] = moment
                if resource.created_at:
                    values["created_at"] = moment
                if table == "users":
                    values["id"] = str(uuid.uuid4())
                made = store.insert(table, values, resource.key)
                return 201, {resource.key: made, "token": values["token"]}
            case "PUT", str():
                fields = {n: t for n, t in resource.fields.items() if n != resource.key}
                values = _values(_object(body), fields) | {"updated_at": now_ms()}
                if not store.update(table, resource.key, identity, values):
                    return 404, {"error": "no such row", "applied": False}
                return 200, {resource.key: identity, "token": values["token"]}
            case "DELETE", str():
                if not store.delete(table, resource.key, identity):
                    return 404, {"error": "no such row", "applied": False}
                return 200, {resource.key: identity}
            case "GET", str():
                row = store.get(table, resource.key, identity)
                if row is None:
                    return 404, {"error": "no such row"}
                return 200, {
                    n: base64.b64encode(v).decode() if isinstance(v, bytes) else v for n, v in row.items()
                }
            case _:
                return 405, {"error": f"{method} does not fit here", "applied": False}

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request is too much for an example under load; metrics count them."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Answer(400, {"error": "a JSON object is needed", "applied": False})
    return value


def _values(
    sent: dict[str, Any], fields: dict[str, type | tuple[type, ...]], needs: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The columns to write. The token is needed in every write."""
    problems = [f"{name} is missing" for name in (*needs, "token") if name not in sent]
    for name, value in sent.items():
        wanted = str if name == "token" else fields.get(name)
        if wanted is None:
            problems.append(f"{name} is unknown")
        elif value is not None and (
            not isinstance(value, wanted) or (type(value) is bool) != (wanted is bool)
        ):
            problems.append(f"{name} has the wrong type")
    values = dict(sent)
    if isinstance(values.get("avatar"), str):
        try:
            values["avatar"] = base64.b64decode(values["avatar"], validate=True)
        except binascii.Error:
            problems.append("avatar is not base64")
    if problems:
        raise Answer(400, {"error": ", ".join(problems), "applied": False})
    return values


def _endpoint(path: str, parts: list[str]) -> str:
    """The label of the metrics: a few known ones, whatever the clients ask for."""
    match parts:
        case ["api", name] if name in RESOURCES:
            return path
        case ["api", name, _] if name in RESOURCES:
            return f"/api/{name}/:id"
        case _:
            return path if path in FIXED else "other"


def _identity(table: str, key: str) -> str | int:
    if table == "jobs":
        if not key.isdigit():
            raise Answer(404, {"error": "no such row", "applied": False})
        return int(key)
    if table == "users":
        try:
            return str(uuid.UUID(key))
        except ValueError:
            raise Answer(404, {"error": "no such row", "applied": False}) from None
    return key


def main(environment: dict[str, str]) -> int:
    try:
        store = open_store(environment)
        version = store.version()
    except (Refused, Unknown) as e:
        print(f"hyperpage does not start: {e}", file=sys.stderr)
        return 1
    address = (environment.get("BIND", "127.0.0.1"), int(environment.get("PORT", "3000")))
    server = Hyperpage(
        address,
        store,
        faults_allowed=environment.get("FAULTS") == "1",
        dependency=environment.get("DEPENDENCY_URL"),
    )
    server.faults.set(**{name: float(environment.get(f"FAULT_{name.upper()}", "0")) for name in Faults.NAMES})
    # Waited for, and not handled: the kernel may give a signal to any thread, and a handler runs in the
    # main one only, which nothing would wake up.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="serve")
    serving.start()
    print(
        f"hyperpage {version} on {store.engine}, http://{address[0]}:{server.server_address[1]}", flush=True
    )
    signal.sigwait(ends)
    server.finish()
    serving.join()
    store.pool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
