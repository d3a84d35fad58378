"""What the use cases need from the world, as Protocols. The contract stands in the docstring.

Errors are turnback.errors; an adapter translates its library's own at its edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from turnback.core.changes import CapturedTransaction, StreamMessage
from turnback.core.lsn import Lsn
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.rows import PostgresRow, SqliteRow, SqliteValue
from turnback.core.state import State
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Rules

Side = Literal["sqlite", "postgres"]


class Clock(Protocol):
    """Durations by `monotonic`, moments by `now` (UTC, aware)."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class Progress(Protocol):
    """Tells a person how far long work is. Never raises, never blocks."""

    def begin(self, what: str, total: int | None = None) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def end(self) -> None: ...


# ---- journal -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal. `body` holds JSON values only, and never a secret."""

    sequence: int
    at: datetime
    kind: str
    run: str | None
    body: Mapping[str, Any]


class Journal(Protocol):
    """Append-only; `append` returns after the record is durable. Readable while another process writes.

    `state` folds every record that is there now, of this process and of others; it is the caller's to keep.
    """

    def append(self, kind: str, body: Mapping[str, Any], *, run: str | None = None) -> Record: ...

    def records(self, *, after: int = 0, kind: str | None = None, run: str | None = None) -> list[Record]: ...

    def last(self, kind: str) -> Record | None: ...

    def state(self) -> State: ...


# ---- rows ----------------------------------------------------------------------------------------

# A table's rows as encoded for these columns, each with its key as a person reads it.
EncodedRows = Callable[[TablePlan, Sequence[ColumnPlan]], Iterator[tuple[str, PostgresRow]]]

