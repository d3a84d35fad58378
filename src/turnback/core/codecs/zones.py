"""Text without an offset, meant in a zone: which moment it is, and back (HAZARDS F7).

The rules come from the `tzdata` package, never from the machine: the same plan means the same moments
wherever it runs (docs/decisions/0013-zones.md).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Protocol
from zoneinfo import ZoneInfo

from turnback.core.codecs.moments import out_of_range
from turnback.errors import CannotCarry, ConfigError

_NAME = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class Clock(Protocol):
    """Naive local time <-> naive UTC. Both raise CannotCarry where there is no exact counterpart."""

    def to_utc(self, local: datetime) -> datetime: ...

    def to_local(self, utc: datetime) -> datetime: ...


class FixedOffset:
    """Local time is always so much ahead of UTC."""

    __slots__ = ("_ahead",)

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def to_utc(self, local: datetime) -> datetime:
        try:
            return local - self._ahead
        except OverflowError:
            raise out_of_range() from None

    def to_local(self, utc: datetime) -> datetime:
        try:
            return utc + self._ahead
        except OverflowError:
            raise out_of_range() from None


class ZoneClock:
    """A zone with its history of offsets.

    A time that the clocks skipped is refused. A time that they showed twice means the first pass; the second
    pass has no text of its own and is refused on the way back.
    """

    __slots__ = ("_name", "_zone")

    def __init__(self, name: str) -> None:
        self._name = name
        self._zone = zone(name)

    def to_utc(self, local: datetime) -> datetime:
        try:
            utc = local.replace(tzinfo=self._zone).astimezone(UTC)
            shown = utc.astimezone(self._zone)
        except OverflowError:
            raise out_of_range() from None
        if shown.replace(tzinfo=None) != local:
            raise CannotCarry(f"a time that does not exist in {self._name}: the clocks skip it")
        return utc.replace(tzinfo=None)

    def to_local(self, utc: datetime) -> datetime:
        try:
            local = utc.replace(tzinfo=UTC).astimezone(self._zone)
        except OverflowError:
            raise out_of_range() from None
        if local.fold:
            raise CannotCarry(
                f"a time that {self._name} has twice, the second one: text without an offset means the first"
            )
        return local.replace(tzinfo=None)


@cache
def zone(name: str) -> ZoneInfo:
    """The zone's rules. Raises ConfigError: there is no such zone."""
    try:
        if _NAME.fullmatch(name):
            with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as rules:
                return ZoneInfo.from_file(rules, key=name)
    except (OSError, ValueError):
        pass  # a folder such as "Europe", or a file that is not a zone
    raise ConfigError(
        f'there is no time zone "{name}"',
        hint='zones have the IANA names: "UTC", "Europe/Berlin", "America/New_York"',
    )
