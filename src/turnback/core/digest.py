"""Digests that show whether, and roughly where, two tables differ, without holding either.

A table is cut into chunks; a chunk's digest is its number of rows and the sum of its rows' digests modulo
2^128. A sum does not depend on the order of the rows, so each side is read in the order that suits it, and
equal rows counted twice do not cancel out (as they would with XOR). It detects error, not malice.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from hashlib import blake2b

from turnback.core.plan import TablePlan
from turnback.core.rows import PostgresRow, SqliteRow

Canonical = tuple[bytes | None, ...]

LEAST_ROWS_PER_CHUNK = 100
MOST_CHUNKS = 100_000  # of a table; about 25 MB on each side

_MODULUS = 1 << 128


def row_digest(canonical: Canonical) -> int:
    """128 bits of BLAKE2b over the items, each with its length in front; None is not the empty value.

    Compared within one process only: marshal does the framing, because it is four times as fast as Python
    code. Its version 2 has no references, so that equal values give equal bytes.
    """
    return int.from_bytes(blake2b(marshal.dumps(canonical, 2), digest_size=16).digest())


def exact(values: SqliteRow) -> bytes:
    """The values with their storage classes: equal bytes if and only if each pair is rows.identical()."""
    return marshal.dumps(values, 2)


class TableDigest:
    """The chunks of one side of one table: {chunk: (rows, sum)}."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: dict[int, list[int]] = {}

    def add(self, chunk: int, digest: int) -> None:
        """Counts one row."""
        entry = self._chunks.get(chunk)
        if entry is None:
            self._chunks[chunk] = [1, digest]
        else:
            entry[0] += 1
            entry[1] += digest

    @property
    def rows(self) -> int:
        return sum(count for count, _ in self._chunks.values())

    @property
    def chunks(self) -> int:
        return len(self._chunks)

    def rows_in(self, chunk: int) -> int:
        """How many rows the chunk has; 0 where there is no such chunk."""
        return self._chunks.get(chunk, (0, 0))[0]

    def differing(self, other: TableDigest) -> set[int]:
        """The chunks whose rows are not the same on both sides."""
        return {
            chunk
            for chunk in self._chunks.keys() | other._chunks.keys()
            if self._value(chunk) != other._value(chunk)
        }

    def text(self) -> str:
        """The digest of the whole table, in hexadecimal."""
        return f"{sum(total for _, total in self._chunks.values()) % _MODULUS:032x}"

    def _value(self, chunk: int) -> tuple[int, int]:
        count, total = self._chunks.get(chunk, (0, 0))
        return count, total % _MODULUS


ChunkOf = Callable[[PostgresRow, Canonical], int]


def chunk_of(table: TablePlan, rows: int, positions: Sequence[int]) -> ChunkOf:
    """The function that says to which chunk a row belongs, from its encoded and its canonical values.

    `positions`: where the key stands in them (without a key, the whole row). `rows`: an estimate, the same
    for both sides. A single integer key: ranges of ids, so that what was written lately lies in few chunks.
    Any other key: a hash. Chunks are small, because each one that differs is held whole, but never more than
    2 * MOST_CHUNKS; ranges are numbered modulo a count, so that sparse ids do not make a chunk of every row.
    """
    size = max(LEAST_ROWS_PER_CHUNK, rows // MOST_CHUNKS + 1)
    key = [c for c in table.columns if c.sqlite in table.key]
    if len(key) == 1 and key[0].codec == "integer":
        ranges = rows // size * 2 + 1
        (position,) = positions

        def by_range(text: PostgresRow, canonical: Canonical) -> int:
            return int(text[position] or 0) // size % ranges

        return by_range
    buckets = rows // size + 1

    def by_hash(text: PostgresRow, canonical: Canonical) -> int:
        return row_digest(tuple([canonical[p] for p in positions])) % buckets

    return by_hash
