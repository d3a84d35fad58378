"""JSON that jsonb is sure to take is not brought into normal form: both ways refuse the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.codecs.json_text import PLAIN_DEPTH, PLAIN_LENGTH, RespelledJsonbText, normal_form
from turnback.errors import CannotCarry

PIECES = st.sampled_from(
    (
        *("{", "}", "[", "]", ",", ":", '"', "\\", "\\n", "\\u0000", "\\ud800", "\0", "\x01", "\ud800"),
        *("1", "0", "-0", "1e5", "1E999999", "9.5", "e", "E", "true", "null", "NaN", "Infinity", "é", "a"),
    )
)


def takes(work, text: str) -> bool:
    try:
        work(text)
    except CannotCarry:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_text(text):
    assert takes(RespelledJsonbText().encode, text) == takes(normal_form, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "\\u0000"}',
        '["\\ud800"]',
        '"\\ud83d\\ude00"',
        "[NaN]",
        "1e999999",
        "1e5",
        "0." + "1" * 20_000,
        "9" * (PLAIN_LENGTH + 1),
        "9" * 140_000,
        '["a\0b"]',
        '"\ud800"',
        "[" * PLAIN_DEPTH + "]" * PLAIN_DEPTH,
        "[" * 2000 + "]" * 2000,
        '{"a": 1, "a": 2}',
        "",
        " [] ",
        "[1,]",
    ],
)
def test_the_edges(text):
    assert takes(RespelledJsonbText().encode, text) == takes(normal_form, text)
