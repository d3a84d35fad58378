"""Capture: while PostgreSQL is primary, keeps the fallback current.

Straight line: stream -> whole transactions -> fallback (rows and position in one SQLite transaction) ->
acknowledge. What has arrived is applied together and committed once the socket is empty, so that a commit
alone is there in milliseconds and a backlog goes in large groups.

The stream runs in the thread "capture"; what has to ask the server something by another connection (schema
drift, its WAL's end, sequences) runs in the thread "capture-watch", so that it never delays a commit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Condition, Event, Thread
from typing import Literal, Protocol

from turnback.app.transactions import Assembler
from turnback.core import lsn as lsn_text
from turnback.core.changes import Begin, CapturedTransaction
from turnback.core.lsn import ZERO, Lsn
from turnback.errors import CannotCarry, NotReady, TurnbackError, WayBackLost
from turnback.ports import ChangeSink, ChangeStream, Clock, Keepalive, Position, StreamItem

State = Literal["starting", "streaming", "reconnecting", "stopped"]

BACKOFF_SECONDS = (0.2, 5.0)  # the first pause before connecting again, and the longest
STORE_SECONDS = 10.0  # how often a position without rows is stored and acknowledged, at most
WAIT_SECONDS = 0.25  # for the socket, before the other duties are looked at
CHECK_SECONDS = (60.0, 86_400.0)  # the first check of the fallback file after the start, and how often then
GROUP_MESSAGES = 5_000  # applied together at most: what a crash makes apply again, a quarter of a second


class ServerIdentity(Protocol):
    """IDENTIFY_SYSTEM's answer."""

    @property
    def identifier(self) -> str: ...

    @property
    def timeline(self) -> int: ...

    @property
    def wal_end(self) -> Lsn: ...


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    state: State
    applied_lsn: Lsn  # nothing of the stream is missing up to here
    server_wal_end: Lsn  # as far as is known
    lag_bytes: int
    lag_seconds: float  # age of the oldest commit that is not applied, by the server's clock
    last_contact_at: datetime | None  # the last time with lag 0
    error: str | None
    hint: str
    transactions: int  # applied since start()
    lost: bool = False  # no way back until the fallback is made anew
    warning: str = ""  # what may soon close the way back
    contact_monotonic: float | None = None  # last_contact_at by the clock that never jumps
    checked_at: float | None = None  # by that clock: the whole fallback file was checked, and was sound


