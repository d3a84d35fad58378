"""bytea <-> SQLite text as its bytes: with NUL characters, or bytes that are not UTF-8 (HAZARDS F8, F9).

Such a text is held as the str that its bytes give with the error handler surrogateescape, which loses nothing
(PEP 383). What reads and writes the file does the same (adapters.sqlite.raw_text).
"""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

NAME = "text_bytes"


class TextBytes:
    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "text")
        return "\\x" + octets(value).hex()

    def decode(self, text: str) -> SqliteValue:
        if text[:2] != "\\x":
            raise CannotCarry("not bytea in hex format")
        return from_octets(bytes.fromhex(text[2:]))

    def canonical(self, text: str) -> bytes:
        return text.encode()


def octets(value: str) -> bytes:
    """The bytes that the text stands for. Raises CannotCarry where it stands for none."""
    try:
        found = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotCarry("half of a surrogate pair, which stands for no bytes") from None
    if not value.isascii() and from_octets(found) != value:
        raise CannotCarry("bytes marked as invalid that are valid UTF-8 together")
    return found


def from_octets(value: bytes) -> str:
    """The text that those bytes are, whatever they are."""
    return value.decode("utf-8", "surrogateescape")


def text_bytes(column: ColumnPlan) -> Codec:
    return TextBytes()
