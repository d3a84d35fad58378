"""The guard: the one long-running owner of capture, of the application's processes and of the lease.

It takes intents that commands write into the journal, one at a time, and carries them out with the same
engine. SIGTERM leaves the application and PostgreSQL running: a new guard adopts them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

from turnback.app.engine import Engine, primary_side
from turnback.core import lsn
from turnback.core.phases import Intent, Phase
from turnback.core.state import State, fold
from turnback.errors import TurnbackError
from turnback.ports import Clock, Journal, Platform, Progress, Side

TURN_SECONDS = 0.1
KEEP_SECONDS = 0.5
SUPERVISE_SECONDS = 1.0
SERVER_SECONDS = 2.0
FENCE_SECONDS = 5.0
AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Beating:
    """A Progress that does something else too, whenever there is some."""

    inner: Progress
    beat: Callable[[], None]

    def begin(self, what: str, total: int | None = None) -> None:
        self.inner.begin(what, total)
        self.beat()

    def advance(self, amount: int = 1) -> None:
        self.inner.advance(amount)
        self.beat()

    def end(self) -> None:
        self.inner.end()
        self.beat()


@dataclass(slots=True)
class Guard:
    """The lease is held by the caller. `make_engine` gives the engine for an intent (None: the open run);
    `keep_server` starts the embedded PostgreSQL again should it have died.
    """

    journal: Journal
    clock: Clock
    platform: Platform
    make_engine: Callable[[Intent | None], Engine]
    keep_server: Callable[[], None]
    status_file: Path
    say: Callable[[str], None]
    stopping: Event = field(default_factory=Event)
    contact: datetime | None = None  # the last moment with lag 0, from a former guard at first
    engine: Engine | None = None
    _seen: int = 0
    _folded: int = 0
    _known_state: State = field(default_factory=State)
    _due: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Until `stopping` is set."""
        # Intents from before this guard were another's; only what its run left open is taken up.
        for record in self.journal.records():
            self._seen = record.sequence
        self.journal.append("guard_started", {"pid": os.getpid()})
        try:
            if fold(self.journal.records()).unfinished is not None:
                self._attempt(self._resume)
            self._attempt(self._start_application)
            while not self.stopping.is_set():
                self._take_intents()
                self._keep_if_due()
                self.stopping.wait(TURN_SECONDS)
        finally:
            if self.engine is not None:
                self.engine.release()
            self.journal.append("guard_stopped", {})

    def _resume(self) -> None:
        self.engine = self.engine or self.make_engine(None)
        self.engine.resume()

    def _start_application(self) -> None:
        """Platform process: the guard is what runs the application; one that runs already is adopted."""
        state = fold(self.journal.records())
        side = primary_side(state)
        if self.platform.name == "process" and side is not None:
            self.platform.start(side)

    def _attempt(self, work: Callable[[], object]) -> None:
        """An error of a run is in the journal already; the guard says it and goes on guarding."""
        try:
            work()
        except TurnbackError as e:
            self.say(f"{e}" + (f" ({e.hint})" if e.hint else ""))

    def _take_intents(self) -> None:
        for record in self.journal.records(after=self._seen):
            self._seen = record.sequence
            if record.kind != "intent":
                continue
            ident = record.body["id"]
            try:
                self._carry_out(record.body)
            except TurnbackError as e:
                told = {"id": ident, "error": str(e), "hint": e.hint, "exit_status": e.exit_status}
                self.journal.append("intent_failed", told)
                self.say(str(e))
            else:
                self.journal.append("intent_done", {"id": ident})

    def _carry_out(self, body: Mapping[str, Any]) -> None:
        if body["intent"] == "resume":
            self._resume()
            return
        intent = Intent(body["intent"])
        if self.engine is None or intent in (Intent.MIGRATE, Intent.CUTOVER):
            if self.engine is not None:
                self.engine.release()
            self.engine = self.make_engine(intent)
        if intent is not Intent.REBUILD:
            self.engine.execute(intent, body["options"])
            return
        # It may take hours, and the application serves meanwhile: it is supervised, and the status is fresh.
        world = self.engine.world
        quiet, world.progress = world.progress, _Beating(world.progress, self._keep_if_due)
        try:
            self.engine.execute(intent, body["options"])
        finally:
            world.progress = quiet

    def _keep_if_due(self) -> None:
        if self._is_due("keep", KEEP_SECONDS):
            self._keep()

    def _is_due(self, what: str, every: float) -> bool:
        now = self.clock.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True

    def _state(self) -> State:
        """Folded anew only when the journal has grown: the guard asks twice a second, for weeks."""
        new = self.journal.records(after=self._folded)
        if new:
            self._folded = new[-1].sequence
            self._known_state = fold(self.journal.records())
        return self._known_state

    def _keep(self) -> None:
        """Keeps the application up on its side, the fallback current and the status file fresh."""
        state = self._state()
        side = primary_side(state)
        if state.phase is Phase.ON_POSTGRES and self._is_due("server", SERVER_SECONDS):
            self._attempt(self.keep_server)
        if side is not None and self._is_due("supervise", SUPERVISE_SECONDS):
            self._attempt(lambda: self._supervise(side))
        if state.phase is Phase.ON_POSTGRES and state.open_run is None:
            self._attempt(self._ensure_capture)
        if state.not_fenced and self._is_due("fence", FENCE_SECONDS):
            self._attempt(self._fence_late)
        self._write_status(state.phase)

    def _fence_late(self) -> None:
        self.engine = self.engine or self.make_engine(None)
        if self.engine.fence_late():
            self.say("PostgreSQL answers again and is fenced now")

    def _supervise(self, side: Side) -> None:
        done = self.platform.supervise(side)
        if done:
            self.say(done)

    def _ensure_capture(self) -> None:
        self.engine = self.engine or self.make_engine(None)
        capture = self.engine.world.capture
        stopped = capture is not None and capture.status().state == "stopped"
        if stopped and self._is_due("again", AGAIN_SECONDS):
            self.engine.release()  # room on the disk, a change undone: it is tried again, and says so again
        self.engine.ensure_capture()

    def _write_status(self, phase: Phase) -> None:
        body: dict[str, object] = {"at": self.clock.now().isoformat(), "phase": phase.value, "capture": None}
        capture = self.engine.world.capture if self.engine is not None else None
        if capture is not None:
            s = capture.status()
            if s.last_contact_at is not None:
                self.contact = s.last_contact_at
            body["capture"] = {
                "state": s.state,
                "applied_lsn": lsn.text(s.applied_lsn),
                "lag_bytes": s.lag_bytes,
                "lag_seconds": s.lag_seconds,
                "last_contact_at": self.contact.isoformat() if self.contact else None,
                "transactions": s.transactions,
                "lost": s.lost,
                "warning": s.warning,
                "error": s.error,
                "hint": s.hint,
            }
        part = self.status_file.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(body))
        part.replace(self.status_file)
