"""One thread per probe: what hangs delays nobody, what is suspended says nothing, nothing is lost in silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import patience
from turnback.adapters.clock import SystemClock
from turnback.app import probing
from turnback.app.probing import Prober
from turnback.core.watch.observation import Observation
from turnback.errors import ProbeError


@dataclass
class Fake:
    """A probe whose `do` decides; how often it was asked and closed is counted."""

    name: str
    do: Callable[[], Mapping[str, Any]] = lambda: {"ok": True}
    interval_seconds: float = 0.02
    timeout_seconds: float = 1
    asked: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    def observe(self) -> Mapping[str, Any]:
        self.asked += 1
        return self.do()

    def close(self) -> None:
        self.closed.set()


@contextmanager
def running(*probes: Fake) -> Iterator[Prober]:
    prober = Prober(probes, SystemClock())
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()


def collect(
    prober: Prober, until: Callable[[list[Observation]], bool]
) -> list[Observation]:
    found: list[Observation] = []
    deadline = time.monotonic() + patience.SECONDS
    while not until(found):
        assert time.monotonic() < deadline, found
        found += prober.drain()
        time.sleep(0.005)
    return found


def test_a_probe_that_hangs_delays_no_other() -> None:
    hanging = Fake("hanging")
    hanging.do = lambda: {"ok": hanging.closed.wait(30)}
    quick = Fake("quick")
    with running(hanging, quick) as prober:
        found = collect(prober, lambda o: len(o) >= 10)
        assert {o.probe for o in found} == {"quick"} and hanging.asked == 1
        assert {t.name for t in threading.enumerate()} >= {"probe-hanging", "probe-quick"}
        began = time.monotonic()
    assert time.monotonic() - began < 15, "stop does not wait for what hangs longer than a second"
    assert hanging.closed.is_set() and quick.closed.is_set()


def test_observations_come_in_the_order_of_their_time() -> None:
    probes = [Fake(f"p{i}", interval_seconds=0.001) for i in range(5)]
    with running(*probes) as prober:
        found = collect(prober, lambda o: len(o) >= 500)
    moments = [o.at for o in found]
    assert moments == sorted(moments)
    assert all(o.utc.tzinfo is not None and o.value == {"ok": True} and o.error is None for o in found)


def test_what_cannot_be_read_is_an_observation_without_a_value() -> None:
    def broken() -> Mapping[str, Any]:
        raise ProbeError("garbage")

    def faulty() -> Mapping[str, Any]:
        raise KeyError("x" * 1000)

    with running(Fake("broken", broken), Fake("faulty", faulty)) as prober:
        found = collect(prober, lambda o: min(sum(x.probe == n for x in o) for n in ("broken", "faulty")) > 1)
        faults = dict(prober.faults)
    said = {o.probe: o.error for o in found}
    assert said["broken"] == "garbage" and all(o.value is None for o in found)
    assert (
        str(said["faulty"]).startswith("a fault of turnback: KeyError: 'xxx")
        and len(str(said["faulty"])) == 300
    )
    assert set(faults) == {"faulty"}, "a ProbeError is no fault"


def test_one_that_takes_longer_than_its_interval_skips_and_never_queues_up() -> None:
    slow = Fake("slow", interval_seconds=0.02)

    def take_long() -> Mapping[str, Any]:
        if slow.asked == 1:
            time.sleep(0.2)
        return {}

    slow.do = take_long
    began = time.monotonic()
    with running(slow) as prober:
        collect(prober, lambda o: len(o) >= 4)
        assert slow.asked <= 2 + (time.monotonic() - began - 0.2) / 0.02
        assert prober.skipped["slow"] >= 8


def test_suspended_nothing_is_asked_and_what_was_under_way_is_dropped() -> None:
    released = threading.Event()
    slow = Fake("slow")
    slow.do = lambda: {"ok": released.wait(5)}
    quick = Fake("quick")
    with running(slow, quick) as prober:
        collect(prober, lambda o: len(o) >= 3)
        prober.suspend()
        prober.drain()
        time.sleep(0.05)
        asked = quick.asked
        released.set()
        time.sleep(0.1)
        assert quick.asked <= asked + 1, "but for one that was about to be asked"
        assert prober.drain() == [], "an answer to a question from before the suspension"
        prober.resume()
        found = collect(prober, lambda o: {x.probe for x in o} == {"slow", "quick"})
        assert slow.asked >= 2 and found


def test_after_a_suspension_each_is_asked_at_once_however_long_its_interval() -> None:
    """Whether the way back is ready must not wait ten seconds for the disk's next turn."""
    rare = Fake("rare")
    rare.interval_seconds = 600.0
    with running(rare) as prober:
        collect(prober, lambda o: len(o) >= 1)
        prober.suspend()
        prober.resume()
        collect(prober, lambda o: len(o) >= 1)
        time.sleep(0.1)
        assert rare.asked == 2, "and then in its own rhythm"


