"""The part of the census that looks into texts and numbers: spellings of moments and UUIDs, words, decimal
places. Asked only of columns whose samples look like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import apsw

from turnback.adapters.sqlite.database import quoted
from turnback.core.forms import look_like_moments, look_like_uuids, moment_forms
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
        facts = replace(facts, moments=_moments(connection, c, where, facts.texts))
    if look_like_uuids(samples):
        facts = replace(facts, uuids=_uuids(connection, c, where))
    return facts


def _words(connection: apsw.Connection, c: str, where: str) -> tuple[tuple[str, int], ...]:
    binary = f"{c} COLLATE BINARY"
    few = connection.execute(f"SELECT DISTINCT {binary} FROM {where} LIMIT {MOST_WORDS + 1}").fetchall()
    if len(few) > MOST_WORDS:
        return ()
    counted = connection.execute(f"SELECT {c}, count(*) FROM {where} GROUP BY {binary} ORDER BY 2 DESC, 1")
    return tuple((str(word), int(str(count))) for word, count in counted)


def _moments(connection: apsw.Connection, c: str, where: str, texts: int) -> tuple[MomentForm, ...]:
    # The commonest spelling is SQLite's own, and SQLite tells it fastest.
    plain = f"{c} IS datetime({c}) AND {c} >= '0001'"
    row = connection.execute(f"SELECT count(*) FILTER (WHERE {plain}), min({c}) FROM {where}").fetchone()
    if row is not None and row[0] == texts:
        return (MomentForm(" ", 0, 0, 0, "", True, texts, str(row[1])),)

    def values() -> Iterator[str]:
        for (value,) in connection.execute(f"SELECT {c} FROM {where}"):
            yield str(value)

    return moment_forms(values())


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
