"""The laws of the codecs of text, booleans, addresses and arrays, with live servers as the oracle."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracle import Oracle, accepted, back, budget, column, forward, many, oracle_of, stored

from turnback.adapters.sqlite.raw_text import CarriedColumns, RawText
from turnback.core.codecs import carries, codec_for
from turnback.core.codecs.boolean import WORDS
from turnback.core.digest import exact
from turnback.core.plan import TablePlan
from turnback.core.rows import SqliteValue, identical


@pytest.fixture(scope="module")
def oracle(server) -> Iterator[Oracle]:
    with oracle_of(server) as one:
        yield one


any_text = st.text(st.characters(codec=None), max_size=40)  # NUL and lone surrogates, too
good_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
numerals = st.from_regex(r"[ \t]?[+-]?[0-9]{0,20}\.?[0-9]{0,8}([eE][+-]?[0-9]{1,4})?[ \n]?", fullmatch=True)
NUMERALS = ["", " ", ".", "-", "e5", "1e", "1e5", "007", "1.10", "1.1", "1.", ".5", "+5", "-0", "-0.0", "0.0"]
NUMERALS += [
    "123e4567",
    "9e999",
    "-9e999",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "0x10",
    "inf",
]
NUMERALS += [
    "-9223372036854775808",
    "-9223372036854775809",
    "1_000",
    "٣",
    "1e400",
    "nan",
    "Infinity",
    "5.0",
    " 5",
]
NUMERALS += [
    "1\u00a0",
    "1\v",
    "\f1",
    "1e-400",
    "1e+20",
    "1e20",
    "9007199254740993",
    "0.1",
    "1e-05",
    "1e-5",
    "12.50",
]

# ---- numbers and text in one column --------------------------------------------------------------

mixed = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(
        [2**53 + 1, 2**63 - 1, -(2**63), 0.1, 1e300, 5e-324, 1e20, 1e17, -0.0, math.inf, -math.inf]
    ),
    st.floats(allow_nan=False),
    st.sampled_from(NUMERALS),
    numerals,
    good_text,
)


@pytest.mark.parametrize("declared", ["INTEGER", "NUMERIC", "REAL"])
@budget
@given(values=many(mixed))
@example(values=[*NUMERALS, math.inf, -math.inf, -0.0, 9.223372036854775807e18, -9.223372036854775808e18])
def test_f5_f12_numbers_and_text_that_sqlite_keeps_come_back(
    oracle: Oracle, values: list[SqliteValue], declared: str
) -> None:
    """Whatever a column of that affinity holds is carried; nothing else is."""
    plan = column("affine", "text", declared)
    kept = [v for v in stored(values, declared) if v is not None]
    assert forward(oracle, plan, kept) == len(kept)
    for value in values:
        stays = all(identical(value, v) for v in stored([value], declared))
        assert (carries(codec_for(plan), plan, value) is None) == stays, value


@pytest.mark.parametrize("declared", ["INTEGER", "NUMERIC", "REAL"])
@budget
@given(texts=st.lists(st.sampled_from(NUMERALS) | numerals | good_text))
@example(texts=NUMERALS)
def test_r2_text_that_sqlite_would_make_another_number_is_refused(
    oracle: Oracle, texts: list[str], declared: str
) -> None:
    plan = column("affine", "text", declared)
    taken = back(oracle, plan, texts)
    unmoved = sum(isinstance(v, str) for v in stored(list(texts), declared))
    assert taken >= unmoved
    for trap in ("007", "1.10", "123e4567", "1e5", " 5", "+5", ".5", "9223372036854775808"):
        assert back(oracle, plan, [trap]) == 0


def test_f12_a_column_that_has_a_length(oracle: Oracle) -> None:
    plan = column("affine", "character varying(4)", "INTEGER", length=4)
    assert forward(oracle, plan, [1234, 12345, "abcd", "abcde", 12.5, 12.25, b"x"]) == 3


# ---- text as its bytes ---------------------------------------------------------------------------

octets = st.one_of(
    st.binary(max_size=40),
    any_text.map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from(
        [
            b"",
            b"\0",
            b"a\0b",
            b"\xff",
            b"\xc3",
            b"\xc3\xa9",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf0\x9f\x98\x80",
        ]
    ),
)


@budget
@given(st.lists(octets, min_size=1, max_size=60))
def test_f8_f9_text_as_bytes(oracle: Oracle, values: list[bytes]) -> None:
    plan = column("text_bytes", "bytea", "TEXT")
    texts: list[SqliteValue] = [v.decode("utf-8", "surrogateescape") for v in values]
    assert forward(oracle, plan, texts) == len(texts)
    sent = [text for _, text in accepted(plan, texts)]
    assert sent == ["\\x" + v.hex() for v in values]
    for text in texts:
        assert len({exact((t,)) for t in [*texts, text]}) == len(set(texts))


@budget
@given(many(st.one_of(any_text, st.binary(max_size=5), st.integers(-9, 9))))
def test_f9_what_stands_for_no_bytes_is_refused(oracle: Oracle, values: list[SqliteValue]) -> None:
    taken = forward(oracle, column("text_bytes", "bytea", "TEXT"), [*values, "\ud800", "\udcc3\udca9"])
    assert taken == sum(isinstance(v, str) and stands_for_bytes(v) for v in values)


def stands_for_bytes(text: str) -> bool:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == text
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@budget
@given(st.lists(octets, min_size=1, max_size=20))
@example([b"\x00\xd8", b"\x80\xdc", b"abc", b"\xd8\x00\xd8", b"a\x00\x00\x00b\x00"])
def test_f8_f9_sqlite_gives_and_takes_the_same_bytes(encoding: str, values: list[bytes]) -> None:
    """Read, carried and written: the bytes in the other row are those of the first, class text."""
    plan = column("text_bytes", "bytea", "TEXT")
    table = TablePlan("t", "t", (column("integer", "bigint"), plan), (), "full")
    codec = codec_for(plan)
    with closing(apsw.Connection(":memory:")) as file:
        file.execute(f"PRAGMA encoding = '{encoding}'")
        file.execute("CREATE TABLE t (c, v TEXT, w TEXT)")
        file.executemany("INSERT INTO t (v) VALUES (CAST(? AS TEXT))", [(v,) for v in values])
        raw = RawText(file)
        columns = CarriedColumns(
            file, TablePlan("t", "t", (column("text_bytes", "bytea", "TEXT"),), (), "full")
        )
        assert table.columns[1].codec == "text_bytes"
        carried = 0
        for number, original in file.execute("SELECT rowid, CAST(v AS BLOB) FROM t").fetchall():
            text = raw.text(original)
            if carries(codec, plan, text) is not None:
                continue
            carried += 1
            again = codec.decode(codec.encode(text))
            file.execute(
                f"UPDATE t SET w = {columns.marks[0]} WHERE rowid = ?", (columns.bound_at(0, again), number)
            )
            ((kind, written),) = file.execute(
                "SELECT typeof(w), CAST(w AS BLOB) FROM t WHERE rowid = ?", (number,)
            ).fetchall()
            assert (kind, written) == ("text", original)
        if encoding == "UTF-8":
            assert carried == len(values)


# ---- booleans ------------------------------------------------------------------------------------

spelled = st.sampled_from([*WORDS, *WORDS.values(), "tRuE", "oFf", "2", "", "tr", "nein", " t", "ŧ"])


@budget
@given(
    many(st.one_of(spelled, st.integers(-1, 2), st.sampled_from([0.0, 1.0, b"t"]))), st.sampled_from([*WORDS])
)
def test_f1_booleans_in_words(oracle: Oracle, values: list[SqliteValue], words: str) -> None:
    pair = (words, WORDS[words])
    plain = column("boolean", "boolean", "TEXT", words=words)
    assert forward(oracle, plain, values) == sum(type(v) is str and v in pair for v in values)
    assert back(oracle, plain, ["t", "f"]) == 2
    assert forward(oracle, column("boolean", "boolean", "NUMERIC"), values) == sum(
        type(v) is int and v in (0, 1) for v in values
    )


@budget
@given(many(st.one_of(spelled, st.integers(-1, 2), st.sampled_from([0.0, 1.0, b"t"]))))
def test_f1_every_spelling_that_is_taken_means_the_same_to_postgresql(
    oracle: Oracle, values: list[SqliteValue]
) -> None:
    plan = column("boolean", "boolean", "TEXT", words="yes", respell=True)
    taken = accepted(plan, values)
    assert len(taken) == forward(oracle, plan, values)
    assert oracle.printed("boolean", [str(v) for v, _ in taken]) == [text for _, text in taken]


# ---- character(n) --------------------------------------------------------------------------------


@budget
@given(
    many(st.one_of(good_text, st.sampled_from(["", " ", "a ", " a", "a\t", "a\u00a0", "😀" * 5, "😀" * 6])))
)
def test_char_comes_back_without_its_filling(oracle: Oracle, values: list[SqliteValue]) -> None:
    fit = [v for v in values if isinstance(v, str) and len(v) <= 5 and not v.endswith(" ")]
    for plan in (column("char", "character(5)", "TEXT"), column("char", "character(5)", "TEXT", length=5)):
        assert forward(oracle, plan, values) == len(fit)
        assert back(oracle, plan, [str(v)[:5] for v in values]) == len(values)


# ---- addresses -----------------------------------------------------------------------------------

v4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
groups = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0xAB, 0x1234]), min_size=8, max_size=8)
v6 = st.one_of(
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
    groups.map(lambda g: ipaddress.IPv6Address(":".join(f"{x:x}" for x in g))),
    st.integers(0, 2**32 - 1).flatmap(
        lambda n: st.sampled_from([ipaddress.IPv6Address(n), ipaddress.IPv6Address(0xFFFF << 32 | n)])
    ),
)
spellings_of_v6 = v6.flatmap(
    lambda a: st.sampled_from([str(a), a.exploded, a.exploded.upper(), str(a).upper()])
)
addresses = v4.map(str) | spellings_of_v6
with_length = st.builds(lambda a, n: f"{a}/{n % (129 if ':' in a else 33)}", addresses, st.integers(0, 128))
ODD_ADDRESSES = [
    "",
    "::",
    "::1",
    "::1.2.3.4",
    "::ffff:1.2.3.4",
    "::ffff:0:1",
    "1.2.3",
    "10",
    "010.0.0.1",
    "1.2.3.4/33",
    "fe80::1%eth0",
]
ODD_ADDRESSES += [
    "1.2.3.4/",
    "1.2.3.4/08",
    "1.2.3.4/255.0.0.0",
    "1::2::3",
    " 1.2.3.4",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "٣.1.1.1",
]


@budget
@given(st.lists(addresses | with_length | st.sampled_from(ODD_ADDRESSES), min_size=1, max_size=60))
@example(ODD_ADDRESSES)
def test_r5_addresses_in_the_servers_spelling(oracle: Oracle, values: list[SqliteValue]) -> None:
    for pg_type in ("inet", "cidr"):
        loose = column("inet", pg_type, "TEXT", respell=True)
        forward(oracle, loose, values)
        taken = accepted(loose, values)
        assert oracle.printed(pg_type, [str(v) for v, _ in taken]) == [text for _, text in taken]
        printed: list[SqliteValue] = [text for _, text in taken]
        strict = column("inet", pg_type, "TEXT")
        assert forward(oracle, strict, printed) == len(printed)
        assert back(oracle, strict, [str(p) for p in printed]) == len(printed)
        assert forward(oracle, strict, values) == sum(v == t for v, t in taken)


macs = (
    st.binary(min_size=6, max_size=6)
    .map(bytes.hex)
    .flatmap(
        lambda h: st.sampled_from(
            [
                ":".join(h[i : i + 2] for i in range(0, 12, 2)),
                "-".join(h[i : i + 2] for i in range(0, 12, 2)).upper(),
                h[:6] + ":" + h[6:],
                h[:6] + "-" + h[6:],
                ".".join((h[:4], h[4:8], h[8:])),
                "-".join((h[:4], h[4:8], h[8:])),
                h,
                h[:-1],
                h + "0",
                h[:6] + "." + h[6:],
            ]
        )
    )
)


@budget
@given(many(macs))
def test_r5_hardware_addresses(oracle: Oracle, values: list[SqliteValue]) -> None:
    loose = column("inet", "macaddr", "TEXT", respell=True)
    forward(oracle, loose, values)
    taken = accepted(loose, values)
    assert oracle.printed("macaddr", [str(v) for v, _ in taken]) == [text for _, text in taken]
    strict = column("inet", "macaddr", "TEXT")
    assert forward(oracle, strict, values) == sum(v == t for v, t in taken)


# ---- arrays --------------------------------------------------------------------------------------

elements = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "NULL",
            "null",
            "nul",
            "{",
            "}",
            '"',
            "\\",
            "a,b",
            "a b",
            "\t",
            "\v",
            "\u00a0",
            "é",
            "😀",
            "a;b",
        ]
    ),
    good_text,
)


@budget
@given(
    st.lists(st.lists(elements, max_size=6), min_size=1, max_size=40),
    st.sampled_from([",", ", ", ";", "||", "\n"]),
)
def test_r5_arrays_of_text_with_a_separator(oracle: Oracle, lists: list[list[str]], separator: str) -> None:
    plan = column("array", "text[]", "TEXT", separator=separator)
    texts: list[SqliteValue] = [separator.join(e) for e in lists]
    assert forward(oracle, plan, ["", *texts]) == len(texts) + 1
    assert codec_for(plan).encode("") == "{}"


@budget
@given(st.lists(st.lists(elements, max_size=6), min_size=1, max_size=40), st.booleans(), st.booleans())
def test_r5_arrays_of_text_as_json(oracle: Oracle, lists: list[list[str]], spaced: bool, ascii: bool) -> None:
    plan = column("array", "text[]", "TEXT", separator="json", spaced=spaced, ascii=ascii)
    comma = ", " if spaced else ","
    texts: list[SqliteValue] = [json.dumps(e, ensure_ascii=ascii, separators=(comma, ":")) for e in lists]
    assert forward(oracle, plan, texts) == len(texts)
    other = column(
        "array", "text[]", "TEXT", separator="json", spaced=not spaced, ascii=not ascii, respell=True
    )
    assert forward(oracle, other, texts) == len(texts)
    # The same arrays, as PostgreSQL itself makes them from JSON.
    made = oracle.asked(
        "SELECT (SELECT coalesce(array_agg(e ORDER BY n), '{}') FROM json_array_elements_text(v::json)"
        " WITH ORDINALITY x (e, n))::text FROM unnest(%s::text[]) WITH ORDINALITY u (v, i) ORDER BY i",
        [str(t) for t in texts],
    )
    assert [codec_for(plan).encode(t) for t in texts] == made


ODD_ARRAYS = [
    "{NULL}",
    "{a,NULL}",
    '{"NULL"}',
    "{null}",
    "{{a,b},{c,d}}",
    "[0:1]={a,b}",
    "{}",
    '{""}',
    '{"",""}',
    "{{}}",
]


@budget
@given(st.lists(st.lists(elements, max_size=4), max_size=20), st.sampled_from([",", "; ", "json"]))
def test_r5_arrays_of_postgresql_come_back_or_are_refused(
    oracle: Oracle, lists: list[list[str]], separator: str
) -> None:
    plan = column("array", "text[]", "TEXT", separator=separator)
    printed = [
        codec_for(plan).encode(json.dumps(e, ensure_ascii=False, separators=(",", ":")))
        for e in lists
        if separator == "json"
    ]
    back(oracle, plan, [*ODD_ARRAYS, *printed])
    for refused in ("{NULL}", "{a,NULL}", "{{a,b},{c,d}}", "[0:1]={a,b}"):
        assert back(oracle, plan, [refused]) == 0
    assert back(oracle, plan, ['{""}']) == (separator == "json")
    assert back(oracle, plan, ['{"a,b"}', '{"c; d"}']) == {",": 1, "; ": 1, "json": 2}[separator]
    assert back(oracle, plan, ['{"NULL"}', "{}"]) == 2


@budget
@given(
    st.lists(
        st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), max_size=5), min_size=1, max_size=40
    ),
    st.sampled_from([("smallint", 16), ("integer", 32), ("bigint", 64)]),
)
def test_r5_arrays_of_integers(oracle: Oracle, lists: list[list[int]], kind: tuple[str, int]) -> None:
    name, bits = kind
    fit = [e for e in lists if all(-(1 << bits - 1) <= n < 1 << bits - 1 for n in e)]
    plan = column("array", f"{name}[]", "TEXT", separator=",", element=name)
    assert forward(oracle, plan, [",".join(map(str, e)) for e in lists]) == len(fit)
    plan = column("array", f"{name}[]", "TEXT", separator="json", spaced=True)
    assert forward(oracle, plan, [json.dumps(e) for e in lists]) == len(fit)
    odd: list[SqliteValue] = [
        "01",
        "+1",
        "1.0",
        "a",
        "1,",
        "-0",
        "1 ",
        "٣",
        "NULL",
        "[null]",
        '["1"]',
        "[1.0]",
        "[true]",
        "{}",
        "[1",
    ]
    assert forward(oracle, column("array", f"{name}[]", "TEXT", separator=","), odd) == 0
    assert forward(oracle, plan, odd) == 0


def test_f20_an_element_longer_than_the_type(oracle: Oracle) -> None:
    plan = column("array", "character varying(3)[]", "TEXT", separator=",")
    assert forward(oracle, plan, ["abc,de", "abcd", "", "é😀x,y"]) == 3


# ---- text as PostgreSQL prints it ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pg_type", "texts"),
    [
        ("int4range", ["[1,5)", "empty", "(,3)"]),
        ("point", ["(1.5,-2)"]),
        ("interval", ["1 year 2 mons 3 days 04:05:06.7", "-1 days +02:00:00"]),
        ("numeric", ["0." + "1" * 99 + "0", "NaN", "Infinity"]),
        ("timestamp without time zone", ["0044-03-15 12:00:00 BC", "infinity"]),
        ("text[]", ["{{a,b},{c,NULL}}", "[0:1]={a,b}"]),
        ("bit varying", ["10110"]),
        ("tsvector", ["'a':1 'b':2"]),
    ],
)
def test_r5_verbatim_is_any_type_as_postgresql_prints_it(
    oracle: Oracle, pg_type: str, texts: list[str]
) -> None:
    plan = column("verbatim", pg_type, "TEXT")
    assert oracle.printed(pg_type, texts) == texts
    assert forward(oracle, plan, list(texts)) == len(texts)
    assert back(oracle, plan, texts) == len(texts)
    assert len(accepted(plan, ["a\0", "\udcff", 1, b"x"])) == 0


# ---- the rows of the hazard list, value by value -------------------------------------------------

ODD_JSON = [
    '{"a":1,"a":2}',
    "1.10",
    r'"\u0000"',
    '{"b": 1, "a": 2}',
    '{"a": 1, "b": 2}',
    '{"bb":1,"a":[1.0e1]}',
]


@pytest.mark.hazard("F34", "carried")
def test_f34_json_keeps_its_text_and_jsonb_takes_only_its_own_spelling(oracle: Oracle) -> None:
    assert forward(oracle, column("json_text", "json", "TEXT"), list(ODD_JSON)) == len(ODD_JSON)
    strict = column("json_text", "jsonb", "TEXT", binary=True)
    assert [v for v, _ in accepted(strict, list(ODD_JSON))] == ["1.10", '{"a": 1, "b": 2}']
    assert forward(oracle, strict, list(ODD_JSON)) == 2
    loose = column("json_text", "jsonb", "TEXT", binary=True, respell=True)
    assert [v for v, _ in accepted(loose, list(ODD_JSON))] == [v for v in ODD_JSON if "u0000" not in v]
    assert forward(oracle, loose, list(ODD_JSON)) == len(ODD_JSON) - 1


@pytest.mark.hazard("F35", "carried")
def test_f35_each_spelling_of_a_uuid_comes_back(oracle: Oracle) -> None:
    plain = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    spellings = [plain, plain.upper(), plain.replace("-", ""), plain.replace("-", "").upper()]
    for spelling in spellings:
        options = {"upper": spelling.isupper(), "hyphens": "-" in spelling}
        only = column("uuid_text", "uuid", "TEXT", **options)
        assert [v for v, _ in accepted(only, list(spellings))] == [spelling]
        assert forward(oracle, only, list(spellings)) == 1
    assert forward(oracle, column("uuid_text", "uuid", "TEXT", respell=True), list(spellings)) == 4
    assert forward(oracle, column("uuid_blob", "uuid"), [bytes.fromhex(spellings[2]), plain, b"short"]) == 1


@pytest.mark.hazard("F10", "carried")
def test_f10_bytes_are_bytes(oracle: Oracle) -> None:
    assert forward(oracle, column("blob", "bytea"), [b"\x00\xff\x5b", b"", bytes(range(256))]) == 3
