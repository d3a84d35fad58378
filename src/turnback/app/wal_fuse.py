"""The WAL fuse at work: people are told, then the way back is given up before the server's disk is.

core/fuse.py decides by what the probe `slot` sees. The journal knows first (`way_back_lost`), then the slot
goes (`slot_dropped`): a guard that dies in between goes on at the next look. Never while a run is open, and
only a slot that is proven to be the fallback's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from turnback.app.capture import CaptureStatus
from turnback.core import lsn as positions
from turnback.core.fuse import Followed, Fuse, Level, Retention, SlotFacts, doubts, size
from turnback.core.lsn import ZERO
from turnback.core.phases import Phase
from turnback.core.state import State
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Severity
from turnback.errors import NotReady, TurnbackError
from turnback.ports import Clock, Journal, Notice, NoticeEvent

KEY = "wal-fuse"  # of its notices
AGAIN_SECONDS = 10.0  # between two attempts to drop a slot
DOUBTED_SECONDS = 60.0  # between two looks at whose it is
REBUILD = "`turnback fallback rebuild` makes a new way back"


@dataclass(slots=True)
class WalFuse:
    """`drops`: what [postgres] fuse says; without it people are told, and nothing is dropped.

    `facts`, `system`, `drop_slot` and `followed` raise TurnbackError. `capture` is that of this process,
    which `release` ends. `tell` never blocks and never raises.
    """

    journal: Journal
    clock: Clock
    limit_bytes: int
    drops: bool
    facts: Callable[[], SlotFacts | None]
    system: Callable[[], tuple[str, int]]
    drop_slot: Callable[[], None]
    followed: Callable[[], Followed]
    tell: Callable[[Notice], None]
    say: Callable[[str], None]
    failpoint: Callable[[str], None]
    about: Mapping[str, str]  # fields of its notices
    release: Callable[[], None] = field(default=lambda: None)
    capture: Callable[[], CaptureStatus | None] = field(default=lambda: None)
    lost: Mapping[str, Any] | None = None  # the record, once this process has seen to it
    _fuse: Fuse = field(init=False)
    _runs: int = 0  # so many there were when it last looked
    _looked_at: float = 0.0
    _again_at: float = 0.0
    _known: Followed | None = None
    _told: tuple[str, str] | None = None  # title and severity of what goes on

    def __post_init__(self) -> None:
        self._fuse = Fuse(self.limit_bytes)

    def turn(self, state: State, reading: Observation | None, *, needed: bool) -> None:
        """Raises TurnbackError: it could not be done now, and is tried again. `needed` as in Fuse.take."""
        apart = state.phase is not Phase.ON_POSTGRES or state.open_run is not None
        if apart or len(state.runs) != self._runs:
            self._rest(state)
            if state.phase is Phase.ON_POSTGRES:
                return  # what is lost is seen to at the next turn, behind the end of capture
        elif state.way_back_lost is not None:
            self._lost(state.way_back_lost)
        elif reading is not None and reading.value is not None and reading.at > self._looked_at:
            self.lost = None
            self._looked_at = reading.at
            self._judge(self._fuse.take(Retention.of(reading.at, reading.value), needed=needed))
        # A server that hangs would hold the guard up: the probe has a thread of its own, and knows.
        answers = state.phase is not Phase.ON_POSTGRES or (reading is not None and reading.value is not None)
        if state.slot_to_drop and state.open_run is None and answers:
            self._drop(state.way_back_lost)

    def to_json(self) -> dict[str, Any]:
        """For status.json and /metrics. Bytes and seconds; None: not known, or not growing."""
        told = self._fuse.level in (Level.WARN, Level.OVER, Level.BLOWN)
        return {
            "limit_bytes": self.limit_bytes,
            "drops": self.drops,
            "level": Level.LOST.value if self.lost else self._fuse.level.value,
            "bytes_per_second": self._fuse.bytes_per_second,
            "seconds_left": self._fuse.seconds_left,
            "warning": self._fuse.sentence() if told and not self.lost else None,
        }

    def _rest(self, state: State) -> None:
        """A run has the slot, or there is none: what was seen before it says nothing of what comes after."""
        self._fuse, self._looked_at = Fuse(self.limit_bytes), self.clock.monotonic()
        self._known, self.lost, self._runs = None, None, len(state.runs)
        if state.phase is not Phase.ON_POSTGRES:
            self._over("PostgreSQL is no longer primary")

    # ---- what is seen ----

    def _judge(self, level: Level) -> None:
        if level is not Level.CALM and self._known is None:
            with suppress(TurnbackError):  # as long as it can be read: later it may be locked, or damaged
                self._followed()
        match level:
            case Level.CALM:
                self._over(self._fuse.sentence())
            case Level.WARN:
                self._notice("high", "the slot holds back much WAL", self._advice())
            case Level.OVER:
                self._notice("critical", "the slot holds back more WAL than it may", self._advice())
            case Level.BLOWN:
                self._blow()
            case Level.LOST:
                self._given_up()

    def _advice(self) -> str:
        then = "the slot is dropped, and the way back with it" if self.drops else "nothing is dropped"
        return (
            f"{self._fuse.sentence()}. At the limit {then}. Next: see at `turnback status` why capture does"
            " not get on; end transactions that have been open for long; or raise [postgres]"
            " max_retained_wal_bytes, where the disk has room, and start the guard again"
        )

    def _blow(self) -> None:
        """The last look: as it is now, and whose it is."""
        if self.clock.monotonic() < self._again_at:
            return  # it was doubted a moment ago, and a fallback that is locked holds the guard up
        facts = self.facts()
        if facts is None or facts.retained_bytes <= self.limit_bytes:
            return  # it has changed since; the next reading tells
        doubt = self._doubts(facts) if self.drops else None
        if doubt is not None or not self.drops:
            self._again_at = self.clock.monotonic() + DOUBTED_SECONDS
            why = f"it is not proven to be ours: {doubt}" if doubt else '[postgres] fuse is "page"'
            text = (
                f"{self._fuse.sentence()}. It is not dropped: {why}. Next: mend capture, or, before the disk"
                f" is full: SELECT pg_drop_replication_slot('{facts.slot}'); then `turnback fallback rebuild`"
            )
            self._notice("critical", "the slot is over its limit and stays", text)
            return
        why = f"the slot {facts.slot} is given up to spare the server's disk: {self._fuse.sentence()}"
        self.failpoint("fuse.blown:before")
        self._record(why, facts, drop=True)
        self.failpoint("fuse.blown:record")

    def _given_up(self) -> None:
        """By the server or by somebody. On another server it says nothing: capture itself refuses that."""
        facts, ours = self.facts(), self._followed()
        if self.system() != (ours.system_identifier, ours.timeline):
            return
        if facts is None:
            self._record(f"the slot {ours.slot} is gone", None, drop=False)
        elif facts.wal_status == "lost":
            reason = f" ({facts.invalidation})" if facts.invalidation else ""
            self._record(f"the server has given up the slot {ours.slot}{reason}", facts, drop=False)

    def _record(self, why: str, facts: SlotFacts | None, *, drop: bool) -> None:
        assert self._known is not None, "whose slot it is was looked up"
        body: dict[str, Any] = {
            "why": why,
            "drop": drop,
            "slot": self._known.slot,
            "applied_lsn": positions.text(self._known.applied_lsn),
            "limit_bytes": self.limit_bytes,
        }
        if facts is not None:
            body["retained_bytes"] = facts.retained_bytes
            body["wal_status"] = facts.wal_status
            body["confirmed_flush_lsn"] = positions.text(facts.confirmed_flush_lsn)
        self.journal.append("way_back_lost", body)

    # ---- when it is lost ----

    def _lost(self, body: Mapping[str, Any]) -> None:
        if self.lost is None:
            self.release()
            self.lost = body
            text = f"{body['why']}. The application serves on. Nothing rolls back by itself. Next: {REBUILD}"
            self._notice("critical", "the way back is lost", text)

    def _drop(self, lost: Mapping[str, Any] | None) -> None:
        """What was given up, if it is still the fallback's; or (None) what the undo of a run had to leave."""
        if self.clock.monotonic() < self._again_at:
            return
        self._again_at = self.clock.monotonic() + AGAIN_SECONDS
        facts = self.facts()
        doubt = self._doubts(facts) if facts is not None and lost is not None else None
        if facts is not None and doubt is not None:
            raise NotReady(
                f"the slot of the lost way back is not dropped: {doubt}",
                hint=f"look at it, then: SELECT pg_drop_replication_slot('{facts.slot}')",
            )
        if facts is not None:
            self.drop_slot()
        self.failpoint("fuse.dropped:effect")
        freed = facts.retained_bytes if facts is not None else 0
        self.journal.append("slot_dropped", {"found": facts is not None, "freed_bytes": freed})
        if facts is not None:
            self.say(f"the slot {facts.slot} is dropped: the server may remove {size(freed)} of WAL")

    def _doubts(self, facts: SlotFacts) -> str | None:
        try:
            return doubts(
                facts, self._followed()
            )  # after the slot: the fallback is never behind what it let go
        except TurnbackError as e:
            return f"the fallback cannot be read: {e}"

    def _followed(self) -> Followed:
        """Of a file that cannot be read now: as it was, and what capture has applied since."""
        try:
            self._known = self.followed()
        except TurnbackError:
            if self._known is None:
                raise
            status = self.capture()
            applied = status.applied_lsn if status is not None else ZERO
            self._known = replace(self._known, applied_lsn=max(self._known.applied_lsn, applied))
        return self._known

    # ---- notices ----

    def _over(self, why: str) -> None:
        if self._told is not None:
            severity, self._told = self._told[1], None
            self._send("resolved", severity, f"{KEY}: is over", why, resolved=True)

    def _notice(self, severity: Severity, title: str, text: str) -> None:
        """Notices says what goes on again; here only what has changed is said on the terminal."""
        if self._told != (title, severity):
            self.say(f"{title}: {text}")
            self._told = (title, severity)
        self._send("page", severity, f"{KEY}: {title}", text, resolved=False)

    def _send(self, event: NoticeEvent, severity: str, title: str, text: str, *, resolved: bool) -> None:
        now = self.clock.now()
        self.tell(Notice(KEY, event, severity, title, text, now, resolved, dict(self.about)))


def lost_capture(record: Mapping[str, Any]) -> CaptureStatus:
    """What capture says where it is not even started: everybody who asks for it learns that it is lost."""
    applied = positions.parse(record["applied_lsn"]) if record.get("applied_lsn") else ZERO
    return CaptureStatus("stopped", applied, applied, 0, 0.0, None, str(record["why"]), REBUILD, 0, lost=True)
