"""A guard that is killed around its decision, under load: its supervisor starts it again, and what was decided is
carried out once.

At a failpoint the process says so in the journal and waits for its SIGKILL, which comes from outside.
"""

from __future__ import annotations

import pytest

POINTS = ("guard.decided:before", "guard.decided:record")


def _killed_at(guarded, *points: str) -> None:
    g = guarded(environment={"TURNBACK_FAILPOINT": ",".join(points)})
    g.to_postgres()
    (g.folder / "broken").touch()
    g.kill_application()
    for number, point in enumerate(points, 1):
        g.wait_failpoint(point)
        begun = point.startswith("rollback.")
        decided = 0 if point == "guard.decided:before" else 1
        assert (len(g.decisions("rollback")), len(g.rollbacks())) == (decided, int(begun))
        g.kill_guard()
        g.wait_until(lambda n=number: len(g.records("guard_started")) > n, "started again")
    g.assert_rolled_back("application-health", says=("5",))
    assert len(g.records("guard_started")) == len(points) + 1


def test_killed_before_and_after_the_record(guarded) -> None:
    _killed_at(guarded, *POINTS)


@pytest.mark.long
@pytest.mark.parametrize(
    "points",
    [
        POINTS[:1],
        POINTS[1:],
        ("guard.decided:record", "rollback.record_decision:before", "rollback.stop_application:effect"),
        ("guard.decided:before", "rollback.fence_postgres:record", "rollback.start_on_sqlite:effect"),
    ],
    ids="+".join,
)
def test_killed_at_several_moments(guarded, points: tuple[str, ...]) -> None:
    _killed_at(guarded, *points)
