"""Every kind of column that can be carried, with values whose meaning is known without turnback's codecs.

A *meaning* is what two spellings of one value have in common: a number of microseconds, a tuple of texts. A kind
spells it for SQLite in the column's own form, in other forms where `respell` is chosen, and for PostgreSQL in
whatever its input takes. A value that is written on PostgreSQL with the meaning that it has already is not touched.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from turnback.core.rows import SqliteValue

Meaning = Any  # hashable; equal meanings are one value to PostgreSQL


@dataclass(frozen=True)
class Kind:
    declared: str  # in SQLite
    existing: str  # the column's type in PostgreSQL, where the application makes it
    codec: str  # what carries it
    draw: Callable[[Random], Meaning]
    own: Callable[[Meaning], SqliteValue]  # how SQLite has it after a change on PostgreSQL
    literal: Callable[[Random, Meaning], str]  # what PostgreSQL reads
    lines: str = ""  # choices in turnback.toml, in both modes
    create: str | None = ""  # more of them in mode create; None: only in mode existing
    other: Callable[[Random, Meaning], SqliteValue] | None = None  # further spellings, with respell
    first: Meaning = None  # what the first row has, where one value has to show the form
    by: str = "text"  # PostgreSQL tells rows apart by its output, or by "=" where one meaning has several
    key: bool = False  # also in keys, unique constraints and foreign keys
    keyless: bool = True  # also in tables without a key
    made: str = ""  # what the application's schema needs before, in mode existing


MEANINGS: dict[tuple[str, type, Hashable], Meaning] = {}


def spelled(name: str, kind: Kind, meaning: Meaning, value: SqliteValue) -> SqliteValue:
    """Remembers what the value means; two meanings of one value would be a mistake of the kind."""
    key = (name, type(value), repr(value))
    assert MEANINGS.setdefault(key, meaning) == meaning, (name, value, meaning, MEANINGS[key])
    return value


def meaning_of(name: str, value: SqliteValue) -> Meaning:
    return MEANINGS.get((name, type(value), repr(value)), value)  # an integer that PostgreSQL has given out


# ---- how values are written ----


def same(value: Any) -> Any:
    return value


def as_it_is(_: Random, value: Any) -> str:
    return str(value)


def one_of(*values: Meaning) -> Callable[[Random], Meaning]:
    return lambda r: r.choice(values)


def some(values: list[Meaning], more: Callable[[Random], Meaning]) -> Callable[[Random], Meaning]:
    """A value at a boundary, or another; few enough that the same comes again."""
    return lambda r: r.choice(values) if r.random() < 0.5 else more(r)


def whole(bits: int) -> Callable[[Random], int]:
    edges = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]
    return some(edges, lambda r: r.randint(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


def blanks(r: Random, value: Any) -> str:
    """Most input functions take white space around the value."""
    return f"{r.choice(('', ' ', '  '))}{value}{r.choice(('', ' '))}"


REALS = [
    0.0,
    0.1,
    -1.5,
    5e-324,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    1e16,
    9007199254740993.0,
    1e15,
    1e-7,
]


def a_real(r: Random) -> float:
    return (
        r.choice((r.uniform(-9, 9), float(r.randint(-9, 9)), r.uniform(-1, 1) * 10 ** r.randint(-300, 300)))
        + 0.0
    )


def written_real(r: Random, text: str) -> str:
    """The meaning of a real is Python's repr, which tells -0.0 from 0.0."""
    return text.replace("inf", r.choice(("inf", "Infinity"))).replace("nan", "NaN")


def a_stamp(r: Random, digits: int, least: int = 1, most: int = 9999) -> int:
    """Microseconds since 1970, without zone. Of six digits where the seconds alone are not the boundary."""
    low, high = datetime(least, 1, 1), datetime(most, 12, 31, 23, 59, 59, 999999)
    edges = [
        low,
        high,
        datetime(1969, 12, 31, 23, 59, 59, 999999),
        datetime(1970, 1, 1),
        datetime(2000, 2, 29, 12),
    ]
    edges += [datetime(1900, 1, 1), datetime(2024, 12, 31, 23, 59, 59), datetime(2038, 1, 19, 3, 14, 8)]
    at = (
        r.choice(edges)
        if r.random() < 0.4
        else datetime(1900, 1, 1) + timedelta(seconds=r.randrange(6 * 10**9))
    )
    if r.random() < 0.3:
        at = at.replace(microsecond=r.choice((0, 1, 500000, 120000, 999999, 999000)))
    elif digits < 6:
        at = at.replace(microsecond=at.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits))
    return (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=micros)


