"""What goes wrong beside the application: a frozen guard, a frozen application, a server that writes nothing, a wrong
address, a person who acts at the guard's own moment.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from guarded import Guarded

pytestmark = pytest.mark.long

FROZEN_SECONDS = 5.0  # longer than every window and every row of checks here


def test_a_frozen_guard_decides_on_what_it_sees_afterwards(guarded) -> None:
    g: Guarded = guarded()
    g.to_postgres()
    freeze(g.guard_pid(), FROZEN_SECONDS)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "ok", "it sees again")
    assert not g.decisions("rollback") and not g.decisions("hold"), g.told()
    pid = g.guard_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    (g.folder / "broken").touch()
    g.kill_application()
    time.sleep(FROZEN_SECONDS)
    assert not g.rollbacks()
    thawed = time.monotonic()
    os.kill(pid, signal.SIGCONT)
    decision = g.assert_rolled_back("application-health")
    assert decision["samples"]["since"] >= thawed, "every check that counts was made after it woke"


def test_frozen_amid_a_rollback_it_goes_on(guarded) -> None:
    g: Guarded = guarded()
    g.to_postgres()
    (g.folder / "broken").touch()
    g.kill_application()
    g.wait_until(lambda: g.records("run_started")[-1].body["intent"] == "rollback", g.told)
    freeze(g.guard_pid(), FROZEN_SECONDS)
    g.assert_rolled_back("application-health")


def test_an_application_that_is_stopped_by_a_signal_is_dead(guarded) -> None:
    """It accepts, and never answers; SIGTERM does not reach it either."""
    g: Guarded = guarded({"guard": {"database": {"url": None}}})
    g.to_postgres()
    group = os.getpgid(g.application_pid())
    os.killpg(group, signal.SIGSTOP)
    g.assert_rolled_back("application-health")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        "ALTER ROLE app IN DATABASE {} SET default_transaction_read_only = on",
    ],
)
def test_a_database_that_is_read_only_by_default(guarded, statement: str) -> None:
    g: Guarded = guarded()
    g.to_postgres()
    g.execute(statement.format(g.name))
    sessions = f"SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND datname = '{g.name}'"
    g.execute(f"SELECT pg_terminate_backend(pid) FROM ({sessions}) old")  # new ones have it
    g.assert_rolled_back("database-health")


def freeze(pid: int | None, seconds: float) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
