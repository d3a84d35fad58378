"""Tells people, without ever holding the guard: a thread for each notifier, and one that keeps the books.

Each notifier gets the notices of one key in their order; one that cannot be delivered is tried again, with
growing pauses, and does not hold up those of other keys. What goes on is said again every `repeat_seconds`
until its key ends. Each notice is recorded once, when every notifier has had it or was given up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Condition, Thread
from typing import Any

from turnback.errors import NoticeError, TurnbackError
from turnback.ports import Clock, Notice, Notifier

ENDS = ("resolved", "normal", "rolled_back")  # events after which nothing of the key goes on
PAUSES = (
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
    30.0,
    60.0,
    60.0,
    60.0,
    60.0,
    60.0,
    60.0,
)  # about 7 minutes, then given up
MAX_WAITING = 500  # for one notifier; the oldest goes, and counts as failed
POLL_SECONDS = 0.2
FLUSH_SECONDS = 3.0
JOIN_SECONDS = 0.5  # for one that hangs though it was closed; its thread ends with the process
STOPPED = "not sent: the guard has ended"

Record = Callable[[Notice, Mapping[str, str | None]], None]  # notifier -> None (delivered) or the error


@dataclass(slots=True, eq=False)
class _Telling:
    """One notice on its way to all notifiers."""

    notice: Notice
    missing: set[str]
    repeated: bool
    outcome: dict[str, str | None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Waiting:
    """One notice for one notifier."""

    telling: _Telling
    attempts: int = 0
    due: float = 0.0


@dataclass(slots=True)
class _GoingOn:
    notice: Notice
    again_at: float


class Notices:
    """Runs from its making to `stop`. `record` is called in a thread of its own; a TurnbackError of it is
    shown by `state` and stops nothing.
    """

    def __init__(
        self, notifiers: Sequence[Notifier], clock: Clock, repeat_seconds: float, record: Record
    ) -> None:
        self._notifiers = {n.name: n for n in notifiers}
        assert len(self._notifiers) == len(notifiers), "names of notifiers are unique"
        self._clock = clock
        self._repeat = repeat_seconds
        self._record = record
        self._changed = Condition()  # guards everything below
        self._queues: dict[str, list[_Waiting]] = {name: [] for name in self._notifiers}
        self._going_on: dict[str, _GoingOn] = {}
        self._told: deque[_Telling] = deque()
        self._errors: dict[str, str] = {}  # notifier (or "record") -> what failed last, until it works again
        self._sent = self._failed = 0
        self._stopping = self._over = False
        workers = [Thread(target=self._work, args=(n,), name=f"notice-{n.name}") for n in notifiers]
        self._threads = [*workers, Thread(target=self._keep_books, name="notices")]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def tell(self, notice: Notice) -> None:
        """Returns at once, never raises. What goes on already, in the same words, waits for its repeat."""
        with self._changed:
            if self._stopping:
                return
            known = self._going_on.get(notice.key)
            if notice.resolved or notice.event in ENDS:
                self._going_on.pop(notice.key, None)
            elif known is not None and _alike(known.notice, notice):
                known.notice = notice
                return
            else:
                self._going_on[notice.key] = _GoingOn(notice, self._clock.monotonic() + self._repeat)
            self._put(notice, repeated=False)

    def stop(self) -> None:
        """What waits is tried once more, for at most some seconds; then it is recorded as not sent."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            while any(self._queues.values()) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            for name, queue in self._queues.items():
                for waiting in tuple(queue):
                    self._settle(name, waiting, STOPPED)
            self._over = True
            self._changed.notify_all()
        for notifier in self._notifiers.values():
            notifier.close()
        for thread in self._threads:
            thread.join(FLUSH_SECONDS if thread is self._threads[-1] else JOIN_SECONDS)

    def state(self) -> dict[str, Any]:
        """{"sent", "failed": given up, "waiting": on their way, "last_error": until that notifier works
        again}; each notice counts once per notifier.
        """
        with self._changed:
            waiting = sum(len(queue) for queue in self._queues.values())
            last = next(reversed(self._errors.values()), None)
            return {"sent": self._sent, "failed": self._failed, "waiting": waiting, "last_error": last}

    # ---- under the condition ----

    def _put(self, notice: Notice, *, repeated: bool) -> None:
        telling = _Telling(notice, set(self._queues), repeated)
        for name, queue in self._queues.items():
            if len(queue) >= MAX_WAITING:
                self._settle(name, queue[0], f"given up: {MAX_WAITING} newer notices wait")
            queue.append(_Waiting(telling))
        if not self._queues:
            self._told.append(telling)
        self._changed.notify_all()

    def _settle(self, name: str, waiting: _Waiting, error: str | None) -> None:
        """Delivered (error None) or given up."""
        if waiting not in self._queues[name]:
            return  # given up meanwhile: there were too many, or the guard has ended
        self._queues[name].remove(waiting)
        if error is None:
            self._sent += 1
            self._errors.pop(name, None)
        else:
            self._failed += 1
            self._note_error(name, error)
        telling = waiting.telling
        telling.outcome[name] = error
        telling.missing.discard(name)
        if not telling.missing:
            self._told.append(telling)
        self._changed.notify_all()

    def _note_error(self, name: str, error: str) -> None:
        self._errors.pop(name, None)  # the newest stands last
        self._errors[name] = f"{name}: {error}"

    def _next(self, name: str) -> _Waiting | None:
        """The first that is due and not behind another of its key."""
        now = self._clock.monotonic()
        held: set[str] = set()
        for waiting in self._queues[name]:
            key = waiting.telling.notice.key
            if key not in held and (waiting.due <= now or self._stopping):
                return waiting
            held.add(key)
        return None

    def _repeat_due(self) -> None:
        now = self._clock.monotonic()
        for key, going_on in self._going_on.items():
            if now < going_on.again_at:
                continue
            going_on.again_at = now + self._repeat
            pending = any(w.telling.notice.key == key for queue in self._queues.values() for w in queue)
            if not pending:  # one that still waits will say it
                notice = replace(going_on.notice, title=f"Still: {going_on.notice.title}")
                self._put(notice, repeated=True)

    # ---- threads ----

    def _work(self, notifier: Notifier) -> None:
        name = notifier.name
        while True:
            with self._changed:
                while (waiting := self._next(name)) is None:
                    if self._over or self._stopping:
                        return
                    self._changed.wait(POLL_SECONDS if self._queues[name] else None)
                if self._over:
                    return
            error = _attempt(notifier, waiting.telling.notice)
            with self._changed:
                waiting.attempts += 1
                last = self._stopping or waiting.attempts > len(PAUSES)
                if error is None or last:
                    self._settle(name, waiting, error)
                else:
                    self._note_error(name, error)
                    waiting.due = self._clock.monotonic() + PAUSES[waiting.attempts - 1]

    def _keep_books(self) -> None:
        """Records, and says again what goes on."""
        recorded: dict[str, Mapping[str, str | None]] = {}  # key -> the outcome of its last record
        while True:
            with self._changed:
                while not self._told:
                    if self._over:
                        return
                    self._changed.wait(POLL_SECONDS if self._going_on and not self._stopping else None)
                    if not self._stopping:
                        self._repeat_due()
                telling = self._told.popleft()
            key = telling.notice.key
            if telling.repeated and recorded.get(key) == telling.outcome:
                continue  # the journal does not grow by what is only said again
            recorded[key] = telling.outcome
            try:
                self._record(telling.notice, dict(telling.outcome))
            except TurnbackError as e:
                with self._changed:
                    self._note_error("record", str(e))
            else:
                with self._changed:
                    self._errors.pop("record", None)


def _attempt(notifier: Notifier, notice: Notice) -> str | None:
    try:
        notifier.send(notice)
    except NoticeError as e:
        return str(e)
    return None


def _alike(a: Notice, b: Notice) -> bool:
    return (a.event, a.severity, a.title) == (b.event, b.severity, b.title)
