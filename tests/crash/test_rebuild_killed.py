"""kill -9 of the guard at every step of `turnback fallback rebuild`, under load; `turnback resume` ends right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from journey import Journey
from turnback.core.phases import Intent
from turnback.core.plan_steps import STEPS

POINTS = [
    pytest.param(f"rebuild.{step}:{point}", marks=[] if (step, point) == ("correct_rows", "effect") else [pytest.mark.long])
    for step in STEPS[Intent.REBUILD]
    for point in ("before", "effect", "record")
]


@pytest.fixture
def journey(tmp_path: Path, database) -> Iterator[Journey]:
    made = Journey(tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.close()


def lost(said: Mapping[str, Any]) -> bool:
    """Capture, whose session was ended, may be said to start once more before it is."""
    return (
        not said["ready"]
        and said["next_command"] == "turnback fallback rebuild"
        and "no way back" in said["reasons"][0]
    )


@pytest.mark.hazard("R12", "carried")
@pytest.mark.parametrize("point", POINTS)
def test_r12_a_rebuild_is_killed_and_resumed_under_load(journey: Journey, database, point: str) -> None:
    journey.environment["TURNBACK_FAILPOINT"] = point
    journey.start_guard()
    journey.start_clients()
    journey.ok("assess")
    journey.ok("migrate")
    journey.ok("cutover")
    journey.wait_traffic()
    lose_the_slot(database)
    journey.wait_until(lambda: lost(journey.ok("status")), "status says that there is no way back, and what makes one")
    journey.wait_traffic()
    command = journey.begin("fallback", "rebuild")
    try:
        journey.wait_failpoint(point)
        journey.kill_guard()
        assert command.wait(90) != 0
    finally:
        command.kill()
        command.wait()
    journey.ok("resume")
    if journey.guard_pid() is None:
        journey.start_guard()
    journey.wait_until(lambda: journey.ok("status")["ready"], "the way back is open")
    journey.wait_traffic()
    journey.ok("rollback", "--reason", "test")
    journey.wait_traffic()
    verdict = journey.judge()
    assert (verdict["lost"], verdict["duplicated"], verdict["refused_present"]) == (0, 0, 0), verdict
    assert verdict["acknowledged"] > 60


def lose_the_slot(database) -> None:
    admin = database.connect()
    for _ in range(200):
        admin.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
            "WHERE database = current_database() AND active_pid IS NOT NULL"
        )
        try:
            admin.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
            )
        except Exception as e:  # noqa: BLE001  # in use again: capture was faster
            assert "is active" in str(e)
            continue
        return
    raise AssertionError("the slot could not be dropped")
