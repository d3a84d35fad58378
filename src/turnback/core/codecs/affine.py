"""text, varchar <-> integers, reals and text mixed in one column of a numeric affinity (HAZARDS F5, F12).

PostgreSQL holds every value as text. Which class a text had, the column's affinity tells: SQLite itself makes
a number of every text that reads as one (documentation: datatype3, section 3). So what looks like a number
was one, and a text that SQLite would change, such as 007, has no way back and is refused (HAZARDS R2).
"""

from __future__ import annotations

import math
import re

from turnback.core.codecs.protocol import Codec, whole, wrong_class
from turnback.core.codecs.real import LEAST_WHOLE, MOST_WHOLE
from turnback.core.codecs.text import LONGEST, LimitedText, Text, refuse_padded
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

INFINITY = "9e999"  # what the SQLite shell writes for it; SQLite reads it as Infinity

_BLANKS = r"[ \t\n\v\f\r]*"
_NUMBER = re.compile(rf"{_BLANKS}[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?{_BLANKS}\Z")
_INTEGER = re.compile(r"-?[0-9]{1,19}\Z")


class Affine:
    """`whole_reals`: the affinity is REAL, where every number is a real; else 5.0 is the integer 5."""

    __slots__ = ("_text", "_whole_reals")

    def __init__(self, text: Text, whole_reals: bool) -> None:
        self._text = text
        self._whole_reals = whole_reals

    def encode(self, value: SqliteValue) -> str:
        if type(value) is bytes:
            raise wrong_class(value, "a number or text")
        if type(value) is str and _NUMBER.match(value):
            raise CannotCarry("text that looks like a number, which this column's affinity does not keep")
        if type(value) is int and self._whole_reals:
            raise CannotCarry("an integer, which a column of affinity REAL does not keep")
        if type(value) is float and not self._keeps(value):
            raise CannotCarry("a real that this column's affinity does not keep")
        return self._text.encode(value if type(value) is str else _written(value))

    def decode(self, text: str) -> SqliteValue:
        if not _NUMBER.match(text):
            return text
        number: int | float
        if not self._whole_reals and _INTEGER.match(text) and -(1 << 63) <= int(text) < 1 << 63:
            number = int(text)
        else:
            number = float(text)
        if _written(number) != text or (type(number) is float and not self._keeps(number)):
            raise CannotCarry(
                "text that SQLite would turn into a number of another spelling in a column of this affinity"
            )
        return number

    def canonical(self, text: str) -> bytes:
        return text.encode()

    def _keeps(self, value: float) -> bool:
        """Whether SQLite stores this real as it is. A whole real is an integer on disk, which has no -0."""
        if value != value:
            return False
        if self._whole_reals:
            return value != 0.0 or math.copysign(1.0, value) > 0
        return not (value.is_integer() and LEAST_WHOLE < value < MOST_WHOLE)


def _written(number: SqliteValue) -> str:
    """The number's one spelling: the shortest decimal that reads back to the same bits."""
    if type(number) is float and math.isinf(number):
        return INFINITY if number > 0 else "-" + INFINITY
    return repr(number)


def affine(column: ColumnPlan) -> Codec:
    if column.affinity not in ("INTEGER", "NUMERIC", "REAL"):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": the codec affine needs a numeric affinity; with '
            f"{column.affinity} SQLite keeps '5' and 5 apart, and nothing would tell which a text was",
            hint='take codec = "text" or "blob" and bring the other values to that class in SQLite first',
        )
    refuse_padded(column)
    length = whole(column, "length", 0, least=0, most=LONGEST)
    return Affine(LimitedText(length) if length else Text(), column.affinity == "REAL")
