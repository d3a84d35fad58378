"""The baseline: recorded by `turnback baseline`, or at cutover what the application has counted so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import MetricsReading
from turnback.core.watch.recording import PARTS, newest, recorded, since_start
from turnback.core.watch.window import Slice, difference
from turnback.errors import TurnbackError
from turnback.ports import Announce, Clock, Journal, Progress

COMMAND = "turnback baseline"
SINCE_START = "cutover: since the application's start"

Read = Callable[[], MetricsReading]  # raises ProbeError


def record(read: Read, clock: Clock, progress: Progress, seconds: float, interval: float) -> Baseline:
    """Reads every `interval` seconds, or oftener where the recording would have fewer than five parts.

    Raises ProbeError: a reading failed, or there were too few requests. Nothing is kept of it then.
    """
    interval = min(interval, seconds / PARTS)
    readings = max(PARTS, round(seconds / interval))
    slices: list[Slice] = []
    begun = clock.monotonic()
    progress.begin("recording the baseline", readings)
    try:
        before = read()
        for number in range(1, readings + 1):
            clock.sleep(max(0.0, begun + seconds * number / readings - clock.monotonic()))
            after = read()
            slices.append(difference(before, after))
            before = after
            progress.advance()
    finally:
        progress.end()
    took = clock.monotonic() - begun
    return recorded(slices, at=clock.now().isoformat(), seconds=took, source=COMMAND)


def baseline_now(
    journal: Journal, read: Read | None, clock: Clock, announce: Announce
) -> Mapping[str, Any] | None:
    """What a cutover freezes: the newest recording of this stay on SQLite, else what the application has
    counted since it started. None where there is neither, and `announce` hears why: the trigger for latency
    is off then, and the cutover goes on.
    """
    known = newest(journal.records())
    if known is not None:
        return known
    if read is None:
        announce("no baseline: no [guard.metrics] is configured; the trigger `latency` is off")
        return None
    try:
        counted = since_start(read())
        # How long it has run is not known, nor asked: the counters say how much.
        return recorded([counted], at=clock.now().isoformat(), seconds=0.0, source=SINCE_START).to_json()
    except TurnbackError as e:
        announce(f"no baseline: {e}; the trigger `latency` is off")
        return None
