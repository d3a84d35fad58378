"""What SQLite makes of a value as it is written: a column's affinity may turn it into another (HAZARDS R2;
SQLite documentation: datatype3, section 3).

One home for the rule: the apply watches these columns and reads doubtful values back, and assess says before
the cutover which columns have such values.
"""

from __future__ import annotations

from math import copysign
from typing import Final

from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue

_BLOBS: Final = ("blob", "uuid_blob")
# Their texts have a separator, a colon or a hyphen that no number has.
_NEVER_A_NUMBER: Final = ("timestamp_text", "date_text", "time_text", "inet")
_TEXTS: Final = ("text", "char", "text_bytes", "json_text", "uuid_text", "array", "verbatim", "decimal_text")
_INTEGERS: Final = ("integer", "epoch", "boolean", "interval")


def is_watched(column: ColumnPlan) -> bool:
    """Could SQLite's affinity make something else of a value that the codec gives?"""
    if column.affinity == "BLOB" or column.codec in (*_BLOBS, *_NEVER_A_NUMBER) or _has_words(column):
        return False
    if column.codec in _TEXTS:
        return column.affinity != "TEXT"
    if column.codec in _INTEGERS:
        return column.affinity not in ("INTEGER", "NUMERIC")
    return True  # they decode by the affinity; what is left is a -0.0


def may_change(value: SqliteValue, affinity: str) -> bool:
    """Whether it is worth reading back: text that looks like a number, or a number of another class."""
    match value:
        case str():
            return affinity != "TEXT" and looks_like_number(value)
        case int():
            return affinity in ("TEXT", "REAL")
        case float():
            # A REAL column keeps whole numbers as integers on disk, which have no -0.
            return affinity != "REAL" or (value == 0.0 and copysign(1.0, value) < 0)
    return False


def looks_like_number(text: str) -> bool:
    """Never false for a text that SQLite turns into a number; true for a few that it leaves alone."""
    try:
        float(text.partition("\0")[0])  # SQLite reads a number as far as the first NUL
    except ValueError:
        return False
    return True


def trap(column: ColumnPlan, labels: tuple[str, ...] = ()) -> str:
    """Which values PostgreSQL could hold in the plan's type that would land as others; "" for none.

    `labels`: of an enum, all that it can hold.
    """
    if not is_watched(column):
        return ""
    if column.codec in _INTEGERS:
        return "every number"
    if labels:
        odd = [label for label in labels if looks_like_number(label)]
        return f"the label {odd[0]!r}" if odd else ""
    match column.codec:
        case "text" | "char" | "text_bytes" | "verbatim":
            return "a text such as '007'"
        case "json_text":
            return "a JSON number such as 1.10"
        case "uuid_text":
            return "" if column.options.get("hyphens", True) else "a UUID such as 123e4567e89b..."
        case "array":
            return "" if column.options.get("separator") == "json" else "an array of one number"
    return ""


def _has_words(column: ColumnPlan) -> bool:
    """Texts of a codec that else gives integers; none of them looks like a number."""
    return bool(column.options.get("words")) or column.options.get("form") == "epoch_text"
