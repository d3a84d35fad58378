"""Capture: from commit in PostgreSQL to durable commit in SQLite at a steady rate, and catching up."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from benchmarks.tables import NARROW, Ground, against, ground, seconds
from turnback.adapters.clock import SystemClock
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.stream import SlotStream
from turnback.adapters.sqlite.fallback import Fallback
from turnback.app.capture import Capture
from turnback.core.changes import CapturedTransaction
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.ports import ChangeSink, Position

SLOT, PUBLICATION = "turnback_bench", "turnback_bench"
EPOCH_2000 = 946_684_800.0  # PostgreSQL's zero, in seconds since 1970
WAIT_SECONDS = 600.0
ROWS_PER_TRANSACTION = 100  # of the backlog


def run(
    *, per_second: float = 1000.0, run_seconds: float = 10.0, backlog: int = 200_000, times: int = 3
) -> dict[str, Any]:
    """Latencies in milliseconds with the rate that was reached, and rows/s of catching up.

    The floor of catching up is the server's own decoding of the same changes, read by nobody
    (pg_logical_slot_peek_binary_changes).
    """
    with ground() as place:
        path = place.file(NARROW, 0)
        plan = place.tables(NARROW)
        place.execute("ALTER TABLE narrow ADD PRIMARY KEY (id)")
        _open_up(place, plan, path)
        steady = [_steady(place, plan, path, per_second, run_seconds, n) for n in range(times)]
        pairs = [_catch_up(place, plan, path, backlog, n) for n in range(times)]
    return {
        "steady": {name: round(median(s[name] for s in steady), 2) for name in steady[0]},
        "catching_up": against(backlog, [ours for ours, _ in pairs], [floor for _, floor in pairs]),
    }


class _Timed(ChangeSink):
    """The fallback, and for each transaction the time from its commit to its being durable there."""

    def __init__(self, fallback: Fallback, ages: list[float]) -> None:
        self._fallback = fallback
        self._ages = ages
        self.folder = fallback.folder

    def apply(
        self, transactions: Sequence[CapturedTransaction], heartbeat: Callable[[], None] = lambda: None
    ) -> None:
        self._fallback.apply(transactions, heartbeat)
        now = time.time() - EPOCH_2000
        self._ages += [now - t.commit.commit_time_us / 1e6 for t in transactions]

    def position(self) -> Position:
        return self._fallback.position()

    def store_position(self, lsn: Lsn) -> None:
        self._fallback.store_position(lsn)

    def store_sequences(self, values: Mapping[str, int]) -> None:
        self._fallback.store_sequences(values)

    def seen_token(self, token: str) -> Lsn | None:
        return self._fallback.seen_token(token)

    def close(self) -> None:
        self._fallback.close()


def _open_up(place: Ground, plan: Plan, path: Path) -> None:
    with closing(connect(place.dsn)) as admin:
        slots.create_publication(admin, plan, PUBLICATION)
    with closing(slots.create_slot(place.dsn, SLOT, timeout_seconds=30)) as made:
        system = slots.identify_system(place.dsn)
        position = Position(SLOT, system.identifier, system.timeline, made.consistent_point, 0)
    Fallback.initialise(path, plan, position)


@contextmanager
def _capturing(place: Ground, plan: Plan, path: Path, ages: list[float]) -> Iterator[Capture]:
    capture = Capture(
        lambda: _Timed(Fallback(path, plan, busy_seconds=10), ages),
        lambda start: SlotStream(place.dsn, SLOT, PUBLICATION, start),
        lambda: slots.identify_system(place.dsn),
        lambda: slots.confirmed_flush(place.dsn, SLOT),
        list,
        SystemClock(),
    )
    capture.start()
    try:
        capture.wait_streaming(30)
        yield capture
    finally:
        capture.stop()


def _drain(place: Ground, capture: Capture) -> None:
    token = uuid.uuid4().hex
    with closing(psycopg.connect(place.dsn, autocommit=True)) as session:
        session.execute("SELECT pg_logical_emit_message(true, 'turnback', %s)", [token])
    if not capture.wait_for(token, Lsn(0), WAIT_SECONDS):
        raise AssertionError(f"capture did not arrive: {capture.status()}")


def _steady(
    place: Ground, plan: Plan, path: Path, per_second: float, run_seconds: float, number: int
) -> dict[str, float]:
    ages: list[float] = []
    with _capturing(place, plan, path, ages) as capture:
        # A process of its own: in this one it would wait for the interpreter's lock, and so would capture.
        words = (place.server.app_dsn(), str(per_second), str(run_seconds), str(number))
        place.execute("GRANT ALL ON narrow TO app")
        written = subprocess.run(
            [sys.executable, "-m", "benchmarks.writer"],
            input="\n".join(words),
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        _drain(place, capture)
    cuts = quantiles(ages, n=100)
    return {
        "transactions_per_second": float(written.stdout),
        "p50_ms": cuts[49] * 1000,
        "p99_ms": cuts[98] * 1000,
    }


def _catch_up(place: Ground, plan: Plan, path: Path, rows: int, number: int) -> tuple[float, float]:
    """(capture, the server's own decoding), in seconds, of the same backlog."""
    first = 1_000_000_000 * (number + 1)
    with closing(psycopg.connect(place.dsn, autocommit=True)) as session:
        for start in range(first, first + rows, ROWS_PER_TRANSACTION):
            session.execute(
                "INSERT INTO narrow SELECT i, i / 7.0, 'name ' || i, i %% 2 = 0 "
                "FROM generate_series(%s, %s) i",
                [start, min(start + ROWS_PER_TRANSACTION, first + rows) - 1],
            )
    decode = (
        f"SELECT count(*) FROM pg_logical_slot_peek_binary_changes('{SLOT}', NULL, NULL, "
        f"'proto_version', '1', 'publication_names', '{PUBLICATION}')"
    )
    floor = seconds(lambda: place.execute(decode))

    def catch_up() -> None:
        with _capturing(place, plan, path, []) as capture:
            _drain(place, capture)

    return seconds(catch_up), floor
