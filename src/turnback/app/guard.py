"""The guard: the one long-running owner of capture, of the application's processes and of the lease.

It takes intents that commands write into the journal, one at a time, and what its watch decides, and carries
them out with the same engine. SIGTERM leaves the application and PostgreSQL running: a new guard adopts them.
Nothing that goes wrong with a file or a server ends it: it says so, and tries again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any

from turnback.app.capture import CaptureStatus
from turnback.app.engine import Engine, primary_side
from turnback.app.reporting import Reporting
from turnback.app.wal_fuse import WalFuse, lost_capture
from turnback.app.watching import Watching
from turnback.core.phases import Intent, Phase
from turnback.core.state import State
from turnback.errors import TurnbackError
from turnback.ports import Clock, Journal, Platform, Progress, Record, Side

TURN_SECONDS = 0.1
KEEP_SECONDS = 0.5
SUPERVISE_SECONDS = 1.0
SERVER_SECONDS = 2.0
FENCE_SECONDS = 5.0
AGAIN_SECONDS = 10.0
SAY_AGAIN_SECONDS = 60.0


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
    reporting: Reporting
    watching: Watching
    say: Callable[[str], None]
    fuse: WalFuse | None = None  # None: where nothing is captured
    stopping: Event = field(default_factory=Event)
    engine: Engine | None = None
    _seen: int = 0
    _due: dict[str, float] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)
    _answers: list[Callable[[], object]] = field(default_factory=list)

    def run(self) -> None:
        """Until `stopping` is set."""
        self.watching.deciding.roll_back = self._roll_back
        if self.fuse is not None:
            self.fuse.release = self._release
            self.fuse.capture = self.capture_status
        # Intents from before this guard were another's; only what its run left open is taken up.
        for record in self.journal.records():
            self._seen = record.sequence
        self.journal.append("guard_started", {"pid": os.getpid()})
        try:
            if self.journal.state().unfinished is not None:
                self._attempt(self._resume)
            self._attempt(lambda: self.watching.deciding.take_up(self.journal.state()))
            self._attempt(self._start_application)
            self._attempt(lambda: self.watching.begin(self.journal.state()))
            while not self.stopping.is_set():
                self._attempt(self._take_intents)
                self._attempt(self._keep_if_due)
                self._attempt(lambda: self.watching.turn(self.journal.state()))
                self._attempt(self._mind_fuse)
                self.stopping.wait(TURN_SECONDS)
        finally:
            self.watching.end()
            if self.engine is not None:
                self.engine.release()
            self._attempt(lambda: self.journal.append("guard_stopped", {}))

    def _resume(self) -> None:
        engine = self._engine(None)
        open_run = self.journal.state().open_run
        with self._running(open_run.intent if open_run is not None else Intent.ROLLBACK):
            engine.resume()

    def _engine(self, intent: Intent | None) -> Engine:
        if self.engine is None:
            self.engine = self.make_engine(intent)
            world = self.engine.world
            world.watched = self.watching.watched
            world.announce = partial(self._announced, world.announce)
        return self.engine

    def _announced(self, say: Callable[[str], None], text: str) -> None:
        """At each step of a run: whoever asks for /status or /metrics meanwhile sees its phase."""
        say(text)
        self._attempt(self._report)

    @contextmanager
    def _running(self, intent: Intent) -> Iterator[None]:
        """Around a run: what it does to the application is no failure of it."""
        self.watching.run_begins(intent)
        self._attempt(self._report)
        try:
            yield
        finally:
            self.watching.run_ended(self.journal.state())

    def _roll_back(self, options: Mapping[str, Any]) -> None:
        """What the watch has decided. Raises TurnbackError."""
        with self._running(Intent.ROLLBACK):  # one that cannot begin ends in a new watch too
            engine = self._engine(None)
            engine.execute(Intent.ROLLBACK, {**options, "plan": engine.world.plan.digest()})

    def _start_application(self) -> None:
        """Platform process: the guard is what runs the application; one that runs already is adopted."""
        state = self.journal.state()
        side = primary_side(state)
        if self.platform.name == "process" and side is not None:
            self.platform.start(side)

    def _attempt(self, work: Callable[[], object]) -> None:
        """An error of a run is in the journal already; the guard says it and goes on guarding."""
        try:
            work()
        except TurnbackError as e:
            text = f"{e}" + (f" ({e.hint})" if e.hint else "")
            now = self.clock.monotonic()
            if now >= self._said.get(text, 0.0):
                self._said = {t: due for t, due in self._said.items() if now < due}
                self._said[text] = now + SAY_AGAIN_SECONDS
                self.say(text)

    def _take_intents(self) -> None:
        self._answer()
        for record in self.journal.records(after=self._seen):
            self._seen = record.sequence
            if record.kind != "intent":
                continue
            ident = record.body["id"]
            try:
                if not self._was_done_meanwhile(record):
                    self._carry_out(record.body)
            except TurnbackError as e:
                self._answers.append(partial(self._failed, ident, e))
                self.say(str(e))
            else:
                self._answers.append(partial(self._done, ident))
            self._answer()

    def _was_done_meanwhile(self, intent: Record) -> bool:
        """A rollback that was asked for while one was under way: the guard's own, or another person's."""
        if (
            intent.body["intent"] != Intent.ROLLBACK.value
            or self.journal.state().phase is not Phase.ON_SQLITE
        ):
            return False
        rollback = self.journal.state().last(Intent.ROLLBACK)
        ended = self.journal.records(after=intent.sequence, kind="run_ended")
        return rollback is not None and any(r.run == rollback.id for r in ended)

    def _done(self, ident: str) -> None:
        self.journal.append("intent_done", {"id": ident})

    def _failed(self, ident: str, e: TurnbackError) -> None:
        told = {"id": ident, "error": str(e), "hint": e.hint, "exit_status": e.exit_status}
        self.journal.append("intent_failed", told)

    def _answer(self) -> None:
        """Who asked is waiting; a full disk keeps the answer back, it does not lose it."""
        while self._answers:
            self._answers[0]()
            self._answers.pop(0)

    def _carry_out(self, body: Mapping[str, Any]) -> None:
        if body["intent"] == "resume":
            self._resume()
            return
        intent = Intent(body["intent"])
        if self.engine is not None and intent in (Intent.MIGRATE, Intent.CUTOVER):
            self.engine.release()
            self.engine = None
        engine = self._engine(intent)
        with self._running(intent):
            if intent is Intent.REBUILD:
                self._rebuild(engine, body["options"])
            else:
                engine.execute(intent, body["options"])

    def _rebuild(self, engine: Engine, options: Mapping[str, Any]) -> None:
        """It may take hours, and the application serves meanwhile: it is supervised, the status is fresh."""
        world = engine.world
        quiet, world.progress = world.progress, _Beating(world.progress, self._keep_if_due)
        try:
            engine.execute(Intent.REBUILD, options)
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

    def _keep(self) -> None:
        """Keeps the application up on its side, the fallback current and the status file fresh."""
        state = self.journal.state()
        side = primary_side(state)
        if state.phase is Phase.ON_POSTGRES and self._is_due("server", SERVER_SECONDS):
            self._attempt(self.keep_server)
        if side is not None and self._is_due("supervise", SUPERVISE_SECONDS):
            self._attempt(lambda: self._supervise(side))
        if state.phase is Phase.ON_POSTGRES and state.open_run is None:
            self._attempt(self._ensure_capture)
        if _is_cut_off(state) and self._is_due("resume", AGAIN_SECONDS):
            self._attempt(self._resume)
        if state.not_fenced and self._is_due("fence", FENCE_SECONDS):
            self._attempt(self._fence_late)
        self._report()

    def _report(self) -> None:
        fuse = self.fuse.to_json() if self.fuse is not None else None
        said = {**self.watching.to_json(), "fuse": fuse}
        self.reporting.write(self.journal.state(), self.capture_status(), said)

    def _mind_fuse(self) -> None:
        """Between two runs only. Whoever has asked for a rollback, or is about to, needs the slot."""
        state, watching = self.journal.state(), self.watching
        asked = any(r.kind == "intent" for r in self.journal.records(after=self._seen))
        if self.fuse is None or asked or watching.deciding.waiting or state.waiting_decision:
            return
        self.fuse.turn(state, watching.readings.get("slot"), needed=watching.breached)

    def _release(self) -> None:
        if self.engine is not None:
            self.engine.release()

    def _fence_late(self) -> None:
        if self._engine(None).fence_late():
            self.say("PostgreSQL answers again and is fenced now")

    def _supervise(self, side: Side) -> None:
        done = self.platform.supervise(side)
        if done:
            self.say(done)

    def _ensure_capture(self) -> None:
        engine = self._engine(None)
        capture = engine.world.capture
        stopped = capture is not None and capture.status().state == "stopped"
        if stopped and self._is_due("again", AGAIN_SECONDS):
            engine.release()  # room on the disk, a change undone: it is tried again, and says so again
        engine.ensure_capture()

    def capture_status(self) -> CaptureStatus | None:
        """For the probes: capture as it is now. May be called from any thread."""
        engine = self.engine
        capture = engine.world.capture if engine is not None else None
        lost = self.fuse.lost if self.fuse is not None else None
        if lost is not None:
            return lost_capture(lost)
        return capture.status() if capture is not None else None


def _is_cut_off(state: State) -> bool:
    """Whether a switch stands still that no step of it has failed: its own record met a full disk."""
    run = state.open_run
    moves = run is not None and run.intent in (Intent.CUTOVER, Intent.ROLLBACK)
    return run is not None and moves and (run.failure is None or run.undoing is not None)
