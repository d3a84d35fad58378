"""numeric <-> SQLite text that holds a decimal number: any number of digits, 1.10 stays 1.10 (HAZARDS R3)."""

from __future__ import annotations

import re
from typing import Final

from turnback.core.codecs.json_text import DIGITS_AFTER_POINT, DIGITS_BEFORE_POINT
from turnback.core.codecs.protocol import Codec, modifier, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_DECIMAL: Final = re.compile(r"(?!-0(?:\.0*)?$)-?(0|[1-9][0-9]*)(?:\.([0-9]+))?")


class DecimalText:
    """Only what PostgreSQL itself prints in that type: no plus, no exponent, no blank, no -0; with a scale
    exactly so many decimal places. NaN, and in plain numeric Infinity, are such texts, too.
    """

    __slots__ = ("_precision", "_scale")

    def __init__(self, precision: int | None, scale: int) -> None:
        self._precision = precision
        self._scale = scale

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a decimal number as text")
        if value == "NaN" or (value in ("Infinity", "-Infinity") and self._precision is None):
            return value
        match = _DECIMAL.fullmatch(value)
        if match is None:
            raise CannotCarry("text that is not a decimal number as PostgreSQL prints it")
        digits, fraction = match[1], match[2] or ""
        if self._precision is None:
            if len(digits) > DIGITS_BEFORE_POINT or len(fraction) > DIGITS_AFTER_POINT:
                raise CannotCarry("a number with more digits than numeric holds")
            return value
        self._fit(digits, fraction, self._precision)
        return value

    def _fit(self, digits: str, fraction: str, precision: int) -> None:
        """Raises CannotCarry where numeric(p,s) would round, refuse or respell it."""
        if len(fraction) != max(self._scale, 0):
            raise CannotCarry(
                f"a number without exactly {max(self._scale, 0)} decimal places, as the type has"
            )
        significant = (digits + fraction).lstrip("0")
        if self._scale < 0 and significant:
            if significant[self._scale :].strip("0"):
                raise CannotCarry("a number that the PostgreSQL type rounds")
            significant = significant[: self._scale]
        if len(significant) > precision:
            raise CannotCarry("a number with more digits than the PostgreSQL type holds")

    def decode(self, text: str) -> SqliteValue:
        return text

    def canonical(self, text: str) -> bytes:
        return text.encode()


class DecimalTextInNumeric(DecimalText):
    """A column whose affinity turns such text into a number as it is stored (HAZARDS R2)."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        raise CannotCarry("a decimal number as text in a column whose declared type makes numbers of text")

    def decode(self, text: str) -> SqliteValue:
        raise CannotCarry("a decimal number for a column whose declared type makes numbers of text")


def decimal_text(column: ColumnPlan) -> Codec:
    made = DecimalText if column.affinity in ("TEXT", "BLOB") else DecimalTextInNumeric
    match modifier(column.value_type):
        case (precision, scale):
            return made(precision, scale)
        case (precision,):
            return made(precision, 0)
    return made(None, 0)
