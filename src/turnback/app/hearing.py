"""Alertmanager's alerts on their way to the watch: taken from the listener's thread, or told to come again.

While a run is under way, and in the warm-up after it, nothing is decided on an alert, and the run's own
downtime raises some. They are not taken then: Alertmanager sends what it could not deliver again
(docs/decisions/0023), and what it sends then is what fires then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from turnback.core.watch.observation import Observation
from turnback.core.watch.standing import Standing
from turnback.ports import Clock


class Hearing:
    """`post` is called in the listener's thread, everything else in the guard's own. It begins closed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._closed: str | None = "the guard has just started"
        self._queue: list[Observation] = []
        self._standing = Standing()

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> str | None:
        """None: taken. Else why nothing of it was, so that it has to come again."""
        with self._lock:
            if self._closed is None:
                at, utc = self._clock.monotonic(), self._clock.now()
                self._queue += [Observation(at, utc, "alert", dict(alert)) for alert in alerts]
            return self._closed

    def open(self) -> None:
        with self._lock:
            self._closed = None

    def close(self, why: str) -> None:
        """What was taken before stays in the queue."""
        with self._lock:
            self._closed = why

    def drain(self) -> list[Observation]:
        with self._lock:
            taken, self._queue = self._queue, []
        return taken

    def remember(self, o: Observation) -> None:
        """Every observation that the watch is given, and those of the guard before."""
        self._standing.take(o)

    def standing(self, before: str) -> list[Mapping[str, Any]]:
        """What fired before that, and was not resolved since: to be taken again with the triggers armed."""
        return self._standing.again(before)
