"""PostgreSQL's type names, as format_type() writes them and as people do."""

from __future__ import annotations

import re

TIMESTAMP = "timestamp without time zone"
TIMESTAMPTZ = "timestamp with time zone"

_ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
}
_ZONED = {"timestamptz": "timestamp", "timetz": "time"}
_TYPE = re.compile(r"([a-z ]+?) ?(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?", re.ASCII)


def parse_type(type_name: str) -> tuple[str, tuple[int, ...], bool]:
    """Base name, numbers in brackets, and whether it has a time zone: as format_type() writes it, or a short
    name ("timestamptz", "varchar(20)").
    """
    name = " ".join(type_name.lower().split()).replace(", ", ",")
    for short, long in _ZONED.items():
        if name.startswith(short):
            name = name.replace(short, long) + " with time zone"
    match = _TYPE.fullmatch(name)
    if match is None:
        # An extension's type has its schema before it, since the session's search_path is empty.
        return "citext" if name.endswith(".citext") else name, (), False
    numbers = tuple(int(n) for n in match.groups()[1:3] if n is not None)
    return _ALIASES.get(match[1], match[1]), numbers, match[4] == " with time zone"


def canonical_type(type_name: str) -> str:
    """The type as format_type() writes it, where it is one that is known here."""
    base, numbers, zoned = parse_type(type_name)
    brackets = f"({','.join(str(n) for n in numbers)})" if numbers else ""
    zone = "" if base not in ("timestamp", "time") else " with time zone" if zoned else " without time zone"
    return base + brackets + zone


def element_type(type_name: str) -> str:
    """Of an array type: "character varying(20)[]" -> "character varying(20)"; "" for others."""
    return type_name.removesuffix("[]") if type_name.endswith("[]") else ""
