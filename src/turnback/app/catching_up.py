"""Waiting until the fallback has passed a position, and how often what differs is looked at again.

Knows nothing of values: both ways of comparing (app.recheck by codecs, app.sample without them) use it.
"""

from __future__ import annotations

from collections.abc import Callable

from turnback.core.lsn import Lsn
from turnback.errors import NotReady
from turnback.ports import Clock

ROUNDS = 10
ROUND_SECONDS = 0.3
CATCH_UP_SECONDS = 60.0


def catch_up(applied: Callable[[], Lsn], goal: Lsn, clock: Clock) -> None:
    """Returns when `applied` has reached the goal. Raises NotReady after CATCH_UP_SECONDS."""
    deadline = clock.monotonic() + CATCH_UP_SECONDS
    while applied() < goal:
        if clock.monotonic() > deadline:
            raise NotReady(
                f"the fallback did not catch up within {CATCH_UP_SECONDS:.0f} s",
                hint="`turnback status` says why",
            )
        clock.sleep(0.05)
