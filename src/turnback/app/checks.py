"""The application as it is now, looked at from outside: endpoints, page, database, resources, log.

Each check says what it expected and what it saw. An error of what is looked at is a failed check, so that one
look shows everything that is wrong; only what is no fault of the application's is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from turnback.core.plan import Plan
from turnback.core.validation import (
    Answer,
    Check,
    Endpoint,
    Expectations,
    Group,
    Reference,
    Usage,
    judge_cpu,
    judge_emptied,
    judge_endpoint,
    judge_log,
    judge_memory,
    judge_orphans,
    judge_problems,
    judge_processes,
    judge_rows,
    judge_state,
    judge_tables,
    not_configured,
    unreadable,
)
from turnback.errors import TurnbackError
from turnback.ports import Clock, Platform, Side

CPU_SECONDS = 0.5
GLANCE_SECONDS = 0.1  # where the processor's time is shown only

Mark = Mapping[str, Any]  # where a log stood; JSON


class CountedTables(Protocol):
    """A database as the application has it now. Every call opens and closes its own session, read-only.

    Raises SourceError or ServerError where it cannot be read.
    """

    def tables(self) -> Sequence[str]: ...

    def count(self, table: str) -> int:
        """By reading the table itself, not an index of it."""


class CheckedFile(CountedTables, Protocol):
    """The application's SQLite file."""

    def malformed(self) -> Sequence[str]:
        """PRAGMA integrity_check."""

    def dangling(self, plan: Plan | None) -> Sequence[str]:
        """PRAGMA foreign_key_check, of what PostgreSQL demands too; without a plan all of it."""

    def orphans(self, reference: Reference) -> tuple[int, Sequence[str]]:
        """How many rows refer to nothing, and the first values that do."""

    def values(self, query: str) -> Sequence[tuple[object, ...]]:
        """The first rows (two are enough) of a query that cannot write and does not run for ever."""


