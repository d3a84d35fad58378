"""`surely_misspelled` says True of no text that jsonb spells just so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import budget

from assessing import assess_file, make_file
from turnback.core.codecs.json_text import normal_form, surely_misspelled
from turnback.errors import CannotCarry

NAMES = st.text(st.sampled_from('abé"\\\\:, '), max_size=3)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), NAMES
)
VALUES = st.recursive(
    LEAVES, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(NAMES, v, max_size=5))
)


@budget
@given(VALUES, st.booleans())
def test_a_text_in_its_normal_form_is_never_refused_at_a_glance(value: object, ascii_only: bool) -> None:
    try:
        text = normal_form(json.dumps(value, ensure_ascii=ascii_only))
    except CannotCarry:
        return
    assert not surely_misspelled(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}',
        '[{"a":1}]',
        '{ "a": 1}',
        '{\n  "a": 1\n}',
        '{"title": "x", "id": 5}',
        '{"b": 1, "a": null}',
        '{"a": 1, "a": 2}',
        '{"a": 1, "b": -2.5, "cc": true, "c": []}',
    ],
)
def test_what_programs_mostly_write_is_seen_at_a_glance(text: str) -> None:
    assert normal_form(text) != text
    assert surely_misspelled(text)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "é": 2, "b": 3}', '"a:b"', "[1,2]", "{}", '{"a": {"bb":1}}', "", "no"]
)
def test_of_others_it_says_nothing(text: str) -> None:
    assert not surely_misspelled(text)


def test_the_values_refused_at_a_glance_are_counted(tmp_path: Path) -> None:
    documents = [
        '{"a": 1}',
        '{"a":1}',
        '{"b": {"cc": 1, "d": 2}}',
        "[1, 2]",
        '["a","b"]',
        '{"b": 1, "a": 1}',
    ] * 9
    values = ", ".join(f"({n}, '{d}')" for n, d in enumerate(documents))
    path = make_file(
        tmp_path / "a.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, c JSON); INSERT INTO t VALUES {values}"
    )
    found = assess_file(path)
    (finding,) = [f for f in found.findings if f.column == "c" and f.count]
    assert finding.count == 4 * 9, finding
    assert finding.keys == ("id=1", "id=2", "id=4", "id=5", "id=7")
