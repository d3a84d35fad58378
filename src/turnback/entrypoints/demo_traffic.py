"""One client of the example application: writes without pause, never retries, and records what it was told.

    python -m turnback.entrypoints.demo_traffic BASE_URL OUT SEED STOP_FILE

A process of its own, on the standard library alone. One JSON line per attempt in OUT (see `Attempt`). A
client changes only rows whose creation was acknowledged to itself, and leaves a row alone for good after an
operation on it whose outcome is unknown: so what must be in the database at the end is exact.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import random
import signal
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

TIMEOUT_SECONDS = 10.0
AFTER_FAILURE_SECONDS = 0.005  # so as not to spin while nobody listens

Operation = Literal["create", "update", "delete", "event"]
Outcome = Literal["acknowledged", "refused", "unknown"]

TABLES = {"users": "id", "jobs": "id", "tool_configs": "id", "rate_limits": "key"}
EVENTS = "job_history"
TEXTS = (
    "plain",
    "",
    "quote's",
    'say "hi"',
    "naïve größe",
    "東京 🙂",
    "two\nlines\ttab",
    "null",
    "007",
    "1.10",
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a client's file.

    `at` is the wall clock when the request was sent (s since 1970), `seconds` how long the answer took.
    acknowledged: answered with 200 or 201. refused: certainly not applied (nobody listened, or the
    application says so). unknown: neither; the connection broke on the way. `values` are the columns sent.
    """

    at: float
    seconds: float
    operation: Operation
    table: str
    key: str | int | None  # None: events, and creations that gave no key back
    token: str
    values: dict[str, Any]
    outcome: Outcome
    status: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    outcome: Outcome
    status: int | None
    body: dict[str, Any]


