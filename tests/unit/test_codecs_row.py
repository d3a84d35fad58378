"""Whole rows: NULLs pass, lengths must match, and a refusal names table, column and key."""

from __future__ import annotations

import pytest

from turnback.core.codecs.row import RowCodec
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.errors import CannotCarry

USERS = TablePlan(
    sqlite="users",
    postgres="users",
    columns=(
        ColumnPlan("id", "id", "bigint", "integer"),
        ColumnPlan("active", "active", "boolean", "boolean"),
        ColumnPlan("seen", "seen", "timestamp with time zone", "epoch", {"unit": "ms", "zoned": True}),
    ),
    key=("id",),
    replica_identity="default",
)


def test_a_row_goes_there_and_back() -> None:
    rows = RowCodec(USERS)
    sent = ("7", "t", "2021-04-22 11:49:49.409+00")
    assert rows.encode((7, 1, 1619092189409)) == sent
    assert rows.decode(sent) == (7, 1, 1619092189409)
    assert rows.canonical(sent) == tuple(s.encode() for s in sent)
    assert [len(rows.codecs), rows.encode((None,) * 3), rows.decode((None,) * 3)] == [
        3,
        (None,) * 3,
        (None,) * 3,
    ]
    assert rows.canonical((None,) * 3) == (None,) * 3


def test_a_refusal_names_table_column_and_key() -> None:
    rows = RowCodec(USERS)
    with pytest.raises(CannotCarry) as e:
        rows.encode((7, 2, None))
    assert str(e.value) == 'table "users", column "active", key (id) = (7): an integer other than 0 and 1'
    assert "boolean" in e.value.hint
    with pytest.raises(CannotCarry, match=r'column "seen", key \(id\) = \(\'7\'\): .*finer than the unit'):
        rows.decode(("7", None, "2021-04-22 11:49:49.4091+00"))


def test_a_long_key_is_shortened_and_a_missing_one_is_said() -> None:
    text = ColumnPlan("id", "id", "text", "text")
    keyed = TablePlan("t", "t", (text, USERS.columns[1]), ("id",), "default")
    with pytest.raises(CannotCarry) as e:
        RowCodec(keyed).encode(("x" * 5000, 3))
    assert len(str(e.value)) < 200
    unkeyed = TablePlan("t", "t", (text, USERS.columns[1]), (), "full")
    with pytest.raises(CannotCarry, match="in a row without a key"):
        RowCodec(unkeyed).encode(("x", 3))


@pytest.mark.parametrize("row", [(1, 1), (1, 1, 1, 1)])
def test_a_row_of_another_length_is_never_cut(row: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        RowCodec(USERS).encode(row)


def test_json_that_cannot_be_compared_is_named_as_well() -> None:
    document = ColumnPlan("doc", "doc", "jsonb", "json_text", {"binary": True, "respell": True})
    rows = RowCodec(TablePlan("t", "t", (USERS.columns[0], document), ("id",), "default"))
    with pytest.raises(CannotCarry, match=r'column "doc", key \(id\) = \(\'7\'\): JSON nested'):
        rows.canonical(("7", "[" * 5000 + "]" * 5000))
