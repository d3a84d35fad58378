"""Column defaults of SQLite as PostgreSQL expressions: exact, or not at all (HAZARDS F2, F3, F19).

A default's value takes the column's affinity first, as SQLite does when it inserts it, and then the column's
codec: so `DEFAULT 0` of a boolean column is false and `DEFAULT "x"` is the text x.
"""

from __future__ import annotations

import re
from datetime import datetime

from turnback.core.codecs import codec_for
from turnback.core.expressions import Translation, Unknown, of_table, parsed
from turnback.core.expressions.constants import render, with_affinity
from turnback.core.expressions.results import stored
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.core.schema import SqliteColumn, affinity
from turnback.core.sqlite_sql import Token, tokens
from turnback.core.sqltext import literal
from turnback.errors import CannotCarry

_UTC = "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"

# SQLite documentation: lang_datefunc. What strftime() writes, and to_char()'s word for it.
_TO_CHAR = {
    "%Y": "YYYY",
    "%m": "MM",
    "%d": "DD",
    "%H": "HH24",
    "%M": "MI",
    "%S": "SS",
    "%f": "SS.MS",
}
_SAMPLE = datetime(2000, 1, 1)

_FORMATS = {
    "current_timestamp": "%Y-%m-%d %H:%M:%S",
    "datetime('now')": "%Y-%m-%d %H:%M:%S",
    "datetime()": "%Y-%m-%d %H:%M:%S",
    "datetime(current_timestamp)": "%Y-%m-%d %H:%M:%S",
    "current_date": "%Y-%m-%d",
    "date('now')": "%Y-%m-%d",
    "date()": "%Y-%m-%d",
    "current_time": "%H:%M:%S",
    "time('now')": "%H:%M:%S",
    "time()": "%H:%M:%S",
}

_SECONDS = ("unixepoch()", "unixepoch('now')", "strftime('%s','now')", "strftime('%s')")
_SUBSECONDS = tuple(
    f"unixepoch({arguments})" for word in ("'subsec'", "'subsecond'") for arguments in (word, f"'now',{word}")
)
_JULIAN = "(julianday('now')-2440587.5)"


def _counters() -> dict[str, str]:
    """Spellings of "now" as an integer, with their unit; "s000" is milliseconds of a whole second."""
    found = {}
    for now in _SECONDS:
        for spelled in (now, f"({now})"):
            found[spelled] = "s"
            found[f"{spelled}*1000"] = "s000"
    for now in _SUBSECONDS:
        found[f"cast({now}*1000asint)"] = "ms"
    found[f"cast({_JULIAN}*86400000asint)"] = "ms"
    found[f"cast({_JULIAN}*86400asint)"] = "s"
    return found | {f"cast({k}asint)": v for k, v in found.items() if not k.startswith("cast(")}


_COUNTERS = _counters()


class Untranslatable(Exception):
    """The default has no exact counterpart in that PostgreSQL type. Its text is the reason."""


def translate_default(column: SqliteColumn, plan: ColumnPlan) -> str | None:
    """The PostgreSQL expression; None: no default is needed. Raises Untranslatable."""
    if column.default_sql is None:
        return None
    stream = _unwrapped(tokens(column.default_sql))
    found, value = _literal_value(stream)
    if found:
        if value is None:
            return None
        try:
            return render(with_affinity(value, affinity(column.declared_type)), plan)
        except CannotCarry as e:
            raise Untranslatable(str(e)) from None
    key = _key(stream)
    if (form := _format(key)) is not None:
        return _moment(form, plan)
    if key in _COUNTERS:
        return _counter(_COUNTERS[key], plan)
    return _computed(column, plan)


def _computed(column: SqliteColumn, plan: ColumnPlan) -> str:
    """An expression of constants."""
    try:
        sql, made = stored(
            Translation(of_table(())).term(parsed(column.default_sql or "")), column.declared_type
        )
    except (Unknown, CannotCarry) as e:
        raise Untranslatable(f"an expression that turnback does not translate: {e}") from None
    if (made.codec, made.pg_type) != (plan.codec, plan.pg_type):
        raise Untranslatable(f"its value is {made.pg_type}, and the column becomes {plan.pg_type}")
    return f"({sql})"


def default_sample(column: SqliteColumn) -> str:
    """A text as the column's default would write it, or ""."""
    if column.default_sql is None:
        return ""
    form = _format(_key(_unwrapped(tokens(column.default_sql))))
    return "" if form is None else _SAMPLE.strftime(form.replace("%f", "%S.000"))


