"""The example application on either engine: every route, every fault, and what it refuses to start on."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from journey import free_port

HYPERPAGE = Path(__file__).parents[2] / "examples" / "hyperpage"
DOCUMENT = {"b": 1, "a": [1.5, "ä", None]}


class Application:
    """A running Hyperpage and a client of it."""

    def __init__(self, environment: dict[str, str], port: int = 0) -> None:
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        keep = {n: v for n, v in os.environ.items() if n not in ("DATABASE_URL", "USE_SQLITE", "FAULTS")}
        self.process = subprocess.Popen(
            [sys.executable, str(HYPERPAGE / "app.py")],
            env=keep | environment | {"PORT": str(self.port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            text = reply.read()
            is_json = reply.headers["Content-Type"] == "application/json"
            return reply.status, json.loads(text) if is_json else text.decode()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture(params=["sqlite", "postgres"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A filled database of either engine, as the application's environment."""
    path = tmp_path / "hyperpage.db"
    script(["fill.py", str(path), "--rows", "300"], {})
    if request.param == "sqlite":
        return {"USE_SQLITE": "1", "DATABASE_PATH": str(path)}
    dsn = request.getfixturevalue("database").app_dsn
    assert script(["migrate_postgres.py"], {"DATABASE_URL": dsn}) == "tables made\n"
    assert script(["migrate_postgres.py"], {"DATABASE_URL": dsn}) == "nothing to do\n"
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO app_state VALUES ('version', '1.4.2')")
    return {"DATABASE_URL": dsn}


@pytest.fixture
def application(environment: dict[str, str]) -> Iterator[Application]:
    running = Application(environment | {"FAULTS": "1", "POOL_SIZE": "2", "POOL_PATIENCE": "0.2"})
    try:
        yield running
    finally:
        running.stop()


def script(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(HYPERPAGE / command[0]), *command[1:]],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(environment: dict[str, str], query: str) -> list[tuple[Any, ...]]:
    if "DATABASE_PATH" in environment:
        with closing(sqlite3.connect(environment["DATABASE_PATH"])) as connection:
            return connection.execute(query).fetchall()
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        return connection.execute(query.encode()).fetchall()


def test_pages_and_health(application: Application, environment: dict[str, str]) -> None:
    engine = "sqlite" if "DATABASE_PATH" in environment else "postgres"
    assert application.first_line == f"hyperpage 1.4.2 on {engine}, http://127.0.0.1:{application.port}\n"
    status, page = application.ask("GET", "/")
    assert status == 200 and "Hyperpage" in page
    assert application.ask("GET", "/api/health") == (200, {"status": "ok", "engine": engine})
    assert application.ask("GET", "/api/health/database") == (200, {"status": "ok", "engine": engine})
    assert application.ask("GET", "/api/nothing")[0] == 404
    assert application.ask("PUT", "/api/users")[0] == 405


