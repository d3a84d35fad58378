"""Which spellings of moments and UUIDs a column's texts have: what a census counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from turnback.core.profile import MomentForm

_LOOKS_LIKE_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]|\Z)", re.ASCII)
_LOOKS_LIKE_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LOOKS_LIKE_JSON = re.compile(r"\s*[\[{]", re.ASCII)
_TAIL = re.compile(r"(?:\.(\d+))?( ?(?:Z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?(?: UTC)?)?)", re.ASCII)
_MOST_TAILS = 100_000
_MOST_FORMS = 50


def look_like_moments(samples: Iterable[str]) -> bool:
    return any(_LOOKS_LIKE_MOMENT.match(s) for s in samples)


def look_like_uuids(samples: Iterable[str]) -> bool:
    return any(_LOOKS_LIKE_UUID.fullmatch(s) for s in samples)


def look_like_json(samples: Iterable[str]) -> bool:
    return any(_LOOKS_LIKE_JSON.match(s) for s in samples)


@dataclass(slots=True)
class _Count:
    count: int
    least: int
    most: int
    sample: str


def moment_forms(texts: Iterable[str]) -> tuple[MomentForm, ...]:
    """The forms of these texts, most common first."""
    tails: dict[str, tuple[int, int, str] | None] = {}
    found: dict[tuple[str, int, str, bool], _Count] = {}
    for text in texts:
        tail = text[19:]
        if tail in tails:
            parsed = tails[tail]
        else:
            if len(tails) > _MOST_TAILS:
                tails.clear()
            parsed = tails[tail] = _parsed_tail(tail)
        if parsed is None or not _is_sound(text):
            separator, digits, kept, suffix, sound = text[10:11], 0, 0, "", False
        else:
            digits, kept, suffix = parsed
            separator, sound = text[10:11], True
        key = (separator if sound or separator in (" ", "T") else "", digits, suffix, sound)
        counted = found.get(key)
        if counted is None:
            found[key] = _Count(1, kept, kept, text)
        else:
            counted.count += 1
            if kept < counted.least:
                counted.least = kept
            elif kept > counted.most:
                counted.most = kept
    return in_order(
        MomentForm(separator, digits, c.least, c.most, suffix, sound, c.count, c.sample)
        for (separator, digits, suffix, sound), c in found.items()
    )


def in_order(forms: Iterable[MomentForm]) -> tuple[MomentForm, ...]:
    """Different forms in their order: most common first."""
    return tuple(sorted(forms, key=lambda f: (-f.count, f.digits, f.separator, f.suffix))[:_MOST_FORMS])


def moment_form(text: str) -> MomentForm | None:
    """The form of one text (with no count, digits or sample of its own yet); None where it is not sound."""
    parsed = _parsed_tail(text[19:])
    if parsed is None or not _is_sound(text):
        return None
    return MomentForm(text[10:11], parsed[0], 0, 0, parsed[2], True, 0, "")


def _parsed_tail(tail: str) -> tuple[int, int, str] | None:
    """Digits of the fraction, those without zeros at the end, and what follows; None: something else."""
    match = _TAIL.fullmatch(tail)
    if match is None:
        return None
    fraction = match[1] or ""
    return len(fraction), len(fraction.rstrip("0")), match[2]


def _is_sound(text: str) -> bool:
    head = text[:19]
    try:
        if len(text) == 10:
            date.fromisoformat(head)
            return head[4:8:3] == "--" and head.isascii()
        datetime.fromisoformat(head)
    except ValueError:
        return False
    # fromisoformat takes more spellings, and from Python 3.13 on the hour 24.
    return head[4:8:3] == "--" and head[13:17:3] == "::" and head[10:11] in (" ", "T") and head[11:13] != "24"
