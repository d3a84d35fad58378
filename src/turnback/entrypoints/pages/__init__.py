"""Pages that a person keeps, prints or sends: one HTML file each, with nothing loaded from anywhere.

Every text from the outside goes through jinja2's escaping; no template switches it off.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["number"] = number
    environment.filters["moment"] = moment
    return environment


def number(value: int | None) -> str:
    """12 345 678, with thin spaces that do not break."""
    return "" if value is None else f"{value:,}".replace(",", "\u202f")


def moment(text: str) -> str:
    """2026-11-23T02:50:45Z, as a person reads it."""
    return text.replace("T", " ").replace("Z", " UTC")


def prepare(template: str) -> None:
    """Reads the template now: a process that runs for weeks must not meet the one of another version."""
    for name in ("page.html", template):
        _environment().get_template(name)


def render(template: str, **values: Any) -> str:
    """The page. Raises jinja2's errors: a template that does not fit its values is a bug."""
    return _environment().get_template(template).render(**values)
