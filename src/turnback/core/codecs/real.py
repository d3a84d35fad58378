"""double precision and real <-> SQLite real, bit for bit (HAZARDS F14).

PostgreSQL's real has 24 bits: of it, only values come back whose shortest decimal is the SQLite value's, too
(0.1 is, 0.1234567890123 is not).
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from struct import Struct

from turnback.core.codecs.protocol import Codec, flag, wrong_class
from turnback.core.codecs.standins import NAN, StandIns
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_pack = Struct(">d").pack
_bits = Struct(">q")
_single = Struct(">f")
_single_bits = Struct(">i")

# SQLite turns a real into an integer in a NUMERIC or INTEGER column where both are equal and strictly
# inside the 64-bit range (documentation: datatype3, section 3; sqlite3VdbeIntegerAffinity).
LEAST_WHOLE = -(2.0**63)
MOST_WHOLE = 2.0**63


class Real:
    """Every double that SQLite can hold. NaN, which SQLite stores as NULL, is refused (HAZARDS R4)."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not float:
            raise wrong_class(value, "a real")
        if value != value:
            raise CannotCarry("NaN, which SQLite cannot hold")
        return repr(value)  # the shortest text that reads back to the same bits; "inf" is input, too

    def decode(self, text: str) -> SqliteValue:
        value = float(text)
        if value != value:
            raise CannotCarry("NaN, which SQLite cannot hold")
        return value

    def canonical(self, text: str) -> bytes:
        return _pack(float(text))  # the two engines write the same double differently: 1e+16, 1e16


class RealInNumeric(Real):
    """The same in a column of NUMERIC or INTEGER affinity, where SQLite keeps 5.0 and -0.0 as integers."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is int:
            as_real = float(value)
            if int(as_real) != value or not LEAST_WHOLE < as_real < MOST_WHOLE:
                raise CannotCarry("an integer that a double does not hold exactly")
            return repr(as_real)
        if type(value) is float and value.is_integer() and LEAST_WHOLE < value < MOST_WHOLE:
            raise CannotCarry("a real with an integer's value, which this column's affinity does not keep")
        return Real.encode(self, value)

    def decode(self, text: str) -> SqliteValue:
        value = float(text)
        if LEAST_WHOLE < value < MOST_WHOLE and value.is_integer():
            return int(value)
        if math.isnan(value):
            raise CannotCarry("NaN, which SQLite cannot hold")
        return value

    def canonical(self, text: str) -> bytes:
        return _pack(float(text) + 0.0)  # -0.0 and 0.0 are both SQLite's integer 0


class Float4:
    """What fits PostgreSQL's real, inside one of the codecs above."""

    __slots__ = ("_inside", "canonical", "decode")

    def __init__(self, inside: Real) -> None:
        self._inside = inside
        self.decode = inside.decode
        self.canonical = inside.canonical

    def encode(self, value: SqliteValue) -> str:
        text = self._inside.encode(value)
        if not _in_single(text):
            raise CannotCarry("a real with more digits than PostgreSQL's real keeps, or outside its range")
        return text


MOST_DIGITS = 9  # that PostgreSQL prints of a real


def _in_single(text: str) -> bool:
    """Does PostgreSQL's real print the same number for this shortest decimal of a double?"""
    exact = Decimal(text)
    if not exact or exact.is_infinite():
        return True
    if len(exact.normalize().as_tuple().digits) > MOST_DIGITS:
        return False
    nearest = _nearest_single(exact, float(text))
    if not nearest or math.isinf(nearest):
        return False  # PostgreSQL refuses both: out of range
    return _shortest(abs(nearest)) == abs(exact)


def _nearest_single(exact: Decimal, rounded: float) -> float:
    """The decimal in single precision. It must not be rounded twice: on the way over double it is rounded to
    an odd last bit, which leaves the second rounding what the first would have done.
    """
    if exact != Decimal(rounded) and not _bits.unpack(_pack(rounded))[0] & 1:
        rounded = math.nextafter(rounded, math.inf if exact > Decimal(rounded) else -math.inf)
    try:
        return float(_single.unpack(_single.pack(rounded))[0])
    except OverflowError:
        return math.inf


def _shortest(single: float) -> Decimal:
    """The decimal that PostgreSQL prints: of those strictly nearer to this single (positive) than to its
    neighbours, one with fewest digits, of these the closest, of two as close the one with an even last digit.
    """
    exact = Decimal(single)
    number = _single_bits.unpack(_single.pack(single))[0]
    below = Decimal((single + _from_bits(number - 1)) / 2)
    above = Decimal((single + _from_bits(number + 1)) / 2)
    for digits in range(1, MOST_DIGITS + 1):
        step = Decimal((0, (1,), exact.adjusted() - digits + 1))
        # Beside a power of two the closest may be a neighbour's, and the other one not.
        for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING):
            rounded = exact.quantize(step, rounding)
            if below < rounded < above:
                return rounded
    raise AssertionError(f"nine digits did not tell {single!r} from its neighbours")


def _from_bits(number: int) -> float:
    single = _single.unpack(_single_bits.pack(number))[0]
    return 2.0**128 if math.isinf(single) else float(single)


def real(column: ColumnPlan) -> Codec:
    return _with_nan(column, _by_affinity(column))


def float4(column: ColumnPlan) -> Codec:
    return _with_nan(column, Float4(_by_affinity(column)))


def _by_affinity(column: ColumnPlan) -> Real:
    return RealInNumeric() if column.affinity in ("NUMERIC", "INTEGER") else Real()


def _with_nan(column: ColumnPlan, codec: Codec) -> Codec:
    """By choice NaN stands as the text 'NaN' in SQLite (HAZARDS R4)."""
    return StandIns(codec, NAN) if flag(column, "nan") else codec
