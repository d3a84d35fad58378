"""The runbook's scripts take these for good; turnback does the opposite. (Its alert rules: see the tests of
`turnback alerts`.)
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from guarded import HEALTH, Guarded


def validated(g: Guarded) -> tuple[int, dict[str, Any]]:
    done = g.turnback("validate", "--json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def failed(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{c['group']}: {c['name']}": c for c in report["checks"] if c["ok"] is False}


@pytest.mark.long  # in make test: each for itself, without a guard (test_validate.py)
def test_what_the_runbooks_validation_passes_over_fails(guarded) -> None:
    version = "SELECT value FROM app_state WHERE key = 'version'"
    g: Guarded = guarded({"validate": {"endpoints": {HEALTH: {}}, "state": {"version": {"query": version}}}})
    g.start_guard()
    g.wait_until(g.serving, "the application serves")
    status, report = validated(g)
    assert status == 0 and report["ok"] is True and failed(report) == {}, report

    # `kubectl get pods | grep Running`: a process that is there and answers nobody is not ready.
    os.killpg(g.application_pid(), signal.SIGSTOP)
    status, report = validated(g)
    assert status == 1 and report["ok"] is False and f"endpoints: {HEALTH}" in failed(report), report
    os.killpg(g.application_pid(), signal.SIGCONT)

    # `curl ... || true`: a health check that fails fails the command. `sqlite3 ... || echo 0`: a query that
    # fails is not a count of 0.
    g.fault(unhealthy=True)
    text = (g.folder / "turnback.toml").read_text()
    assert version in text
    (g.folder / "turnback.toml").write_text(text.replace(version, "SELECT count(*) FROM nowhere"))
    status, report = validated(g)
    assert status == 1 and "503" in str(failed(report)[f"endpoints: {HEALTH}"]["seen"]), report
    assert "nowhere" in str(failed(report)["state: version"]["seen"]), report

    # A database that is missing only warns there, and sqlite3 makes an empty one.
    g.quiet()
    g.database.rename(g.database.with_suffix(".away"))
    status, report = validated(g)
    assert status != 0 and not g.database.exists()
    assert not report or failed(report)
