"""The WAL fuse: what a slot holds back on the server's disk, and when the way back is given up for it.

A slot whose reader does not get on keeps WAL until that disk is full. The way back is worth less than the
server (REPLICATION: WAL fuse): over the limit the slot is dropped. Everything that decides so is here.
docs/decisions/0022-the-wal-fuse.md says why it decides as it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnback.core import lsn as positions
from turnback.core.lsn import Lsn

DEFAULT_LIMIT_BYTES = 10 * 1024**3
WARN_SHARE = 0.5  # of the limit: from here on people are told
CALM_SHARE = 0.4  # below it, it is over: a slot that hovers at half of its limit is told of once
READINGS = 2  # in a row: one alone never blows the fuse
PATIENCE_SECONDS = 60.0  # without a new low: the server moves a slot on in steps of up to 15 s
RATE_SECONDS = 600.0  # the growth is measured over


class Level(StrEnum):
    CALM = "calm"
    WARN = "warn"  # over half of the limit
    OVER = "over"  # over the limit, and not yet to be blown
    BLOWN = "blown"
    LOST = "lost"  # the server has given the slot up, or it is gone


@dataclass(frozen=True, slots=True)
class Retention:
    """One look at the slot (pg_replication_slots). `at` counts seconds of a clock that never jumps."""

    at: float
    wal_status: str | None  # None: there is no slot
    retained_bytes: int
    safe_wal_size: int | None = None  # bytes until the server gives it up; None: no limit

    @staticmethod
    def of(at: float, value: Mapping[str, Any]) -> Retention:
        """From a reading of the probe `slot`."""
        return Retention(at, value["wal_status"], int(value["retained_bytes"]), value.get("safe_wal_size"))

    @property
    def lost(self) -> bool:
        return self.wal_status in (None, "lost")


@dataclass(slots=True)
class Fuse:
    """A fold over looks at one slot.

    Between the limit and half as much again a slot has time: as long as it reaches a new low every
    PATIENCE_SECONDS (its reader catches up), or as long as the way back may be needed at any moment. Above
    that it has none.
    """

    limit_bytes: int
    level: Level = Level.CALM
    _seen: deque[Retention] = field(default_factory=deque)
    _over: int = 0  # readings in a row over the limit
    _gone: int = 0  # readings in a row without a living slot
    _low: tuple[int, float] = (0, 0.0)  # (bytes, at) of the lowest since it is over the limit

    @property
    def ceiling_bytes(self) -> int:
        return self.limit_bytes + self.limit_bytes // 2

    @property
    def last(self) -> Retention | None:
        return self._seen[-1] if self._seen else None

    def take(self, now: Retention, *, needed: bool) -> Level:
        """`needed`: somebody may roll back at any moment (a trigger is in breach)."""
        self._seen.append(now)
        while now.at - self._seen[0].at > RATE_SECONDS:
            self._seen.popleft()
        self._gone = self._gone + 1 if now.lost else 0
        self._over = self._over + 1 if now.retained_bytes > self.limit_bytes else 0
        if self._over == 1 or (self._over and now.retained_bytes < self._low[0]):
            self._low = (now.retained_bytes, now.at)
        self.level = self._judge(now, needed)
        return self.level

    def _judge(self, now: Retention, needed: bool) -> Level:
        if now.lost:
            return Level.LOST if self._gone >= READINGS else self.level
        if self._over:
            if self._over < READINGS:
                return Level.OVER
            if now.retained_bytes > self.ceiling_bytes:
                return Level.BLOWN
            stands_still = now.at - self._low[1] >= PATIENCE_SECONDS
            return Level.BLOWN if stands_still and not needed else Level.OVER
        told = self.level is not Level.CALM
        share = now.retained_bytes / self.bound_bytes
        return Level.WARN if share >= (CALM_SHARE if told else WARN_SHARE) else Level.CALM

    @property
    def bound_bytes(self) -> int:
        """Where it ends: our limit, or the server's (max_slot_wal_keep_size) where that comes first."""
        now = self.last
        if now is None or now.safe_wal_size is None:
            return self.limit_bytes
        return max(1, min(self.limit_bytes, now.retained_bytes + now.safe_wal_size))

    @property
    def bytes_per_second(self) -> float | None:
        """How fast it grows, over the last minutes; negative: it shrinks. None: seen once."""
        if len(self._seen) < 2:
            return None
        first, last = self._seen[0], self._seen[-1]
        return (last.retained_bytes - first.retained_bytes) / max(last.at - first.at, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Until the bound, at that rate; None: it does not grow, or nobody knows."""
        rate, now = self.bytes_per_second, self.last
        if rate is None or rate <= 0 or now is None or now.lost:
            return None
        return max(0, self.bound_bytes - now.retained_bytes) / rate

    def sentence(self) -> str:
        """What is held back, for people."""
        now = self.last
        if now is None:
            return "not looked at yet"
        if now.lost:
            return "there is no slot" if now.wal_status is None else "wal_status is lost"
        told = f"{size(now.retained_bytes)} of WAL are held back, {size(self.limit_bytes)} are allowed"
        if self.bound_bytes < self.limit_bytes:
            told += f", and the server gives the slot up at {size(self.bound_bytes)}"
        rate, left = self.bytes_per_second, self.seconds_left
        if left is not None and rate is not None:
            told += f"; {size(rate * 3600)} more an hour: there in {hours(left)}"
        return told


# ---- whose slot it is ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """The slot as it is now, and the server that it is on."""

    slot: str
    slot_type: str
    plugin: str | None
    database: str | None  # that it decodes
    connected_to: str  # the database of the session that looked
    system_identifier: str
    timeline: int
    wal_status: str | None
    invalidation: str | None  # the server's word for why it gave it up (PostgreSQL 17 and newer)
    confirmed_flush_lsn: Lsn
    retained_bytes: int
    reader: str | None  # application_name of who reads it now


@dataclass(frozen=True, slots=True)
class Followed:
    """What the fallback follows, by what stands in it."""

    slot: str
    system_identifier: str
    timeline: int
    applied_lsn: Lsn


READER = "turnback capture"


def doubts(facts: SlotFacts, ours: Followed) -> str | None:
    """Why this may not be the slot that the fallback follows; None: it is. Only that one may be dropped.

    Capture acknowledges nothing that the fallback has not stored. So a slot that stands beyond the fallback
    is another one of the same name, made later.
    """
    if facts.slot != ours.slot:
        return f"the fallback follows the slot {ours.slot}"
    if (facts.system_identifier, facts.timeline) != (ours.system_identifier, ours.timeline):
        return (
            f"this is server {facts.system_identifier}, timeline {facts.timeline}, and the fallback follows "
            f"{ours.system_identifier}, timeline {ours.timeline}"
        )
    if (facts.slot_type, facts.plugin) != ("logical", "pgoutput"):
        return f"it is a {facts.slot_type} slot of {facts.plugin or 'no plugin'}"
    if facts.database != facts.connected_to:
        return f"it is of database {facts.database}"
    if facts.confirmed_flush_lsn > ours.applied_lsn:
        return (
            f"it stands at {positions.text(facts.confirmed_flush_lsn)}, beyond the fallback "
            f"({positions.text(ours.applied_lsn)}): somebody made it anew"
        )
    if facts.reader not in (None, READER):
        return f"{facts.reader or 'somebody'} reads it"
    return None


# ---- how long a disk lasts ---------------------------------------------------------------------------


def seconds_until(room_bytes: int, wal_bytes: float, measured_seconds: float) -> float | None:
    """How long that room lasts at the rate that was measured; None: nothing was written."""
    if wal_bytes <= 0 or measured_seconds <= 0:
        return None
    return room_bytes / (wal_bytes / measured_seconds)


def size(count: float) -> str:
    """Bytes, for people."""
    for unit, name in ((1024**3, "GB"), (1024**2, "MB"), (1024, "kB")):
        if abs(count) >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


def hours(seconds: float) -> str:
    """A duration, for people."""
    if seconds < 5400:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"about {seconds / 86400:.0f} days"
