"""The codecs' laws, with a live PostgreSQL as the oracle of what each value becomes there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import (
    BATCH,
    Oracle,
    accepted,
    back,
    budget,
    column,
    forward,
    many,
    oracle_of,
    small_budget,
)

from turnback.core.rows import SqliteValue


@pytest.fixture(scope="module")
def oracle(server) -> Iterator[Oracle]:
    with oracle_of(server) as made:
        yield made


# ---- booleans, text and blobs ---------------------------------------------------------------------


@budget
@given(many(st.integers(-3, 3)))
def test_booleans(oracle: Oracle, values: list[SqliteValue]) -> None:
    plan = column("boolean", "boolean")
    assert forward(oracle, plan, values) == sum(v in (0, 1) for v in values)


any_text = st.text(st.characters(codec=None), max_size=40)  # NUL and lone surrogates, too
LITTLE = [
    "",
    " ",
    "\\",
    "\\N",
    "\\.",
    "\t\n\r",
    "\x7f",
    "𝒳" * 5,
    "é",
    "e\u0301",
    "\ufeff",
    "\u2028",
    "😀" * 6,
]


@budget
@given(many(st.one_of(st.sampled_from(LITTLE), any_text)))
def test_text(oracle: Oracle, values: list[SqliteValue]) -> None:
    good = [v for v in values if isinstance(v, str) and "\0" not in v and encodable(v)]
    assert forward(oracle, column("text", "text"), values) == len(good)
    short = [v for v in good if len(v) <= 5]
    assert forward(oracle, column("text", "character varying(5)", length=5), values) == len(short)


def encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


@budget
@given(many(st.binary(max_size=60)))
def test_blobs(oracle: Oracle, values: list[SqliteValue]) -> None:
    assert forward(oracle, column("blob", "bytea"), [b"", b"\x00\xff[", *values]) == len(values) + 2


# ---- JSON ----------------------------------------------------------------------------------------

number_tokens = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
blanks = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
string_tokens = st.builds(json.dumps, any_text, ensure_ascii=st.booleans())
odd_strings = st.sampled_from(
    [
        r'"\u00e9"',
        r'"\/"',
        r'"\ud83d\ude00"',
        r'"\u0000"',
        r'"\\u0000"',
        r'"\ud800"',
        r'"\b\f\u001f"',
        '"\x7f"',
    ]
)
scalars = st.one_of(
    st.sampled_from(
        [
            "true",
            "false",
            "null",
            "1e2",
            "1.10",
            "1E400",
            "-0",
            "-0.0",
            "0e-5",
            "1.0e1",
            "12345678901234567890",
        ]
    ),
    number_tokens,
    string_tokens,
    odd_strings,
)
short_keys = st.sampled_from(['"a"', '"b"', '"aa"', '"ä"', '"\\u00e4"', '"𝒳"', '"zzz"', '""']) | string_tokens


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaced = st.builds(lambda a, v, b: a + v + b, blanks, inner, blanks)
    member = st.builds(lambda k, a, v: k + a + ":" + v, short_keys, blanks, spaced)
    return st.lists(spaced, max_size=5).map(lambda v: "[" + ",".join(v) + "]") | st.lists(
        member, max_size=6
    ).map(lambda m: "{" + ",".join(m) + "}")


documents = st.recursive(scalars, _containers, max_leaves=12)
nearly_json = st.one_of(
    documents,
    st.builds(
        lambda d, i, c: d[: i % (len(d) + 1)] + c + d[i % (len(d) + 1) :],
        documents,
        st.integers(0),
        st.sampled_from(list('{}[],:"\\ue1.+-0 \x0b\x1fNaN\ufeff٣')),
    ),
    st.builds(lambda d, i: d[: i % (len(d) + 1)] + d[i % (len(d) + 1) + 1 :], documents, st.integers(0)),
    st.sampled_from(["", " ", "NaN", "-Infinity", "01", "1.", ".5", "+1", "'a'", "[1,]", "{}x", "tru"]),
)


@budget
@given(st.lists(documents, min_size=1, max_size=60))
def test_json_keeps_its_text(oracle: Oracle, values: list[SqliteValue]) -> None:
    forward(oracle, column("json_text", "json"), values)


@small_budget
@given(st.lists(documents, min_size=1, max_size=60))
def test_jsonb(oracle: Oracle, values: list[SqliteValue]) -> None:
    respelled = column("json_text", "jsonb", binary=True, respell=True)
    strict = column("json_text", "jsonb", binary=True)
    forward(oracle, respelled, values)
    forward(oracle, strict, values)
    # What jsonb itself printed is in jsonb's spelling: every document comes back as text.
    printed = oracle.printed("jsonb", [text for _, text in accepted(respelled, values)])
    assert forward(oracle, strict, list(printed)) == len(printed)


@small_budget
@given(st.lists(nearly_json, min_size=1, max_size=60))
def test_what_counts_as_json_is_what_postgresql_takes(oracle: Oracle, values: list[str]) -> None:
    plain = [v for v in values if encodable(v) and "\0" not in v]
    for plan in (column("json_text", "json"), column("json_text", "jsonb", binary=True, respell=True)):
        taken = {value for value, _ in accepted(plan, list(plain))}
        assert [v in taken for v in plain] == oracle.valid(plan.pg_type, plain)


# ---- UUIDs ---------------------------------------------------------------------------------------


@budget
@given(st.lists(st.uuids(), min_size=1, max_size=BATCH), st.booleans(), st.booleans())
def test_uuids(oracle: Oracle, values: list[object], upper: bool, hyphens: bool) -> None:
    texts: list[SqliteValue] = []
    for value in values:
        text = str(value) if hyphens else str(value).replace("-", "")
        texts.append(text.upper() if upper else text)
    plan = column("uuid_text", "uuid", "TEXT", upper=upper, hyphens=hyphens)
    assert forward(oracle, plan, texts) == len(texts)
    assert back(oracle, plan, [str(v) for v in values]) == len(values)
    mixed = column("uuid_text", "uuid", "TEXT", upper=not upper, hyphens=not hyphens, respell=True)
    assert forward(oracle, mixed, texts) == len(texts)
    octets: list[SqliteValue] = [bytes.fromhex(str(v).replace("-", "")) for v in values]
    assert forward(oracle, column("uuid_blob", "uuid"), octets) == len(octets)
