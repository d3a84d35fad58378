"""json, jsonb <-> SQLite text that holds JSON (HAZARDS F34).

json keeps its text. jsonb keeps the value and prints it in one spelling, which `normal_form` predicts: keys
by length in bytes and then by bytes, the last of equal keys, ", " and ": " between, numbers as numeric
prints them, escapes resolved (PostgreSQL documentation: JSON Types).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from json import JSONDecodeError, JSONDecoder
from json.encoder import encode_basestring as _quoted  # escapes exactly what PostgreSQL's escape_json does
from typing import Final

from turnback.core.codecs.protocol import Codec, flag, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry

# numeric's limits (PostgreSQL documentation: Numeric Types), which jsonb's numbers share.
DIGITS_BEFORE_POINT: Final = 131_072
DIGITS_AFTER_POINT: Final = 16_383
FEW_NAMES: Final = 32  # of one object: so many are worth remembering
PLAIN_LENGTH: Final = 4_300  # characters: no number in it is too long for numeric, nor for Python's int()
PLAIN_DEPTH: Final = 400  # at most so many brackets: far from the deepest nesting that can be read
LONGEST_STRING: Final = 0x0FFFFFFF  # bytes: jsonb's limit of one string, here of the whole document


# A part of a document that stands in its final spelling already: a str alone is still a JSON string, a list
# a JSON array. (A subclass of str says the same at several times the cost.)
_Rendered = tuple[str]


class JsonText:
    """json: the text itself is kept; it must only be JSON by PostgreSQL's rules."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "JSON as text")
        if not value.isascii():
            _utf8(value)
        _read(_SYNTAX, value)
        return value

    def decode(self, text: str) -> SqliteValue:
        return text

    def canonical(self, text: str) -> bytes:
        return text.encode()


class JsonbText:
    """jsonb: only text that is already in jsonb's own spelling, so that the text itself comes back."""

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "JSON as text")
        if normal_form(value) != value:
            raise CannotCarry("JSON in a spelling that jsonb does not keep")
        return value

    def decode(self, text: str) -> SqliteValue:
        return text

    def canonical(self, text: str) -> bytes:
        return text.encode()


def surely_misspelled(text: str) -> bool:
    """Does the text's beginning alone show that it is not in jsonb's spelling? Most of what programs write
    does: there is no blank behind a colon, or one of the first names stands before a shorter one. True is
    certain, False says nothing.
    """
    if text[:2] in _WITH_BLANK:
        return True
    head = _FIRST_NAMES.match(text)
    if head is None:
        return False
    if text[head.end() : head.end() + 1] != " ":
        return True
    before = (-1, "")
    for name in head.groups():
        if name is None:
            return False
        if not name.isascii():
            return False  # the order is that of their bytes
        if (order := (len(name), name)) <= before:
            return True
        before = order
    return False


class RespelledJsonbText(JsonbText):
    """jsonb by choice: any JSON. A value that PostgreSQL writes anew comes back in jsonb's spelling.

    The text goes to PostgreSQL as it is, not in normal form: a proof then compares two independent parsers.
    """

    __slots__ = ()

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "JSON as text")
        if (
            len(value) > PLAIN_LENGTH
            or _UNUSUAL.search(value)
            or value.count("[") + value.count("{") > PLAIN_DEPTH
        ):
            normal_form(value)
        else:  # of JSON, jsonb refuses some escapes, and numbers with an exponent or very many digits
            if not value.isascii():
                _utf8(value)
            _read(_PLAIN, value)
        return value

    def canonical(self, text: str) -> bytes:
        return normal_form(text).encode()


def normal_form(text: str) -> str:
    """The document as jsonb prints it. Raises CannotCarry: not JSON, or JSON that jsonb refuses."""
    try:
        normal = _render(_read(_NORMAL, text))
    except RecursionError:
        raise _too_deep() from None
    if not normal.isascii():
        _utf8(normal)  # an escaped half of a surrogate pair
    if len(normal) * 4 > LONGEST_STRING and len(normal.encode()) > LONGEST_STRING:
        raise CannotCarry("JSON larger than jsonb holds")
    return normal


def _read(decoder: JSONDecoder, text: str) -> object:
    try:
        return decoder.decode(text)
    except JSONDecodeError:
        raise CannotCarry("text that is not JSON") from None
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> CannotCarry:
    return CannotCarry("JSON nested more than about 900 levels deep")


def _utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CannotCarry("text whose bytes are not valid UTF-8, or half of a surrogate pair") from None


