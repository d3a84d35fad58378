"""The trace, kept up where the disk allows: a guard goes on without it, says so once, and tries again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from turnback.core.watch.observation import Observation
from turnback.errors import DiskFull
from turnback.ports import Clock, Trace

AGAIN_SECONDS = 60.0


@dataclass(slots=True)
class Recorder:
    """`tell` is given the error when recording stops, and None when it goes on."""

    trace: Trace
    clock: Clock
    tell: Callable[[DiskFull | None], None]
    error: str | None = None
    _due: float = 0.0

    def record(self, observation: Observation) -> None:
        if self.error is not None and self.clock.monotonic() < self._due:
            return
        try:
            self.trace.append(observation)
        except DiskFull as e:
            self._due = self.clock.monotonic() + AGAIN_SECONDS
            if self.error is None:
                self.tell(e)
            self.error = str(e)
            return
        if self.error is not None:
            self.error = None
            self.tell(None)
