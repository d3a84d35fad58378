"""The lines of turnback.toml that settle a finding."""

from __future__ import annotations


def leave_table_out(table: str) -> str:
    return f"[tables.{toml_key(table)}]\nexclude = true"


def column_lines(table: str, column: str, lines: str) -> str:
    """The lines of turnback.toml that choose something for a column."""
    return f"[tables.{toml_key(table)}.columns.{toml_key(column)}]\n{lines}"


def leave_behind_lines(name: str) -> str:
    return f"[sqlite]\nleave_behind = [{toml_string(name)}]"


def toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml_string(name)


def toml_string(text: str) -> str:
    """A TOML basic string (toml.io, String): JSON's escapes are TOML's."""
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c
        for c in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'
