"""One-dimensional arrays of text or integers <-> SQLite text: with a separator, or as JSON (HAZARDS R5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from turnback.core.codecs.integer import integer
from turnback.core.codecs.protocol import Codec, bad_option, flag, modifier, wrong_class
from turnback.core.codecs.text import LimitedText, Text
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

JSON: Final = "json"

# array_out quotes these, the empty text, and NULL in any case (documentation: Arrays, section 8.15.6).
_QUOTED = re.compile(r'[{}",\\ \t\n\r\v\f]|\A\Z|\A[nN][uU][lL][lL]\Z')
_ESCAPED = re.compile(r'(["\\])')
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{}",\\]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Split:
    """Elements with the separator between them; the empty text is the array without elements."""

    __slots__ = ("_separator",)

    def __init__(self, separator: str) -> None:
        self._separator = separator

    def elements(self, text: str) -> list[str]:
        return text.split(self._separator) if text else []

    def joined(self, elements: Sequence[str]) -> str:
        text = self._separator.join(elements)
        if self.elements(text) != list(elements):
            raise CannotCarry("an array with an element that the separator would cut, or one empty element")
        return text


class InJson:
    """A JSON array of strings, or of integers: compact, or with blanks behind commas as Python writes it."""

    __slots__ = ("_ascii", "_comma", "_numbers", "_respell")

    def __init__(self, numbers: bool, spaced: bool, ascii: bool, respell: bool) -> None:
        self._numbers = numbers
        self._comma = ", " if spaced else ","
        self._ascii = ascii
        self._respell = respell

    def elements(self, text: str) -> list[str]:
        try:
            # Numbers stay as they are written: the element's codec says whether they are integers.
            found = json.loads(text, parse_int=_Token, parse_float=_Token, parse_constant=_Token)
        except (ValueError, RecursionError):
            raise CannotCarry("text that is not JSON") from None
        wanted = _Token if self._numbers else str
        if not isinstance(found, list) or any(type(e) is not wanted for e in found):
            what = "integers" if self._numbers else "strings"
            raise CannotCarry(f"JSON that is not an array of {what}, or one with null")
        elements = [str(e) for e in found]
        if not self._respell and self.joined(elements) != text:
            raise CannotCarry("a JSON array in a spelling that is not the column's")
        return elements

    def joined(self, elements: Sequence[str]) -> str:
        written = elements if self._numbers else [json.dumps(e, ensure_ascii=self._ascii) for e in elements]
        return f"[{self._comma.join(written)}]"


class _Token(str):
    """A number in JSON, as it is written there."""

    __slots__ = ()


class Array:
    """`element` checks one element's text and raises CannotCarry."""

    __slots__ = ("_element", "_form")

    def __init__(self, form: Split | InJson, element: Callable[[str], str]) -> None:
        self._form = form
        self._element = element

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "an array as text")
        elements = [self._element(e) for e in self._form.elements(value)]
        return "{" + ",".join([_quoted(e) for e in elements]) + "}"

    def decode(self, text: str) -> SqliteValue:
        return self._form.joined(_elements(text))

    def canonical(self, text: str) -> bytes:
        return text.encode()


def _quoted(element: str) -> str:
    """As array_out writes it."""
    return '"' + _ESCAPED.sub(r"\\\1", element) + '"' if _QUOTED.search(element) else element


def _elements(text: str) -> list[str]:
    """What array_out printed. Raises CannotCarry: NULLs, more dimensions, bounds other than 1."""
    if text[:1] != "{":
        raise CannotCarry("an array whose first index is not 1")
    if text == "{}":
        return []
    found: list[str] = []
    position = 1
    while True:
        match = _ELEMENT.match(text, position)
        if match is None:
            raise CannotCarry("an array of more than one dimension")
        quoted, plain = match.groups()
        if plain is not None and plain.upper() == "NULL":
            raise CannotCarry("an array with a NULL in it")
        found.append(plain if quoted is None else _ESCAPE.sub(r"\1", quoted))
        position = match.end() + 1
        if position == len(text):
            return found


def array(column: ColumnPlan) -> Codec:
    """Options: `separator`, which must be given; `element`, the element's type, else found from the column's.

    With separator "json" also `spaced` (", " between elements), `ascii` (other characters as \\u escapes) and
    `respell` (any spelling of the array is taken).
    """
    separator = column.options.get("separator")
    if not isinstance(separator, str) or not separator or "\0" in separator:
        raise bad_option(column, "separator", 'what stands between the elements, or "json"')
    declared = column.value_type.removesuffix("[]").strip()
    base = str(column.options.get("element", declared)).partition("(")[0].strip()
    bits = {"smallint": 16, "integer": 32, "bigint": 64}.get(base)
    if bits is None and base not in ("text", "character varying", "varchar"):
        raise ConfigError(
            f'the plan: column "{column.sqlite}": array has text or integers as elements, not {base}',
            hint='take codec = "verbatim", where SQLite holds what PostgreSQL prints',
        )
    form: Split | InJson = Split(separator)
    if separator == JSON:
        options = (flag(column, name) for name in ("spaced", "ascii", "respell"))
        form = InJson(bits is not None, *options)
    elif others := {"spaced", "ascii", "respell"} & set(column.options):
        raise bad_option(column, min(others), 'left out where separator is not "json"')
    if bits is not None:
        return Array(form, _whole_number(bits))
    length = (modifier(declared) or (0,))[0]
    return Array(form, (LimitedText(length) if length else Text()).encode)


def _whole_number(bits: int) -> Callable[[str], str]:
    codec = integer(ColumnPlan("element", "element", "bigint", "integer", {"bits": bits}))

    def checked(element: str) -> str:
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", element, re.ASCII):
            raise CannotCarry("an array with an element that is not an integer in its plain spelling")
        return codec.encode(int(element))

    return checked
