"""timestamp, timestamptz <-> SQLite text (HAZARDS F6, F7)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from turnback.core.codecs.moments import out_of_range, parsed, precision_of, printed, too_fine, without_zone
from turnback.core.codecs.protocol import Codec, bad_option, flag, whole, word, wrong_class
from turnback.core.codecs.standins import INFINITY, StandIns
from turnback.core.codecs.zones import Clock, FixedOffset, ZoneClock
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

# What may stand behind a time: nothing, Z, an offset; a blank before it, and Go's "+0000 UTC".
_SUFFIX: Final = r"(?: ?(?:Z|UTC|[+-]00:?00 UTC|[+-](?:0\d|1[0-5])(?::?[0-5]\d(?::?[0-5]\d)?)?))?"
_IS_SUFFIX: Final = re.compile(_SUFFIX, re.ASCII)
_MOMENT: Final = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)[ Tt](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?({_SUFFIX}|z)", re.ASCII
)
_UTC: Final = FixedOffset(timedelta(0))


class TimestampText:
    """Text such as 2024-03-31T02:30:00.123Z: the same digits on both sides.

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
            raise _finer_than_microseconds() if len(kept) > 6 and kept.isdecimal() else _other_spelling()
        if len(kept) > self._precision:
            raise too_fine()
        return f"{head[:10]} {head[11:]}.{kept}{self._zone}"

    def decode(self, text: str) -> SqliteValue:
        return self.spelled(text)

    def spelled(self, text: str) -> str:
        if self._zoned:
            text = without_zone(text)
        if text[10:11] != " ":
            raise out_of_range()
        if len(text) == 19:
            return text[:10] + self._separator + text[11:] + self._whole
        if text[19] != "." or text[-1] == "C":  # "... BC"
            raise out_of_range()
        digits = self._fraction if len(text) - 20 <= self._fraction else 6
        return text[:10] + self._separator + text[11:].ljust(9 + digits, "0") + self._suffix

    def canonical(self, text: str) -> bytes:
        return text.encode()


class LocalText:
    """The same spelling of another clock than UTC's: a fixed offset behind each value, or a zone for all.
    Into timestamptz.
    """

    __slots__ = ("_clock", "_plain", "_precision")

    def __init__(self, plain: TimestampText, clock: Clock, precision: int) -> None:
        self._plain = plain  # without zone: it reads and writes the local digits
        self._clock = clock
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        local = datetime.fromisoformat(self._plain.encode(value))
        return printed(self._clock.to_utc(local), self._precision) + "+00"

    def decode(self, text: str) -> SqliteValue:
        return self._plain.spelled(printed(self._clock.to_local(parsed(text, zoned=True)), 6))

    def canonical(self, text: str) -> bytes:
        return text.encode()


class OffsetInTimestamp:
    """An offset, and a type that keeps none: nothing says whether the digits or the moment are meant."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        raise CannotCarry("a time with an offset from UTC, which timestamp without time zone does not keep")

    def decode(self, text: str) -> SqliteValue:
        raise CannotCarry("a time without time zone where the SQLite column has offsets from UTC")

    def canonical(self, text: str) -> bytes:
        return text.encode()


class RespelledText:
    """Any ISO 8601 spelling of a moment, by choice. What PostgreSQL writes anew gets the column's own.

    Text without an offset means UTC, or the column's zone; into timestamp only text without an offset, or
    with that of UTC, goes.
    """

    __slots__ = ("_clock", "_own", "_precision", "_zone", "_zoned")

    def __init__(self, own: Codec, clock: Clock, zoned: bool, precision: int) -> None:
        self._own = own
        self._clock = clock
        self._zoned = zoned
        self._zone = "+00" if zoned else ""
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a timestamp as text")
        match = _MOMENT.fullmatch(value)
        if match is None:
            raise CannotCarry("text that is not a timestamp")
        day, time, digits, suffix = match.groups()
        if digits and len(digits) > 6:
            raise _finer_than_microseconds()
        try:
            local = datetime.fromisoformat(f"{day} {time}")
        except ValueError:
            raise CannotCarry("text that is not a timestamp") from None
        if time[:2] == "24" or (digits and len(time) == 5):
            raise CannotCarry("text that is not a timestamp")
        local += timedelta(microseconds=int((digits or "").ljust(6, "0")))
        text = printed(self._utc(local, suffix), self._precision) + self._zone
        self._own.decode(text)  # refuses what the column's own spelling cannot say
        return text

    def _utc(self, local: datetime, suffix: str) -> datetime:
        if not suffix:
            return self._clock.to_utc(local)
        ahead = _offset(suffix)
        if ahead and not self._zoned:
            raise CannotCarry(
                "a time with an offset from UTC, which timestamp without time zone does not keep"
            )
        return FixedOffset(ahead).to_utc(local)

    def decode(self, text: str) -> SqliteValue:
        return self._own.decode(text)

    def canonical(self, text: str) -> bytes:
        return text.encode()


def _offset(suffix: str) -> timedelta:
    """How far local time is ahead of UTC, by what stands behind it."""
    digits = re.sub(r"\D", "", suffix).ljust(6, "0")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return -ahead if "-" in suffix else ahead


def _other_spelling() -> CannotCarry:
    return CannotCarry("a timestamp in a spelling that is not the column's")


def _finer_than_microseconds() -> CannotCarry:
    return CannotCarry("a timestamp finer than a microsecond, which PostgreSQL does not keep")


def timestamp_text(column: ColumnPlan) -> Codec:
    """Raises ConfigError: an option that is none, a zone without timestamptz or beside an offset."""
    separator = word(column, "separator", (" ", "T"))
    fraction = whole(column, "fraction", 0, least=0, most=6)
    suffix = column.options.get("suffix", "")
    if not isinstance(suffix, str) or not _IS_SUFFIX.fullmatch(suffix):
        raise bad_option(column, "suffix", '"", "Z" or an offset such as "+02:00"')
    zoned = flag(column, "zoned")
    zone = column.options.get("zone", "")
    if not isinstance(zone, str) or (zone and (suffix or not zoned)):
        raise bad_option(
            column, "zone", "absent where the type is without time zone or the text has an offset"
        )
    precision = precision_of(column)
    ahead = _offset(suffix)
    clock: Clock = ZoneClock(zone) if zone else _UTC

    made: Codec
    if zone or (ahead and zoned):
        plain = TimestampText(separator, fraction, suffix, zoned=False, precision=precision)
        made = LocalText(plain, ZoneClock(zone) if zone else FixedOffset(ahead), precision)
    elif ahead:
        made = OffsetInTimestamp()
    else:
        made = TimestampText(separator, fraction, suffix, zoned, precision)
    if flag(column, "respell"):
        made = RespelledText(made, clock, zoned, precision)
    return StandIns(made, INFINITY) if flag(column, "infinity") else made
