"""Whether a value of SQLite and one of PostgreSQL mean the same, by rules that share no code with the codecs.

The codecs prove themselves: a mistake made the same way in both directions passes every round trip. Here a
SQLite value becomes the Python object that it means (a datetime, a Decimal, a UUID...), by the standard
library and the plan's words alone, and is compared with the object that psycopg's own loaders make of what
PostgreSQL holds. An import contract (pyproject.toml) keeps the codecs out of this module.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import ip_interface, ip_network
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue

EPOCH: Final = datetime(1970, 1, 1)
MICROSECOND: Final = timedelta(microseconds=1)
PER_UNIT: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
TRUE: Final = frozenset({"1", "t", "true", "y", "yes", "on"})
FALSE: Final = frozenset({"0", "f", "false", "n", "no", "off"})
INFINITE: Final = frozenset({"infinity", "-infinity"})
MAX_FRACTION = re.compile(r"\.\d{7}")


class NoRule(Exception):
    """There is no independent rule for this value: it cannot be judged, and that is said."""


def same(column: ColumnPlan, value: SqliteValue, found: object) -> bool | None:
    """Whether they mean the same; None: no rule can tell.

    `value`: SQLite's, text as str (bytes that are no text as surrogates). `found`: what psycopg loaded; of
    json, jsonb and a `verbatim` column the text, of an infinite moment 'infinity' or '-infinity'.
    """
    if value is None or found is None:
        return value is None and found is None
    try:
        return _alike(column, meant(column, value), found)
    except NoRule:
        return None
    except (ValueError, InvalidOperation, OverflowError):
        return False  # the value cannot be what the plan says it is


def meant(column: ColumnPlan, value: SqliteValue) -> Any:
    """The Python object that the value means in this column; also what finds a key in PostgreSQL.

    Raises NoRule, or ValueError where it is nothing of the kind.
    """
    if column.codec not in _MEANINGS:
        raise NoRule
    return _MEANINGS[column.codec](column, value)


# ---- what a value means --------------------------------------------------------------------------


def _wanted(value: SqliteValue, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise ValueError("another storage class")
    return value


def _real(column: ColumnPlan, value: SqliteValue) -> float:
    if column.options.get("nan") and value == "NaN":
        return float("nan")
    numeric = column.affinity in ("NUMERIC", "INTEGER")  # SQLite keeps 5.0 there as the integer 5
    return float(_wanted(value, float, int) if numeric else _wanted(value, float))


def _number(column: ColumnPlan, value: SqliteValue) -> Decimal:
    return Decimal(repr(_wanted(value, int, float)))


def _boolean(column: ColumnPlan, value: SqliteValue) -> bool:
    word = str(_wanted(value, int, str)).lower()
    if word not in TRUE | FALSE:
        raise ValueError("no truth value")
    return word in TRUE


def _moment(column: ColumnPlan, value: SqliteValue) -> datetime | str:
    text: str = _wanted(value, str)
    if column.options.get("infinity") and text in INFINITE:
        return text
    if MAX_FRACTION.search(text):
        raise ValueError("finer than microseconds")
    moment = datetime.fromisoformat(text)
    if not column.options.get("zoned"):
        return moment.replace(tzinfo=None)
    if moment.tzinfo is None:
        zone = column.options.get("zone")
        moment = moment.replace(tzinfo=ZoneInfo(str(zone)) if zone else UTC)
    return moment.astimezone(UTC)


def _day(column: ColumnPlan, value: SqliteValue) -> date | str:
    text: str = _wanted(value, str)
    if column.options.get("infinity") and text in INFINITE:
        return text
    return date.fromisoformat(text)


def _since_epoch(column: ColumnPlan, value: SqliteValue) -> datetime:
    unit = PER_UNIT[str(column.options.get("unit", "s"))]
    count = Decimal(repr(_wanted(value, int if column.codec == "epoch" else float))) * unit
    if count != count.to_integral_value():
        raise ValueError("finer than microseconds")
    moment = EPOCH + int(count) * MICROSECOND
    return moment.replace(tzinfo=UTC) if column.options.get("zoned") else moment


def _length(column: ColumnPlan, value: SqliteValue) -> timedelta:
    form = str(column.options.get("form", "s"))
    if form == "epoch_text":
        return datetime.fromisoformat(_wanted(value, str)) - EPOCH
    return int(_wanted(value, int)) * PER_UNIT[form] * MICROSECOND


def _elements(column: ColumnPlan, value: SqliteValue) -> list[str]:
    text: str = _wanted(value, str)
    separator = str(column.options["separator"])
    if separator != "json":
        return text.split(separator) if text else []
    elements = json.loads(text, parse_int=str)
    if not isinstance(elements, list) or not all(isinstance(e, str) for e in elements):
        raise ValueError("no array of texts or integers")
    return elements


def _address(column: ColumnPlan, value: SqliteValue) -> Any:
    text: str = _wanted(value, str)
    match column.value_type:
        case "inet":
            return ip_interface(text)
        case "cidr":
            return ip_network(text)
        case "macaddr" | "macaddr8":
            return re.sub("[^0-9a-f]", "", text.lower())
    raise NoRule


def _bytes_of_text(column: ColumnPlan, value: SqliteValue) -> bytes:
    return str(_wanted(value, str)).encode("utf-8", "surrogateescape")


_MEANINGS: Final[dict[str, Callable[[ColumnPlan, SqliteValue], Any]]] = {
    "integer": lambda c, v: _wanted(v, int),
    "real": _real,
    "float4": _real,
    "number": _number,
    "decimal_text": lambda c, v: Decimal(_wanted(v, str)),
    "boolean": _boolean,
    "text": lambda c, v: _wanted(v, str),
    "char": lambda c, v: _wanted(v, str),
    "text_bytes": _bytes_of_text,
    "affine": lambda c, v: _wanted(v, int, float, str),
    "verbatim": lambda c, v: _wanted(v, str),
    "array": _elements,
    "inet": _address,
    "blob": lambda c, v: _wanted(v, bytes),
    "timestamp_text": _moment,
    "date_text": _day,
    "time_text": lambda c, v: time.fromisoformat(_wanted(v, str)),
    "epoch": _since_epoch,
    "epoch_real": _since_epoch,
    "interval": _length,
    "json_text": lambda c, v: _wanted(v, str),
    "uuid_text": lambda c, v: UUID(_wanted(v, str)),
    "uuid_blob": lambda c, v: UUID(bytes=_wanted(v, bytes)),
}


# ---- whether what was found is that ----------------------------------------------------------------


def _alike(column: ColumnPlan, expected: Any, found: object) -> bool:
    match column.codec:
        case "json_text" if column.options.get("binary"):
            return _same_json(_parsed(expected), _parsed(found))
        case "affine":
            return _same_affine(expected, found)
        case "array":
            if not isinstance(found, list):
                raise NoRule  # psycopg knows no loader for this type of array
            return [str(e) for e in found] == expected and None not in found
        case "decimal_text":
            return isinstance(found, Decimal) and found.as_tuple() == expected.as_tuple()
        case "epoch" if column.options.get("truncate"):
            unit = PER_UNIT[str(column.options.get("unit", "s"))] * MICROSECOND
            return _both(expected, found) and bool(timedelta(0) <= found - expected < unit)
        case "char":
            return isinstance(found, str) and found.rstrip(" ") == expected
        case "inet" if column.value_type == "inet":
            return bool(ip_interface(str(found)) == expected)
        case "inet" if column.value_type != "cidr":
            return bool(re.sub("[^0-9a-f]", "", str(found)) == expected)
        case "real" | "float4":
            return isinstance(found, float) and _bits(found, column) == _bits(expected, column)
    if isinstance(found, memoryview):
        found = bytes(found)
    return _both(expected, found) and bool(expected == found)


def _both(expected: object, found: object) -> bool:
    """Of one type, so that 1 is not True; moments both with a zone or both without."""
    if type(expected) is not type(found):
        return False
    if isinstance(expected, datetime) and isinstance(found, datetime):
        return (expected.tzinfo is None) == (found.tzinfo is None)
    return True


def _bits(value: float, column: ColumnPlan) -> bytes:
    if value != value:
        return b"NaN"
    numeric = column.affinity in ("NUMERIC", "INTEGER")  # 0.0 and -0.0 are the integer 0 there
    return struct.pack(">d", value + 0.0 if numeric else value)


def _same_affine(expected: int | float | str, found: object) -> bool:
    if not isinstance(found, str):
        return False
    if isinstance(expected, str):
        return found == expected
    if isinstance(expected, int):
        return found == str(expected)
    return struct.pack(">d", float(found)) == struct.pack(">d", expected)


def _parsed(text: object) -> Any:
    """JSON as jsonb reads it: of equal keys the last counts, numbers are decimal."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        return json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError:
        raise NoRule from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _same_json(a: Any, b: Any) -> bool:
    """Python has True == 1; JSON has not."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same_json(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same_json, a, b))
    return bool(a == b)
