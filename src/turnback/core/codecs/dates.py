"""date and time <-> SQLite text (HAZARDS F6)."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from turnback.core.codecs.moments import precision_of, too_fine
from turnback.core.codecs.protocol import Codec, flag, whole, wrong_class
from turnback.core.codecs.standins import INFINITY, StandIns
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

# PostgreSQL has the end of the day, 24:00:00; it would turn a leap second into the next minute.
_TIME: Final = re.compile(
    r"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?=$|\.)|24:00:00(?=$|\.0+$))(?:\.(\d+))?", re.ASCII
)


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


class TimeText:
    """HH:MM:SS with `fraction` digits where they hold the time, else with six, as timestamps have it."""

    __slots__ = ("_fraction", "_precision")

    def __init__(self, fraction: int, precision: int) -> None:
        self._fraction = fraction
        self._precision = precision

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a time as text")
        match = _TIME.fullmatch(value)
        if match is None:
            raise CannotCarry("text that is not a time HH:MM:SS")
        whole_seconds, digits = match[1], match[2] or ""
        kept = digits.rstrip("0")
        if len(kept) > 6:
            raise CannotCarry("a time finer than a microsecond, which PostgreSQL does not keep")
        if len(kept) > self._precision:
            raise too_fine()
        text = f"{whole_seconds}.{kept}" if kept else whole_seconds
        if self.decode(text) != value:
            raise CannotCarry("a time in a spelling that is not the column's")
        return text

    def decode(self, text: str) -> SqliteValue:
        head, _, kept = text.partition(".")
        digits = self._fraction if len(kept) <= self._fraction else 6
        return f"{head}.{kept.ljust(digits, '0')}" if digits else head

    def canonical(self, text: str) -> bytes:
        return text.encode()


def date_text(column: ColumnPlan) -> Codec:
    return StandIns(DateText(), INFINITY) if flag(column, "infinity") else DateText()


def time_text(column: ColumnPlan) -> Codec:
    if "with time zone" in column.value_type or column.value_type.startswith("timetz"):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": {column.value_type}, a time without a day, is not carried',
            hint="make it time without time zone in PostgreSQL, then run `turnback assess`",
        )
    return TimeText(whole(column, "fraction", 0, least=0, most=6), precision_of(column))
