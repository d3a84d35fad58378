"""What has to hold of the application as it is now, and what was seen: each check with both.

A check that fails is a failure, never a warning. What was asked for and could not be looked at is one too,
and says so; what nobody asked for is listed as that, neither passed nor failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from turnback.core.log_excerpt import masked

Group = Literal["endpoints", "page", "database", "rows", "state", "resources", "log"]
NOT_CONFIGURED = "not configured"
NOT_KNOWN = "not known"
SHOWN_LINES = 3
LINE_CHARACTERS = 200

# ---- what is asked for ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` is its path. Without a status it is a health address, judged as the guard does."""

    name: str
    url: str
    status: int | None
    contains: str | None = None


@dataclass(frozen=True, slots=True)
class StateRow:
    """One value of the application's state; `expect` None: any but NULL."""

    name: str
    query: str
    expect: str | int | float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows of `table` whose `column` is not NULL have a row in `parent`."""

    table: str
    column: str
    parent: str
    parent_column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column} -> {self.parent}.{self.parent_column}"


def reference(text: str) -> Reference:
    """Reads `TABLE.COLUMN -> TABLE.COLUMN`. Raises ValueError where it is none."""
    match = re.fullmatch(r"\s*([^.\s]+)\.([^.\s]+)\s*->\s*([^.\s]+)\.([^.\s]+)\s*", text)
    if match is None:
        raise ValueError(f"`{text}` is not of the form `TABLE.COLUMN -> TABLE.COLUMN`")
    return Reference(match[1], match[2], match[3], match[4])


@dataclass(frozen=True, slots=True)
class Expectations:
    """[validate], as values."""

    endpoints: tuple[Endpoint, ...] = ()
    page: Endpoint | None = None
    state: tuple[StateRow, ...] = ()
    orphans: tuple[Reference, ...] = ()
    max_memory_bytes: int | None = None
    max_cpu_percent: float | None = None
    log_lines: int = 100
    max_log_errors: int = 0
    log_pattern: str = r"(?i)\berror\b"


# ---- what was seen -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """To one HTTP request. `status` None: there was none; `detail` says why. `healthy`: the health check's
    own judgement, where no status was asked for.
    """

    status: int | None
    text: str
    detail: str
    seconds: float
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the application's processes that were found alive."""

    processes: int
    memory_bytes: int  # resident; what processes share is counted in each of them
    cpu_percent: float  # 100 is one core


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` None: not configured."""

    name: str
    ok: bool | None
    expected: str
    seen: str
    seconds: float
    group: Group

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "name": self.name,
            "ok": self.ok,
            "expected": self.expected,
            "seen": self.seen,
            "seconds": round(self.seconds, 3),
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Check:
        return Check(**body)


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]
    at: datetime
    side: str  # sqlite | postgres

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.ok is False)

    @property
    def passed(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.ok)

    @property
    def ok(self) -> bool:
        """Nothing failed. Where nothing was checked that is no success, but nobody asked for one."""
        return not self.failed

    def headline(self) -> str:
        skipped = len(self.checks) - len(self.passed) - len(self.failed)
        counts = f"{len(self.passed)} checks passed, {len(self.failed)} failed, {skipped} not configured"
        if not self.failed:
            return counts
        first = self.failed[0]
        return f"{counts}; {first.name}: expected {first.expected}, seen {first.seen}"

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "side": self.side,
            "at": self.at.isoformat(),
            "headline": self.headline(),
            "checks": [c.to_json() for c in self.checks],
        }


def not_configured(name: str, group: Group, key: str) -> Check:
    return Check(name, None, f"{NOT_CONFIGURED}: {key}", "", 0.0, group)


def unreadable(name: str, group: Group, expected: str, error: Exception, seconds: float) -> Check:
    """What could not be looked at did not pass. A failed query is no count of 0."""
    return Check(name, False, expected, f"{NOT_KNOWN}: {error}", seconds, group)


# ---- the judgement of each -----------------------------------------------------------------------


def judge_endpoint(endpoint: Endpoint, answer: Answer, group: Group = "endpoints") -> Check:
    """The status is the one that was asked for, and the text is in the answer."""
    if answer.healthy is not None:
        return Check(endpoint.name, answer.healthy, "healthy", answer.detail, answer.seconds, group)
    expected = str(endpoint.status)
    if endpoint.contains is not None:
        expected += f" with {endpoint.contains!r}"
    if answer.status is None:
        return Check(endpoint.name, False, expected, answer.detail, answer.seconds, group)
    right = answer.status == endpoint.status
    missing = endpoint.contains is not None and endpoint.contains not in answer.text
    seen = str(answer.status) + (f" without {endpoint.contains!r}" if missing else "")
    return Check(endpoint.name, right and not missing, expected, seen, answer.seconds, group)


def judge_tables(expected: Iterable[str], seen: Iterable[str], seconds: float) -> Check:
    """Every table that has to be there is; what came since is named, and right."""
    wanted, there = set(expected), set(seen)
    missing, more = sorted(wanted - there), sorted(there - wanted)
    told = f"{len(there)} tables"
    if missing:
        told += f", without {', '.join(missing)}"
    if more and wanted:
        told += f", also {', '.join(more)}"
    say = f"{len(wanted)} tables: {', '.join(sorted(wanted))}" if wanted else "at least one table"
    return Check("tables", bool(there) and not missing, say, told, seconds, "database")


def judge_rows(table: str, rows: int, before: int | None, seconds: float) -> Check:
    """It could be counted by reading it; how many there were says who reads this. See judge_emptied."""
    expected = "can be read to its end" + (f"; {before} at the switch" if before is not None else "")
    return Check(table, True, expected, f"{rows} rows", seconds, "rows")


def judge_emptied(now: Mapping[str, int], before: Mapping[str, int]) -> Check:
    """A database that has lost every row is another one, however well its tables answer."""
    had, has = sum(before.values()), sum(now.values())
    return Check(
        "all tables",
        has > 0 or had == 0,
        f"not empty; {had} rows at the switch",
        f"{has} rows in {len(now)} tables",
        0.0,
        "rows",
    )


def judge_state(row: StateRow, values: Sequence[tuple[object, ...]], seconds: float) -> Check:
    """The query gives one value, and it is the one (of any spelling of a number, but text is no number)."""
    expected = "any value" if row.expect is None else repr(row.expect)
    if len(values) != 1 or len(values[0]) != 1:
        seen = "no row" if not values else "more than one value"
        return Check(row.name, False, expected, seen, seconds, "state")
    value = values[0][0]
    right = value is not None if row.expect is None else value == row.expect
    return Check(row.name, right, expected, repr(value), seconds, "state")


def judge_problems(name: str, problems: Sequence[str], seconds: float, group: Group = "database") -> Check:
    seen = "ok" if not problems else "; ".join(problems[:3]) + (" ..." if len(problems) > 3 else "")
    return Check(name, not problems, "ok", seen, seconds, group)


def judge_orphans(reference: Reference, orphans: int, examples: Sequence[str], seconds: float) -> Check:
    seen = f"{orphans} orphans"
    if examples:
        seen += f": {reference.column} {', '.join(examples)}" + (" ..." if orphans > len(examples) else "")
    return Check(str(reference), orphans == 0, "0 orphans", seen, seconds, "database")


def judge_processes(usage: Usage | None, watched: bool, seconds: float) -> Check:
    """`watched`: turnback runs the application itself, so that none to be seen means none there."""
    if usage is None and not watched:
        return Check("processes", None, NOT_CONFIGURED, f"{NOT_KNOWN} on this platform", seconds, "resources")
    alive = 0 if usage is None else usage.processes
    return Check("processes", alive > 0, "at least 1", str(alive), seconds, "resources")


def judge_memory(usage: Usage | None, limit: int | None, seconds: float) -> Check:
    seen = NOT_KNOWN if usage is None else _megabytes(usage.memory_bytes)
    if limit is None:
        return Check("memory", None, f"{NOT_CONFIGURED}: max_memory_bytes", seen, seconds, "resources")
    right = usage is not None and usage.memory_bytes <= limit
    return Check("memory", right, f"at most {_megabytes(limit)}", seen, seconds, "resources")


def judge_cpu(usage: Usage | None, limit: float | None, seconds: float) -> Check:
    seen = NOT_KNOWN if usage is None else f"{usage.cpu_percent:.0f} %"
    if limit is None:
        return Check("processor", None, f"{NOT_CONFIGURED}: max_cpu_percent", seen, seconds, "resources")
    right = usage is not None and usage.cpu_percent <= limit
    return Check("processor", right, f"at most {limit:g} %", seen, seconds, "resources")


def judge_log(
    lines: Sequence[str], expectations: Expectations, since: datetime | None, bounded: str, seconds: float
) -> Check:
    """Lines with errors. One that carries a moment before `since` (with its offset) is of the time before;
    lines behind it that carry none belong to it.
    """
    errors = []
    pattern = re.compile(expectations.log_pattern)
    old = False
    for line in lines:
        moment = line_moment(line)
        if moment is not None and since is not None:
            old = moment < since
        if not old and pattern.search(line):
            errors.append(line)
    seen = f"{len(errors)} in the {bounded}"
    if errors:
        seen += ": " + " | ".join(shown_line(e) for e in errors[-SHOWN_LINES:])
    right = len(errors) <= expectations.max_log_errors
    return Check("lines with errors", right, f"at most {expectations.max_log_errors}", seen, seconds, "log")


_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,6})?\s?(?:Z|[+-]\d{2}:?\d{2})(?=\W|$)"
)


def line_moment(line: str) -> datetime | None:
    """The moment that a log line begins with, where it says which offset it means: without one it may be
    of any zone, and a line must not be passed over for a guess.
    """
    match = _MOMENT.search(line[:60])
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[0].replace(",", ".").replace(" +", "+").replace(" Z", "Z"))
    except ValueError:
        return None


def shown_line(line: str) -> str:
    """An excerpt for a report: short, and without passwords."""
    text = masked(line.strip())
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 3] + "..."


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
