"""timestamp, timestamptz, date <-> SQLite text or epoch integers (HAZARDS F4 to F7, R1).

The sessions pin TimeZone to UTC and DateStyle to ISO, so timestamptz arrives as "2024-03-31 02:30:00.5+00".
Infinity, years before 1 and after 9999 have no counterpart here and are refused (HAZARDS R5).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

from turnback.core.codecs.protocol import Codec, flag, modifier, whole, word, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_EPOCH = datetime(1970, 1, 1)
_MINUTES = tuple(f"{m // 60:02}:{m % 60:02}:" for m in range(1440))
_SECONDS = tuple(f"{s:02}" for s in range(60))
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


class TimestampText:
    """Text such as 2024-03-31T02:30:00.123Z.

    A moment is written with `fraction` digits where they hold it, else with six: so nothing is lost when
    PostgreSQL writes microseconds into a column that had milliseconds. With `fraction` 0 this is what Python
    and Django write.
    """

    __slots__ = ("_cut", "_fraction", "_precision", "_separator", "_suffix", "_whole", "_zone", "_zoned")

    def __init__(self, separator: str, fraction: int, suffix: str, zoned: bool, precision: int) -> None:
        self._separator = separator
        self._fraction = fraction
        self._suffix = suffix
        self._zoned = zoned
        self._zone = "+00" if zoned else ""
        self._cut = len(suffix)
        self._whole = ("." + "0" * fraction if fraction else "") + suffix
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a timestamp as text")
        head = value[:19]
        try:
            datetime.fromisoformat(head)  # is there such a day, and such a time?
        except ValueError:
            raise CannotCarry("text that is not a timestamp") from None
        # fromisoformat takes more spellings, and from Python 3.13 on the hour 24.
        if head[4:8:3] != "--" or head[13:17:3] != "::" or head[10] != self._separator or head[11:13] == "24":
            raise _other_spelling()
        text = head[:10] + " " + head[11:] + self._zone
        if value[19:] == self._whole:
            return text
        digits = value[20 : len(value) - self._cut]
        kept = digits.rstrip("0")
        if (
            value[19:20] != "."
            or not (digits.isascii() and digits.isdecimal() and value.endswith(self._suffix))
            or len(digits) != (self._fraction if len(kept) <= self._fraction else 6)
        ):
            raise _other_spelling()
        if len(kept) > self._precision:
            raise CannotCarry("a timestamp with more digits than the PostgreSQL type keeps")
        return f"{head[:10]} {head[11:]}.{kept}{self._zone}"

    def decode(self, text: str) -> SqliteValue:
        if self._zoned:
            text = _without_zone(text)
        if text[10:11] != " ":
            raise _out_of_range()
        if len(text) == 19:
            return text[:10] + self._separator + text[11:] + self._whole
        if text[19] != "." or text[-1] == "C":  # "... BC"
            raise _out_of_range()
        digits = self._fraction if len(text) - 20 <= self._fraction else 6
        return text[:10] + self._separator + text[11:].ljust(9 + digits, "0") + self._suffix

    def canonical(self, text: str) -> bytes:
        return text.encode()


class Epoch:
    """Integers since 1970-01-01 UTC, in seconds, milliseconds or microseconds.

    A moment between two units is refused, unless the plan says `truncate`: then it counts, in decode and in
    canonical, as the unit that it lies in.
    """

    __slots__ = ("_longest", "_per_unit", "_truncate", "_zone", "_zoned")

    def __init__(self, unit: str, zoned: bool, precision: int, truncate: bool) -> None:
        self._per_unit = 1_000_000 // _PER_SECOND[unit]  # microseconds
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
            raise CannotCarry("a moment outside the years 1 to 9999: is the unit right?") from None
        if micro:
            text += f".{micro:06}".rstrip("0")
            if len(text) > self._longest:
                raise CannotCarry("a moment with more digits than the PostgreSQL type keeps")
        return text + self._zone

    def decode(self, text: str) -> SqliteValue:
        count, rest = divmod(self._microseconds(text), self._per_unit)
        if rest and not self._truncate:
            raise CannotCarry("a timestamp finer than the unit of the SQLite column")
        return count

    def canonical(self, text: str) -> bytes:
        if not self._truncate:
            return text.encode()
        try:
            return str(self._microseconds(text) // self._per_unit).encode()
        except CannotCarry:
            return text.encode()  # out of range: differs from every number

    def _microseconds(self, text: str) -> int:
        if self._zoned:
            text = _without_zone(text)
        try:
            since = datetime.fromisoformat(text) - _EPOCH
        except (ValueError, TypeError):
            raise _out_of_range() from None
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class DateText:
    """YYYY-MM-DD."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a date as text")
        try:
            if str(date.fromisoformat(value)) == value:
                return value
        except ValueError:
            pass
        raise CannotCarry("text that is not a date YYYY-MM-DD")

    def decode(self, text: str) -> SqliteValue:
        if len(text) != 10 or text[4] != "-":
            raise CannotCarry("infinity, or a date outside the years 1 to 9999")
        return text

    def canonical(self, text: str) -> bytes:
        return text.encode()


@lru_cache(maxsize=65_536)
def _day(number: int) -> str:
    """The day, counted from 1970-01-01, with a blank behind it. Raises OverflowError."""
    return f"{_EPOCH.date() + timedelta(number)} "


def _without_zone(text: str) -> str:
    if text[-3:] != "+00":
        raise _out_of_range()  # " BC" and infinity; the session's TimeZone is UTC
    return text[:-3]


def _other_spelling() -> CannotCarry:
    return CannotCarry("a timestamp in a spelling that is not the column's")


def _out_of_range() -> CannotCarry:
    return CannotCarry("infinity, or a timestamp outside the years 1 to 9999")


def timestamp_text(column: ColumnPlan) -> Codec:
    return TimestampText(
        separator=word(column, "separator", (" ", "T")),
        fraction=whole(column, "fraction", 0, least=0, most=6),
        suffix=word(column, "suffix", ("", "Z", "+00:00")),
        zoned=flag(column, "zoned"),
        precision=_precision(column),
    )


def epoch(column: ColumnPlan) -> Codec:
    return Epoch(
        unit=word(column, "unit", ("s", "ms", "us")),
        zoned=flag(column, "zoned"),
        precision=_precision(column),
        truncate=flag(column, "truncate"),
    )


def date_text(column: ColumnPlan) -> Codec:
    return DateText()


def _precision(column: ColumnPlan) -> int:
    """Digits of the fraction that the PostgreSQL type keeps."""
    return (modifier(column.pg_type) or (6,))[0]
