"""timestamp, timestamptz <-> numbers since 1970-01-01 UTC (HAZARDS F4, R1)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from turnback.core.codecs.moments import EPOCH, MICROSECOND, parsed, precision_of, printed, too_fine
from turnback.core.codecs.protocol import Codec, flag, word, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_MINUTES = tuple(f"{m // 60:02}:{m % 60:02}:" for m in range(1440))
_SECONDS = tuple(f"{s:02}" for s in range(60))
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}  # in one unit


class Epoch:
    """Integers: seconds, milliseconds or microseconds.

    A moment between two units is refused, unless the plan says `truncate`: then it counts, in decode and in
    canonical, as the unit that it lies in.
    """

    __slots__ = ("_longest", "_per_unit", "_truncate", "_zone", "_zoned")

    def __init__(self, unit: str, zoned: bool, precision: int, truncate: bool) -> None:
        self._per_unit = _MICROSECONDS[unit]
        self._zoned = zoned
        self._zone = "+00" if zoned else ""
        self._truncate = truncate
        self._longest = 20 + precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not int:
            raise wrong_class(value, "an integer since 1970")
        seconds, micro = divmod(value * self._per_unit, 1_000_000)
        day, second = divmod(seconds, 86_400)
        try:
            text = _day(day) + _MINUTES[second // 60] + _SECONDS[second % 60]
        except OverflowError:
            raise _unit_wrong() from None
        if micro:
            text += f".{micro:06}".rstrip("0")
            if len(text) > self._longest:
                raise too_fine()
        return text + self._zone

    def decode(self, text: str) -> SqliteValue:
        count, rest = divmod(_since_1970(text, self._zoned), self._per_unit)
        if rest and not self._truncate:
            raise CannotCarry("a timestamp finer than the unit of the SQLite column")
        return count

    def canonical(self, text: str) -> bytes:
        if not self._truncate:
            return text.encode()
        try:
            return str(_since_1970(text, self._zoned) // self._per_unit).encode()
        except CannotCarry:
            return text.encode()  # out of range: differs from every number


class EpochReal:
    """Reals: seconds or milliseconds, whose shortest decimal is a whole number of microseconds.

    What time.time() gives is finer than that (2^-22 s in these years) and mostly refused. `numeric`: the
    column's affinity keeps reals with an integer's value as integers.
    """

    __slots__ = ("_numeric", "_per_unit", "_precision", "_zone", "_zoned")

    def __init__(self, unit: str, zoned: bool, precision: int, numeric: bool) -> None:
        self._per_unit = _MICROSECONDS[unit]
        self._zoned = zoned
        self._zone = "+00" if zoned else ""
        self._precision = precision
        self._numeric = numeric

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not float and not (self._numeric and type(value) is int):
            raise wrong_class(value, "a real since 1970")
        assert isinstance(value, (float, int))
        if value - value != 0:
            raise CannotCarry("infinity, which is no moment")
        count = Decimal(repr(value)) * self._per_unit
        if count != count.to_integral_value():
            raise CannotCarry("a moment finer than a microsecond, which PostgreSQL does not keep")
        try:
            text = printed(EPOCH + int(count) * MICROSECOND, self._precision) + self._zone
        except OverflowError:
            raise _unit_wrong() from None
        back = self.decode(text)
        if repr(back) != repr(value):  # -0.0 too
            raise CannotCarry("a real that does not come back bit for bit")
        return text

    def decode(self, text: str) -> SqliteValue:
        count = _since_1970(text, self._zoned)
        value = count / self._per_unit  # integers divide to the nearest double
        if Decimal(repr(value)) * self._per_unit != count:
            raise CannotCarry("a moment that a real does not hold to the microsecond")
        return int(value) if self._numeric and value.is_integer() else value

    def canonical(self, text: str) -> bytes:
        return text.encode()


@lru_cache(maxsize=65_536)
def _day(number: int) -> str:
    """The day, counted from 1970-01-01, with a blank behind it. Raises OverflowError."""
    return f"{EPOCH.date() + timedelta(number)} "


def _since_1970(text: str, zoned: bool) -> int:
    """Microseconds. Raises CannotCarry."""
    since: timedelta = parsed(text, zoned=zoned) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _unit_wrong() -> CannotCarry:
    return CannotCarry("a moment outside the years 1 to 9999: is the unit right?")


def epoch(column: ColumnPlan) -> Codec:
    return Epoch(
        unit=word(column, "unit", ("s", "ms", "us")),
        zoned=flag(column, "zoned"),
        precision=precision_of(column),
        truncate=flag(column, "truncate"),
    )


def epoch_real(column: ColumnPlan) -> Codec:
    return EpochReal(
        unit=word(column, "unit", ("s", "ms")),
        zoned=flag(column, "zoned"),
        precision=precision_of(column),
        numeric=column.affinity in ("NUMERIC", "INTEGER"),
    )