@pytest.mark.parametrize(
    ("table", "key", "made", "changed"),
    [
        (
            "users",
            "id",
            {"email": "a@b", "name": "Ä", "is_admin": True, "score": 0.1, "avatar": "AP9b"},
            {"is_admin": False, "score": None},
        ),
        ("jobs", "id", {"type": "mail", "payload": DOCUMENT}, {"status": "done", "attempts": 1}),
        ("tool_configs", "id", {"id": "t", "name": "n", "config": DOCUMENT}, {"enabled": False}),
        ("rate_limits", "key", {"key": "ip:1/ä %", "remaining": 2.5}, {"remaining": 1.25}),
    ],
)
def test_a_row_is_made_changed_and_deleted(
    application: Application,
    environment: dict[str, str],
    table: str,
    key: str,
    made: dict[str, Any],
    changed: dict[str, Any],
) -> None:
    status, reply = application.ask("POST", f"/api/{table}", made | {"token": "t-1"})
    assert status == 201 and reply["token"] == "t-1"
    at = f"/api/{table}/{urllib.parse.quote(str(reply[key]), safe='')}"
    status, row = application.ask("GET", at)
    assert status == 200
    assert made.items() <= {n: bool(v) if n in ("is_admin", "enabled") else v for n, v in row.items()}.items()
    assert row["updated_at"] == pytest.approx(time.time() * 1000, abs=60_000)
    assert rows(environment, f"SELECT count(*) FROM {table} WHERE token = 't-1'") == [(1,)]

    assert application.ask("PUT", at, changed | {"token": "t-2"})[0] == 200
    _, row = application.ask("GET", at)
    assert changed.items() <= {n: v for n, v in row.items() if n in changed}.items()
    assert row["token"] == "t-2"

    assert application.ask("DELETE", at)[0] == 200
    assert rows(environment, f"SELECT count(*) FROM {table} WHERE token IN ('t-1', 't-2')") == [(0,)]
    assert application.ask("GET", at)[0] == 404
    assert application.ask("DELETE", at) == (404, {"error": "no such row", "applied": False})
    assert application.ask("PUT", at, {"token": "t-3"})[0] == 404


def test_events_go_to_the_log_without_a_key(application: Application, environment: dict[str, str]) -> None:
    for _ in range(2):
        assert application.ask("POST", "/api/events", {"job_id": 7, "message": "m", "token": "e"})[0] == 201
    assert rows(environment, "SELECT job_id, message FROM job_history WHERE token = 'e'") == [(7, "m")] * 2


def test_the_tables_hold_what_the_engine_would_hold(
    application: Application, environment: dict[str, str]
) -> None:
    if "DATABASE_PATH" not in environment:
        pytest.skip("SQLite's storage classes")
    avatar = base64.b64encode(b"\0\xff").decode()
    made = {"email": "x", "is_admin": True, "score": 1.5, "avatar": avatar, "token": "t"}
    application.ask("POST", "/api/users", made)
    application.ask("POST", "/api/jobs", {"type": "x", "payload": DOCUMENT, "token": "t"})
    classes = "typeof(id), typeof(is_admin), typeof(score), typeof(avatar), typeof(created_at)"
    assert rows(environment, f"SELECT {classes} FROM users WHERE token = 't'") == [
        ("text", "integer", "real", "blob", "integer")
    ]
    assert rows(environment, "SELECT payload FROM jobs WHERE token = 't'") == [
        ('{"b":1,"a":[1.5,"ä",null]}',)
    ]


def test_what_is_refused_says_that_it_was_not_applied(application: Application) -> None:
    user = {"email": "once", "token": "t"}
    assert application.ask("POST", "/api/users", user)[0] == 201
    for status, method, path, body in [
        (409, "POST", "/api/users", user),
        (409, "POST", "/api/users", {"token": "t"}),
        (400, "POST", "/api/users", {"email": "y"}),
        (400, "POST", "/api/users", {"email": "y", "token": "t", "nonsense": 1}),
        (400, "POST", "/api/users", {"email": "y", "token": "t", "is_admin": 2}),
        (400, "POST", "/api/tool_configs", {"name": "n", "token": "t"}),
        (404, "PUT", "/api/users/not-a-uuid", {"token": "t"}),
        (404, "DELETE", "/api/jobs/seven", None),
    ]:
        found, reply = application.ask(method, path, body)
        assert (found, reply["applied"]) == (status, False), (method, path, body)


def test_metrics(application: Application) -> None:
    application.ask("GET", "/api/health/database")
    application.ask("GET", "/api/jobs/1")
    application.ask("GET", "/whatever")
    _, text = application.ask("GET", "/api/metrics")
    assert 'http_requests_total{endpoint="/api/health/database",status="200"} 1\n' in text
    assert 'http_requests_total{endpoint="other",status="404"} 1\n' in text
    assert re.search(r'http_requests_total\{endpoint="/api/jobs/:id",status="\d+"\} 1\n', text)
    assert 'http_request_duration_seconds_bucket{endpoint="/api/health/database",le="+Inf"} 1\n' in text
    assert 'http_request_duration_seconds_count{endpoint="/api/health/database"} 1\n' in text
    assert "db_pool_size 2\n" in text and "db_pool_in_use 0\n" in text and "db_pool_waiting 0\n" in text


