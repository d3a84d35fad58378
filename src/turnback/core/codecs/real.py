"""double precision <-> SQLite real, bit for bit (HAZARDS F14)."""

from __future__ import annotations

import math
from struct import Struct

from turnback.core.codecs.protocol import Codec, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

_pack = Struct(">d").pack

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


def real(column: ColumnPlan) -> Codec:
    return RealInNumeric() if column.affinity in ("NUMERIC", "INTEGER") else Real()
