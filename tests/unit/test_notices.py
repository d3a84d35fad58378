"""Notices: order, retries, repeats, the end, and that neither a dead notifier nor a full disk holds the guard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
from turnback.app import notices
from turnback.app.notices import PAUSES, STOPPED, Notices
from turnback.errors import DiskFull, NoticeError
from turnback.ports import Notice

REPEAT = 300.0


def notice(key: str = "error-rate", event: Any = "hold", title: str = "T", **changes: Any) -> Notice:
    return Notice(key, event, "high", title, "why", datetime(2026, 11, 23, tzinfo=UTC), **changes)


@dataclass
class FakeClock:
    at: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class FakeNotifier:
    """Passes the contract suite's part that Notices rests on; fails where it is told to."""

    name: str = "fake"
    failing: set[str] = field(default_factory=set)  # keys; "*": all
    attempts: list[tuple[str, str]] = field(default_factory=list)  # key, title
    delivered: list[tuple[str, str]] = field(default_factory=list)
    hanging: threading.Event | None = None
    closed: bool = False

    def send(self, notice: Notice) -> None:
        self.attempts.append((notice.key, notice.title))
        if self.hanging is not None:
            self.hanging.wait(20)
        if self.failing & {notice.key, "*"}:
            raise NoticeError("nobody there")
        self.delivered.append((notice.key, notice.title))

    def close(self) -> None:
        self.closed = True
        if self.hanging is not None:
            self.hanging.set()


@dataclass
class Books:
    lines: list[tuple[str, Mapping[str, str | None]]] = field(default_factory=list)
    full: bool = False

    def __call__(self, notice: Notice, sent: Mapping[str, str | None]) -> None:
        if self.full:
            raise DiskFull("journal.db: no room", hint="make room")
        self.lines.append((notice.title, sent))


@dataclass
class World:
    notices: Notices
    clock: FakeClock
    books: Books

    def advance(self, seconds: float) -> None:
        self.clock.at += seconds


@contextmanager
def world(*notifiers: FakeNotifier, books: Books | None = None, repeat: float = REPEAT) -> Iterator[World]:
    clock, books = FakeClock(), books or Books()
    made = Notices(notifiers, clock, repeat, books)
    try:
        yield World(made, clock, books)
    finally:
        made.stop()
        assert not [t for t in threading.enumerate() if t.name.startswith("notice")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "POLL_SECONDS", 0.01)


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def await_pause(w: World, *counts: int) -> None:
    """Until the notices that wait have failed so often, and the pause behind each has begun."""

    def begun() -> bool:
        with w.notices._changed:
            return [waiting.attempts for waiting in w.notices._queues["fake"]] == [*counts]

    await_true(begun)


def stays(condition: Callable[[], bool]) -> bool:
    """Whether it holds for as long as several turns of the threads take."""
    until = time.monotonic() + 0.08
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.005)
    return True


def test_all_are_told_and_it_is_recorded_once() -> None:
    one, two = FakeNotifier("one"), FakeNotifier("two")
    with world(one, two) as w:
        w.notices.tell(notice())
        await_true(lambda: len(w.books.lines) == 1)
        assert one.delivered == two.delivered == [("error-rate", "T")]
        assert w.books.lines == [("T", {"one": None, "two": None})]
        assert w.notices.state() == {"sent": 2, "failed": 0, "waiting": 0, "last_error": None}
    assert one.closed and two.closed


def test_without_a_notifier_it_is_recorded_nevertheless() -> None:
    with world() as w:
        w.notices.tell(notice())
        await_true(lambda: w.books.lines == [("T", {})])


def test_a_failure_is_tried_again_with_pauses_and_shown_meanwhile() -> None:
    fake = FakeNotifier(failing={"*"})
    with world(fake) as w:
        w.notices.tell(notice())
        for count, pause in enumerate(PAUSES[:4], 1):
            await_pause(w, count)
            w.advance(pause - 0.01)
            assert stays(lambda count=count: len(fake.attempts) == count)  # type: ignore[misc]
            assert w.notices.state() == {
                "sent": 0,
                "failed": 0,
                "waiting": 1,
                "last_error": "fake: nobody there",
            }
            w.advance(0.02)
        fake.failing.clear()
        w.advance(60)
        await_true(lambda: w.books.lines == [("T", {"fake": None})])
        assert w.notices.state() == {"sent": 1, "failed": 0, "waiting": 0, "last_error": None}


