"""interval <-> SQLite integers, or the text of a moment that far from 1970 (HAZARDS R5).

Days have 24 hours, as PostgreSQL's own comparison has them: '24:00:00' and '1 day' are one value. Months have
no length: an interval with months is refused, and so is infinity.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from turnback.core.codecs.moments import EPOCH, MICROSECOND
from turnback.core.codecs.protocol import Codec, modifier, word, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

_DAY: Final = 86_400_000_000  # microseconds
_MOST_DAYS: Final = (1 << 31) - 1
_MOST_INTEGER: Final = (1 << 63) - 1
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}  # in one unit
# What intervalstyle postgres prints; years and months are left out on purpose.
_PRINTED: Final = re.compile(
    r"(?=.)(?:(-?\d+) days?)?(?:(?:^| )([+-]?)(\d{2,}):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?", re.ASCII
)
_TYPE: Final = re.compile(r"interval ?(?:\(\d\))?", re.ASCII)


class Interval:
    """Integers of one unit: Django's durations on SQLite are microseconds."""

    __slots__ = ("_per_unit", "_precision")

    def __init__(self, unit: str, precision: int) -> None:
        self._per_unit = _MICROSECONDS[unit]
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not int:
            raise wrong_class(value, "an integer")
        return _printed(value * self._per_unit, self._precision)

    def decode(self, text: str) -> SqliteValue:
        count, rest = divmod(_length(text), self._per_unit)
        if rest:
            raise CannotCarry("an interval finer than the unit of the SQLite column")
        if not -_MOST_INTEGER - 1 <= count <= _MOST_INTEGER:
            raise CannotCarry("an interval longer than SQLite's 64 bits hold")
        return count

    def canonical(self, text: str) -> bytes:
        return _canonical(text)


class IntervalFromEpoch:
    """'1970-01-01 00:00:00.014649' is 14.649 ms: what SQLAlchemy's Interval writes into SQLite."""

    __slots__ = ("_precision",)

    def __init__(self, precision: int) -> None:
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "text that counts from 1970-01-01")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is not None or _spelled(moment) != value:
            raise CannotCarry("text that is not 1970-01-01 00:00:00.000000 or so far from it")
        return _printed((moment - EPOCH) // MICROSECOND, self._precision)

    def decode(self, text: str) -> SqliteValue:
        try:
            return _spelled(EPOCH + _length(text) * MICROSECOND)
        except OverflowError:
            raise CannotCarry("an interval that leads out of the years 1 to 9999 from 1970") from None

    def canonical(self, text: str) -> bytes:
        return _canonical(text)


def _spelled(moment: datetime) -> str:
    return moment.isoformat(" ", "microseconds")


def _printed(length: int, precision: int) -> str:
    """So many microseconds as PostgreSQL prints days and a time of one sign. Raises CannotCarry."""
    sign = "-" if length < 0 else ""
    days, time = divmod(abs(length), _DAY)
    if days > _MOST_DAYS:
        raise CannotCarry("an interval longer than PostgreSQL's: is the unit right?")
    seconds, micro = divmod(time, 1_000_000)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if micro:
        digits = f"{micro:06}".rstrip("0")
        if len(digits) > precision:
            raise CannotCarry("an interval with more digits than the PostgreSQL type keeps")
        text += f".{digits}"
    if not days:
        return text
    return f"{sign}{days} day{'' if days == 1 and not sign else 's'}" + (f" {text}" if time else "")


def _length(text: str) -> int:
    """Microseconds of an interval that PostgreSQL printed. Raises CannotCarry."""
    match = _PRINTED.fullmatch(text)
    if match is None:
        raise CannotCarry("an interval with months or years, which have no length, or infinity")
    days, sign, hours, minutes, seconds, digits = match.groups(default="0")
    time = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000 + int(digits.ljust(6, "0"))
    return int(days) * _DAY + (-time if sign == "-" else time)


def _canonical(text: str) -> bytes:
    try:
        return str(_length(text)).encode()
    except CannotCarry:
        return text.encode()  # differs from every number


def interval(column: ColumnPlan) -> Codec:
    if not _TYPE.fullmatch(column.value_type.lower()):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": {column.value_type} cuts off parts of an interval',
            hint="make it interval in PostgreSQL, then run `turnback assess`",
        )
    precision = (modifier(column.value_type) or (6,))[0]
    form = word(column, "form", ("us", "ms", "s", "epoch_text"))
    return IntervalFromEpoch(precision) if form == "epoch_text" else Interval(form, precision)