class Capture:
    """Give `start` once. An error that a new connection does not cure ends it: state "stopped", error kept.

    Before streaming it refuses (NotReady): another server or timeline than the stored one; a slot that is
    missing, lost, or has let go of more than the fallback holds (an older fallback file).
    `identify` and `confirmed_flush` raise ServerGone while the server is away. `check_drift` gives sentences;
    `read_sequences` the highest values handed out, by SQLite table; `retention_warning` whether the slot is
    about to be lost. They run every `drift_every_seconds`. `check_file` reads the whole fallback file, a
    minute after the start (a cutover's downtime is over then) and once a day; it ends early when what it is
    given says so.
    """

    def __init__(
        self,
        open_fallback: Callable[[], ChangeSink],
        open_stream: Callable[[Lsn], ChangeStream],
        identify: Callable[[], ServerIdentity],
        confirmed_flush: Callable[[], Lsn],
        check_drift: Callable[[], list[str]],
        clock: Clock,
        *,
        drift_every_seconds: float = 3.0,
        read_sequences: Callable[[], Mapping[str, int]] | None = None,
        retention_warning: Callable[[], str] | None = None,
        check_file: Callable[[Callable[[], bool]], list[str]] | None = None,
    ) -> None:
        self._open_fallback = open_fallback
        self._open_stream = open_stream
        self._identify = identify
        self._confirmed_flush = confirmed_flush
        self._check_drift = check_drift
        self._read_sequences = read_sequences
        self._retention_warning = retention_warning
        self._check_file = check_file
        self._clock = clock
        self._drift_every_seconds = drift_every_seconds
        self._stopping = Event()
        self._threads: list[Thread] = []

        # Guarded by the condition, which is notified at each change.
        self._changed = Condition()
        self._status = CaptureStatus("starting", ZERO, ZERO, 0, 0.0, None, None, "", 0)
        self._stored_lsn = ZERO
        self._tokens: dict[str, Lsn] = {}
        self._asked: set[str] = set()  # tokens that may have been applied before this process started
        self._drift: TurnbackError | None = None
        self._sequences: Mapping[str, int] = {}

        # Of the thread "capture" alone.
        self._server_time_us = 0  # the server's clock at the latest message
        self._pending_since_us = 0  # commit time of the oldest transaction that is not applied; 0: none
        self._contact_us = 0  # the same, the last time that nothing was missing
        self._store_due = 0.0

    # ---- for other threads -----------------------------------------------------------------------

    def start(self) -> None:
        threads = [(self._run, "capture"), (self._watch, "capture-watch")]
        if self._check_file is not None:
            threads.append((self._check, "capture-check"))
        for target, name in threads:
            thread = Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Returns when the threads have ended; nothing is half applied."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def status(self) -> CaptureStatus:
        with self._changed:
            return self._status

    def wait_streaming(self, timeout: float) -> None:
        """Until changes arrive. Raises NotReady: stopped, or not within `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._status.state in ("streaming", "stopped"), timeout)
            status = self._status
        if status.state != "streaming":
            raise NotReady(
                f"capture is {status.state}" + (f": {status.error}" if status.error else ""),
                hint=status.hint or "check that PostgreSQL runs",
            )

    def wait_for(self, token: str, lsn: Lsn, timeout: float) -> bool:
        """Whether, within `timeout` seconds, the token was seen and the stored position passed `lsn`.

        Returns early, with False, when capture has stopped.
        """

        def arrived() -> bool:
            return token in self._tokens and self._stored_lsn >= lsn

        with self._changed:
            if token not in self._tokens:
                self._asked.add(token)
            self._changed.wait_for(
                lambda: arrived() or self._status.state == "stopped" or self._stopping.is_set(), timeout
            )
            self._asked.discard(token)
            return arrived()

    # ---- the thread "capture" --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_streaming()
        except TurnbackError as e:
            self._note(state="stopped", error=str(e), hint=e.hint, lost=isinstance(e, WayBackLost))
        finally:
            # Also where turnback itself is at fault: nobody may believe that this still runs.
            unexpected = sys.exc_info()[1]
            if self.status().state != "stopped":
                self._note(
                    state="stopped",
                    error=f"a fault of turnback: {unexpected!r}" if unexpected else None,
                    hint="please report it; the fallback stands before it, whole" if unexpected else "",
                )

    def _keep_streaming(self) -> None:
        sink = self._open_fallback()
        try:
            self._stood_at(sink.position())
            pause = BACKOFF_SECONDS[0]
            while not self._stopping.is_set():
                try:
                    self._stream_until_stopped(sink)
                except TurnbackError as e:
                    if e.retry != "auto":
                        raise
                    if self.status().state == "streaming":
                        pause = BACKOFF_SECONDS[0]
                    self._note(state="reconnecting", error=str(e), hint=e.hint)
                if not self._stopping.wait(pause):
                    pause = min(pause * 2, BACKOFF_SECONDS[1])
        finally:
            sink.close()

    def _stream_until_stopped(self, sink: ChangeSink) -> None:
        position = sink.position()
        self._refuse_other_server(position)
        stream = self._open_stream(position.applied_lsn)
        assembler = Assembler(sink.folder)
        try:
            self._note(state="streaming", error=None, hint="")
            self._pending_since_us = 0
            while not self._stopping.is_set():
                self._turn(sink, stream, assembler)
        finally:
            assembler.close()
            stream.close()

    def _refuse_other_server(self, position: Position) -> None:
        system = self._identify()
        if (system.identifier, system.timeline) != (position.system_identifier, position.timeline):
            raise WayBackLost(
                f"the fallback follows server {position.system_identifier}, timeline {position.timeline}; "
                f"this is server {system.identifier}, timeline {system.timeline}",
                hint="after a failover or a recovery only a full comparison tells what is missing: "
                "`turnback fallback rebuild` makes it, and writes what differs",
            )
        confirmed = self._confirmed_flush()
        if confirmed > position.applied_lsn:
            raise WayBackLost(
                f"the slot {position.slot} has let go of changes up to {lsn_text.text(confirmed)}, "
                f"the fallback stands at {lsn_text.text(position.applied_lsn)}: it is an older file",
                hint="the server no longer has what this one lacks: put the newest fallback file back, or "
                "`turnback fallback rebuild`",
            )
        self._note(server_wal_end=max(system.wal_end, self.status().server_wal_end))

    def _turn(self, sink: ChangeSink, stream: ChangeStream, assembler: Assembler) -> None:
        """What has arrived is applied together; then it is acknowledged."""
        ready: list[CapturedTransaction] = []
        idle_at: Lsn | None = None  # nothing is missing up to here, says a keepalive outside a transaction
        wanted = False
        taken = 0
        items = stream.receive(WAIT_SECONDS)
        while items:
            taken += len(items)
            for item in items:
                self._server_time_us = item.server_time_us
                if isinstance(item, StreamItem):
                    done = assembler.add(item.message)
                    if done is not None:
                        ready.append(done)
                    elif isinstance(item.message, Begin) and not self._pending_since_us:
                        self._pending_since_us = item.message.commit_time_us
                else:
                    idle_at, asked = self._keepalive(item, assembler, idle_at)
                    wanted = wanted or asked
            items = stream.receive(0) if taken < GROUP_MESSAGES else []
        if ready:
            self._apply(sink, stream, ready)
            assembler.release()
            begun = assembler.begun
            self._pending_since_us = begun.commit_time_us if begun else 0
        if idle_at is not None:
            self._idle(sink, stream, idle_at, wanted)
        self._duties(sink, caught_up=taken < GROUP_MESSAGES and not assembler.inside)

    def _keepalive(
        self, item: Keepalive, assembler: Assembler, idle_at: Lsn | None
    ) -> tuple[Lsn | None, bool]:
        if item.wal_end > self.status().server_wal_end:
            self._note(server_wal_end=item.wal_end)
        # Inside a transaction the server's position is beyond changes that are not here whole.
        return (idle_at, False) if assembler.inside else (item.wal_end, item.reply_requested)

    def _apply(self, sink: ChangeSink, stream: ChangeStream, ready: list[CapturedTransaction]) -> None:
        try:
            sink.apply(ready, stream.keepalive)
        except (CannotCarry, NotReady):
            self._stood_at(sink.position(), ready)  # those before the one that cannot be applied are
            raise
        position = sink.position()
        stream.acknowledge(position.applied_lsn)
        self._stood_at(position, ready)

    def _idle(self, sink: ChangeSink, stream: ChangeStream, wal_end: Lsn, wanted: bool) -> None:
        """Stores a position without rows now and then: else a busy neighbour fills the server's disk."""
        now = self._clock.monotonic()
        # A server that asks (it is shutting down, or has heard nothing for long) waits for the answer.
        if wal_end > self._stored_lsn and (wanted or now >= self._store_due):
            self._store_due = now + STORE_SECONDS
            sink.store_position(wal_end)
            stream.acknowledge(wal_end)
            with self._changed:
                self._stored_lsn = wal_end
                self._changed.notify_all()
        if wal_end > self.status().applied_lsn:
            self._note(applied_lsn=wal_end)

    def _duties(self, sink: ChangeSink, *, caught_up: bool) -> None:
        with self._changed:
            drift, sequences, asked = self._drift, self._sequences, list(self._asked)
            self._sequences = {}
        if drift is not None:
            raise drift
        if sequences:
            sink.store_sequences(sequences)
        for token in asked:
            seen = sink.seen_token(token)
            if seen is not None:
                with self._changed:
                    self._tokens[token] = seen
                    self._changed.notify_all()
        self._measure(caught_up)

    def _measure(self, caught_up: bool) -> None:
        """Lag, by the server's clock on both ends; behind is what a keepalive or capture-watch has seen."""
        with self._changed:
            s = self._status
            wal_end = max(s.server_wal_end, s.applied_lsn)
            behind = wal_end - s.applied_lsn
            contact_at, contact_monotonic, seconds = s.last_contact_at, s.contact_monotonic, 0.0
            if caught_up and not behind:
                contact_at, contact_monotonic = self._clock.now(), self._clock.monotonic()
                self._contact_us = self._server_time_us
            else:
                since = self._pending_since_us or self._contact_us
                seconds = max(0, self._server_time_us - since) / 1e6 if since else 0.0
            self._status = replace(
                s,
                server_wal_end=wal_end,
                lag_bytes=behind,
                lag_seconds=seconds,
                last_contact_at=contact_at,
                contact_monotonic=contact_monotonic,
            )

    def _stood_at(self, position: Position, given: Sequence[CapturedTransaction] = ()) -> None:
        applied = [t for t in given if t.commit.end_lsn <= position.applied_lsn]
        with self._changed:
            self._stored_lsn = max(self._stored_lsn, position.applied_lsn)
            for transaction in applied:
                for token in transaction.tokens:
                    self._tokens[token] = transaction.commit.end_lsn
            self._status = replace(
                self._status,
                applied_lsn=max(self._status.applied_lsn, position.applied_lsn),
                transactions=self._status.transactions + len(applied),
            )
            self._changed.notify_all()

    def _note(self, **changes: object) -> None:
        with self._changed:  # mypy cannot tell that each of `changes` is a field of its type
            self._status = replace(self._status, **changes)  # type: ignore[arg-type]
            self._changed.notify_all()

    # ---- the thread "capture-watch" --------------------------------------------------------------

    def _watch(self) -> None:
        """A server that is away is the stream's business; any other failure to look is said in the status."""
        while self.status().state != "stopped":
            self._look()
            if self._stopping.wait(self._drift_every_seconds):
                return

    def _look(self) -> None:
        try:
            sentences = self._check_drift()
            end = self._identify().wal_end
            sequences = self._read_sequences() if self._read_sequences is not None else {}
            warning = self._retention_warning() if self._retention_warning is not None else ""
        except WayBackLost as e:
            with self._changed:
                self._drift = e
            return
        except TurnbackError as e:
            if e.retry != "auto" and self.status().state == "streaming":
                self._note(error=f"the schema could not be compared: {e}", hint=e.hint)
            return
        with self._changed:
            s = self._status
            self._sequences = sequences
            self._status = replace(s, server_wal_end=max(end, s.server_wal_end), warning=warning)
            if s.state == "streaming" and s.error is not None:
                self._status = replace(self._status, error=None, hint="")  # of an earlier look
            if sentences:
                more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
                self._drift = NotReady(
                    f"schema drift: {sentences[0]}{more}",
                    hint="undo that change in PostgreSQL: the plan, and so the way back, does not know it",
                )

    # ---- the thread "capture-check" --------------------------------------------------------------

    def _check(self) -> None:
        """Damage on the disk shows in what capture reads, or here (HAZARDS R13)."""
        assert self._check_file is not None
        first, then = CHECK_SECONDS
        pause = first
        while not self._stopping.wait(pause) and self.status().state != "stopped":
            pause = then
            try:
                problems = self._check_file(self._stopping.is_set)
            except TurnbackError as e:
                self._note(error=f"the fallback file could not be checked: {e}", hint=e.hint)
                continue
            if problems:
                with self._changed:
                    self._drift = WayBackLost(
                        f"the fallback file is damaged: {problems[0]}",
                        hint="`turnback fallback rebuild` makes a new one from the original and PostgreSQL",
                    )
            elif not self._stopping.is_set():  # it ends early then, and has not seen all
                self._note(checked_at=self._clock.monotonic())