def test_after_the_last_attempt_it_is_given_up_and_said() -> None:
    fake = FakeNotifier(failing={"*"})
    with world(fake) as w:
        w.notices.tell(notice(event="rolled_back"))
        for count in range(1, len(PAUSES) + 1):
            await_pause(w, count)
            w.advance(61)
        await_true(lambda: w.books.lines == [("T", {"fake": "nobody there"})])
        assert w.notices.state() == {"sent": 0, "failed": 1, "waiting": 0, "last_error": "fake: nobody there"}
        w.advance(10_000)
        assert stays(lambda: len(fake.attempts) == len(PAUSES) + 1)


def test_one_that_fails_holds_up_its_own_key_only() -> None:
    fake = FakeNotifier(failing={"a"})
    with world(fake) as w:
        for key, title in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")):
            w.notices.tell(notice(key, title=title))
        await_true(lambda: fake.delivered == [("b", "b1"), ("b", "b2")])
        assert ("a", "a2") not in fake.attempts
        fake.failing.clear()
        w.advance(1.1)
        await_true(lambda: fake.delivered[2:] == [("a", "a1"), ("a", "a2")])


def test_a_dead_notifier_does_not_hold_another() -> None:
    dead, hanging, fine = FakeNotifier("dead", {"*"}), FakeNotifier("hang"), FakeNotifier("fine")
    hanging.hanging = threading.Event()
    with world(dead, hanging, fine) as w:
        for i in range(20):
            w.notices.tell(notice(title=f"t{i}"))
        await_true(lambda: len(fine.delivered) == 20)
        assert w.books.lines == []  # not all have had it
        hanging.hanging.set()


def test_telling_never_waits() -> None:
    hanging = FakeNotifier(hanging=threading.Event())
    stuck = threading.Event()

    class SlowBooks(Books):
        def __call__(self, notice: Notice, sent: Mapping[str, str | None]) -> None:
            stuck.wait(10)
            super().__call__(notice, sent)

    with world(hanging, FakeNotifier("fine"), books=SlowBooks()) as w:
        w.notices.tell(notice("first", "rolled_back"))
        assert hanging.hanging is not None
        began = time.monotonic()
        for i in range(2 * notices.MAX_WAITING):
            w.notices.tell(notice(title=str(i)))
            w.notices.state()
        assert time.monotonic() - began < 2
        stuck.set()
        hanging.hanging.set()


def test_too_many_waiting_lose_the_oldest_and_it_counts() -> None:
    hanging = FakeNotifier(hanging=threading.Event())
    with world(hanging) as w:
        for i in range(notices.MAX_WAITING + 10):
            w.notices.tell(notice(title=str(i)))
        state = w.notices.state()
        assert (state["failed"], state["waiting"]) == (10, notices.MAX_WAITING)
        assert state["last_error"] == "fake: given up: 500 newer notices wait"
        assert hanging.hanging is not None
        hanging.hanging.set()
        await_true(lambda: len(w.books.lines) == notices.MAX_WAITING + 10)
        assert hanging.delivered[-1] == ("error-rate", str(notices.MAX_WAITING + 9))


# ---- repeats ----


def test_what_goes_on_is_said_again_until_its_end() -> None:
    fake = FakeNotifier()
    with world(fake) as w:
        w.notices.tell(notice(title="hold"))
        w.advance(REPEAT - 1)
        assert stays(lambda: len(fake.attempts) <= 1)
        w.advance(2)
        await_true(lambda: fake.delivered == [("error-rate", "hold"), ("error-rate", "Still: hold")])
        w.advance(REPEAT)
        await_true(lambda: len(fake.delivered) == 3)
        w.notices.tell(notice(event="resolved", title="over", resolved=True))
        await_true(lambda: fake.delivered[3:] == [("error-rate", "over")])
        w.advance(10 * REPEAT)
        assert stays(lambda: len(fake.delivered) == 4)
        # Repeats do not fill the journal.
        await_true(lambda: [title for title, _ in w.books.lines] == ["hold", "over"])


@pytest.mark.parametrize("event", ["resolved", "normal", "rolled_back"])
def test_what_is_over_is_said_once(event: str) -> None:
    fake = FakeNotifier()
    with world(fake) as w:
        w.notices.tell(notice("rollback", "rollback", title="begins"))
        w.notices.tell(notice("rollback", event, title="ended"))
        await_true(lambda: len(fake.delivered) == 2)
        w.advance(10 * REPEAT)
        assert stays(lambda: len(fake.delivered) == 2)