def _render(part: object) -> str:
    if type(part) is str:
        return _string(part)
    if isinstance(part, tuple):
        return str(part[0])
    if part is None:
        return "null"
    if part is True:
        return "true"
    if part is False:
        return "false"
    assert isinstance(part, list)
    return "[" + ", ".join([_render(p) for p in part]) + "]"


def _string(value: str) -> str:
    if "\0" in value:
        raise CannotCarry("JSON with \\u0000, which jsonb cannot hold")
    return _quoted(value)


def _object(pairs: list[tuple[str, object]]) -> _Rendered:
    """Called innermost first, so that every value is a string, a list of parts or rendered already."""
    last = dict(pairs)
    if len(last) != len(pairs):
        for _, value in pairs:  # jsonb refuses a bad string also where a later key replaces it
            _utf8(_render(value))
    names = tuple(last)
    labels = _remembered_labels(names) if len(names) <= FEW_NAMES else _labels(names)
    return ("{" + ", ".join([label + _render(last[name]) for name, label in labels]) + "}",)


def _labels(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The names in jsonb's order, each with what is written before its value."""
    return [(name, f"{_string(name)}: ") for name in sorted(names, key=_order)]


# A column's documents mostly have the same names.
_remembered_labels = lru_cache(maxsize=512)(_labels)


def _order(name: str) -> tuple[int, str]:
    try:
        return len(name.encode()), name  # Python's order of code points is that of their UTF-8 bytes
    except UnicodeEncodeError:
        raise CannotCarry("JSON with half of a surrogate pair, which jsonb cannot hold") from None


def _number(token: str) -> _Rendered:
    """As numeric prints it: 1e2 is 100, 1.10 stays, 1.0e1 is 10, -0.0 is 0.0 (numeric_in)."""
    if token[0] != "-" and len(token) <= DIGITS_AFTER_POINT and "e" not in token and "E" not in token:
        return (token,)
    mantissa, _, power = token.replace("E", "e").partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    digits, _, fraction = mantissa.removeprefix("-").partition(".")
    if power:
        if len(power) > 9:
            raise _overflow()
        shift = int(power)
        if abs(shift) > DIGITS_BEFORE_POINT + len(mantissa):
            raise _overflow()
        if shift >= 0:
            digits, fraction = digits + fraction[:shift].ljust(shift, "0"), fraction[shift:]
        else:
            padded = digits.rjust(-shift + 1, "0")
            digits, fraction = padded[:shift], padded[shift:] + fraction
        digits = digits.lstrip("0") or "0"
    if len(digits) > DIGITS_BEFORE_POINT or len(fraction) > DIGITS_AFTER_POINT:
        raise _overflow()
    if sign and not digits.strip("0") and not fraction.strip("0"):
        sign = ""
    return (f"{sign}{digits}.{fraction}" if fraction else sign + digits,)


def _overflow() -> CannotCarry:
    return CannotCarry("JSON with a number outside the range of numeric")


def _not_json(name: str) -> object:
    raise CannotCarry(f"{name}, which is not JSON")


def _token(text: str) -> str:
    return text  # int() would refuse more than 4,300 digits


def _decoder(
    number: Callable[[str], object], pairs: Callable[[list[tuple[str, object]]], object] | None
) -> JSONDecoder:
    return JSONDecoder(
        parse_int=number, parse_float=number, parse_constant=_not_json, object_pairs_hook=pairs, strict=True
    )


_SCALAR: Final = r'(?:"[^"\\]*"|[0-9.-]+|true|false|null)'
_NAME: Final = r'"([^"\\]*)":'
_FIRST_NAMES: Final = re.compile(
    rf"\[?\{{{_NAME}(?: {_SCALAR}, {_NAME}(?: {_SCALAR}, {_NAME}(?: {_SCALAR}, {_NAME})?)?)?"
)
_WITH_BLANK: Final = tuple(bracket + blank for bracket in "[{" for blank in " \t\r\n")
_UNUSUAL: Final = re.compile(r"\\u|[0-9][eE]")
_PLAIN: Final = JSONDecoder(parse_constant=_not_json, strict=True)
_SYNTAX: Final = _decoder(_token, None)
_NORMAL: Final = _decoder(_number, _object)


def json_text(column: ColumnPlan) -> Codec:
    if not flag(column, "binary"):
        return JsonText()
    return RespelledJsonbText() if flag(column, "respell") else JsonbText()
