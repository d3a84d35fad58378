"""Whether this process itself runs: a check that failed while it was held up says nothing of what it checked.

Stopped by a signal, frozen with its container or its virtual machine, or starved of processor time: on waking
every check under way finds its time over, though the answer came long ago.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread

from turnback.ports import Clock

BEAT_SECONDS = 0.25
LATE_SECONDS = 0.25  # a beat that is later than this is a hold-up; less is a busy machine as they are
MOST_HOLDS = 100


class Pulse:
    """A thread that only sleeps, and notices when it slept for too long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = Condition()  # guards everything below
        self._stopping = False
        self._due: float | None = None  # the next beat; None: it does not run
        self._holds: deque[tuple[float, float]] = deque(maxlen=MOST_HOLDS)  # (beat was due, came)
        self._thread = Thread(target=self._beat, name="pulse", daemon=True)

    def start(self) -> None:
        with self._changed:
            self._due = self._clock.monotonic() + BEAT_SECONDS
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._due = None
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def held_up(self, since: float) -> float:
        """Seconds since then (monotonic) in which this process did not run."""
        with self._changed:
            self._look()
            return sum(max(0.0, came - max(due, since)) for due, came in self._holds)

    def _beat(self) -> None:
        with self._changed:
            while not self._stopping:
                self._look()
                self._changed.wait(BEAT_SECONDS)

    def _look(self) -> None:
        """Whoever wakes first notes it."""
        now = self._clock.monotonic()
        if self._due is None:
            return
        if now - self._due > LATE_SECONDS:
            self._holds.append((self._due, now))
        if now >= self._due:
            self._due = now + BEAT_SECONDS
