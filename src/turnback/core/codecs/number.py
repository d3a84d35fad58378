"""numeric <-> SQLite integers and reals in one column.

A real is written in full with a point, an integer without one, so both come back. In a column of NUMERIC or
INTEGER affinity SQLite itself keeps 5.0 as the integer 5 (documentation: datatype3, section 3), in one of
REAL affinity every number as a real: there the value alone decides, which is what numeric(p,s) needs, since
it prints 5 as 5.00 (HAZARDS F15).
"""

from __future__ import annotations

from decimal import Decimal

from turnback.core.codecs.protocol import Codec, modifier, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

LEAST = -(1 << 63)
MOST = (1 << 63) - 1

# 15 significant digits always survive decimal -> double -> shortest decimal.
SURELY_EXACT = 15


class Number:
    """Numbers in a column without a numeric affinity: the point alone tells a real from an integer.

    canonical ignores zeros at the end of the fraction: SQLite has one real for 1.1 and 1.10.
    """

    __slots__ = ("_digits", "_scale")

    def __init__(self, precision: int | None = None, scale: int | None = None) -> None:
        self._scale = scale
        self._digits = None if precision is None or scale is None else precision - scale

    def encode(self, value: SqliteValue) -> str:
        if type(value) is int:
            text = str(value)
        elif type(value) is float:
            text = _in_full(value)
        else:
            raise wrong_class(value, "an integer or a real")
        if self._scale is not None:
            text = self._fitted(text, self._scale)
        back = self.decode(text)
        if back != value or type(back) is not type(value):  # neither -0.0 nor NaN comes this far
            raise CannotCarry("a number that numeric does not give back with the same storage class and bits")
        return text

    def _fitted(self, text: str, scale: int) -> str:
        """The text as numeric(p,s) prints it: exactly `scale` digits behind the point."""
        digits, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0")
        if len(fraction) > scale:
            raise CannotCarry(f"a number with more than the {scale} decimal places of the PostgreSQL type")
        if self._digits is not None and len(digits.lstrip("-0")) > self._digits:
            raise CannotCarry("a number with more digits than the PostgreSQL type holds")
        return f"{digits}.{fraction.ljust(scale, '0')}" if scale else digits

    def decode(self, text: str) -> SqliteValue:
        return _real(text) if "." in text else _integer(text)

    def canonical(self, text: str) -> bytes:
        return (text.rstrip("0") if "." in text else text).encode()


class NumberInNumeric(Number):
    """Numbers in a column of NUMERIC or INTEGER affinity: what has an integer's value is an integer."""

    __slots__ = ()

    def decode(self, text: str) -> SqliteValue:
        whole, _, fraction = text.partition(".")
        if fraction.strip("0"):
            return _real(text)
        try:
            return _integer(whole)
        except CannotCarry:
            return _real(text)

    def canonical(self, text: str) -> bytes:
        return (text.rstrip("0").rstrip(".") if "." in text else text).encode()


class NumberInReal(NumberInNumeric):
    """Numbers in a column of REAL affinity: all are reals."""

    __slots__ = ()

    def decode(self, text: str) -> SqliteValue:
        return _real(text)


def _in_full(value: float) -> str:
    """The shortest decimal that reads back to the same double, without an exponent, always with a point."""
    text = repr(value)
    if value - value != 0.0:
        raise CannotCarry("an infinite real, which numeric does not give back")
    if text == "-0.0":
        raise CannotCarry("the real -0.0, which numeric does not give back")
    if "e" in text:
        text = format(Decimal(text), "f")
        if "." not in text:
            text += ".0"
    return text


def _integer(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise CannotCarry("a numeric value that is not a number SQLite holds") from None
    if not LEAST <= value <= MOST:
        raise CannotCarry("a whole number outside SQLite's 64 bits")
    return value


def _real(text: str) -> float:
    value = float(text)
    if len(text) > SURELY_EXACT or "N" in text or "I" in text:
        if value - value != 0.0:
            raise CannotCarry("a number that no finite double holds")
        if Decimal(repr(value)) != Decimal(text):
            raise CannotCarry("a number with more digits than a double holds")
    return value


def number(column: ColumnPlan) -> Codec:
    precision, scale = None, None
    match modifier(column.value_type):
        case (p,):
            precision, scale = p, 0
        case (p, s):
            precision, scale = p, s
    if scale is not None and (scale < 0 or scale > (precision or 0)):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": {column.value_type}, a scale that turnback does not carry',
            hint="make it numeric or double precision in PostgreSQL, then run `turnback assess`",
        )
    if column.affinity in ("NUMERIC", "INTEGER"):
        return NumberInNumeric(precision, scale)
    if column.affinity == "REAL":
        return NumberInReal(precision, scale)
    return Number(precision, scale)
