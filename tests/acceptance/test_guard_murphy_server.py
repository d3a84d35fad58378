"""What goes wrong with PostgreSQL that is no reason to leave it; and a wrong address, which is none either."""

from __future__ import annotations

import os
import signal
import time

import psutil
import psycopg
import pytest
from psycopg import conninfo

from guarded import Guarded

pytestmark = pytest.mark.long


def test_wrong_addresses_from_the_beginning_page_and_roll_nothing_back(guarded) -> None:
    """The application's own health is right, and what the guard asks of it answers 404, or something else."""
    wrong = {"interval_seconds": 0.3, "timeout_seconds": 1.0, "url": "http://127.0.0.1:1/api/healthz"}
    g: Guarded = guarded({"guard": {"blind_after": 6, "application": wrong, "database": wrong}})
    g.start_guard()
    g.wait_until(g.serving, "the application serves")
    g.ok("cutover")
    g.start_load()
    for check in ("application", "database"):
        page = g.wait_decision("page", f"probe:{check}")
        assert "is the address right?" in page["reason"], page
    assert not g.rollbacks() and not g.decisions("rollback"), g.told()
    assert "is the address right?" in g.turnback("status").stdout
    proven = {r.body["check"] for r in g.records("check_proven")}
    assert proven == {"server"}, proven
    # Restarted with the right ones it sees, and acts.
    text = (g.folder / "turnback.toml").read_text()
    for path in ("/api/health", "/api/health/database"):
        text = text.replace(wrong["url"], g.gateway_url + path, 1)
    (g.folder / "turnback.toml").write_text(text)
    assert g.kill_guard()
    g.wait_verdict("application-health", lambda v: v["outcome"] == "ok", "it sees")
    (g.folder / "broken").touch()
    g.kill_application()
    g.assert_rolled_back("application-health")


def test_the_walsender_is_ended_again_and_again(guarded) -> None:
    g: Guarded = guarded()
    g.to_postgres()
    ended = 0
    with psycopg.connect(g.admin_dsn, autocommit=True) as admin:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            rows = admin.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                " WHERE slot_name = %s AND active_pid IS NOT NULL", (f"turnback_{g.name}",)
            ).fetchall()  # fmt: skip
            ended += len(rows)
            time.sleep(0.2)
    assert ended > 3, "it streams again each time"
    assert not g.rollbacks() and not g.decisions("rollback"), g.told()
    (g.folder / "broken").touch()
    g.kill_application()
    g.assert_rolled_back("application-health")


def test_the_password_of_the_role_is_changed_under_way(guarded) -> None:
    """Whoever has a session keeps it; no new one begins. It is a breach, and nothing is lost."""
    g: Guarded = guarded()
    g.to_postgres()
    password = conninfo.conninfo_to_dict(g.app_dsn)["password"]
    g.execute("ALTER ROLE app PASSWORD 'another'")
    try:
        g.wait_rolled_back()
    finally:
        g.execute(f"ALTER ROLE app PASSWORD '{password}'")
    g.load.wait(10)
    assert len(g.rollbacks()) == 1
    g.assert_nothing_lost()


def test_its_sessions_hang_and_go_on(guarded) -> None:
    """The application's own backends stopped for less than a row of checks needs."""
    slow = {"interval_seconds": 2.0, "timeout_seconds": 2.0}
    g: Guarded = guarded({"guard": {"application": slow, "database": slow, "server": slow}})
    g.to_postgres()
    with psycopg.connect(g.admin_dsn, autocommit=True) as admin:
        found = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND datname = %s", (g.name,)
        ).fetchall()
    pids = [int(pid) for (pid,) in found]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)
    g.load.wait(30)
    assert not g.rollbacks() and not g.decisions("rollback"), g.told()


@pytest.mark.parametrize("busy", [16])
def test_a_machine_that_is_busy_for_two_minutes(guarded, busy: int) -> None:
    """Intervals and timeouts as they are by default, for a healthy application."""
    check = {"interval_seconds": 5.0, "timeout_seconds": 5.0}
    g: Guarded = guarded({"guard": {"application": check, "database": check, "server": check}})
    g.to_postgres()
    burning = [psutil.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(busy)]
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert not g.decisions("rollback") and not g.rollbacks(), g.told()
            time.sleep(1)
    finally:
        for one in burning:
            one.kill()
            one.wait()
    assert len(g.records("guard_started")) == 1
    (g.folder / "broken").touch()
    g.kill_application()
    g.assert_rolled_back("crash-loop")  # three exits come before five checks of five seconds
