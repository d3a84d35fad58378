"""What each probe said last, and whether the guard still sees through it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnback.core.watch.observation import DEPENDENCY, Observation
from turnback.core.watch.window import GAP_INTERVALS

_OF_THE_SERVER = ("postgres", "slot")  # these cannot answer while the server does not


@dataclass(slots=True)
class Seen:
    """One probe. `at` is the newest observation's, `value_at` the newest one's that had a value."""

    at: float
    value: Mapping[str, Any] | None = None
    value_at: float = 0.0
    error: str | None = None
    errors: int = 0  # in a row
    refused: int = 0  # checks that were not ok, in a row
    refused_since: float | None = None  # `at` of the first of them
    streams_since: float | None = None  # of capture: `at` of the first reading that streams, without a break


class Sight:
    """`begin` is where everything starts anew: silence counts from there."""

    def __init__(self, intervals: Mapping[str, float], blind_after: int) -> None:
        self.intervals = intervals
        self._blind_after = blind_after
        self._began: float | None = None
        self._asked_from = float("-inf")
        self.probes: dict[str, Seen] = {}

    def asked_from(self, at: float) -> None:
        """Since when this guard asks: silence before it was that of no guard, or of another configuration."""
        self._asked_from = at

    def begin(self, at: float) -> None:
        """Readings stay known (readiness names their age); what was counted does not."""
        self._began = at
        for seen in self.probes.values():
            seen.errors = seen.refused = 0
            seen.refused_since = None

    def take(self, o: Observation) -> None:
        if self._began is None:
            self._began = o.at
        seen = self.probes.get(o.probe)
        if seen is None:
            seen = self.probes[o.probe] = Seen(o.at)
        seen.at = o.at
        seen.error = o.error
        if o.value is None:
            seen.errors += 1
            return
        seen.errors = 0
        seen.value, seen.value_at = o.value, o.at
        if o.value.get("ok") is False:
            seen.refused += 1
            seen.refused_since = o.at if seen.refused_since is None else seen.refused_since
        else:
            seen.refused, seen.refused_since = 0, None
        if o.value.get("state") != "streaming":
            seen.streams_since = None
        elif seen.streams_since is None:
            seen.streams_since = o.at

    def value(self, probe: str) -> Mapping[str, Any] | None:
        seen = self.probes.get(probe)
        return seen.value if seen is not None else None

    def configured(self, probe: str) -> bool:
        """Without any intervals (a trace without its rules) whatever speaks is."""
        return probe in self.intervals or probe in self.probes

    def silent(self, probe: str, at: float, intervals: float = GAP_INTERVALS) -> bool:
        """Whether a probe has not said anything, not even an error, for so many intervals."""
        every = self.intervals.get(probe)
        return every is not None and self._quiet(probe, at) > intervals * every

    def _quiet(self, probe: str, at: float) -> float:
        """Seconds without a word of it, while it was asked."""
        if self._began is None:
            return 0.0
        seen = self.probes.get(probe)
        since = max(self._began, seen.at) if seen is not None else self._began
        if seen is None or at >= self._asked_from:
            since = max(since, self._asked_from)
        return at - since

    def stale(self, probe: str, at: float) -> bool:
        """Whether the newest value is older than `blind_after` intervals."""
        every = self.intervals.get(probe)
        seen = self.probes.get(probe)
        return (
            every is not None
            and seen is not None
            and at - seen.value_at > max(self._blind_after, GAP_INTERVALS) * every
        )

    def failing_dependencies(self, at: float, times: int = 2) -> list[str]:
        """Names of dependencies whose newest checks failed, `times` in a row at least, and are fresh."""
        return [
            name.removeprefix(DEPENDENCY)
            for name, seen in self.probes.items()
            if name.startswith(DEPENDENCY)
            and seen.refused >= times
            and seen.error is None
            and not self.silent(name, at)
        ]

    def blind(self, expected: Iterable[str], at: float) -> dict[str, str]:
        """The probes that gave nothing for `blind_after` readings, or for as many intervals, and why."""
        server = self.probes.get("server")
        down = server is not None and server.refused > 0
        found = {}
        for probe in expected:
            if down and probe in _OF_THE_SERVER:
                continue  # the server's own trigger says it
            seen = self.probes.get(probe)
            if seen is not None and seen.errors >= self._blind_after:
                found[probe] = f"{seen.errors} readings in a row failed: {seen.error}"
            elif self.silent(probe, at, max(self._blind_after, GAP_INTERVALS)):
                found[probe] = f"nothing was heard of it for {self._quiet(probe, at):.0f} s"
        return found


@dataclass(frozen=True, slots=True)
class Seeing:
    """A probe that became blind, or sees again."""

    probe: str
    blind: bool
    sentence: str


class Blindness:
    """Tells each once, one at a time. A probe sees again with its first value, not because all began anew."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # probe -> when

    def look(self, sight: Sight, expected: Sequence[str], at: float) -> Seeing | None:
        blind = sight.blind(expected, at)
        for probe, since in self._told.items():
            seen = sight.probes.get(probe)
            sees = seen is not None and seen.error is None and seen.value_at > since
            if probe not in blind and (sees or probe not in expected):
                del self._told[probe]
                told = (
                    f"the probe {probe} gives readings again" if sees else f"{probe} is not asked on SQLite"
                )
                return Seeing(probe, False, told)
        for probe, why in blind.items():
            if probe not in self._told:
                self._told[probe] = at
                told = f"the probe {probe} is blind: {why}; nothing is decided on it until it sees again"
                return Seeing(probe, True, told)
        return None
