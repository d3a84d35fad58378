"""What a trigger is: it takes the observations of the probes that feed it, and says what it makes of them.

`outcome` is of the newest evaluation, `firing` says that a breach has lasted as the rule demands and has not
recovered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnback.core.watch.observation import MetricsReading, Observation
from turnback.core.watch.verdict import Outcome, Verdict
from turnback.core.watch.window import Slice

MOST_POINTS = 400

# name -> (title of the samples' chart, unit)
TITLES = {
    "database-health": ("Failed checks of the database in a row", "checks"),
    "application-health": ("Failed checks of the application in a row", "checks"),
    "never-healthy": ("Seconds since the start without a healthy answer", "seconds"),
    "crash-loop": ("Exits of the application by itself", "checks"),
    "error-rate": ("Share of failed requests", "share"),
    "latency": ("95th percentile of the response time", "seconds"),
    "pool": ("Readings with an exhausted connection pool", "connections"),
    "log-errors": ("Lines with errors a minute", "lines"),
}


@dataclass(frozen=True, slots=True)
class Input:
    """An observation, and what became of it where it is of the application's metrics."""

    o: Observation
    reading: MetricsReading | None = None
    slice: Slice | None = None  # None: the first reading, or one behind a gap


class Trigger:
    """`off`: why it cannot be judged at all. `horizon`: seconds that the samples reach back.

    `acute`: with the newest observation of it the rule is met, whatever was before. One that fires without
    that may be recovering, or nobody sees it now.
    """

    def __init__(self, name: str, fed_by: tuple[str, ...], horizon: float | None, most: int) -> None:
        self.name, self.fed_by = name, fed_by
        self.outcome = Outcome.NO_DATA
        self.firing = False
        self.acute = False
        self.since: float | None = None
        self.value: float | None = None
        self.limit: float | None = None
        self.baseline: float | None = None
        self.off: str | None = None
        self._at: float | None = None
        self._utc: datetime | None = None
        self._horizon = horizon
        self._points: deque[tuple[float, float | None]] = deque(maxlen=min(most, MOST_POINTS))
        self._problem = ""

    def take(self, seen: Input) -> None:
        """An observation of one of `fed_by`."""
        o = seen.o
        self._at, self._utc = o.at, o.utc
        self.acute = False
        if o.value is None:
            self._broken(o.probe, Outcome.ERROR, f"{o.probe}: {o.error}")
        else:
            self._judge(seen, o.value)
        points = self._points
        points.append((o.at, self.value if self.outcome in (Outcome.OK, Outcome.BREACH) else None))
        if self._horizon is not None:
            while points[0][0] < o.at - self._horizon:
                points.popleft()

    def silence(self, probe: str) -> None:
        """Nothing has come of that probe for several intervals."""
        self._broken(probe, Outcome.NO_DATA, f"nothing was heard of the probe {probe}")

    def pass_to(self, at: float) -> None:
        """It is so late now, and nothing came that this trigger is fed by."""

    def again(self) -> None:
        """The breach has to last anew before it fires."""
        raise NotImplementedError

    def forget(self, probe: str) -> None:
        """What that probe said is not known any more, and no fault of the probe."""
        self._broken(probe, Outcome.NO_DATA, f"the probe {probe} cannot say")

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        """A reading that says nothing: what is known of a breach stays as it is."""
        self.outcome, self._problem = outcome, problem

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _sentence(self) -> str:
        raise NotImplementedError

    def verdict(self) -> Verdict:
        if self.off is not None:
            return Verdict(self.name, Outcome.NO_DATA, None, self.limit, False, None, self.off, self.off)
        if self.outcome in (Outcome.NO_DATA, Outcome.ERROR):
            sentence = self._problem or "nothing was observed yet"
        else:
            sentence = self._sentence()
        return Verdict(self.name, self.outcome, self.value, self.limit, self.firing, self.since, sentence)

    def lasting(self) -> tuple[float, float] | None:
        """(seconds that a breach has lasted, seconds after which it fires), of a rule that goes by time."""
        return None

    def samples(self) -> dict[str, Any]:
        """For the chart of a report; see Watch.samples."""
        title, unit = TITLES.get(self.name, (self.name, "checks"))
        return {
            "title": title,
            "unit": unit,
            "points": [list(p) for p in self._points],
            "limit": self.limit,
            "baseline": self.baseline,
            "since": self.since,
            "at": self._at,
            "utc": self._utc.isoformat() if self._utc is not None else None,
        }
