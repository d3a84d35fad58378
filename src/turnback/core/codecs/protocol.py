"""What every codec does, and how it reads its options from the plan."""

from __future__ import annotations

import re
from typing import Protocol

from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue, storage_class
from turnback.errors import CannotCarry, ConfigError


class Codec(Protocol):
    """One column's values, both ways. NULL never reaches a codec: RowCodec passes it through.

    Laws (tests/properties/test_codec_laws.py proves them against a live server):

    1. `identical(decode(server_output(encode(v))), v)` for every `v` that encode takes; under the option
       `respell` the canonical forms are equal instead.
    2. `canonical` is equal exactly where the server's output is equal, for encode's result and for the
       server's output alike. Where SQLite has one value for two outputs, they are one (see number, and real
       in a NUMERIC column).
    3. What decode takes, encode takes again: `canonical(encode(decode(t))) == canonical(t)`.
    """

    def encode(self, value: SqliteValue) -> str:
        """PostgreSQL input text. Raises CannotCarry with the reason (not the value)."""

    def decode(self, text: str) -> SqliteValue:
        """The SQLite value for a PostgreSQL output text (pinned settings). Raises CannotCarry."""

    def canonical(self, text: str) -> bytes:
        """The value behind the text, as comparable bytes."""


def wrong_class(value: SqliteValue, wanted: str) -> CannotCarry:
    """The refusal of a value whose storage class is not the column's."""
    return CannotCarry(f"a value of storage class {storage_class(value)} where {wanted} is expected")


def flag(column: ColumnPlan, name: str) -> bool:
    """A true/false option, false when it is absent. Raises ConfigError."""
    value = column.options.get(name, False)
    if not isinstance(value, bool):
        raise bad_option(column, name, "true or false")
    return value


def whole(column: ColumnPlan, name: str, default: int, *, least: int, most: int) -> int:
    """An integer option within bounds, both included. Raises ConfigError."""
    value = column.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad_option(column, name, f"an integer from {least} to {most}")
    return value


def word(column: ColumnPlan, name: str, allowed: tuple[str, ...]) -> str:
    """An option that is one of the words; the first is the default. Raises ConfigError."""
    value = column.options.get(name, allowed[0])
    if value not in allowed:
        raise bad_option(column, name, " or ".join(repr(a) for a in allowed))
    return str(value)


def bad_option(column: ColumnPlan, name: str, wanted: str) -> ConfigError:
    return ConfigError(
        f'the plan: column "{column.sqlite}", codec {column.codec}: option {name} must be {wanted}, '
        f"not {column.options.get(name)!r}",
        hint="run `turnback assess` to write the plan again",
    )


_MODIFIER = re.compile(r"\((-?\d+)(?:,(-?\d+))?\)")


def modifier(pg_type: str) -> tuple[int, ...]:
    """The numbers in a type's brackets: numeric(10,2) -> (10, 2), timestamp(3) with time zone -> (3,)."""
    found = _MODIFIER.search(pg_type)
    return tuple(int(n) for n in found.groups() if n is not None) if found else ()
