"""The probes, each in a thread of its own: one that hangs delays no other.

What they see is queued and drained by the guard's loop, in the order of `at`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from threading import Condition, Thread

from turnback.app.pulse import Pulse
from turnback.core.watch.observation import Observation
from turnback.errors import ProbeError
from turnback.ports import Clock, Probe

MOST_QUEUED = 10_000  # a guard that does not drain for so long loses the oldest
SPREAD_SECONDS = 1.0  # the first readings are spread over this, at most
JOIN_SECONDS = 1.0  # for all threads together; one that still hangs ends with the process
ERROR_LENGTH = 300  # characters
HELD_SHARE = 0.5  # of a check's time: held up for longer than this it cannot say that there was no answer


class Prober:
    """Each probe is observed at its interval. One that takes longer skips what it missed.

    While suspended, or not selected, nothing is observed, and what was under way is dropped: it would be of
    the time in which the triggers must not look. Behind a change of what may run each is observed at once:
    what was seen before it is of another time. `drain` never goes back in `at`.
    """

    def __init__(self, probes: Sequence[Probe], clock: Clock) -> None:
        self._probes = tuple(probes)
        self._clock = clock
        self._pulse = Pulse(clock)
        self._threads: list[Thread] = []

        # Guarded by the condition, which is notified when what may run changes.
        self._changed = Condition()
        self._stopping = False
        self._suspended = False
        self._selected = frozenset(p.name for p in self._probes)
        self._turn = 0  # grows when what may run changes: an older answer is dropped
        self._queue: deque[Observation] = deque()
        self.dropped = 0  # because nobody drained
        self.skipped: Counter[str] = Counter()  # readings that an overrun left out, by probe
        self.faults: Counter[str] = Counter()  # errors of turnback's own, by probe

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self._probes)

    def start(self) -> None:
        """May be given once."""
        self._pulse.start()
        for number, probe in enumerate(self._probes):
            delay = min(probe.interval_seconds, SPREAD_SECONDS) * number / len(self._probes)
            thread = Thread(target=self._run, args=(probe, delay), name=f"probe-{probe.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Closes the probes. Returns within about a second, also while one of them hangs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for probe in self._probes:
            probe.close()
        deadline = self._clock.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        self._pulse.stop()

    def suspend(self) -> None:
        self._change(suspended=True)

    def resume(self) -> None:
        self._change(suspended=False)

    def select(self, names: Iterable[str]) -> None:
        """Only these are observed from now on."""
        self._change(selected=frozenset(names))

    def drain(self) -> list[Observation]:
        with self._changed:
            taken = list(self._queue)
            self._queue.clear()
        return taken

    def _change(self, *, suspended: bool | None = None, selected: frozenset[str] | None = None) -> None:
        with self._changed:
            before = (self._suspended, self._selected)
            self._suspended = self._suspended if suspended is None else suspended
            self._selected = self._selected if selected is None else selected
            if before != (self._suspended, self._selected):
                self._turn += 1
                self._changed.notify_all()

    # ---- the threads "probe-NAME" ----------------------------------------------------------------

    def _run(self, probe: Probe, delay: float) -> None:
        due = self._clock.monotonic() + delay
        seen = self._turn
        while (turn := self._await_turn(probe.name, due, seen)) is not None:
            if turn != seen:
                due = self._clock.monotonic()  # its rhythm begins anew
            seen = turn
            value, error = self._observe(probe)
            self._put(probe.name, turn, value, error)
            due = self._next(probe, due)

    def _await_turn(self, name: str, due: float, seen: int) -> int | None:
        """Waits until `due`, or a change of what may run since `seen`, and until the probe may run; None:
        stopping.
        """
        with self._changed:
            while not self._stopping:
                left = due - self._clock.monotonic() if seen == self._turn else 0.0
                if left <= 0 and not self._suspended and name in self._selected:
                    return self._turn
                self._changed.wait(left if left > 0 else None)
            return None

    def _observe(self, probe: Probe) -> tuple[dict[str, object] | None, str | None]:
        began = self._clock.monotonic()
        try:
            value = dict(probe.observe())
        except ProbeError as e:
            return None, str(e)[:ERROR_LENGTH]
        except Exception as e:  # noqa: BLE001
            # The one place for it: a fault of turnback's own in a probe must neither end the thread, which
            # would leave the trigger blind in silence, nor count as a failure of the application.
            with self._changed:
                self.faults[probe.name] += 1
            return None, f"a fault of turnback: {type(e).__name__}: {e}"[:ERROR_LENGTH]
        if value.get("ok") is False:
            held = self._pulse.held_up(began)
            if held > HELD_SHARE * probe.timeout_seconds:
                return None, f"not known: the guard itself was held up for {held:.1f} s of this check"
        return value, None

    def _put(self, name: str, turn: int, value: dict[str, object] | None, error: str | None) -> None:
        with self._changed:
            if self._stopping or turn != self._turn:
                return
            # The moment is taken under the lock: the queue's order is the order of `at`.
            at, utc = self._clock.monotonic(), self._clock.now()
            self._queue.append(Observation(at, utc, name, value, error))
            if len(self._queue) > MOST_QUEUED:
                self._queue.popleft()
                self.dropped += 1

    def _next(self, probe: Probe, due: float) -> float:
        """The next moment of the probe's own rhythm that is still to come."""
        missed = int(max(0.0, self._clock.monotonic() - due) // probe.interval_seconds)
        self.skipped[probe.name] += missed
        return due + (missed + 1) * probe.interval_seconds