def stamp_text(at: datetime, separator: str, digits: int, suffix: str) -> str:
    """The column's own form; six digits where it has too few."""
    micro = f"{at.microsecond:06}"
    if micro[digits:].strip("0"):
        digits = 6
    fraction = f".{micro[:digits]}" if digits else ""
    return at.strftime("%Y").rjust(4, "0") + f"{at:-%m-%d}{separator}{at:%H:%M:%S}{fraction}{suffix}"


def stamp_literal(zoned: bool) -> Callable[[Random, int], str]:
    def written(r: Random, micros: int) -> str:
        at, offset = moment(micros), 0
        if zoned and 2 < at.year < 9998:
            offset = r.choice((0, 0, 60, -210, 345, 14 * 60))
            at += timedelta(minutes=offset)
        text = stamp_text(at, r.choice((" ", "T")), r.choice((0, 3, 6)), "")
        sign = "-" if offset < 0 else "+"
        zone = (
            f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
            if offset
            else r.choice(("Z", "+00", " UTC"))
        )
        return text + zone if zoned else text

    return written


def stamps(
    separator: str, digits: int, suffix: str = "", *, offset: int = 0, zoned: bool = False, **more: Any
) -> Kind:
    """`offset` in minutes, which `suffix` writes."""
    least, most = (2, 9998) if offset else (1, 9999)
    return Kind(
        "DATETIME",
        "timestamptz" if zoned else "timestamp",
        "timestamp_text",
        lambda r: a_stamp(r, digits, least, most),
        lambda m: stamp_text(moment(m) + timedelta(minutes=offset), separator, digits, suffix),
        stamp_literal(zoned),
        first=86_400_000_000 + (120000 if digits else 0),
        **more,
    )