def test_faults(application: Application) -> None:
    event = {"job_id": 1, "message": "m", "token": "t"}

    def fault(**switches: Any) -> None:
        assert application.ask("POST", "/api/faults", switches)[0] == 200

    fault(unhealthy=True)
    assert application.ask("GET", "/api/health")[0] == 503
    assert application.ask("POST", "/api/events", event)[0] == 201
    fault(unhealthy=False, error_share=1)
    assert application.ask("POST", "/api/events", event) == (
        500,
        {"error": "a fault was asked for", "applied": False},
    )
    fault(error_share=0, database_down=True)
    assert application.ask("GET", "/api/health")[0] == 200
    assert application.ask("GET", "/api/health/database")[0] == 503
    assert application.ask("POST", "/api/events", event)[0] == 503
    fault(database_down=False, hold_pool=True)
    assert application.ask("POST", "/api/events", event)[0] == 503
    text = application.ask("GET", "/api/metrics")[1]
    assert "db_pool_in_use 2\n" in text and "db_pool_timeouts_total 1\n" in text
    fault(hold_pool=False, slow_ms=300)
    started = time.monotonic()
    assert application.ask("POST", "/api/events", event)[0] == 201
    assert time.monotonic() - started >= 0.3
    fault(slow_ms=0)
    assert application.ask("POST", "/api/faults", {"nonsense": 1})[0] == 400


def test_an_insert_that_is_not_allowed_is_no_success(application: Application, database: Any) -> None:
    if "postgres" not in application.first_line:
        pytest.skip("PostgreSQL's privileges")
    event = {"job_id": 1, "message": "m", "token": "t"}
    database.connect().execute("REVOKE INSERT ON job_history FROM app")
    status, reply = application.ask("POST", "/api/events", event)
    assert (status, reply["applied"]) == (503, False) and "denied" in reply["error"]
    assert 'http_request_failures_total{cause="database"} 1\n' in application.ask("GET", "/api/metrics")[1]


def test_another_service_that_fails_is_told_from_the_database(environment: dict[str, str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    running = Application(environment | {"DEPENDENCY_URL": nobody})
    try:
        assert running.ask("GET", "/api/tools")[0] == 502
        assert running.ask("POST", "/api/events", {"job_id": 1, "message": "m", "token": "t"})[0] == 201
        text = running.ask("GET", "/api/metrics")[1]
        assert 'http_request_failures_total{cause="dependency"} 1\n' in text and 'cause="database"' not in text
    finally:
        running.stop()


def test_faults_need_the_switch(environment: dict[str, str]) -> None:
    running = Application(environment)
    try:
        assert running.ask("POST", "/api/faults", {"unhealthy": True})[0] == 404
        assert running.ask("GET", "/api/health")[0] == 200
    finally:
        running.stop()


def test_a_request_in_flight_is_answered_at_sigterm(
    application: Application, environment: dict[str, str]
) -> None:
    application.ask("POST", "/api/faults", {"slow_ms": 500})
    replies = []

    def write() -> None:
        replies.append(application.ask("POST", "/api/events", {"job_id": 1, "message": "m", "token": "late"}))

    with closing(http.client.HTTPConnection("127.0.0.1", application.port)) as idle:
        idle.request("GET", "/api/health")
        idle.getresponse().read()  # and kept open: it must not hold up the end
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.2)
        started = time.monotonic()
        assert application.stop() == 0
        assert time.monotonic() - started < 2
        thread.join()
    assert replies == [(201, {"token": "late"})]
    assert rows(environment, "SELECT count(*) FROM job_history WHERE token = 'late'") == [(1,)]


def test_goes_on_after_its_sessions_were_terminated(application: Application, database: Any) -> None:
    if "postgres" not in application.first_line:
        pytest.skip("PostgreSQL's sessions")
    event = {"job_id": 1, "message": "m", "token": "t"}
    assert application.ask("POST", "/api/events", event)[0] == 201
    database.connect().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hyperpage'"
    )
    status, reply = application.ask("POST", "/api/events", event)
    assert (status, reply["applied"]) == (503, False)
    assert application.ask("POST", "/api/events", event)[0] == 201


