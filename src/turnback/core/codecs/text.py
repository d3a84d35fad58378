"""text, varchar(n), character(n) <-> SQLite text."""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec, bad_option, modifier, whole, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

LONGEST = 10_485_760  # characters: PostgreSQL's limit of varchar(n)


class Text:
    """Valid UTF-8 without NUL (HAZARDS F8, F9)."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "text")
        if "\0" in value:
            raise CannotCarry("text with a NUL character, which PostgreSQL's text cannot hold")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise CannotCarry("text whose bytes are not valid UTF-8") from None
        return value

    # The built-in functions themselves: most values of most databases pass here.
    decode = staticmethod(str)
    canonical = staticmethod(str.encode)


class LimitedText(Text):
    """At most `length` characters (HAZARDS F20). PostgreSQL would cut off further blanks in silence."""

    __slots__ = ("_length",)

    def __init__(self, length: int) -> None:
        self._length = length

    def encode(self, value: SqliteValue) -> str:
        text = Text.encode(self, value)
        if len(text) > self._length:
            raise CannotCarry(f"text longer than the {self._length} characters of the PostgreSQL type")
        return text


class Char:
    """character(n): PostgreSQL fills up with blanks, so only text without blanks at its end comes back."""

    __slots__ = ("_text",)

    def __init__(self, length: int) -> None:
        self._text = LimitedText(length)

    def encode(self, value: SqliteValue) -> str:
        text = self._text.encode(value)
        if text.endswith(" "):
            raise CannotCarry(
                "text with a blank at its end, which character(n) does not tell from its filling"
            )
        return text

    def decode(self, text: str) -> SqliteValue:
        return text.rstrip(" ")

    def canonical(self, text: str) -> bytes:
        return text.rstrip(" ").encode()


def text(column: ColumnPlan) -> Codec:
    refuse_padded(column)
    name = column.value_type.lower()
    length = whole(column, "length", 0, least=0, most=LONGEST)
    if "length" in column.options and length == 0 and name.startswith(("character varying(", "varchar(")):
        raise bad_option(column, "length", f"the length of {column.value_type}")
    return LimitedText(length) if length else Text()


def char(column: ColumnPlan) -> Codec:
    declared = (modifier(column.value_type) or (1,))[0]
    return Char(whole(column, "length", declared, least=1, most=LONGEST))


def refuse_padded(column: ColumnPlan) -> None:
    """Raises ConfigError for character(n), which has a codec of its own."""
    name = column.value_type.lower()
    if name.startswith(("character(", "char(", "bpchar")) or name in ("character", "char"):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": {column.value_type} pads with blanks, which is not exact',
            hint='take codec = "char", or make it text or character varying in PostgreSQL, '
            "then run `turnback assess`",
        )