def test_the_same_words_again_wait_for_the_repeat_and_other_words_do_not() -> None:
    fake = FakeNotifier()
    with world(fake) as w:
        for _ in range(5):
            w.notices.tell(notice())
        w.notices.tell(notice("other"))
        w.notices.tell(notice(title="worse"))
        w.notices.tell(replace(notice(title="worse"), severity="critical"))
        w.notices.tell(replace(notice(title="worse"), event="rollback"))
        await_true(lambda: len(fake.delivered) == 5)
        assert [t for k, t in fake.delivered if k == "error-rate"] == ["T", "worse", "worse", "worse"]


def test_a_repeat_does_not_pile_up_behind_one_that_waits() -> None:
    fake = FakeNotifier(failing={"*"})
    with world(fake) as w:
        w.notices.tell(notice())
        await_true(lambda: len(fake.attempts) == 1)
        for _ in range(3):
            w.advance(REPEAT)
            time.sleep(0.03)
        assert w.notices.state()["waiting"] == 1


def test_a_repeat_that_fails_after_all_is_recorded() -> None:
    fake = FakeNotifier()
    with world(fake) as w:
        w.notices.tell(notice())
        await_true(lambda: len(w.books.lines) == 1)
        fake.failing.add("*")
        w.advance(REPEAT)
        for count in range(1, len(PAUSES) + 1):
            await_pause(w, count)
            w.advance(61)
        await_true(lambda: len(w.books.lines) == 2)
        assert w.books.lines[1] == ("Still: T", {"fake": "nobody there"})


# ---- the journal and the end ----


def test_a_journal_that_cannot_be_written_stops_no_notice() -> None:
    fake, books = FakeNotifier(), Books(full=True)
    with world(fake, books=books) as w:
        w.notices.tell(notice("a"))
        await_true(lambda: w.notices.state()["last_error"] == "record: journal.db: no room")
        books.full = False
        w.notices.tell(notice("b", title="next"))
        await_true(lambda: books.lines == [("next", {"fake": None})])
        assert len(fake.delivered) == 2
        await_true(lambda: w.notices.state()["last_error"] is None)


def test_the_end_tries_what_waits_once_more() -> None:
    fake = FakeNotifier(failing={"a", "b"})
    with world(fake) as w:
        w.notices.tell(notice("a"))
        w.notices.tell(notice("b"))
        await_pause(w, 1, 1)
        fake.failing.discard("a")
        w.notices.stop()
        assert fake.delivered == [("a", "T")]
        assert sorted(sent["fake"] or "" for _, sent in w.books.lines) == ["", "nobody there"]
        w.notices.tell(notice("late"))
        assert len(fake.attempts) == 4


def test_the_end_does_not_wait_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "FLUSH_SECONDS", 0.3)
    hanging, fine = FakeNotifier("hang", hanging=threading.Event()), FakeNotifier("fine")
    with world(hanging, fine) as w:
        w.notices.tell(notice(title="one"))
        w.notices.tell(notice(title="two"))
        began = time.monotonic()
        w.notices.stop()
        assert 0.25 < time.monotonic() - began < 2
        assert w.books.lines == [(t, {"hang": STOPPED, "fine": None}) for t in ("one", "two")]
        assert hanging.closed


@given(
    told=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=25),
    failures=st.lists(st.booleans(), max_size=8),
)
@settings(max_examples=30, deadline=None)
def test_order_of_a_key_is_kept_whatever_fails(told: list[tuple[str, bool]], failures: list[bool]) -> None:
    """Every notice arrives once, those of a key in their order, whichever attempts fail."""
    fails = iter(failures)

    class Flaky(FakeNotifier):
        def send(self, notice: Notice) -> None:
            if next(fails, False):
                raise NoticeError("not now")
            self.delivered.append((notice.key, notice.title))

    fake = Flaky()
    with world(fake, repeat=1e9) as w:
        for i, (key, ends) in enumerate(told):
            w.notices.tell(notice(key, "resolved" if ends else "page", title=str(i)))
        while len(fake.delivered) < len(told):
            w.advance(1.0)
            time.sleep(0.001)
    expected = [(key, str(i)) for i, (key, _) in enumerate(told)]
    assert sorted(fake.delivered) == sorted(expected)
    for letter in "abc":
        assert [x for x in fake.delivered if x[0] == letter] == [x for x in expected if x[0] == letter]
