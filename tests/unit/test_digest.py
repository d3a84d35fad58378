"""Digests of tables: order does not matter, everything else does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.digest import MOST_CHUNKS, TableDigest, chunk_of, exact, row_digest
from turnback.core.rows import identical
from two_sides import integer, table_plan, text

items = st.none() | st.binary(max_size=6)
canonical_rows = st.lists(items, max_size=4).map(tuple)
values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.binary(max_size=6)
)


def digest_of(rows: list[tuple[bytes | None, ...]]) -> TableDigest:
    digest = TableDigest()
    for row in rows:
        value = row_digest(row)
        digest.add(value % 3, value)
    return digest


@given(canonical_rows, canonical_rows)
@settings(max_examples=300, deadline=None)
def test_rows_are_equal_where_their_digests_are(
    a: tuple[bytes | None, ...], b: tuple[bytes | None, ...]
) -> None:
    assert (row_digest(a) == row_digest(b)) == (a == b)


def test_what_a_join_would_merge_stays_apart() -> None:
    digests = {
        row_digest(r)
        for r in [(b"ab", b""), (b"a", b"b"), (None, b"ab"), (b"", b"ab"), (b"ab",), (b"ab", None)]
    }
    assert len(digests) == 6


@given(st.lists(canonical_rows, max_size=12), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_order_of_rows_does_not_matter(rows: list[tuple[bytes | None, ...]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = digest_of(rows), digest_of(shuffled)
    assert a.differing(b) == set()
    assert a.text() == b.text()
    assert a.rows == len(rows)


@given(st.lists(canonical_rows, min_size=1, max_size=12), st.data())
@settings(max_examples=100, deadline=None)
def test_a_missing_row_or_one_that_is_there_twice_is_seen(
    rows: list[tuple[bytes | None, ...]], data: st.DataObject
) -> None:
    row = data.draw(st.sampled_from(rows))
    whole = digest_of(rows)
    fewer = list(rows)
    fewer.remove(row)
    chunk = {row_digest(row) % 3}
    assert whole.differing(digest_of(fewer)) == chunk
    assert whole.differing(digest_of([*rows, row])) == chunk
    assert whole.differing(digest_of([*rows, row, row])) == chunk  # an even number does not cancel out


@given(values, values)
@settings(max_examples=300, deadline=None)
def test_exact_is_identity(a: int | float | str | bytes | None, b: int | float | str | bytes | None) -> None:
    assert (exact((a,)) == exact((b,))) == identical(a, b)


def test_exact_tells_storage_classes_and_signs_apart() -> None:
    alike = [1, 1.0, "1", b"1", 0, 0.0, -0.0, None, "", b""]
    assert len({exact((v,)) for v in alike}) == len(alike)


def test_ids_written_one_after_the_other_share_chunks() -> None:
    of = chunk_of(table_plan("t", integer("id"), text("name")), 50_000, (0,))
    chunks = {of((str(i), "x"), (str(i).encode(), b"x")) for i in range(49_000, 50_000)}
    assert len(chunks) <= 11


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**10))
@settings(max_examples=200, deadline=None)
def test_there_are_never_many_chunks(identifier: int, rows: int) -> None:
    of = chunk_of(table_plan("t", integer("id")), rows, (0,))
    assert 0 <= of((str(identifier),), (b"",)) <= 2 * MOST_CHUNKS + 2


def test_a_key_that_is_not_an_integer_goes_by_its_canonical_value_alone() -> None:
    of = chunk_of(table_plan("t", text("id"), text("name")), 10**6, (0,))
    assert of(("A", "x"), (b"a", b"x")) == of(("a", "y"), (b"a", b"y"))
    assert len({of((str(i), None), (str(i).encode(), None)) for i in range(100)}) > 90