def test_only_the_selected_are_asked() -> None:
    one, two = Fake("one"), Fake("two")
    prober = Prober([one, two], SystemClock())
    prober.select(["two"])
    prober.start()
    try:
        assert {o.probe for o in collect(prober, lambda o: len(o) >= 5)} == {"two"} and one.asked == 0
        prober.select(["one"])
        prober.drain()
        found = collect(prober, lambda o: len(o) >= 3)
        assert {o.probe for o in found[1:]} == {"one"}
        assert prober.names == ("one", "two")
    finally:
        prober.stop()


def test_the_first_readings_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "SPREAD_SECONDS", 0.4)
    probes = [Fake(f"p{i}", interval_seconds=30) for i in range(4)]
    began = time.monotonic()
    with running(*probes) as prober:
        found = {o.probe: o.at for o in collect(prober, lambda o: len(o) == 4)}
    assert all(found[f"p{i}"] >= began + 0.1 * i for i in range(4)), (began, found)


def test_a_queue_that_nobody_drains_is_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_QUEUED", 10)
    probe = Fake("p", interval_seconds=0.001)
    probe.do = lambda: {"number": probe.asked}
    with running(probe) as prober:
        deadline = time.monotonic() + patience.SECONDS
        while prober.dropped < 20:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        numbers = [int(str(o.value and o.value["number"])) for o in prober.drain()]
    assert numbers == list(range(numbers[0], numbers[0] + 10)) and numbers[0] > 20, numbers


def test_a_stopped_prober_observes_nothing_more() -> None:
    probe = Fake("p")
    with running(probe) as prober:
        collect(prober, lambda o: len(o) >= 2)
    asked = probe.asked
    time.sleep(0.06)
    assert probe.asked == asked and not [t for t in threading.enumerate() if t.name == "probe-p"]


class JumpingClock(SystemClock):
    """What a process sees that was stopped: between two of its steps time has gone."""

    def __init__(self) -> None:
        self.jumped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.jumped


@pytest.mark.parametrize(
    ("held", "took", "ok", "known"),
    [
        (100.0, 0.0, False, False),  # stopped while the check waited
        (18.0, 0.0, False, False),
        (6.0, 0.0, False, True),  # held up for less than half of the time it had
        (0.0, 1.6, False, True),  # the application did not answer, and we were there all the time
        (100.0, 0.0, True, True),  # an answer is one, however late
    ],
)
def test_a_check_that_failed_while_we_were_stopped_is_no_failure_of_the_application(
    held: float, took: float, ok: bool, known: bool
) -> None:
    """Held up by the clock, of 20 s that a check has: a machine that is busy for a second changes nothing."""
    clock, checked = JumpingClock(), Fake("application", timeout_seconds=2 if took else 20)

    def check() -> Mapping[str, Any]:
        if checked.asked == 3:
            clock.jumped += held
            time.sleep(took)
            return {"ok": ok}
        return {"ok": True}

    checked.do = check
    prober = Prober([checked], clock)
    prober.start()
    try:
        found = collect(prober, lambda o: len(o) >= 4)
    finally:
        prober.stop()
    assert (found[2].value == {"ok": ok}) is known, found[2]
    assert known or "held up" in str(found[2].error)
    assert found[3].value == {"ok": True}


def test_a_hold_up_of_before_a_check_is_not_held_against_it() -> None:
    clock, checked = JumpingClock(), Fake("application", timeout_seconds=20)

    def check() -> Mapping[str, Any]:
        if checked.asked == 2:
            clock.jumped += 100.0
        return {"ok": checked.asked != 4}

    checked.do = check
    prober = Prober([checked], clock)
    prober.start()
    try:
        found = collect(prober, lambda o: len(o) >= 4)
    finally:
        prober.stop()
    assert found[3].value == {"ok": False}, found[3]
