"""Values of PostgreSQL that SQLite or the column's spelling has no place for, by choice as texts of the same
name: 'NaN' (HAZARDS R4), 'infinity' and '-infinity' (R5).
"""

from __future__ import annotations

from typing import Final

from turnback.core.codecs.protocol import Codec
from turnback.core.rows import SqliteValue

NAN: Final = ("NaN",)
INFINITY: Final = ("infinity", "-infinity")


class StandIns:
    """The words as they are, every other value by the codec inside.

    SQLite keeps such a text as text whatever the column's affinity: none of them looks like a number
    (documentation: datatype3, section 3).
    """

    __slots__ = ("_inside", "_words")

    def __init__(self, inside: Codec, words: tuple[str, ...]) -> None:
        self._inside = inside
        self._words = words

    def encode(self, value: SqliteValue) -> str:
        if type(value) is str and value in self._words:
            return value
        return self._inside.encode(value)

    def decode(self, text: str) -> SqliteValue:
        return text if text in self._words else self._inside.decode(text)

    def canonical(self, text: str) -> bytes:
        return text.encode() if text in self._words else self._inside.canonical(text)
