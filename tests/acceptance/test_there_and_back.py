"""The commands as a user types them: there, back, there; failures before and after the point of no return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psutil
import psycopg
import pytest

from bench_app import Bench
from journey import Journey


@pytest.fixture
def journey(tmp_path: Path, database) -> Iterator[Journey]:
    made = Journey(tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.close()


def test_there_back_and_there_again(journey: Journey, database) -> None:
    journey.start_guard()
    journey.start_clients()
    journey.ok("assess")
    migrated = journey.ok("migrate")
    assert migrated["rows"] >= 200 and migrated["verified"] is True
    journey.wait_traffic()
    journey.ok("cutover")
    journey.wait_traffic()
    assert journey.ok("verify")["equal"] is True
    status = journey.ok("status")
    assert status["phase"] == "on_postgres" and status["ready"] is True, status
    rolled = journey.ok("rollback", "--emergency", "--reason", "test")
    assert rolled["fenced"] is True and rolled["rpo_measured_seconds"] == 0 and rolled["verified"] is True
    journey.wait_traffic()
    with pytest.raises(psycopg.errors.DatabaseError, match="turnback"):
        database.connect(app=True).execute("UPDATE public.app_state SET value = value")
    journey.ok("assess")
    journey.ok("migrate", "--again")
    journey.ok("cutover")
    journey.wait_traffic()
    journey.ok("rollback", "--planned", "--reason", "test again")
    journey.wait_traffic()
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict


def test_never_healthy_on_postgres_loses_none_of_100_acknowledged_writes(tmp_path: Path, database) -> None:
    """A port that is bound takes writes before the health check passes."""
    journey = Journey(
        tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}", health_timeout=6,
        postgres_env={"FAULT_UNHEALTHY": "1"},
    )
    try:
        journey.start_guard()
        journey.wait_until(journey.serving, "serving")
        journey.ok("assess")
        journey.ok("migrate")
        before = len(journey.records("process_started"))
        command = journey.begin("cutover", "--json")
        journey.wait_until(lambda: len(journey.records("process_started")) > before and journey.serving(), "on PostgreSQL")
        ids = []
        while len(ids) < 100:
            try:
                ids.append(_post(journey.port, len(ids)))
            except OSError:
                time.sleep(0.02)
        assert command.wait(60) == 1
        assert journey.ok("status")["phase"] == "on_sqlite"
        journey.stop_application()
        with apsw.Connection(os.fspath(journey.database), flags=apsw.SQLITE_OPEN_READONLY) as db:
            there = {row[0] for row in db.execute("SELECT token FROM users WHERE token LIKE 'hundred-%'")}
        assert there == {f"hundred-{i}" for i in range(100)}
    finally:
        journey.close()


def _post(port: int, number: int) -> int:
    body = json.dumps({"token": f"hundred-{number}", "name": "x", "email": f"h{number}@example.org"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/users", data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 201)
    return number


def test_a_failure_before_the_point_of_no_return_is_undone_and_sqlite_serves(journey: Journey, database) -> None:
    journey.configure("slot_timeout_seconds = 20", "slot_timeout_seconds = 1")
    journey.start_guard()
    journey.start_clients()
    journey.ok("assess")
    journey.ok("migrate")
    with database.connect(autocommit=False) as blocker:  # an open transaction blocks the slot
        blocker.execute("CREATE TABLE public.elsewhere (x int)")
        done = journey.turnback("cutover", timeout=120)
        blocker.rollback()
    assert done.returncode == 1, done.stderr
    assert "transaction" in done.stderr or "holds" in done.stderr, done.stderr
    assert journey.ok("status")["phase"] == "migrated"
    journey.wait_traffic()
    journey.ok("cutover")
    journey.wait_traffic()
    journey.ok("rollback")
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict


@pytest.mark.long  # in make test: test_adoption.py
def test_a_killed_guard_is_followed_by_one_that_adopts_the_application(journey: Journey) -> None:
    journey.start_guard()
    journey.start_clients()
    journey.ok("assess")
    journey.ok("migrate")
    journey.ok("cutover")
    started = len(journey.records("process_started"))
    pid = int(journey.records("process_started")[-1].body["pid"])
    journey.kill_guard()
    assert psutil.pid_exists(pid)
    journey.wait_traffic()
    assert journey.ok("status")["ready"] is False
    journey.start_guard()
    journey.wait_until(lambda: journey.ok("status")["ready"], "ready again")
    journey.wait_traffic()
    assert len(journey.records("process_started")) == started, "the application was started twice"
    journey.ok("rollback")
    journey.wait_traffic()
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict


@pytest.mark.long  # in make test: test_guard_database_down.py
def test_postgres_killed_during_traffic_and_restarted_loses_nothing(tmp_path: Path, durable_server) -> None:
    journey = Journey(tmp_path / "a", durable_server.app_dsn(), durable_server.admin_dsn())
    try:
        journey.start_guard()
        journey.start_clients()
        journey.ok("assess")
        journey.ok("migrate")
        journey.ok("cutover")
        journey.wait_traffic()
        postmaster = int((durable_server.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        time.sleep(0.5)
        durable_server.ensure_running()
        journey.wait_traffic()
        journey.wait_until(lambda: journey.ok("status")["ready"], "capture goes on")
        assert journey.ok("verify")["equal"] is True
        journey.ok("rollback")
        journey.wait_traffic()
        verdict = journey.judge()
        assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict
    finally:
        journey.close()


def test_without_postgres_a_rollback_needs_accept_loss_and_writes_a_manifest(tmp_path: Path, durable_server) -> None:
    journey = Journey(
        tmp_path / "a", durable_server.app_dsn(), durable_server.admin_dsn(),
        extra="\n[rollback]\nserver_wait_seconds = 1\n",
    )
    try:
        journey.start_guard()
        journey.start_clients()
        journey.ok("assess")
        journey.ok("migrate")
        journey.ok("cutover")
        journey.wait_traffic()
        journey.stop_clients()
        journey.wait_until(lambda: journey.ok("status")["lag_bytes"] == 0, "caught up")
        time.sleep(0.6)
        durable_server.stop()
        refused = journey.turnback("rollback")
        assert refused.returncode == 1
        assert "last applied position" in refused.stderr and "--accept-loss" in refused.stderr, refused.stderr
        assert journey.ok("status")["phase"] == "on_postgres"
        rolled = journey.ok("rollback", "--accept-loss", "--reason", "gone")
        assert rolled["fenced"] is False and rolled["loss_manifest"]["last_applied_lsn"]
        assert list(journey.database.parent.glob("loss-manifest-*.json"))
        status = journey.ok("status")
        assert status["phase"] == "on_sqlite" and status["not_fenced"] is True
        durable_server.ensure_running()
        journey.wait_until(lambda: journey.ok("status")["not_fenced"] is False, "fenced when it answers again")
        with closing(psycopg.connect(durable_server.app_dsn(), autocommit=True)) as application:
            with pytest.raises(psycopg.errors.DatabaseError, match="turnback"):
                application.execute("UPDATE public.app_state SET value = value")
        refused = journey.turnback("migrate", "--again")
        assert refused.returncode == 2 and "pg_dump" in refused.stderr, refused.stderr
        verdict = journey.judge()
        assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict
    finally:
        journey.close()


def test_the_applications_path_cut_still_drains(tmp_path: Path, database) -> None:
    """The application can no longer connect; the administrator can. Nothing is lost, and what was not tried is said."""
    bench = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        bench.ok("assess")
        bench.ok("migrate")
        bench.ok("cutover", "--yes")
        database.connect(app=True).execute("INSERT INTO public.team (id, name) VALUES (77, 'last')")
        admin = database.connect()
        admin.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC, app")
        rolled = bench.ok("rollback", "--yes")
        assert rolled["fenced"] is True and rolled["rpo_measured_seconds"] == 0
        assert "credentials" in rolled["untried"]
        with apsw.Connection(os.fspath(bench.path), flags=apsw.SQLITE_OPEN_READONLY) as db:
            assert db.execute("SELECT name FROM team WHERE id = 77").fetchall() == [("last",)]
    finally:
        bench.stop_guard()


def test_no_password_appears_anywhere(journey: Journey, database) -> None:
    from psycopg import conninfo

    passwords = {
        str(conninfo.conninfo_to_dict(dsn)["password"]) for dsn in (database.app_dsn, database.admin_dsn)
    }
    journey.start_guard()
    journey.start_clients(1)
    outputs = [journey.turnback("assess", "--json"), journey.turnback("migrate"), journey.turnback("cutover")]
    arguments = "\n".join(" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    outputs += [journey.turnback("status"), journey.turnback("rollback", "--dry-run"), journey.turnback("rollback")]
    assert all(o.returncode == 0 for o in outputs), [o.stderr for o in outputs]
    text = "\n".join(o.stdout + o.stderr for o in outputs) + journey.guard_log()
    for path in journey.folder.rglob("*"):
        if path.is_file() and "traffic" not in path.parts:
            content = path.read_bytes()
            for password in passwords:
                assert password.encode() not in content, f"a password in {path}"
    for password in passwords:
        assert password not in text
        assert password not in arguments


def test_bare_turnback_says_what_is_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "turnback"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "turnback init" in done.stdout
