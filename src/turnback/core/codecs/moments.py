"""What timestamps, dates and epochs share: how PostgreSQL prints a moment, and what it cannot be.

The sessions pin TimeZone to UTC and DateStyle to ISO, so timestamptz arrives as "2024-03-31 02:30:00.5+00".
Infinity, years before 1 and after 9999 have no counterpart here and are refused (HAZARDS R5).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from turnback.core.codecs.protocol import modifier
from turnback.core.plan import ColumnPlan
from turnback.errors import CannotCarry

EPOCH: Final = datetime(1970, 1, 1)
MICROSECOND: Final = timedelta(microseconds=1)


def printed(moment: datetime, precision: int) -> str:
    """The naive moment as timestamp(precision) prints it. Raises CannotCarry where it would be rounded."""
    text = str(moment)
    if moment.microsecond:
        text = text.rstrip("0")
        if len(text) > 20 + precision:
            raise too_fine()
    return text


def parsed(text: str, *, zoned: bool) -> datetime:
    """The naive moment, UTC where `zoned`, behind what PostgreSQL printed. Raises CannotCarry."""
    if zoned:
        text = without_zone(text)
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise out_of_range() from None


def without_zone(text: str) -> str:
    if text[-3:] != "+00":
        raise out_of_range()  # " BC" and infinity; the session's TimeZone is UTC
    return text[:-3]


def precision_of(column: ColumnPlan) -> int:
    """Digits of the fraction that the PostgreSQL type keeps."""
    return (modifier(column.value_type) or (6,))[0]


def out_of_range() -> CannotCarry:
    return CannotCarry("infinity, or a timestamp outside the years 1 to 9999")


def too_fine() -> CannotCarry:
    return CannotCarry("a moment with more digits than the PostgreSQL type keeps")
