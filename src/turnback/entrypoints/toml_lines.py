"""On which line of a TOML text each key stands: tomllib says what a file holds, but not where."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Path = tuple[str, ...]

_KEY = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')"
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_INLINE = re.compile(rf"[{{,]\s*({_DOTTED})\s*=")
_FENCE = re.compile(r'"""|\'\'\'')


def key_lines(text: str) -> dict[Path, int]:
    """Each table's and key's path -> its line, counted from 1. `text` must be valid TOML."""
    lines: dict[Path, int] = {}
    table: Path = ()
    fence = ""  # the quotes that end the multi-line string we are in
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _TABLE.match(line):
            table = _path(header[1])
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            path = table + _path(assignment[1])
            lines.setdefault(path, number)
            for inline in _INLINE.finditer(line, assignment.end() - 1):
                lines.setdefault(path + _path(inline[1]), number)
        opened = _FENCE.findall(line)
        if opened and len(opened) % 2:
            fence = opened[-1]
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """The line of the key, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _path(dotted: str) -> Path:
    """The parts of a dotted key, read by the TOML parser itself."""
    node: Any = tomllib.loads(f"{dotted} = 0")
    parts: list[str] = []
    while isinstance(node, dict):
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts)
