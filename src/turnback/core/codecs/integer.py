"""smallint, integer, bigint <-> SQLite integer."""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, bad_option, whole, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry


class Integer:
    """Integers of `bits` bits (HAZARDS F12, F13)."""

    __slots__ = ("_bits", "_least", "_most")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._least = -(1 << bits - 1)
        self._most = (1 << bits - 1) - 1

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not int:
            raise wrong_class(value, "an integer")
        if not self._least <= value <= self._most:
            raise CannotCarry(f"an integer outside the {self._bits} bits of the PostgreSQL type")
        return str(value)

    def decode(self, text: str) -> SqliteValue:
        try:
            return int(text)
        except ValueError:
            raise CannotCarry("not an integer") from None

    def canonical(self, text: str) -> bytes:
        return text.encode()


def integer(column: ColumnPlan) -> Codec:
    bits = whole(column, "bits", 64, least=16, most=64)
    if bits not in (16, 32, 64):
        raise bad_option(column, "bits", "16, 32 or 64")
    return Integer(bits)
