"""A guard that is stopped by a signal keeps its lease and does nothing: who asks it for something must be told."""

from __future__ import annotations

import os
import signal
import time

import pytest

from guarded import Guarded


@pytest.mark.long
def test_nobody_waits_for_a_guard_that_is_stopped(guarded) -> None:
    g: Guarded = guarded()
    g.to_postgres(clients=1)
    pid = g.guard_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        asked = g.turnback("rollback", "--yes", timeout=100)
        assert asked.returncode != 0 and f"the guard (pid {pid}) is stopped" in asked.stderr, asked.stderr
        assert f"kill -CONT {pid}" in asked.stderr
        time.sleep(5)
        status = g.turnback("status").stdout
        assert "has not reported" in status, status
    finally:
        os.kill(pid, signal.SIGCONT)
    run = g.wait_rolled_back()  # what it was asked for it does when it can
    assert not run.options.get("automatic"), run.options
    g.load.wait(5)
    g.assert_nothing_lost()
