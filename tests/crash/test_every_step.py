"""kill -9 at every step of migrate, cutover and rollback, under load; `turnback resume` ends right.

At a failpoint the process says so in the journal and waits for its SIGKILL, which comes from outside. One
seeded point per step here; all three points of every step in `make test-long`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from journey import Journey
from turnback.core.phases import Intent
from turnback.core.plan_steps import STEPS

POINTS = ("before", "effect", "record")
SEED = 20261122


def _cases(intent: Intent) -> list[object]:
    chosen = random.Random(SEED + len(intent.value))
    cases: list[object] = []
    for step in STEPS[intent]:
        short = chosen.choice(POINTS)
        for point in POINTS:
            marks = [] if point == short else [pytest.mark.long]
            cases.append(pytest.param(step, point, marks=marks, id=f"{step}-{point}"))
    return cases


@pytest.fixture
def journey(tmp_path: Path, database) -> Iterator[Journey]:
    made = Journey(tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.close()


def _crash(journey: Journey, intent: str, step: str, point: str, *options: str) -> None:
    """The intent under way in the guard, killed at the failpoint, then resumed."""
    command = journey.begin(intent, *options)
    try:
        journey.wait_failpoint(f"{intent}.{step}:{point}")
        journey.kill_guard()
        command.wait(30)
        assert command.returncode != 0, "a command whose guard was killed must not say that all is well"
        resumed = journey.ok("resume")
        assert resumed["phase"] in {"migrate": ("migrated",), "cutover": ("on_postgres",), "rollback": ("on_sqlite",)}[intent]
    finally:
        command.kill()
        command.wait()


def _finish(journey: Journey) -> None:
    """From wherever it stands to the end, with traffic in every phase, and the judge."""
    phase = journey.ok("status")["phase"]
    if phase == "planned":
        journey.ok("migrate")
        phase = "migrated"
    if phase == "migrated":
        journey.ok("cutover")
        phase = "on_postgres"
    if phase == "on_postgres":
        journey.wait_traffic()
        journey.ok("rollback", "--reason", "test")
    journey.wait_traffic()
    assert journey.ok("status")["phase"] == "on_sqlite"
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"]) == (0, 0), verdict
    assert verdict["acknowledged"] > 40


@pytest.mark.parametrize(("step", "point"), _cases(Intent.MIGRATE))
def test_migrate(journey: Journey, step: str, point: str) -> None:
    journey.start_guard(failpoint=f"migrate.{step}:{point}")
    journey.start_clients()
    journey.ok("assess")
    _crash(journey, "migrate", step, point)
    _finish(journey)


@pytest.mark.parametrize(("step", "point"), _cases(Intent.CUTOVER))
def test_cutover(journey: Journey, step: str, point: str) -> None:
    journey.start_guard(failpoint=f"cutover.{step}:{point}")
    journey.start_clients()
    journey.ok("assess")
    journey.ok("migrate")
    journey.wait_traffic()
    _crash(journey, "cutover", step, point)
    _finish(journey)


@pytest.mark.parametrize(("step", "point"), _cases(Intent.ROLLBACK))
def test_rollback(journey: Journey, step: str, point: str) -> None:
    journey.start_guard(failpoint=f"rollback.{step}:{point}")
    journey.start_clients()
    journey.ok("assess")
    journey.ok("migrate")
    journey.ok("cutover")
    journey.wait_traffic()
    _crash(journey, "rollback", step, point, "--reason", "test")
    _finish(journey)
