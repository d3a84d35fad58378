"""timestamp, timestamptz, date <-> SQLite text or epoch integers (HAZARDS F4 to F7, R1).

The sessions pin TimeZone to UTC and DateStyle to ISO, so timestamptz arrives as "2024-03-31 02:30:00.5+00".
Infinity, years before 1 and after 9999 have no counterpart here and are refused (HAZARDS R5).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from turnback.core.codecs.protocol import Codec, flag, modifier, whole, word, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_EPOCH = datetime(1970, 1, 1)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


class TimestampText:
    """Text such as 2024-03-31T02:30:00.123Z.

    A moment is written with `fraction` digits where they hold it, else with six: so nothing is lost when
    PostgreSQL writes microseconds into a column that had milliseconds. With `fraction` 0 this is what Python
    and Django write.
    """

    __slots__ = ("_cut", "_fraction", "_longest", "_separator", "_suffix", "_whole", "_zoned")

    def __init__(self, separator: str, fraction: int, suffix: str, zoned: bool, precision: int) -> None:
        self._separator = separator
        self._fraction = fraction
        self._suffix = suffix
        self._zoned = zoned
        self._cut = len(suffix)
        self._whole = ("." + "0" * fraction if fraction else "") + suffix
        self._longest = 20 + precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a timestamp as text")
        try:
            moment = datetime.fromisoformat(value[: len(value) - self._cut])
        except ValueError:
            raise CannotCarry("text that is not a timestamp") from None
        text = _output(moment)
        if len(text) > self._longest:
            raise CannotCarry("a timestamp with more digits than the PostgreSQL type keeps")
        if self._zoned:
            text += "+00"
        # fromisoformat takes many spellings: only the one that decode writes comes back.
        if moment.tzinfo is not None or self.decode(text) != value:
            raise CannotCarry("a timestamp in a spelling that is not the column's")
        return text

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

    __slots__ = ("_longest", "_per_unit", "_truncate", "_zoned")

    def __init__(self, unit: str, zoned: bool, precision: int, truncate: bool) -> None:
        self._per_unit = 1_000_000 // _PER_SECOND[unit]  # microseconds
        self._zoned = zoned
        self._truncate = truncate
        self._longest = 20 + precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not int:
            raise wrong_class(value, "an integer since 1970")
        try:
            text = _output(_EPOCH + timedelta(0, 0, value * self._per_unit))
        except OverflowError:
            raise CannotCarry("a moment outside the years 1 to 9999: is the unit right?") from None
        if len(text) > self._longest:
            raise CannotCarry("a moment with more digits than the PostgreSQL type keeps")
        return text + "+00" if self._zoned else text

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


def _output(moment: datetime) -> str:
    """As PostgreSQL prints it: no zeros at the end of the fraction."""
    return str(moment).rstrip("0") if moment.microsecond else str(moment)


def _without_zone(text: str) -> str:
    if text[-3:] != "+00":
        raise _out_of_range()  # " BC" and infinity; the session's TimeZone is UTC
    return text[:-3]


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