@pytest.mark.parametrize("content", [None, b"", b"moved to PostgreSQL\n" * 40])
def test_does_not_start_without_its_database(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "hyperpage.db"
    if content is not None:
        path.write_bytes(content)
    running = Application({"USE_SQLITE": "1", "DATABASE_PATH": str(path)})
    assert running.ended() == 1
    assert running.first_line.startswith("hyperpage does not start: ")
    assert content is not None or not path.exists()


def test_does_not_start_on_a_foreign_database(tmp_path: Path, database: Any) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE x (a)")
    for environment in (
        {"USE_SQLITE": "1", "DATABASE_PATH": str(tmp_path / "other.db")},
        {"DATABASE_URL": database.app_dsn},
        {},
    ):
        running = Application(environment)
        assert running.ended() == 1
        assert running.first_line.startswith("hyperpage does not start: ")


def test_fill_is_deterministic(tmp_path: Path) -> None:
    def content(name: str, seed: str) -> list[str]:
        script(["fill.py", str(tmp_path / name), "--rows", "2000", "--seed", seed], {})
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            return list(connection.iterdump())

    first = content("a.db", "1")
    assert first == content("b.db", "1")
    assert first != content("c.db", "2")
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        tables = [
            r[0]
            for r in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        ]
        assert len(tables) == 8
        assert sum(connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables) > 1900
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute(
            "SELECT (SELECT seq FROM sqlite_sequence) > (SELECT max(id) FROM jobs)"
        ).fetchone() == (1,)


def test_the_choices_are_those_of_turnback_toml() -> None:
    """choices.toml is the part that a generated turnback.toml can take over."""
    whole = tomllib.loads((HYPERPAGE / "turnback.toml").read_text())
    assert tomllib.loads((HYPERPAGE / "choices.toml").read_text()) == {"tables": whole["tables"]}


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Real clients and the judge, without turnback: the example itself loses and doubles nothing."""
    path, traffic, stop = tmp_path / "hyperpage.db", tmp_path / "traffic", tmp_path / "stop"
    traffic.mkdir()
    script(["fill.py", str(path), "--rows", "300"], {})
    environment = {"USE_SQLITE": "1", "DATABASE_PATH": str(path)}
    running = Application(environment)
    client = subprocess.Popen(
        [
            *(sys.executable, "-m", "turnback.entrypoints.demo_traffic"),
            *(f"http://127.0.0.1:{running.port}", str(traffic / "client-0.jsonl"), "0", str(stop)),
        ]
    )
    try:
        for number in (signal.SIGKILL, signal.SIGTERM):
            time.sleep(1)
            running.process.send_signal(number)
            running.ended()
            running = Application(environment, running.port)
        time.sleep(0.5)
        stop.touch()
        assert client.wait(60) == 0
    finally:
        client.kill()
        client.wait()
        running.stop()
    judged = subprocess.run(
        [sys.executable, "-m", "turnback.entrypoints.demo_judge", path, traffic],
        capture_output=True,
        text=True,
        check=True,
    )
    verdict = json.loads(judged.stdout)
    assert verdict["acknowledged"] > 100
    assert (verdict["lost"], verdict["duplicated"], verdict["refused_present"]) == (0, 0, 0), verdict
