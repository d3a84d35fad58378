"""The client against a server that behaves badly on purpose: what it records is what it can know."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from turnback.entrypoints.demo_traffic import Attempt, Client


class Server:
    """Answers every request by `reply(request number)`: bytes to send, None to break the connection."""

    def __init__(self, reply: Callable[[int], bytes | None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[dict[str, Any]] = []
        self._reply = reply
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reading:
                while first := reading.readline():
                    length = 0
                    while (line := reading.readline()) not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    body = reading.read(length)
                    if not line:
                        break
                    self.requests.append({"first": first.decode(), "body": json.loads(body or b"{}")})
                    answer = self._reply(len(self.requests))
                    if answer is None:
                        break
                    connection.sendall(answer)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(5)


def http(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], bytes | None]], Server]]:
    running: list[Server] = []

    def start(reply: Callable[[int], bytes | None]) -> Server:
        running.append(Server(reply))
        return running[-1]

    yield start
    for server in running:
        server.close()


def steps(url: str, count: int, seed: int = 1) -> list[Attempt]:
    with closing(Client(url, "client", seed)) as client:
        return [client.step() for _ in range(count)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(201, '{"id": "x", "key": "x"}'), "acknowledged"),
        (http(200, '{"id": "x", "key": "x"}'), "acknowledged"),
        (http(503, '{"applied": false}'), "refused"),
        (http(409, '{"applied": false}'), "refused"),
        (http(500, '{"applied": null}'), "unknown"),
        (http(502, "<html>bad gateway</html>"), "unknown"),
        (http(500, "{}"), "unknown"),
        (http(201, '{"id": '), "unknown"),
        (b"HTTP/1.1 201 X\r\nContent-Length: 100\r\n\r\n{}", "unknown"),
        (b"nonsense\r\n\r\n", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_outcome_is_what_can_be_known(
    serve: Callable[[Callable[[int], bytes | None]], Server],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    outcome: str,
) -> None:
    monkeypatch.setattr("turnback.entrypoints.demo_traffic.TIMEOUT_SECONDS", 0.2)
    attempts = steps(serve(lambda _: answer).url, 1)
    assert [a.outcome for a in attempts] == [outcome]


def test_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert {a.outcome for a in steps(f"http://127.0.0.1:{port}", 3)} == {"refused"}


def test_never_retries(serve: Callable[[Callable[[int], bytes | None]], Server]) -> None:
    server = serve(lambda n: None if n % 2 else http(201, '{"id": "x", "key": "x"}'))
    attempts = steps(server.url, 40)
    assert len(server.requests) == 40
    sent = [r["body"].get("token") for r in server.requests if "token" in r["body"]]
    assert len(sent) == len(set(sent))
    assert len({a.token for a in attempts}) == 40


def test_touches_only_rows_that_it_knows(serve: Callable[[Callable[[int], bytes | None]], Server]) -> None:
    """After an unknown operation a row is left alone; deleted rows and other clients' are never named."""

    def reply(n: int) -> bytes | None:
        if n % 7 == 0:
            return None
        return http(201, f'{{"id": "row-{n}", "key": "row-{n}"}}')

    attempts = steps(serve(reply).url, 600)
    alive: set[tuple[str, object]] = set()
    for attempt in attempts:
        row = (attempt.table, attempt.key)
        if attempt.operation == "create" and attempt.outcome == "acknowledged":
            alive.add(row)
        elif attempt.operation in ("update", "delete"):
            assert row in alive, attempt
            if attempt.outcome == "unknown" or attempt.operation == "delete":
                alive.discard(row)
    assert {a.operation for a in attempts} == {"create", "update", "delete", "event"}
    assert {a.outcome for a in attempts} == {"acknowledged", "unknown"}


def test_as_a_process_until_the_stop_file(
    serve: Callable[[Callable[[int], bytes | None]], Server], tmp_path: Path
) -> None:
    server = serve(lambda n: http(201, f'{{"id": "row-{n}", "key": "row-{n}"}}'))
    out, stop = tmp_path / "client-0.jsonl", tmp_path / "stop"
    process = subprocess.Popen(
        [sys.executable, "-m", "turnback.entrypoints.demo_traffic", server.url, out, "0", stop]
    )
    try:
        deadline = time.monotonic() + 60
        while not out.exists() or out.read_bytes().count(b"\n") < 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stop.touch()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert os.stat(out).st_mode & 0o777 == 0o600
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == len(server.requests)
    assert all(r["outcome"] == "acknowledged" and abs(r["at"] - time.time()) < 60 for r in records)
