"""boolean <-> SQLite integers 0 and 1, or a pair of words (HAZARDS F1)."""

from __future__ import annotations

from typing import Final

from turnback.core.codecs.protocol import Codec, bad_option, flag, word, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

# What PostgreSQL reads as a boolean, besides prefixes of these (documentation: Boolean Type).
_PAIRS: Final = (("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("on", "off"), ("1", "0"))

# Each true word with its false one, in the three ways of case.
WORDS: Final = {case(yes): case(no) for yes, no in _PAIRS for case in (str.lower, str.upper, str.capitalize)}

_MEANING: Final = {spelling: letter for pair in _PAIRS for spelling, letter in zip(pair, "tf", strict=True)}


class Boolean:
    """One value for true and one for false: the integers, or a pair of words.

    `respell` takes every known spelling; a value that PostgreSQL writes anew gets the column's.
    """

    __slots__ = ("_false", "_respell", "_true")

    def __init__(self, true: SqliteValue, false: SqliteValue, respell: bool) -> None:
        self._true = true
        self._false = false
        self._respell = respell

    def encode(self, value: SqliteValue) -> str:
        if type(value) is type(self._true):
            if value == self._true:
                return "t"
            if value == self._false:
                return "f"
        if self._respell:
            if type(value) is str and value.isascii() and (letter := _MEANING.get(value.lower())):
                return letter
            if type(value) is int and value in (0, 1):
                return "t" if value else "f"
            raise CannotCarry("a value that is no known spelling of true or false")
        words = type(self._true) is str
        if type(value) is not type(self._true):
            raise wrong_class(value, f"{self._true!r} or {self._false!r}" if words else "the integer 0 or 1")
        raise CannotCarry(
            f"text other than {self._true!r} and {self._false!r}"
            if words
            else "an integer other than 0 and 1"
        )

    def decode(self, text: str) -> SqliteValue:
        if text == "t":
            return self._true
        if text == "f":
            return self._false
        raise CannotCarry("not a boolean")

    def canonical(self, text: str) -> bytes:
        return text.encode()


def boolean(column: ColumnPlan) -> Codec:
    respell = flag(column, "respell")
    true = word(column, "words", ("", *WORDS))
    if not true:
        return Boolean(1, 0, respell)
    if true == "1" and column.affinity not in ("TEXT", "BLOB"):
        raise bad_option(column, "words", f"left out: with the affinity {column.affinity} '1' is the integer")
    return Boolean(true, WORDS[true], respell)
