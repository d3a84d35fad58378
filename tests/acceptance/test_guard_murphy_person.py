"""A person's command at the very moment of the guard's own decision, and a supervisor that kills: one rollback."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from guarded import Guarded

pytestmark = pytest.mark.long

COMMANDS = (("rollback", "--yes"), ("cutover",), ("fallback", "rebuild", "--yes"), ("verify",))


@pytest.mark.parametrize("point", ["guard.decided:before", "guard.decided:record"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_person_who_acts_at_the_guards_own_moment(guarded, words: tuple[str, ...], point: str) -> None:
    """The guard dies there, so that whoever is next meets the person's wish and the guard's decision both."""
    g: Guarded = guarded(environment={"TURNBACK_FAILPOINT": point})
    g.to_postgres()
    (g.folder / "broken").touch()
    g.kill_application()
    g.wait_until(lambda: g.records("failpoint"), g.told)
    asked = len(g.records("intent"))
    with (g.folder / "person.log").open("w") as log:
        person = subprocess.Popen(
            [sys.executable, "-m", "turnback", *words],
            cwd=g.folder,
            env=g.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        g.wait_until(
            lambda: person.poll() is not None or len(g.records("intent")) > asked or words[0] == "verify",
            "the command has asked the guard, or was refused",
        )
        assert g.kill_guard()
        g.wait_rolled_back()
        person.wait(90)
    finally:
        person.kill()
        person.wait()
    told = (g.folder / "person.log").read_text()
    # `verify` only reads, and may have ended before the guard was killed. All else is done, or says what next.
    served = words[0] in ("rollback", "verify") and "error" not in told
    assert person.returncode == 0 if served else "hint:" in told, told
    g.load.wait(10)
    assert len(g.rollbacks()) == 1 and len(g.decisions("rollback")) == 1, g.told()
    g.assert_nothing_lost()


def test_the_persons_rollback_and_the_guards_in_a_race(guarded) -> None:
    """Nobody is killed: whoever is first rolls back, and the other is told the same end."""
    g: Guarded = guarded()
    g.to_postgres()
    (g.folder / "broken").touch()
    g.kill_application()
    g.wait_verdict("application-health", lambda v: (v["value"] or 0) >= 2, "it begins to fail")
    done = g.turnback("rollback", "--yes")
    if done.returncode != 0:  # the guard's was over before it began to ask
        assert done.returncode == 2 and "does not fit the phase on_sqlite" in done.stderr, done.stderr
    g.load.wait(10)
    assert len(g.rollbacks()) == 1, g.told()
    g.assert_nothing_lost()


def test_a_second_guard_on_one_configuration_is_refused(guarded) -> None:
    g: Guarded = guarded()
    g.to_postgres()
    pid = g.guard_pid()
    second = g.turnback("guard", timeout=30)
    assert second.returncode != 0 and str(pid) in second.stderr, second.stderr
    assert g.guard_pid() == pid
    (g.folder / "broken").touch()
    g.kill_application()
    g.assert_rolled_back("application-health")


def test_a_mad_supervisor_that_kills_every_other_second(guarded) -> None:
    """Each guard lives for two seconds, its start included, before and during the rollback."""
    g: Guarded = guarded()
    g.to_postgres()
    (g.folder / "broken").touch()
    g.kill_application()
    deadline, killed = time.monotonic() + 180, 0
    while not any(r.outcome == "done" for r in g.rollbacks()) and time.monotonic() < deadline:
        before = len(g.records("guard_started"))
        time.sleep(2.0)
        killed += g.kill_guard()
        g.wait_until(lambda: len(g.records("guard_started")) > before, "the next one begins")  # noqa: B023
    assert killed
    g.assert_rolled_back("application-health")