def _literal_value(stream: list[Token]) -> tuple[bool, SqliteValue]:
    """(is it a literal, its value)."""
    texts = [t.text for t in stream]
    sign = 1
    if len(stream) == 2 and texts[0] in ("+", "-") and stream[1].kind == "number":
        sign = -1 if texts[0] == "-" else 1
        stream, texts = stream[1:], texts[1:]
    if len(stream) == 2 and texts[0] in ("x", "X") and stream[1].kind == "string":
        return True, bytes.fromhex(texts[1][1:-1])
    if len(stream) != 1:
        return False, None
    (token,) = stream
    if token.kind == "number":
        return True, sign * _number(token.text)
    if token.kind in ("string", "name"):
        return True, _unquoted(token.text)
    constants: dict[str, SqliteValue] = {"TRUE": 1, "FALSE": 0, "NULL": None}
    if token.kind == "word" and token.text.upper() in constants:
        return True, constants[token.text.upper()]
    if token.kind == "word" and token.text.lower() not in _FORMATS:
        return True, token.text  # a bare name is a string too
    return False, None


def _number(text: str) -> int | float:
    text = text.replace("_", "")
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text) if text.isdigit() and int(text) < 1 << 63 else float(text)


def _unquoted(text: str) -> str:
    if text[0] == "[":
        return text[1:-1]
    return text[1:-1].replace(text[0] * 2, text[0])


def _unwrapped(stream: list[Token]) -> list[Token]:
    """Without parentheses around the whole."""
    while len(stream) > 2 and stream[0].text == "(" and stream[-1].text == ")":
        depth = 0
        for token in stream[:-1]:
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                return stream
        stream = stream[1:-1]
    return stream


def _key(stream: list[Token]) -> str:
    """The expression in one spelling: no space, words in lower case, strings as they are."""
    words = {"integer": "int", "bigint": "int"}
    lowered = (t.text.lower() if t.kind == "word" else t.text for t in stream)
    return "".join(words.get(text, text) for text in lowered)


def _format(key: str) -> str | None:
    """The strftime() format whose text of "now" this is, if it is one that to_char() can write."""
    if key in _FORMATS:
        return _FORMATS[key]
    match = re.fullmatch(r"strftime\('([^']*)'(?:,'now')?\)", key)
    if match is None:
        return None
    rest = re.sub("|".join(_TO_CHAR), "", match[1])
    return match[1] if rest and re.fullmatch(r"[-T: .Z+0/]*", rest) else None


def _moment(form: str, plan: ColumnPlan) -> str:
    fraction = "milliseconds" if "%f" in form else "second"
    if plan.codec == "text":
        template = re.sub("|".join(_TO_CHAR), lambda m: _TO_CHAR[m[0]], form)
        template = template.replace("T", '"T"').replace("Z", '"Z"')
        return f"to_char({_UTC}, {literal(template)})"
    sample = _SAMPLE.strftime(form.replace("%f", "%S.000"))
    if plan.codec in ("date_text", "timestamp_text"):
        try:
            codec_for(plan).encode(sample)
        except CannotCarry:
            raise Untranslatable("it writes another form than the column's values have") from None
        if plan.codec == "date_text":
            return f"{_UTC}::date"
        if plan.options.get("zoned"):
            return f"date_trunc('{fraction}', CURRENT_TIMESTAMP)"
        return f"date_trunc('{fraction}', {_UTC})"
    raise Untranslatable(f"it writes text into a column that becomes {plan.pg_type}")


def _counter(unit: str, plan: ColumnPlan) -> str:
    seconds = "floor(extract(epoch FROM CURRENT_TIMESTAMP))::bigint"
    count = {
        "s": seconds,
        "s000": f"{seconds} * 1000",
        "ms": "floor(extract(epoch FROM CURRENT_TIMESTAMP) * 1000)::bigint",
    }[unit]
    if plan.codec in ("integer", "number"):
        return f"({count})"
    if plan.codec == "text" and plan.affinity == "TEXT":
        return f"({count})::text"
    if plan.codec == "epoch":
        steps = {("s", "s"): "second", ("s000", "ms"): "second", ("ms", "ms"): "milliseconds"}
        step = steps.get((unit, str(plan.options.get("unit"))))
        if step:
            moment = "CURRENT_TIMESTAMP" if plan.options.get("zoned") else _UTC
            return f"date_trunc('{step}', {moment})"
    raise Untranslatable(f"it counts time in another unit than the column, which becomes {plan.pg_type}")
