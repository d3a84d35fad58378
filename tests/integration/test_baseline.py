"""The baseline: what is counted, what is refused, and which one a cutover freezes. With a real HTTP server that
exports metrics, through the guard's own probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest

import stubs
from turnback.adapters.journal import SqliteJournal
from turnback.app.baseline import SINCE_START, baseline_now, record
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import MetricsReading
from turnback.core.watch.recording import MIN_REQUESTS
from turnback.entrypoints import baselines
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import ProbeError, UsageError

BOUNDS = (0.01, 0.1, 1.0, inf)


@dataclass
class Shop:
    """An application's counters: `ask` counts requests of one duration."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    buckets: dict[str, list[int]] = field(default_factory=dict)
    broken: bool = False
    histogram: bool = True

    def ask(self, endpoint: str, times: int, seconds: float, status: int = 200) -> None:
        self.requests[endpoint, status] = self.requests.get((endpoint, status), 0) + times
        counts = self.buckets.setdefault(endpoint, [0] * len(BOUNDS))
        for i, bound in enumerate(BOUNDS):
            counts[i] += times * (seconds <= bound)

    def restart(self) -> None:
        self.requests.clear()
        self.buckets.clear()

    def text(self) -> bytes:
        if self.broken:
            return b"garbage {"
        lines = ["# TYPE http_requests_total counter"]
        for (endpoint, status), n in self.requests.items():
            lines.append(f'http_requests_total{{endpoint="{endpoint}",status="{status}"}} {n}')
        lines.append("# TYPE http_request_duration_seconds histogram")
        for endpoint, counts in self.buckets.items() if self.histogram else ():
            for bound, n in zip(("0.01", "0.1", "1.0", "+Inf"), counts, strict=True):
                lines.append(f'http_request_duration_seconds_bucket{{endpoint="{endpoint}",le="{bound}"}} {n}')
            lines.append(f'http_request_duration_seconds_count{{endpoint="{endpoint}"}} {counts[-1]}')
            lines.append(f'http_request_duration_seconds_sum{{endpoint="{endpoint}"}} 1')
        return ("\n".join(lines) + "\n").encode()


@contextmanager
def served(shop: Shop) -> Iterator[str]:
    with stubs._served(lambda handler: stubs._send(handler, 200, shop.text())) as base:
        yield base + "/metrics"


@dataclass
class Clock:
    """Whoever sleeps lets `meanwhile` happen."""

    meanwhile: Callable[[], None] = lambda: None
    at: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.meanwhile()


class Quiet:
    def begin(self, what: str, total: int | None = None) -> None: ...
    def advance(self, amount: int = 1) -> None: ...
    def end(self) -> None: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@contextmanager
def setup(folder: Path, metrics: str | None) -> Iterator[Setup]:
    table = f'[guard.metrics]\nurl = "{metrics}"\ninterval_seconds = 0.1\n' if metrics else ""
    (folder / "turnback.toml").write_text(
        f'[sqlite]\npath = "app.db"\n[state]\nallow_any_filesystem = true\n{table}'
    )
    made = Setup(load(folder / "turnback.toml"))
    try:
        yield made
    finally:
        made.close()


def recording(folder: Path, shop: Shop, meanwhile: Callable[[], None], seconds: float = 60, interval: float = 10) -> Baseline:
    """With the guard's real probe, and a clock that the test turns."""
    with served(shop) as url, setup(folder, url) as made:
        read = baselines.reader(made)
        assert read is not None
        return record(read, Clock(meanwhile), Quiet(), seconds, interval)


def test_what_is_recorded_is_what_happened_meanwhile(folder: Path) -> None:
    shop = Shop()
    shop.ask("/old", 10_000, 5.0, 500)  # before the recording
    parts = count(1)

    def meanwhile() -> None:
        slow = 0.05 if next(parts) != 3 else 0.5
        shop.ask("/jobs", 90, slow)
        shop.ask("/users", 9, 0.005)
        shop.ask("/users", 1, 0.005, 503)
        shop.ask("/api/health", 1000, 0.005)  # a probe, no request

    made = recording(folder, shop, meanwhile)
    assert (made.requests, made.error_share, made.seconds) == (600, pytest.approx(0.01), 60)
    assert made.routes.keys() == {"/jobs", "/users"}
    assert made.routes["/jobs"].bounds == BOUNDS and made.routes["/jobs"].counts == (0, 450, 540, 540)
    assert made.routes["/users"].counts == (60, 60, 60, 60)
    assert 0.1 < made.p95_seconds < 1.0, "the slow part is 15 % of all"
    assert made.spread_seconds is not None and made.spread_seconds > 0.3
    assert Baseline.from_json(made.to_json()) == made and made.source == "turnback baseline"


def test_parts_alike_have_no_spread_and_a_short_recording_has_five_parts(folder: Path) -> None:
    shop, readings = Shop(), count()

    def meanwhile() -> None:
        next(readings)
        shop.ask("/jobs", 40, 0.05)

    made = recording(folder, shop, meanwhile, seconds=5, interval=10)
    assert made.spread_seconds == 0 and next(readings) == 5 and made.requests == 200


def test_an_application_that_restarts_is_not_negative(folder: Path) -> None:
    shop, turns = Shop(), count()
    shop.ask("/jobs", 5000, 0.05)

    def meanwhile() -> None:
        if next(turns) == 2:
            shop.restart()
        shop.ask("/jobs", 50, 0.05)

    made = recording(folder, shop, meanwhile)
    assert made.requests == 300 and made.routes["/jobs"].counts == (0, 300, 300, 300)


