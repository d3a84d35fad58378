"""The part of the census that looks into texts and numbers: spellings of moments and UUIDs, words, decimal
places. Asked only of columns whose samples look like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import apsw

from turnback.adapters.sqlite.database import quoted
from turnback.core.codecs.json_text import PLAIN_DEPTH, PLAIN_LENGTH
from turnback.core.forms import (
    in_order,
    look_like_json,
    look_like_moments,
    look_like_uuids,
    moment_form,
    moment_forms,
)
from turnback.core.profile import MOST_WORDS, ColumnProfile, MomentForm, UuidForm
from turnback.core.schema import SqliteColumn

_MOST_LETTERS = 5  # of a word: "false"
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\s*\(\s*\d+\s*,\s*(\d+)\s*\)", re.ASCII)
_HEX = "[0-9a-fA-F]"
_PLAIN_UUID = _HEX * 32
_HYPHENS_UUID = "-".join(_HEX * n for n in (8, 4, 4, 4, 12))


def declared_decimals(column: SqliteColumn) -> str:
    """The term that gives the declared decimal places, or NULL where a real has more; "" without any.

    With up to 15 digits in all a decimal is the shortest one of its double, so that it comes back.
    """
    match = _DECIMAL.match(column.declared_type.upper())
    if match is None or int(match[1]) > 9:
        return ""
    c, scale = quoted(column.name), int(match[1])
    within = f"abs({c}) < 1e{15 - scale} AND round({c}, {scale}) = {c}"
    return f"iif(count(*) FILTER (WHERE typeof({c}) = 'real' AND NOT ({within})), NULL, {scale})"


def with_forms(connection: apsw.Connection, source: str, name: str, facts: ColumnProfile) -> ColumnProfile:
    """The facts with what the texts of that column look like. All must be valid text without NUL."""
    c = quoted(name)
    where = f"{source} WHERE typeof({c}) = 'text'"
    samples = (facts.min_text, facts.max_text, facts.longest_text)
    if facts.max_characters <= _MOST_LETTERS:
        facts = replace(facts, words=_words(connection, c, where))
    if look_like_moments(samples):
        facts = replace(facts, moments=_moments(connection, c, where, samples))
    if look_like_uuids(samples):
        facts = replace(facts, uuids=_uuids(connection, c, where))
    if look_like_json(samples):
        facts = replace(facts, json=_json(connection, c, where))
    return facts


def _words(connection: apsw.Connection, c: str, where: str) -> tuple[tuple[str, int], ...]:
    binary = f"{c} COLLATE BINARY"
    few = connection.execute(f"SELECT DISTINCT {binary} FROM {where} LIMIT {MOST_WORDS + 1}").fetchall()
    if len(few) > MOST_WORDS:
        return ()
    counted = connection.execute(f"SELECT {c}, count(*) FROM {where} GROUP BY {binary} ORDER BY 2 DESC, 1")
    return tuple((str(word), int(str(count))) for word, count in counted)


def _moments(
    connection: apsw.Connection, c: str, where: str, samples: Iterable[str]
) -> tuple[MomentForm, ...]:
    """SQLite counts the texts of the samples' forms (mostly that is one form, and all texts); the others are
    looked at one by one.
    """
    found: list[MomentForm] = []
    rest = where
    for form in dict.fromkeys(f for s in samples if (f := moment_form(s)) is not None):
        has_form = _has_form(c, form)
        digits = f"length(rtrim(substr({c}, 21, {form.digits}), '0'))"
        counted = connection.execute(
            f"SELECT count(*), min({digits}), max({digits}), min({c}) FROM {where} AND {has_form}"
        ).fetchone()
        count, least, most, sample = counted or (0, 0, 0, "")
        if count:
            found.append(
                replace(
                    form,
                    count=int(str(count)),
                    least=int(str(least)),
                    most=int(str(most)),
                    sample=str(sample),
                )
            )
            rest += f" AND NOT ({has_form})"

    def values() -> Iterator[str]:
        for (value,) in connection.execute(f"SELECT {c} FROM {rest}"):
            yield str(value)

    return in_order((*found, *moment_forms(values())))


def _has_form(c: str, form: MomentForm) -> str:
    """Only what SQLite itself prints for a moment is one. Never NULL; and what is compared is an expression,
    which has neither the column's collation nor its affinity.
    """
    if not form.separator:
        return f"ifnull(substr({c}, 1) = date({c}), 0) AND substr({c}, 1, 4) <> '0000'"
    tail = ("." + "[0-9]" * form.digits if form.digits else "") + form.suffix
    head = f"substr({c}, 1, 10) || ' ' || substr({c}, 12, 8)"
    return (
        f"substr({c}, 20) GLOB '{tail}' AND substr({c}, 11, 1) GLOB '{form.separator}' "
        f"AND ifnull(datetime(substr({c}, 1, 19)) = {head}, 0) AND substr({c}, 1, 4) <> '0000'"
    )


def _json(connection: apsw.Connection, c: str, where: str) -> Literal["", "valid", "plain"]:
    """json_valid asks for JSON by RFC 8259 alone (SQLite documentation: JSON Functions, 4.9)."""
    brackets = f"2 * length({c}) - length(replace({c}, '[', '')) - length(replace({c}, '{{', ''))"
    flat = f"CASE WHEN length({c}) <= {PLAIN_DEPTH} THEN 1 ELSE {brackets} <= {PLAIN_DEPTH} END"
    plain = f"length({c}) <= {PLAIN_LENGTH} AND instr({c}, '\\u') = 0 AND NOT {c} GLOB '*[0-9][eE]*'"
    refused = connection.execute(
        f"SELECT 1 FROM {where} AND NOT (json_valid({c}) AND {flat}) LIMIT 1"
    ).fetchone()
    if refused is not None:
        return ""
    unusual = connection.execute(f"SELECT 1 FROM {where} AND NOT ({plain}) LIMIT 1").fetchone()
    return "plain" if unusual is None else "valid"


def _uuids(connection: apsw.Connection, c: str, where: str) -> tuple[UuidForm, ...]:
    """Empty where a text is no UUID."""
    shape = f"CASE WHEN {c} GLOB '{_HYPHENS_UUID}' THEN 1 WHEN {c} GLOB '{_PLAIN_UUID}' THEN 0 END"
    cases = f"{c} COLLATE BINARY = lower({c}), {c} COLLATE BINARY = upper({c})"
    rows = connection.execute(
        f"SELECT {shape}, {cases}, count(*) FROM {where} GROUP BY 1, 2, 3 ORDER BY 4 DESC"
    ).fetchall()
    if any(hyphens is None for hyphens, *_ in rows):
        return ()
    return tuple(
        UuidForm(bool(hyphens), bool(lower), bool(upper), int(str(count)))
        for hyphens, lower, upper, count in rows
    )