ScanKey = tuple[SqliteValue, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    rows: list[SqliteRow]
    last: ScanKey  # where the next batch goes on: pass it as `after`


class SqliteReader(Protocol):
    """Reads one file, in one consistent state, in the column order of the plan.

    `count` stops at `at_most` rows, so that asking whether a table is large does not read it. `batches` goes
    in scan order (rowid, or the primary key of a WITHOUT ROWID table) and can be entered again behind any
    batch's `last`. `by_keys` finds rows by the plan's key columns (SQLite values).
    """

    def count(self, table: TablePlan, *, at_most: int | None = None) -> int: ...

    def batches(
        self, table: TablePlan, *, after: ScanKey | None = None, size: int = 5000
    ) -> Iterator[Batch]: ...

    def by_keys(self, table: TablePlan, keys: Sequence[SqliteRow]) -> Iterator[SqliteRow]: ...

    def close(self) -> None: ...


class PostgresReader(Protocol):
    """Reads one PostgreSQL snapshot, in the column order of the plan, as output-function text."""

    def count(self, table: TablePlan) -> int: ...

    def rows(self, table: TablePlan) -> Iterator[PostgresRow]: ...

    def by_keys(self, table: TablePlan, keys: Sequence[PostgresRow]) -> Iterator[PostgresRow]: ...

    def close(self) -> None: ...


# ---- changes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """Where the fallback stands; lives in the fallback file, in the transaction of the rows."""

    slot: str
    system_identifier: str
    timeline: int
    applied_lsn: Lsn
    commit_time_us: int  # of the last applied transaction, the server's clock, us since 2000-01-01; 0: none


@dataclass(frozen=True, slots=True)
class Keepalive:
    wal_end: Lsn
    server_time_us: int
    reply_requested: bool


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One message with the WAL position it came at."""

    wal_start: Lsn
    wal_end: Lsn
    server_time_us: int
    message: StreamMessage


class ChangeStream(Protocol):
    """One logical slot's stream, in commit order, from behind the position given at start.

    `receive` returns what has arrived, waiting at most `timeout` seconds, [] when nothing has. It raises
    ServerGone when the connection died. `acknowledge` says that everything up to `lsn` is durable.
    `keepalive` tells the server, when that is due, that its reader lives, while something large is applied.
    """

    def receive(self, timeout: float) -> list[StreamItem | Keepalive]: ...

    def acknowledge(self, lsn: Lsn) -> None: ...

    def keepalive(self) -> None: ...

    def close(self) -> None: ...


class ChangeSink(Protocol):
    """The fallback: applies whole transactions, rows and position in one SQLite transaction.

    `apply` is durable when it returns, leaves out what is already applied, and calls `heartbeat` now and
    then. Where a transaction cannot be applied, those before it are, and the error is raised:
    CannotCarry, NotReady, DiskFull or SourceError. `store_position` says that nothing is missing up to `lsn`.
    """

    folder: Path  # where what does not fit in memory may be spooled

    def position(self) -> Position: ...

    def apply(
        self, transactions: Sequence[CapturedTransaction], heartbeat: Callable[[], None] = ...
    ) -> None: ...

    def store_position(self, lsn: Lsn) -> None: ...

    def store_sequences(self, values: Mapping[str, int]) -> None: ...

    def seen_token(self, token: str) -> Lsn | None: ...

    def close(self) -> None: ...


# ---- platform, health ----------------------------------------------------------------------------


class Platform(Protocol):
    """Stops and starts the application. Every call may be repeated.

    `start` returns when the start was made, not when the application is healthy. `stop` returns when no
    process of the application is left, or raises PlatformError. `running` is what can be seen now.
    """

    name: str

    def prepare(self, side: Side) -> None: ...

    def stop(self, side: Side, *, graceful_seconds: float) -> None: ...

    def start(self, side: Side) -> None: ...

    def running(self, side: Side) -> bool: ...

    def supervise(self, side: Side) -> str | None:
        """Called about once a second by the guard: adopts or restarts; returns what it did, if anything."""

    def owned_pids(self) -> frozenset[int]:
        """The application's own processes, as far as they are known (holders that are not strangers)."""

    def describe(self, action: Literal["prepare", "stop", "start"], side: Side) -> list[str]:
        """What it would do, for --dry-run: commands or sentences, no secrets."""


@dataclass(frozen=True, slots=True)
class Health:
    ok: bool
    detail: str  # what was asked and what was answered
    seconds: float


class HealthProbe(Protocol):
    def check(self) -> Health: ...


# ---- the watch -----------------------------------------------------------------------------------


class Probe(Protocol):
    """Looks at one thing. Each has a thread of its own, so a slow one delays no other.

    `observe` returns the value of an Observation (core.watch.observation names it for each probe), within
    about `timeout_seconds`; it raises ProbeError where nothing could be read, and nothing else for anything
    that the outside does. A check that failed is a value, not an error. `close` may be called while
    `observe` is under way in another thread.
    """

    name: str
    interval_seconds: float
    timeout_seconds: float

    def observe(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class Trace(Protocol):
    """The recorded observations, bounded in size: the oldest go. May lose the last second in a crash.

    `append` raises DiskFull. `recent` gives those of the last `seconds`, in order, of this boot only; before
    them the newest situation, if it is older; it raises SourceError. So does `alerts`: all of the probe
    `alert` that are there, in order, of any boot (their `at` cannot be compared). `begin` says what decides
    from here on; `size` is in bytes.
    """

    path: Path

    @property
    def size(self) -> int: ...

    def begin(self, version: str, rules: Rules, baseline: Baseline | None) -> None: ...

    def append(self, observation: Observation) -> None: ...

    def recent(self, seconds: float) -> list[Observation]: ...

    def alerts(self) -> list[Observation]: ...

    def close(self) -> None: ...


NoticeEvent = Literal["recommend", "hold", "page", "rollback", "rolled_back", "failed", "resolved", "normal"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What the guard tells people. `key` is the same for what goes on and for its end."""

    key: str  # trigger or subject: "error-rate", "probe:metrics", "rollback"
    event: NoticeEvent
    severity: str  # critical | high | medium | low
    title: str  # one line
    text: str  # the reason, with numbers, and what to do next
    utc: datetime
    resolved: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)  # application, host, run, decision


class Notifier(Protocol):
    """One way to tell. `send` raises NoticeError; no secret stands in its message."""

    name: str

    def send(self, notice: Notice) -> None: ...

    def close(self) -> None: ...


Announce = Callable[[str], None]
