"""turnback.toml: read and checked as a whole. Every problem is named at once, with its line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from pathlib import Path

import pydantic

from turnback.entrypoints.config import Config, Loc
from turnback.entrypoints.config_guard import LISTEN, SECRET, URL
from turnback.entrypoints.config_section import Section
from turnback.entrypoints.contradictions import contradictions
from turnback.entrypoints.toml_lines import key_lines, line_of
from turnback.errors import ConfigError


def load(path: Path) -> Config:
    """The configuration in the file. Raises ConfigError that names every problem with its line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="`turnback init` writes one") from None
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="check its mode and encoding") from e
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        where = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(e))
        place, what = (f", line {where[2]}", where[1]) if where else ("", str(e))
        raise ConfigError(
            f"{path.name}{place}: {what[:1].lower()}{what[1:]}", hint="TOML: strings stand in quotes"
        ) from None
    problems: list[tuple[Loc, str]]
    try:
        config = Config.model_validate(raw)
    except pydantic.ValidationError as e:
        # once where each member of a union complains
        found = dict.fromkeys(_problem(error) for error in e.errors(include_input=False, include_url=False))
        problems = list(found)
    else:
        config._file = path.absolute()
        problems = list(contradictions(config))
        if not problems:
            return config
    lines = key_lines(text)
    ordered = sorted(problems, key=lambda p: line_of(lines, p[0]) or 0)
    raise ConfigError(
        "\n".join(_sentence(path.name, lines, loc, what) for loc, what in ordered),
        hint=f"edit {path.name}; every key is in docs/reference",
    )


_MEMBERS = ("str", "int", "float")  # of a union, as pydantic names them
_FORMS = {
    SECRET: "must be env:NAME or file:PATH; what it holds never stands in this file",
    URL: "must be an address: http://HOST:PORT/PATH (or https)",
    LISTEN: "must be HOST:PORT",
}


def _sentence(file: str, lines: dict[Loc, int], loc: Loc, what: str) -> str:
    line = line_of(lines, loc)
    table = f"[{'.'.join(loc[:-1])}] " if len(loc) > 1 else ""
    return f"{file}{f', line {line}' if line else ''}: {table}{loc[-1]}: {what}"


def _problem(error: typing.Any) -> tuple[Loc, str]:
    loc = tuple(str(part) for part in error["loc"])
    if loc[-1] == "[key]":  # pydantic's place of a table's own name
        loc = loc[:-1]
    elif loc[-1] in _MEMBERS:
        return loc[:-1], "must be a string or a number"
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(loc[-1], _keys(loc[:-1]), n=1)
            return loc, "unknown key" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return loc, "is needed"
        case "string_pattern_mismatch":
            pattern = error["ctx"]["pattern"]
            return loc, _FORMS.get(pattern, f"does not have the form {pattern}")
        case "literal_error":
            return loc, f"must be {error['ctx']['expected']}"
        case "tuple_type":
            return loc, 'must be a list of strings: ["one", "two"]'
        case _:
            return loc, error["msg"].replace("Input should be", "must be").replace(
                "valid dictionary", "table"
            )


def _keys(loc: Loc) -> list[str]:
    """The keys that the table at `loc` may have."""
    at: typing.Any = Config  # a Section, or dict[NAME, Section]
    for part in loc:
        if typing.get_origin(at) is dict:
            at = typing.get_args(at)[1]
            continue
        annotation = {f.alias or n: f.annotation for n, f in at.model_fields.items()}.get(part)
        choices = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        at = next((c for c in choices if _is_section(c) or typing.get_origin(c) is dict), None)
        if at is None:
            return []
    return [f.alias or n for n, f in at.model_fields.items()] if _is_section(at) else []


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
