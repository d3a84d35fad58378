"""The lines of the application's log around a moment, and what must not be shown of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo

MOST_LINES = 30
BEFORE = timedelta(seconds=120)
AFTER = timedelta(seconds=10)

_TIME = re.compile(
    r"^\W{0,2}(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)
_IN_URL = re.compile(r"(\w://[^\s:/@]*:)[^\s@]+@")
_BY_NAME = re.compile(
    r"(?i)\b([\w-]*(?:password|passwd|secret|token|api_?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def masked(line: str) -> str:
    """Without passwords of URLs, `password=...` and the like, and bearer tokens; on one line, as text."""
    line = _IN_URL.sub(r"\1***@", line.rstrip("\r\n"))
    line = _BY_NAME.sub(r"\1***", line)
    return _UNSEEN.sub("\ufffd", _BEARER.sub(r"\1 ***", line))


def moment(line: str, local: tzinfo) -> datetime | None:
    """The time at the begin of a line, ISO 8601 or what Python's logging writes; without a zone: `local`."""
    found = _TIME.match(line)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0').ljust(6, '0')}")
        if zone is None:
            return at.replace(tzinfo=local)
        return datetime.fromisoformat(at.isoformat() + ("+00:00" if zone in ("Z", "UTC") else zone))
    except ValueError:
        return None


def around(lines: Iterable[str], at: datetime, local: tzinfo) -> tuple[list[str], str] | None:
    """Up to MOST_LINES before and after `at`, with a sentence of where they are from.

    A line without a time (a traceback) belongs to the one before it. None where no line has a time.
    """
    dated: list[tuple[datetime, str]] = []
    last: datetime | None = None
    for line in lines:
        last = moment(line, local) or last
        if last is not None:
            dated.append((last, line))
    if not dated:
        return None
    chosen = [(t, line) for t, line in dated if at - BEFORE <= t <= at + AFTER]
    if not chosen:
        said = f"the log's lines are from {_clock(dated[0][0])} to {_clock(dated[-1][0])}: none is near"
        return [], said
    chosen = chosen[-MOST_LINES:]
    return [masked(line) for _, line in chosen], (
        f"the file's lines from {_clock(chosen[0][0])} to {_clock(chosen[-1][0])}"
    )


def newest(lines: Sequence[str]) -> list[str]:
    """The last MOST_LINES, as they may be shown."""
    return [masked(line) for line in lines[-MOST_LINES:]]


def _clock(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