class Log(Protocol):
    """The application's log. Raises SourceError where it cannot be read."""

    def mark(self) -> Mark:
        """Where its end is now."""

    def tail(self, since: Mark | None, lines: int) -> Sequence[str]:
        """The last `lines` lines, of those written after the mark."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier moment tells. `tables`: those that have to be there, by the side's names; `rows`: how
    many there were at the switch; `log`: where the log stood when the application was started on this
    side, `started_at` when that was.
    """

    tables: tuple[str, ...] = ()
    rows: Mapping[str, int] | None = None
    log: Mark | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checks:
    expectations: Expectations
    ask: Callable[[Endpoint], Answer]
    file: CheckedFile
    server: Callable[[], CountedTables]
    usage: Callable[[frozenset[int], float], Usage | None]  # raises PlatformError
    kept_tables: Callable[[], Sequence[str]]  # of the fenced original; none: it is not there
    log: Log | None
    platform: Platform
    clock: Clock

    def quick(self, side: Side, known: Known) -> list[Check]:
        """What takes no reading of whole tables: the application may be waiting for it."""
        return [
            *self.endpoints(),
            self.page(),
            *self.state(side),
            *self.resources(),
            self.errors_in_log(known),
        ]

    def thorough(self, side: Side, plan: Plan | None, known: Known) -> list[Check]:
        """The database itself, every table read."""
        if side == "postgres":
            return self._counted(self.server(), known)
        return [*self.sound(plan), *self.counted(known), *self.orphans()]

    # ---- over HTTP ----

    def endpoints(self) -> list[Check]:
        wanted = self.expectations.endpoints
        if not wanted:
            return [not_configured("endpoints", "endpoints", "[validate] endpoints, [app] health")]
        return [judge_endpoint(e, self.ask(e)) for e in wanted]

    def page(self) -> Check:
        page = self.expectations.page
        if page is None:
            return not_configured("page", "page", "[validate] page, marker")
        return judge_endpoint(page, self.ask(page), "page")

    # ---- the database ----

    def sound(self, plan: Plan | None) -> list[Check]:
        """SQLite's own two checks, of the whole file."""
        return [
            self._problems("integrity_check", self.file.malformed),
            self._problems("foreign_key_check", lambda: self.file.dangling(plan)),
        ]

    def counted(self, known: Known) -> list[Check]:
        """The tables of the SQLite file are there, and each can be read to its end."""
        return self._counted(self.file, known)

    def _counted(self, database: CountedTables, known: Known) -> list[Check]:
        checks: list[Check] = []
        there: Sequence[str] = ()
        with self._looking("tables", "database", "the database answers a query", checks) as seconds:
            there = database.tables()
            checks.append(judge_tables(known.tables, there, seconds()))
        before = known.rows or {}
        counts: dict[str, int] = {}
        for table in sorted(there):
            with self._looking(table, "rows", "can be read to its end", checks) as seconds:
                counts[table] = database.count(table)
                checks.append(judge_rows(table, counts[table], before.get(table), seconds()))
        if known.rows is not None and len(counts) == len(there):
            checks.append(judge_emptied(counts, before))
        return checks

    def state(self, side: Side) -> list[Check]:
        rows = self.expectations.state
        if not rows or side == "postgres":
            why = "[validate.state]" if not rows else "[validate.state] has queries for SQLite"
            return [not_configured("application state", "state", why)]
        checks: list[Check] = []
        for row in rows:
            expected = "any value" if row.expect is None else repr(row.expect)
            with self._looking(row.name, "state", expected, checks) as seconds:
                checks.append(judge_state(row, self.file.values(row.query), seconds()))
        return checks

    def orphans(self) -> list[Check]:
        wanted = self.expectations.orphans
        if not wanted:
            return [not_configured("orphans", "database", "[validate] orphans")]
        checks: list[Check] = []
        for reference in wanted:
            with self._looking(str(reference), "database", "0 orphans", checks) as seconds:
                number, examples = self.file.orphans(reference)
                checks.append(judge_orphans(reference, number, examples, seconds()))
        return checks

    def _problems(self, name: str, look: Callable[[], Sequence[str]]) -> Check:
        checks: list[Check] = []
        with self._looking(name, "database", "ok", checks) as seconds:
            checks.append(judge_problems(name, look(), seconds()))
        return checks[0]

    # ---- the machine ----

    def resources(self) -> list[Check]:
        wanted = self.expectations
        checks: list[Check] = []
        with self._looking("processes", "resources", "can be looked at", checks) as seconds:
            sample = GLANCE_SECONDS if wanted.max_cpu_percent is None else CPU_SECONDS
            usage = self.usage(self.platform.owned_pids(), sample)
            checks += (
                judge_processes(usage, self.platform.name == "process", seconds()),
                judge_memory(usage, wanted.max_memory_bytes, 0.0),
                judge_cpu(usage, wanted.max_cpu_percent, 0.0),
            )
        return checks

    def errors_in_log(self, known: Known) -> Check:
        wanted = self.expectations
        if self.log is None or wanted.log_lines == 0:
            return not_configured("lines with errors", "log", "[guard.log] path, [validate] log_lines")
        checks: list[Check] = []
        with self._looking("lines with errors", "log", f"at most {wanted.max_log_errors}", checks) as seconds:
            lines = self.log.tail(known.log, wanted.log_lines)
            bounded = f"{len(lines)} last lines" + (" since the start" if known.log is not None else "")
            checks.append(judge_log(lines, wanted, known.started_at, bounded, seconds()))
        return checks[0]

    @contextmanager
    def _looking(
        self, name: str, group: Group, expected: str, checks: list[Check]
    ) -> Iterator[Callable[[], float]]:
        """What cannot be looked at is a failed check in `checks`."""
        began = self.clock.monotonic()
        try:
            yield lambda: self.clock.monotonic() - began
        except TurnbackError as e:
            checks.append(unreadable(name, group, expected, e, self.clock.monotonic() - began))
