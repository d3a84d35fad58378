"""Quoting of names and literals: the same rule on both engines (SQL standard, doubled quotes)."""

from __future__ import annotations

from collections.abc import Iterable


def identifier(name: str) -> str:
    """The name, quoted. Raises ValueError for a NUL, which no engine can hold in a name."""
    if "\0" in name:
        raise ValueError("a name cannot contain a NUL character")
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    """Quoted names, separated by commas."""
    return ", ".join(identifier(n) for n in names)


def qualified(schema: str, name: str) -> str:
    """ "schema"."name"."""
    return f"{identifier(schema)}.{identifier(name)}"


def literal(text: str) -> str:
    """The text as an SQL string literal (standard_conforming_strings, which the sessions pin)."""
    if "\0" in text:
        raise ValueError("an SQL literal cannot contain a NUL character")
    return "'" + text.replace("'", "''") + "'"
