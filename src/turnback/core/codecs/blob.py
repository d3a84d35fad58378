"""bytea <-> SQLite blob (HAZARDS F10)."""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry


class Blob:
    """PostgreSQL's hex format, pinned by bytea_output (documentation: Binary Data Types)."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not bytes:
            raise wrong_class(value, "a blob")
        return "\\x" + value.hex()

    def decode(self, text: str) -> SqliteValue:
        if text[:2] != "\\x":
            raise CannotCarry("not bytea in hex format")
        return bytes.fromhex(text[2:])

    def canonical(self, text: str) -> bytes:
        return text.encode()


def blob(column: ColumnPlan) -> Codec:
    return Blob()