@pytest.mark.parametrize("requests", [0, MIN_REQUESTS - 1])
def test_too_few_requests_are_refused_with_their_number(folder: Path, requests: int) -> None:
    shop, turns = Shop(), count()
    shop.ask("/jobs", 7, 0.05)

    def meanwhile() -> None:
        if next(turns) == 0:
            shop.ask("/jobs", requests, 0.05)

    with pytest.raises(ProbeError, match=f"^{requests} requests .* at least 100"):
        recording(folder, shop, meanwhile)


def test_metrics_without_durations_are_refused(folder: Path) -> None:
    shop = Shop(histogram=False)
    with pytest.raises(ProbeError, match=r"300 requests .* durations of 0") as e:
        recording(folder, shop, lambda: shop.ask("/jobs", 50, 0.05))
    assert "histogram" in e.value.hint


def test_metrics_that_break_while_recording_leave_nothing(folder: Path) -> None:
    shop, turns = Shop(), count()
    shop.ask("/jobs", 1, 0.05)

    def meanwhile() -> None:
        shop.ask("/jobs", 500, 0.05)
        shop.broken = next(turns) == 3

    with pytest.raises(ProbeError):
        recording(folder, shop, meanwhile)


def test_without_metrics_it_says_what_to_configure(folder: Path) -> None:
    with setup(folder, None) as made:
        with pytest.raises(UsageError, match="no metrics") as e:
            baselines.record(made, 60, Quiet())
        assert "[guard.metrics]" in e.value.hint and made.journal.records() == []


def on_postgres(journal: SqliteJournal) -> None:
    journal.append("assessed", {"plan": "p", "schema": "s"})
    for intent in ("migrate", "cutover"):
        journal.append("run_started", {"intent": intent, "options": {}}, run=intent)
        journal.append("run_ended", {"outcome": "done"}, run=intent)


def test_it_is_recorded_on_sqlite_only(folder: Path) -> None:
    shop = Shop()
    with served(shop) as url, setup(folder, url) as made:
        on_postgres(made.journal)
        with pytest.raises(UsageError, match="on_postgres"):
            baselines.record(made, 60, Quiet())


def test_the_command_keeps_it_in_the_journal(folder: Path) -> None:
    shop = Shop()
    shop.ask("/jobs", 1, 0.05)
    with served(shop) as url, setup(folder, url) as made:
        made.clock.sleep = lambda seconds: shop.ask("/jobs", 50, 0.05)  # type: ignore[method-assign]
        recorded = baselines.record(made, 1, Quiet())
        [kept] = made.journal.records(kind="baseline")
        assert kept.body == recorded.to_json() and "p95" in baselines.said(recorded)


# ---- what a cutover freezes ----


def test_a_cutover_takes_the_newest_recording_of_this_stay(folder: Path) -> None:
    journal = SqliteJournal(folder / "journal.db")
    try:
        unread = pytest.fail  # nothing is scraped where a recording is there
        journal.append("baseline", {"n": 1})
        journal.append("baseline", {"n": 2})
        assert baseline_now(journal, unread, Clock(), pytest.fail) == {"n": 2}
        journal.append("run_started", {"intent": "cutover", "options": {}}, run="c1")
        assert baseline_now(journal, unread, Clock(), pytest.fail) == {"n": 2}, "its own run is no end"
        journal.append("run_ended", {"outcome": "undone"}, run="c1")
        assert baseline_now(journal, unread, Clock(), pytest.fail) == {"n": 2}
        journal.append("run_started", {"intent": "cutover", "options": {}}, run="c2")
        journal.append("run_ended", {"outcome": "done"}, run="c2")
        assert baseline_now(journal, None, Clock(), lambda _: None) is None, "of the stay before"
    finally:
        journal.close()


def test_without_a_recording_it_takes_what_was_counted_since_the_start(folder: Path) -> None:
    shop = Shop()
    shop.ask("/jobs", 95, 0.05)
    shop.ask("/jobs", 5, 0.5, 500)
    with served(shop) as url, setup(folder, url) as made:
        frozen = baselines.baseline_now(made)
        assert frozen is not None
        read = Baseline.from_json(frozen)
        assert (read.source, read.requests, read.error_share) == (SINCE_START, 100, 0.05)
        assert read.spread_seconds is None and read.routes["/jobs"].counts == (0, 95, 100, 100)


@pytest.mark.parametrize("fault", ["few", "garbage", "gone", "not configured"])
def test_a_cutover_without_a_baseline_goes_on_and_says_why(
    folder: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop(broken=fault == "garbage")
    shop.ask("/jobs", 99, 0.05)
    with served(shop) as url, setup(folder, None if fault == "not configured" else url) as made:
        if fault == "gone":
            made.config.guard.metrics.__dict__["url"] = "http://127.0.0.1:9/metrics"
        assert baselines.baseline_now(made) is None
    said = capsys.readouterr().err
    assert said.startswith("no baseline: ") and "`latency` is off" in said
    assert fault != "few" or "99 requests" in said


def test_several_instances_count_together_since_their_start() -> None:
    from turnback.core.watch.recording import recorded, since_start

    body: Any = {
        "requests": [["/jobs", "200", 80.0, "a", ""], ["/jobs", "200", 40.0, "b", ""]],
        "latencies": [["/jobs", [0.1, "inf"], [80.0, 80.0], "a"], ["/jobs", [0.2, "inf"], [0.0, 40.0], "b"]],
        "pool": [None, None, None, None],
        "causes": [],
    }
    made = recorded([since_start(MetricsReading.from_json(body))], at="x", seconds=0, source="y")
    assert made.requests == 120 and made.routes["/jobs"].counts[-1] == 120
