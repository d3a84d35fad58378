"""uuid <-> SQLite text or 16-byte blob (HAZARDS F35)."""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, flag, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry


class UuidText:
    """One spelling for the whole column: upper or lower case, with or without hyphens.

    `respell` takes any mixture of these; a value that PostgreSQL writes anew gets the column's spelling.
    """

    __slots__ = ("_hyphens", "_respell", "_upper")

    def __init__(self, upper: bool, hyphens: bool, respell: bool) -> None:
        self._upper = upper
        self._hyphens = hyphens
        self._respell = respell

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "a UUID as text")
        try:
            octets = bytes.fromhex(value.replace("-", ""))
        except ValueError:
            raise CannotCarry("text that is not a UUID") from None
        if len(octets) != 16:
            raise CannotCarry("text that is not a UUID")
        text = _output(octets)
        if self.decode(text) != value and not (
            self._respell and value.lower() in (text, text.replace("-", ""))
        ):
            raise CannotCarry("a UUID in a spelling that is not the column's")
        return text

    def decode(self, text: str) -> SqliteValue:
        if not self._hyphens:
            text = text.replace("-", "")
        return text.upper() if self._upper else text

    def canonical(self, text: str) -> bytes:
        return text.encode()


class UuidBlob:
    """The 16 bytes in the order in which they are written."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not bytes:
            raise wrong_class(value, "a UUID as a blob")
        if len(value) != 16:
            raise CannotCarry("a blob that is not the 16 bytes of a UUID")
        return _output(value)

    def decode(self, text: str) -> SqliteValue:
        return bytes.fromhex(text.replace("-", ""))

    def canonical(self, text: str) -> bytes:
        return text.encode()


def _output(octets: bytes) -> str:
    """As PostgreSQL prints it: lower case, groups of 8-4-4-4-12."""
    h = octets.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_text(column: ColumnPlan) -> Codec:
    hyphens = flag(column, "hyphens") if "hyphens" in column.options else True
    return UuidText(flag(column, "upper"), hyphens, flag(column, "respell"))


def uuid_blob(column: ColumnPlan) -> Codec:
    return UuidBlob()