def zone_kind(name: str) -> Kind:
    """Local times of a zone; of the hour that it has twice, the first."""
    zone = ZoneInfo(name)

    def local(micros: int) -> datetime:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).astimezone(zone)

    def draw(r: Random) -> int:
        switches = [
            datetime(2024, 3, 31, 1),
            datetime(2024, 10, 27, 1),
            datetime(2024, 4, 6, 15),
            datetime(2024, 10, 5, 15, 30),
        ]
        while True:
            at = (
                r.choice(switches) + timedelta(minutes=r.randint(-90, 90))
                if r.random() < 0.6
                else moment(a_stamp(r, 0, 1900, 9998))
            )
            micros = (at.replace(microsecond=0) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
            there = local(micros)
            if there.fold == 0 and not (there.utcoffset() or timedelta()).seconds % 60:
                return micros

    return Kind(
        "DATETIME",
        "timestamptz",
        "timestamp_text",
        draw,
        lambda m: stamp_text(local(m).replace(tzinfo=None), " ", 0, ""),
        stamp_literal(True),
        lines=f'zone = "{name}"',
        create='codec = "timestamp_text"',
        first=1_700_000_000_000_000,
    )


def another_stamp(r: Random, micros: int) -> str:
    """Another ISO spelling of the moment, for a column whose own form is "T...Z"."""
    at = moment(micros)
    if not 2 < at.year < 9998:
        return stamp_text(at, "T", 6, "Z")
    minutes = r.choice((0, 330, -120))
    sign = "-" if minutes < 0 else "+"
    suffix = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return stamp_text(at + timedelta(minutes=minutes), r.choice((" ", "T")), r.choice((0, 3, 6)), suffix)


def epochs(unit: str, existing: str, declared: str = "BIGINT") -> Kind:
    per = {"s": 10**6, "ms": 1000, "us": 1}[unit]
    bounds = [
        -(62135596800 * 10**6) // per,
        (253402300799 * 10**6 + 999999) // per,
        0,
        -1,
        1,
        1_700_000_000 * 10**6 // per,
    ]
    return Kind(
        declared,
        existing,
        "epoch",
        some(bounds, lambda r: r.randint(-(10**12), 10**13) if per < 10**6 else r.randint(-(10**9), 10**10)),
        same,
        lambda r, n: stamp_literal("tz" in existing)(r, n * per),
        lines=f'unit = "{unit}"',
        create='codec = "epoch"',
        first=1_700_000_000 * 10**6 // per,
        key=True,
    )


def a_length(r: Random) -> int:
    day = 86_400_000_000
    return r.choice(
        (0, 1, -1, day, -day, day - 1, day + 1, 14649, r.randint(-(10**12), 10**12), -30 * day - 5)
    )


def interval_literal(r: Random, micros: int) -> str:
    """PostgreSQL keeps days apart from hours; the length is one."""
    sign, rest = "-" if micros < 0 else "", abs(micros)
    days = rest // 86_400_000_000 if r.random() < 0.5 else 0
    rest -= days * 86_400_000_000
    seconds, micro = divmod(rest, 10**6)
    return f"{sign}{days} days {sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micro:06}"


def decimal_literal(r: Random, text: str) -> str:
    """Other spellings that print the same: blanks, a plus, an exponent that keeps the digits."""
    return blanks(r, r.choice((text, text, text + "e0", text if text.startswith("-") else "+" + text)))


def number_literal(r: Random, number: Decimal) -> str:
    text = format(number, "f")
    return r.choice((text, text + ("0" if "." in text else ".0"), f" {text} "))


def as_number(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def a_number(r: Random) -> Decimal:
    few = ("0", "1", "-1.5", "0.1", "9223372036854775807", "-9223372036854775808", "1234567.891", "0.000001")
    return (
        Decimal(r.choice(few))
        if r.random() < 0.5
        else Decimal(r.randint(-(10**9), 10**9)) / r.choice((1, 10, 100))
    )


def cents(r: Random) -> Decimal:
    return r.choice(
        (Decimal(0), Decimal("99999999.99"), Decimal("-99999999.99"), Decimal(r.randint(-999, 999)) / 100)
    )


def quoted_element(r: Random, element: str) -> str:
    plain = (
        element
        and element == element.strip()
        and element.upper() != "NULL"
        and not set(element) & set('{},"\\ \n')
    )
    if plain and r.random() < 0.5:
        return element
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_literal(r: Random, elements: tuple[Any, ...]) -> str:
    gap = r.choice(("", " "))
    return "{" + f",{gap}".join(quoted_element(r, str(e)) for e in elements) + "}"


def a_list(*elements: Any) -> Callable[[Random], tuple[Any, ...]]:
    return lambda r: tuple(r.choice(elements) for _ in range(r.randint(1, 3))) if r.random() < 0.9 else ()


UUIDS = (
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
)


def a_uuid(r: Random) -> str:
    return r.choice(UUIDS) if r.random() < 0.2 else str(uuid.UUID(bytes=r.randbytes(16)))


def uuid_literal(r: Random, text: str) -> str:
    return r.choice((text, text.upper(), "{" + text + "}", text.replace("-", "")))


def another_uuid(r: Random, text: str) -> str:
    return r.choice((text.upper(), text.replace("-", "")))


# jsonb's own spelling of a value, and others.
DOCUMENTS = {
    '{"a": [1.10, null], "b": 1}': ['{"b":1,"a":[1.10,null]}', '{"a": [1.10,  null], "b": 1}'],
    '{"a": 2}': ['{"a":1,"a":2}', ' {"a": 2}'],
    '"é"': ['"\\u00e9"'],
    "[]": ["[ ]"],
    "[1.0, 1, 1.00]": ["[1.0,1,1.00]"],
    "null": [" null"],
    '{"long": "' + "0123456789" * 900 + '"}': ['{"long":"' + "0123456789" * 900 + '"}'],
}

TEXTS = [
    "",
    " ",
    "a",
    "A",
    "é",
    "e\u0301",
    "007",
    "1e5",
    "1.10",
    "NULL",
    "\\N",
    "\\.",
    "\t\n\r",
    "\x01'\"",
    "🜨",
    "\ufeff",
    "x" * 9000,
    "true",
]
SHORT = [t for t in TEXTS if len(t) <= 9]


def a_text(texts: list[str]) -> Callable[[Random], str]:
    return some(texts, lambda r: str(r.randrange(10**6)))


def network(r: Random) -> str:
    return r.choice(
        (
            "10.1.2.3",
            "10.1.2.0/24",
            "::1",
            "2001:db8::1",
            "::ffff:1.2.3.4",
            "fe80::/10",
            f"10.0.0.{r.randint(0, 255)}",
        )
    )


def a_day(r: Random) -> str:
    edges = ("0001-01-01", "9999-12-31", "1970-01-01", "2000-02-29", "infinity", "-infinity")
    return (
        r.choice(edges) if r.random() < 0.5 else str(date(1900, 1, 1) + timedelta(days=r.randrange(90_000)))
    )


def a_time(digits: int) -> Callable[[Random], str]:
    def draw(r: Random) -> str:
        at = datetime(2000, 1, 1) + timedelta(
            microseconds=r.choice((0, 86_399_999_999, r.randrange(86_400 * 10**6)))
        )
        return f"{at:%H:%M:%S.%f}" if digits else f"{at:%H:%M:%S}"

    return draw


MOOD = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'Ok', 'so, so', '007')"
CITEXT = "CREATE EXTENSION IF NOT EXISTS citext"

KINDS: dict[str, Kind] = {
    "integer": Kind(
        "BIGINT",
        "bigint",
        "integer",
        some([1, 2, 3], lambda r: r.choice((r.randint(1, 40), 10**12, 2**63 - 1, -(2**63)))),
        same,
        as_it_is,
        key=True,
    ),
    "smallint": Kind(
        "INT", "smallint", "integer", whole(16), same, blanks, create='pg_type = "smallint"', key=True
    ),
    "int": Kind("INT", "integer", "integer", whole(32), same, as_it_is),
    "real": Kind(
        "REAL",
        "double precision",
        "real",
        lambda r: repr(r.choice(REALS) if r.random() < 0.5 else a_real(r)),
        float,
        written_real,
    ),
    "bare real": Kind(
        "",
        "double precision",
        "real",
        lambda r: repr(r.choice((*REALS, -0.0)) if r.random() < 0.5 else a_real(r)),
        float,
        written_real,
        keyless=False,
    ),
    "real with NaN": Kind(
        "DOUBLE",
        "double precision",
        "real",
        lambda r: repr(r.choice((math.nan, *REALS))),
        lambda t: "NaN" if t == "nan" else float(t),
        written_real,
        lines="nan = true",
        first="0.1",
    ),
    "float4": Kind(
        "REAL",
        "real",
        "float4",
        lambda r: repr(
            r.choice((0.0, 0.1, 0.25, -1.5, 16777216.0, math.inf, r.randint(-99999, 99999) / 100)) + 0.0
        ),
        float,
        written_real,
        create='pg_type = "real"',
    ),
    "number": Kind(
        "NUMERIC",
        "numeric",
        "number",
        a_number,
        as_number,
        number_literal,
        create='codec = "number"',
        by="=",
        first=Decimal("1.5"),
    ),
    "cents": Kind(
        "DECIMAL(10,2)", "numeric(10,2)", "number", cents, as_number, number_literal, first=Decimal("1.5")
    ),
    "decimal": Kind(
        "TEXT",
        "numeric",
        "decimal_text",
        one_of(
            "1.10",
            "1.1",
            "1.100",
            "0",
            "0.00",
            "-0.5",
            "1" * 60 + ".25",
            "0." + "0" * 30 + "1",
            "12345678901234567890",
        ),
        same,
        decimal_literal,
        create='codec = "decimal_text"',
    ),
    "scaled decimal": Kind(
        "TEXT",
        "numeric(9,3)",
        "decimal_text",
        one_of("1.100", "0.000", "-999999.999", "999999.999", "0.001"),
        same,
        lambda r, t: r.choice((t, t.rstrip("0"))),
        create='codec = "decimal_text"\npg_type = "numeric(9,3)"',
    ),
    "boolean": Kind(
        "BOOLEAN",
        "boolean",
        "boolean",
        one_of(0, 1),
        same,
        lambda r, n: r.choice(
            ("t", "true", "TRUE", "yes", "on", "1", " t ") if n else ("f", "false", "no", "off", "0")
        ),
    ),
    "words": Kind(
        "TEXT",
        "boolean",
        "boolean",
        one_of(0, 1),
        lambda n: "Yes" if n else "No",
        lambda r, n: "t" if n else "f",
        create='codec = "boolean"',
    ),
    "any words": Kind(
        "BOOLEAN",
        "boolean",
        "boolean",
        one_of(0, 1),
        same,
        lambda r, n: "t" if n else "f",
        lines="respell = true",
        other=lambda r, n: r.choice(("t", "TRUE", "Yes", "on") if n else ("f", "off", "n", "False")),
        keyless=False,
    ),
    "text": Kind("TEXT", "text", "text", a_text(TEXTS), same, as_it_is),
    "name": Kind("VARCHAR(9)", "varchar(9)", "text", a_text(SHORT), same, as_it_is, key=True),
    "char": Kind(
        "CHAR(6)",
        "char(6)",
        "char",
        one_of("", "a", " a", "é🜨", "abcdef", "007", "\t"),
        same,
        lambda r, t: t.ljust(r.randint(0, 6)),
        create='pg_type = "character(6)"',
        key=True,
    ),
    "blob": Kind(
        "BLOB",
        "bytea",
        "blob",
        lambda r: r.choice((b"", b"\0\xff[", b"abc", r.randbytes(3), r.randbytes(30))),
        same,
        lambda r, b: "\\x" + (b.hex() if r.random() < 0.5 else b.hex(" ")),
        key=True,
    ),
    "long blob": Kind(
        "BLOB",
        "bytea",
        "blob",
        lambda r: r.choice((b"", r.randbytes(6000))),
        same,
        lambda r, b: "\\x" + b.hex(),
    ),
    "text as bytes": Kind(
        "TEXT",
        "bytea",
        "text_bytes",
        one_of("a\0b", "\0", "", "plain", "é\0"),
        same,
        lambda r, t: "\\x" + t.encode().hex(),
        lines='codec = "text_bytes"',
    ),
    "affine": Kind(
        "NUMERIC",
        "text",
        "affine",
        one_of("5", "-1", "9223372036854775807", "1.5", "-0.25", "a", "", "1.5 kg", "x07", "--"),
        lambda t: as_number(Decimal(t)) if t in ("5", "-1", "9223372036854775807", "1.5", "-0.25") else t,
        as_it_is,
        lines='codec = "affine"',
    ),
    "range": Kind(
        "TEXT",
        "int4range",
        "verbatim",
        one_of("empty", "[1,5)", "(,7)", "[-3,)", "(,)"),
        same,
        lambda r, t: r.choice(
            (t, t.replace("[1,5)", "[1,4]").replace("[-3,)", "(-4,)").replace("empty", "[3,3)"))
        ),
        lines='codec = "verbatim"',
        create='pg_type = "int4range"',
    ),
    "point": Kind(
        "TEXT",
        "point",
        "verbatim",
        one_of("(1,2)", "(0.1,-5)", "(1e+20,0)"),
        same,
        lambda r, t: r.choice((t, t.strip("()"))),
        lines='codec = "verbatim"',
        create='pg_type = "point"',
    ),
    "time with zone": Kind(
        "TEXT",
        "timetz",
        "verbatim",
        one_of("10:00:00+02", "23:59:59.5-03:30", "00:00:00+00"),
        same,
        as_it_is,
        lines='codec = "verbatim"',
        create='pg_type = "time with time zone"',
    ),
    "bits": Kind(
        "TEXT",
        "bit varying",
        "verbatim",
        one_of("1", "101", "0" * 70),
        same,
        as_it_is,
        lines='codec = "verbatim"',
        create='pg_type = "bit varying"',
    ),
    "array of text": Kind(
        "TEXT",
        "text[]",
        "array",
        a_list("a", "b c", "é", 'q"', "\\", "NULL", "{}", " "),
        ",".join,
        array_literal,
        lines='separator = ","',
        create='codec = "array"\npg_type = "text[]"',
    ),
    "array of integers": Kind(
        "TEXT",
        "integer[]",
        "array",
        a_list(0, -1, 2**31 - 1, 5),
        lambda t: json.dumps(list(t), separators=(",", ":")),
        array_literal,
        lines='separator = "json"',
        create='codec = "array"\npg_type = "integer[]"',
        first=(1, 2),
    ),
    "array as Python writes it": Kind(
        "TEXT",
        "text[]",
        "array",
        a_list("a", "é", "", 'q"', ", ", "🜨\n"),
        lambda t: json.dumps(list(t)),
        array_literal,
        lines='separator = "json"',
        create='codec = "array"\npg_type = "text[]"',
        first=("é", "b"),
    ),
    "array of any spelling": Kind(
        "TEXT",
        "bigint[]",
        "array",
        a_list(0, -1, 2**63 - 1),
        lambda t: json.dumps(list(t), separators=(",", ":")),
        array_literal,
        lines='separator = "json"\nrespell = true',
        create='codec = "array"\npg_type = "bigint[]"',
        other=lambda r, t: json.dumps(list(t)),
        keyless=False,
    ),
    "inet": Kind(
        "INET",
        "inet",
        "inet",
        network,
        same,
        lambda r, t: r.choice((t, t.upper(), t if "/" in t else t + ("/128" if ":" in t else "/32"))),
        key=True,
    ),
    "cidr": Kind(
        "TEXT",
        "cidr",
        "inet",
        one_of("10.1.2.0/24", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::/32"),
        same,
        lambda r, t: t.upper(),
        create='pg_type = "cidr"',
    ),
    "macaddr": Kind(
        "MACADDR",
        "macaddr",
        "inet",
        one_of("08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"),
        same,
        lambda r, t: r.choice((t, t.upper(), t.replace(":", "-"), t.replace(":", ""))),
    ),
    "inet of any spelling": Kind(
        "TEXT",
        "inet",
        "inet",
        network,
        same,
        as_it_is,
        lines="respell = true",
        create='codec = "inet"',
        other=lambda r, t: t if "/" in t else t + ("/128" if ":" in t else "/32"),
        keyless=False,
    ),
    "stamp": stamps(" ", 0, key=True),
    "stamp T3": stamps("T", 3, create='pg_type = "timestamp"', key=True),
    "stamp 6": stamps(" ", 6),
    "stamp Z": stamps("T", 3, "Z", zoned=True, key=True),
    "stamp +00:00": stamps(" ", 6, "+00:00", zoned=True),
    "stamp +02:00": stamps(" ", 0, "+02:00", zoned=True, offset=120),
    "stamp -0330": stamps("T", 0, "-0330", zoned=True, offset=-210),
    "stamp of any spelling": stamps(
        "T", 3, "Z", zoned=True, lines="respell = true", other=another_stamp, keyless=False
    ),
    "stamp in Berlin": zone_kind("Europe/Berlin"),
    "stamp on Lord Howe": zone_kind("Australia/Lord_Howe"),
    "stamp or infinity": Kind(
        "DATETIME",
        "timestamp",
        "timestamp_text",
        lambda r: r.choice(("infinity", "-infinity", a_stamp(r, 0))),
        lambda m: m if isinstance(m, str) else stamp_text(moment(m), " ", 0, ""),
        lambda r, m: m if isinstance(m, str) else stamp_literal(False)(r, m),
        lines="infinity = true",
        create='codec = "timestamp_text"',
        first=0,
    ),
    "date": Kind(
        "DATE",
        "date",
        "date_text",
        lambda r: a_day(r).replace("infinity", "1999-01-01").lstrip("-"),
        same,
        lambda r, t: r.choice((t, t.replace("-", "") if t > "1000" else t)),
        key=True,
    ),
    "date or infinity": Kind(
        "DATE", "date", "date_text", a_day, same, as_it_is, lines="infinity = true", first="2000-01-01"
    ),
    "time": Kind("TIME", "time", "time_text", a_time(0), same, as_it_is, key=True),
    "time 6": Kind("TIME", "time", "time_text", a_time(6), same, as_it_is),
    "epoch s": epochs("s", "timestamp(0)"),
    "epoch ms": epochs("ms", "timestamptz(3)"),
    "epoch us": epochs("us", "timestamptz", "TIMESTAMP"),
    "epoch s, cut off": Kind(
        "BIGINT",
        "timestamptz",
        "epoch",
        lambda r: r.choice((0, -1, 1_700_000_000, r.randint(-(10**9), 10**10))),
        same,
        lambda r, n: stamp_literal(True)(r, n * 10**6 + r.choice((0, 1, 500_000, 999_999))),
        lines='unit = "s"',
        create=None,
        keyless=False,
    ),
    "epoch real": Kind(
        "REAL",
        "timestamptz",
        "epoch_real",
        lambda r: r.choice((0, 1, -1, 1_700_000_000_123_456, r.randint(-(10**15), 10**15))),
        lambda n: n / 10**6,
        stamp_literal(True),
        lines='unit = "s"',
        create='codec = "epoch_real"',
    ),
    "interval": Kind(
        "BIGINT",
        "interval",
        "interval",
        a_length,
        same,
        interval_literal,
        lines='unit = "us"',
        create='codec = "interval"',
        by="=",
    ),
    "interval as text": Kind(
        "DATETIME",
        "interval",
        "interval",
        a_length,
        lambda n: stamp_text(moment(n), " ", 6, ""),
        interval_literal,
        create='codec = "interval"',
        by="=",
    ),
    "json": Kind(
        "TEXT",
        "json",
        "json_text",
        one_of(
            '{"b":1,"a":[1.10,null]}',
            '{"a": [1.10,  null]}',
            '{"a":1,"a":2}',
            "[]",
            "[ ]",
            '"\\u00e9"',
            '"é"',
        ),
        same,
        as_it_is,
        create='pg_type = "json"',
        keyless=False,
    ),
    "jsonb": Kind(
        "TEXT",
        "jsonb",
        "json_text",
        one_of(*DOCUMENTS),
        same,
        lambda r, t: r.choice((t, *DOCUMENTS[t])),
        create='pg_type = "jsonb"',
    ),
    "jsonb of any spelling": Kind(
        "JSON",
        "jsonb",
        "json_text",
        one_of(*DOCUMENTS),
        same,
        lambda r, t: r.choice((t, *DOCUMENTS[t])),
        lines="respell = true",
        other=lambda r, t: r.choice(DOCUMENTS[t]),
        keyless=False,
    ),
    "uuid": Kind("UUID", "uuid", "uuid_text", a_uuid, same, uuid_literal, key=True),
    "uuid as Django": Kind(
        "CHAR(32)",
        "uuid",
        "uuid_text",
        a_uuid,
        lambda t: t.replace("-", ""),
        uuid_literal,
        create='pg_type = "uuid"',
        first=UUIDS[2],
        key=True,
    ),
    "upper uuid": Kind(
        "TEXT",
        "uuid",
        "uuid_text",
        a_uuid,
        str.upper,
        uuid_literal,
        create='pg_type = "uuid"',
        first=UUIDS[2],
    ),
    "uuid of any spelling": Kind(
        "TEXT",  # UUID would make the number 0 of 32 zeros
        "uuid",
        "uuid_text",
        a_uuid,
        same,
        uuid_literal,
        lines="respell = true",
        create='pg_type = "uuid"',
        other=another_uuid,
        first=UUIDS[2],
        keyless=False,
    ),
    "uuid as bytes": Kind(
        "BLOB",
        "uuid",
        "uuid_blob",
        a_uuid,
        lambda t: uuid.UUID(t).bytes,
        uuid_literal,
        create='pg_type = "uuid"',
        key=True,
    ),
    "citext": Kind(
        "TEXT COLLATE NOCASE",
        "citext",
        "text",
        one_of("a", "A", "ab", "AB", "aB", "z", ""),
        same,
        as_it_is,
        create='pg_type = "citext"',
        made=CITEXT,
    ),
    "enum": Kind(
        "TEXT",
        "mood",
        "text",
        one_of("sad", "ok", "Ok", "so, so", "007"),
        same,
        as_it_is,
        create=None,
        made=MOOD,
    ),
    "domain of numeric": Kind(
        "NUMERIC",
        "price",
        "number",
        cents,
        as_number,
        number_literal,
        create=None,
        first=Decimal("1.5"),
        made="CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE > -1e9)",
    ),
    "domain of text": Kind(
        "TEXT",
        "email",
        "text",
        one_of("a@b", "A@b", "x@" + "y" * 50),
        same,
        as_it_is,
        create=None,
        made="CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%')",
    ),
    "domain of integer": Kind(
        "INTEGER",
        "small",
        "integer",
        whole(16),
        same,
        as_it_is,
        create=None,
        made="CREATE DOMAIN small AS smallint",
    ),
}
