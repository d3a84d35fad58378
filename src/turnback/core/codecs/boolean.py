"""boolean <-> SQLite integer 0 and 1 (HAZARDS F1)."""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry


class Boolean:
    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not int:
            raise wrong_class(value, "the integer 0 or 1")
        if value == 1:
            return "t"
        if value == 0:
            return "f"
        raise CannotCarry("an integer other than 0 and 1")

    def decode(self, text: str) -> SqliteValue:
        if text == "t":
            return 1
        if text == "f":
            return 0
        raise CannotCarry("not a boolean")

    def canonical(self, text: str) -> bytes:
        return text.encode()


def boolean(column: ColumnPlan) -> Codec:
    return Boolean()
