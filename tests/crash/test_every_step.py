"""kill -9 at every step of migrate, cutover and rollback, under load; `turnback resume` ends right.

At a failpoint the process says so in the journal and waits for its SIGKILL, which comes from outside. A journey
is killed again and again: several times each in migrate, in cutover and in rollback. `make test` has every step at
one seeded point, `make test-long` every step at all three: before it, after its effect, after its record.
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
INTENTS = (Intent.MIGRATE, Intent.CUTOVER, Intent.ROLLBACK)
PHASES = {"migrate": "migrated", "cutover": "on_postgres", "rollback": "on_sqlite"}

Crashes = tuple[str, ...]  # failpoints, in the order in which they are met
JOURNEYS = {False: 3, True: 6}  # short and long: as many kills in each as there are steps for


def journeys() -> list[tuple[Crashes, bool]]:
    """Every point of every step, the kills of a journey far apart from each other; whether it is long."""
    chosen = random.Random(SEED)
    made: dict[bool, list[list[str]]] = {long: [[] for _ in range(n)] for long, n in JOURNEYS.items()}
    for intent in INTENTS:
        points: dict[bool, list[str]] = {False: [], True: []}
        for step in STEPS[intent]:
            point = chosen.choice(POINTS)
            for p in POINTS:
                points[p != point].append(f"{intent.value}.{step}:{p}")
        for long, journeys_ in made.items():
            for i, failpoint in enumerate(points[long]):
                journeys_[i % len(journeys_)].append(failpoint)
    return [(tuple(crashes), long) for long, all_ in made.items() for crashes in all_]


def test_every_point_of_every_step_is_killed_once() -> None:
    every = {f"{i.value}.{s}:{p}" for i in INTENTS for s in STEPS[i] for p in POINTS}
    killed = [crash for crashes, _ in journeys() for crash in crashes]
    assert len(killed) == len(set(killed)) and set(killed) == every
    short = {crash.split(":")[0] for crashes, is_long in journeys() for crash in crashes if not is_long}
    assert short == {f"{i.value}.{s}" for i in INTENTS for s in STEPS[i]}


@pytest.fixture
def journey(tmp_path: Path, database) -> Iterator[Journey]:
    made = Journey(tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.close()


def carry_out(journey: Journey, intent: str, crashes: Crashes, *options: str) -> None:
    """The intent; where crashes are due in it, under way in the guard, killed at each, and resumed at the end."""
    words: tuple[str, ...] = (intent, *options)
    for crash in (c for c in crashes if c.startswith(f"{intent}.")):
        command = journey.begin(*words)
        try:
            journey.wait_failpoint(crash)
            journey.kill_guard()
            if words[0] == intent:  # it takes its time to be sure
                assert command.wait(90) != 0, "a command whose guard was killed must not say that all is well"
        finally:
            command.kill()
            command.wait()
        words = ("resume",)
    said = journey.ok(*words)
    assert words[0] != "resume" or said["phase"] == PHASES[intent]
    if journey.guard_pid() is None:
        journey.start_guard()


@pytest.mark.hazard("F39", "carried")
def test_killed_in_the_middle_of_the_copy(journey: Journey) -> None:
    """The batches that were committed stay; the load goes on behind them, and the proof says that all is there."""
    journey.environment["TURNBACK_FAILPOINT"] = "migrate.copy_batch"
    journey.start_guard()
    journey.start_clients(1)
    journey.ok("assess")
    carry_out(journey, "migrate", ("migrate.copy_batch",))
    assert journey.ok("status")["phase"] == "migrated"


def test_killed_while_a_cutover_is_undone(journey: Journey, database) -> None:
    """An open transaction keeps the slot from being made; the undo is killed three times, and resume ends it."""
    undone = [f"cutover.{step}:undo" for step in ("create_publication", "fence_sqlite", "stop_application")]
    journey.configure("slot_timeout_seconds = 20", "slot_timeout_seconds = 1")
    journey.environment["TURNBACK_FAILPOINT"] = ",".join(undone)
    journey.start_guard()
    journey.start_clients(1)
    journey.ok("assess")
    journey.ok("migrate")
    blocker = database.connect(autocommit=False)
    blocker.execute("CREATE TABLE public.elsewhere (x int)")
    command = journey.begin("cutover")
    for failpoint in undone:
        journey.wait_failpoint(failpoint)
        journey.kill_guard()
        assert command.wait(90) != 0
        if failpoint == undone[0]:
            blocker.rollback()
        if failpoint != undone[-1]:
            command = journey.begin("resume")
    resumed = journey.turnback("resume")
    assert resumed.returncode == 1 and "was undone" in resumed.stderr, resumed.stderr
    assert journey.ok("status")["phase"] == "migrated"
    journey.wait_traffic()
    if journey.guard_pid() is None:
        journey.start_guard()
    journey.ok("cutover")
    journey.wait_traffic()
    journey.ok("rollback")
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"], verdict["refused_present"]) == (0, 0, 0), verdict


@pytest.mark.parametrize(
    "crashes",
    [pytest.param(c, marks=[pytest.mark.long] if is_long else [], id=f"{c[0]} and {len(c) - 1} more") for c, is_long in journeys()],
)
@pytest.mark.hazard("F39", "carried")
@pytest.mark.hazard("R11", "carried")
def test_killed_and_resumed(journey: Journey, crashes: Crashes) -> None:
    journey.environment["TURNBACK_FAILPOINT"] = ",".join(crashes)
    journey.start_guard()
    journey.start_clients()
    journey.ok("assess")
    carry_out(journey, "migrate", crashes)
    journey.wait_traffic()
    carry_out(journey, "cutover", crashes)
    journey.wait_traffic()
    carry_out(journey, "rollback", crashes, "--reason", "test")
    journey.wait_traffic()
    assert journey.ok("status")["phase"] == "on_sqlite"
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"], verdict["refused_present"]) == (0, 0, 0), verdict
    assert verdict["acknowledged"] > 60
