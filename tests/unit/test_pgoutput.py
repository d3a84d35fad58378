"""The decoder against hand-made messages, and against any damage to them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.changes import Begin, Commit, Delete, Insert, LogicalMessage, Truncate, Update
from turnback.core.pgoutput import Decoder
from turnback.core.rows import UNCHANGED, Unchanged
from turnback.errors import ServerError


def relation(oid: int = 7, identity: str = "d") -> bytes:
    columns = b"".join(
        struct.pack(">B", key) + name.encode() + b"\0" + struct.pack(">Ii", type_oid, -1)
        for key, name, type_oid in ((1, "id", 20), (0, "naïve", 25), (0, "big", 25))
    )
    head = struct.pack(">I", oid) + b"public\0t\0" + identity.encode()
    return b"R" + head + struct.pack(">H", 3) + columns


def row(*values) -> bytes:
    out = struct.pack(">H", len(values))
    for v in values:
        if v is None:
            out += b"n"
        elif isinstance(v, Unchanged):
            out += b"u"
        else:
            raw = v.encode()
            out += b"t" + struct.pack(">I", len(raw)) + raw
    return out


OID = struct.pack(">I", 7)


@pytest.fixture
def decoder():
    made = Decoder()
    assert made.decode(relation()) is None
    return made


def test_relation_carries_columns_key_and_types(decoder):
    change = decoder.decode(b"I" + OID + b"N" + row("1", "x", None))
    assert isinstance(change, Insert)
    r = change.relation
    assert (r.schema, r.name, r.replica_identity) == ("public", "t", "d")
    assert r.columns == ("id", "naïve", "big")
    assert (r.key_columns, r.type_oids) == (("id",), (20, 25, 25))
    assert change.new == ("1", "x", None)


def test_begin_and_commit(decoder):
    assert decoder.decode(b"B" + struct.pack(">QqI", 5, -6, 7)) == Begin(5, -6, 7)
    assert decoder.decode(b"C" + struct.pack(">BQQq", 0, 5, 6, 8)) == Commit(5, 6, 8)


def test_updates_with_key_with_old_row_and_with_neither(decoder):
    new = ("2", "é", UNCHANGED)
    plain = decoder.decode(b"U" + OID + b"N" + row(*new))
    assert plain == Update(plain.relation, new, None, None)
    keyed = decoder.decode(b"U" + OID + b"K" + row("1", None, None) + b"N" + row(*new))
    assert keyed.old_key == ("1", None, None) and keyed.old is None and keyed.new == new
    full = decoder.decode(b"U" + OID + b"O" + row("1", "a", "b") + b"N" + row(*new))
    assert full.old == ("1", "a", "b") and full.old_key is None and full.new == new


def test_deletes(decoder):
    assert decoder.decode(b"D" + OID + b"K" + row("1", None, None)).whole is False
    whole = decoder.decode(b"D" + OID + b"O" + row("1", "a", None))
    assert whole == Delete(whole.relation, ("1", "a", None), True)


def test_truncate_of_two_relations(decoder):
    decoder.decode(relation(8))
    change = decoder.decode(b"T" + struct.pack(">IBII", 2, 3, 7, 8))
    assert isinstance(change, Truncate)
    assert [r.oid for r in change.relations] == [7, 8]


def test_logical_message(decoder):
    raw = b"M" + struct.pack(">BQ", 1, 99) + b"turnback\0" + struct.pack(">I", 3) + b"a\0b"
    assert decoder.decode(raw) == LogicalMessage(99, True, "turnback", b"a\0b")


def test_what_only_describes_gives_nothing(decoder):
    assert decoder.decode(b"Y" + struct.pack(">I", 1) + b"s\0n\0") is None
    assert decoder.decode(b"O" + struct.pack(">Q", 1) + b"origin\0") is None


def test_a_relation_described_anew_replaces_the_old_one(decoder):
    decoder.decode(relation(identity="f"))
    assert decoder.decode(b"I" + OID + b"N" + row("1", "x", None)).relation.replica_identity == "f"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Z",
        b"S" + OID,  # a streamed transaction: protocol 2
        b"I" + struct.pack(">I", 404) + b"N" + row("1"),
        b"I" + OID + b"K" + row("1"),
        b"D" + OID + b"N" + row("1"),
        b"U" + OID + b"K" + row("1") + b"K" + row("1"),
        b"I" + OID + b"N" + struct.pack(">H", 1) + b"b" + struct.pack(">I", 1) + b"x",  # binary
        b"I" + OID + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", 9) + b"short",
        b"I" + OID + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", 1) + b"\xff",  # not UTF-8
        b"M" + struct.pack(">BQ", 1, 99) + b"x\0" + struct.pack(">I", 3) + b"a",
    ],
)
def test_what_is_not_understood_is_refused(decoder, raw):
    with pytest.raises(ServerError, match="does not understand"):
        decoder.decode(raw)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.just(UNCHANGED) | st.text(st.characters(codec="utf-8")), max_size=30))
def test_any_row_comes_back(values):
    decoder = Decoder()
    decoder.decode(relation())
    assert decoder.decode(b"I" + OID + b"N" + row(*values)).new == tuple(values)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_message_that_is_cut_off_never_passes(data):
    decoder = Decoder()
    decoder.decode(relation())
    whole = data.draw(
        st.sampled_from(
            [
                relation(9),
                b"I" + OID + b"N" + row("1", "x", None),
                b"U" + OID + b"K" + row("1", None, None) + b"N" + row("1", "x", UNCHANGED),
                b"B" + struct.pack(">QqI", 5, -6, 7),
                b"C" + struct.pack(">BQQq", 0, 5, 6, 8),
                b"T" + struct.pack(">IBI", 1, 0, 7),
            ]
        )
    )
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ServerError):
        decoder.decode(whole[:cut])