class _Session:
    """One kept-alive connection; opened again after each failure."""

    def __init__(self, base_url: str) -> None:
        parts = urllib.parse.urlsplit(base_url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_SECONDS
        )

    def send(self, method: str, path: str, body: dict[str, Any] | None) -> _Answer:
        connection = self._connection
        if connection.sock is None:
            try:
                connection.connect()
            except OSError:  # nothing was sent
                connection.close()
                return _Answer("refused", None, {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode())
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return _Answer("unknown", None, {})
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            return _Answer("unknown", reply.status, {})
        if reply.status in (200, 201):
            return _Answer("acknowledged", reply.status, answer)
        certain = answer.get("applied") is False
        return _Answer("refused" if certain else "unknown", reply.status, answer)

    def close(self) -> None:
        self._connection.close()


class Client:
    """Draws operations and keeps the rows that it may still change."""

    def __init__(self, base_url: str, name: str, seed: int) -> None:
        self._session = _Session(base_url)
        self._dice = random.Random(seed)
        # Unique among all clients and runs; the rest is the same for the same seed.
        self._name = f"{name}-{seed}-{os.urandom(3).hex()}"
        self._count = 0
        self._rows: list[tuple[str, str | int]] = []  # (table, key)
        self._user: str | int | None = None  # a user that is never deleted: jobs refer to it

    def step(self) -> Attempt:
        """One operation, whatever comes of it."""
        self._count += 1
        drawn = self._dice.random()
        if drawn < 0.20:
            return self._event()
        if drawn < 0.45 and self._rows:
            return self._update()
        if drawn < 0.55 and self._rows:
            return self._delete()
        return self._create()

    def close(self) -> None:
        self._session.close()

    def _create(self) -> Attempt:
        table = self._dice.choice(tuple(TABLES))
        values = self._values(table)
        if table == "users":
            values["email"] = f"{self._token()}@example.org"
        elif table == "jobs":
            values["user_id"] = self._user if self._dice.random() < 0.5 else None
        else:
            values[TABLES[table]] = f"{table}:{self._token()}"
        attempt = self._attempt("create", "POST", f"/api/{table}", table, None, values)
        if attempt.outcome == "acknowledged" and attempt.key is not None:
            if table == "users" and self._user is None:
                self._user = attempt.key
            else:
                self._rows.append((table, attempt.key))
        return attempt

    def _update(self) -> Attempt:
        table, key = self._rows[index := self._dice.randrange(len(self._rows))]
        attempt = self._attempt("update", "PUT", _path(table, key), table, key, self._values(table))
        if attempt.outcome == "unknown":
            del self._rows[index]
        return attempt

    def _delete(self) -> Attempt:
        table, key = self._rows[index := self._dice.randrange(len(self._rows))]
        attempt = self._attempt("delete", "DELETE", _path(table, key), table, key, None)
        if attempt.outcome != "refused":
            del self._rows[index]
        return attempt

    def _event(self) -> Attempt:
        values = {"job_id": self._dice.randrange(1, 1000), "message": self._dice.choice(TEXTS)}
        return self._attempt("event", "POST", "/api/events", EVENTS, None, values)

    def _attempt(
        self,
        operation: Operation,
        method: str,
        path: str,
        table: str,
        key: str | int | None,
        values: dict[str, Any] | None,
    ) -> Attempt:
        token = self._token()
        body = None if values is None else values | {"token": token}
        at, started = time.time(), time.monotonic()
        answer = self._session.send(method, path, body)
        seconds = time.monotonic() - started
        if operation == "create" and answer.outcome == "acknowledged":
            key = answer.body.get(TABLES[table])
        return Attempt(
            at, round(seconds, 6), operation, table, key, token, values or {}, answer.outcome, answer.status
        )

    def _token(self) -> str:
        return f"{self._name}-{self._count}"

    def _values(self, table: str) -> dict[str, Any]:
        dice = self._dice
        document = {"n": dice.randrange(10**6), "list": [dice.choice(TEXTS), None, True], "x": dice.random()}
        match table:
            case "users":
                avatar = base64.b64encode(b"\x00\xff" + dice.randbytes(dice.randrange(200))).decode()
                return {
                    "name": dice.choice(TEXTS),
                    "is_admin": dice.random() < 0.1,
                    # No -0.0: SQLite itself stores it as 0.0.
                    "score": dice.choice((None, dice.gauss(0, 1e6), 0.1 + 0.2, 5e-324)),
                    "avatar": dice.choice((None, avatar)),
                }
            case "jobs":
                status = dice.choice(("queued", "running", "done"))
                return {
                    "type": "mail",
                    "status": status,
                    "payload": document,
                    "attempts": dice.randrange(9),
                }
            case "tool_configs":
                return {"name": dice.choice(TEXTS), "enabled": dice.random() < 0.5, "config": document}
            case _:
                return {"remaining": dice.random() * 100}


def _path(table: str, key: str | int) -> str:
    return f"/api/{table}/{urllib.parse.quote(str(key), safe='')}"


def run(base_url: str, out: Path, seed: int, stop_file: Path, think_seconds: float = 0.0) -> int:
    """Writes until `stop_file` exists or SIGTERM or SIGINT comes. Returns the number of attempts.

    `think_seconds`: between an answer and the next request, as a person or a job has it; never at a switch.
    """
    attempts = 0
    client = Client(base_url, out.stem, seed)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with _stoppable() as stopped:
            while not stopped and not stop_file.exists():
                attempt = client.step()
                os.write(descriptor, json.dumps(asdict(attempt)).encode() + b"\n")
                attempts += 1
                if attempt.outcome != "acknowledged":
                    time.sleep(AFTER_FAILURE_SECONDS)
                elif think_seconds:
                    time.sleep(think_seconds)
    finally:
        client.close()
        os.close(descriptor)
    return attempts


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """A list that is no longer empty after SIGTERM or SIGINT: the operation under way is still recorded."""
    stopped: list[int] = []
    former = {n: signal.signal(n, lambda n, _: stopped.append(n)) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo_traffic", description="A client of the example application.")
    parser.add_argument("base_url")
    parser.add_argument("out", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("stop_file", type=Path)
    parser.add_argument("--think", type=float, default=0.0, metavar="SECONDS")
    asked = parser.parse_args(arguments)
    run(asked.base_url, asked.out, asked.seed, asked.stop_file, asked.think)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
