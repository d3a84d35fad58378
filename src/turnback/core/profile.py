"""What a census of the SQLite file says about every column: which classes, ranges and sizes are there.

Types come from these facts, not from the declarations (SQLite documentation: Datatypes, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteRow
from turnback.core.schema import SqliteTable

Trait = Literal["null", "integer", "real", "text", "blob", "nul", "invalid", "wide"]
MOST_WORDS = 12


@dataclass(frozen=True, slots=True)
class MomentForm:
    """Texts of one spelling of dates or moments: what stands where, how many, and one of them.

    `sound`: there are such days and such times, in the years 1 to 9999, and nothing else stands in the texts.
    """

    separator: str  # the 11th character; "" for ten characters alone
    digits: int  # of the fraction
    least: int  # digits of the fraction without zeros at its end: the fewest, and the most of all values
    most: int
    suffix: str  # "", "Z", "+02:00", "+0200", "+02"
    sound: bool
    count: int
    sample: str


@dataclass(frozen=True, slots=True)
class UuidForm:
    """Texts that are UUIDs of one spelling; digits alone are both lower and upper."""

    hyphens: bool
    lower: bool
    upper: bool
    count: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of values by storage class, and their extremes. Sizes are 0 where nothing was measured."""

    nulls: int = 0
    integers: int = 0
    reals: int = 0
    texts: int = 0
    blobs: int = 0
    min_integer: int | None = None
    max_integer: int | None = None
    max_characters: int = 0  # of texts
    max_bytes: int = 0  # of texts and blobs
    min_blob_bytes: int = 0
    max_blob_bytes: int = 0
    nul_texts: int = 0  # texts with a NUL character (HAZARDS F8)
    invalid_texts: int = 0  # texts whose bytes are not valid in the file's encoding (HAZARDS F9)
    min_text: str = ""  # the first and the last text in binary order, 64 characters at most
    max_text: str = ""
    longest_text: str = ""  # 64 characters of the longest one: the spelling with the most digits
    min_real: float | None = None
    max_real: float | None = None
    decimals: int | None = None  # the declared decimal places, where every real keeps to them
    # Where the first, the last or the longest text looks like one; most common first.
    moments: tuple[MomentForm, ...] = ()
    uuids: tuple[UuidForm, ...] = ()
    # Every text is JSON (RFC 8259) that is not nested too deep; "plain": besides with nothing that jsonb may
    # refuse (codecs.json_text). "" where not, or where none of the three looks like it.
    json: Literal["", "valid", "plain"] = ""
    # The distinct texts with their counts, where they are few and short.
    words: tuple[tuple[str, int], ...] = ()

    @property
    def classes(self) -> frozenset[str]:
        """The storage classes that are there, NULL left out."""
        counts = {"integer": self.integers, "real": self.reals, "text": self.texts, "blob": self.blobs}
        return frozenset(name for name, count in counts.items() if count)

    @property
    def values(self) -> int:
        return self.integers + self.reals + self.texts + self.blobs

    def count(self, storage_class: str) -> int:
        """How many values are of that class."""
        counts = {"null": self.nulls, "integer": self.integers, "real": self.reals}
        counts |= {"text": self.texts, "blob": self.blobs}
        return counts[storage_class]


@dataclass(frozen=True, slots=True)
class TableProfile:
    """`columns` has an entry for each column that is stored (generated ones are left out)."""

    rows: int
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    last_id: int = 0  # AUTOINCREMENT: what sqlite_sequence has of it


@dataclass(frozen=True, slots=True)
class Misfits:
    """The values that a candidate cannot carry: how many, up to five keys, and the first reason."""

    count: int = 0
    keys: tuple[str, ...] = ()
    reason: str = ""


class Trial(Protocol):
    """Answers from the values themselves what a profile cannot prove."""

    def misfits(
        self, table: SqliteTable, asked: Mapping[str, Sequence[ColumnPlan]]
    ) -> Mapping[str, tuple[Misfits, ...]]:
        """Per column one answer for each candidate, in one pass over the table."""

    def keys(self, table: SqliteTable, column: str, trait: Trait) -> tuple[str, ...]:
        """Up to five keys of rows whose value in `column` has that trait."""

    def outside(self, table: SqliteTable, column: str, allowed: Sequence[str]) -> Misfits:
        """Rows whose text in `column` is none of these, compared byte by byte."""

    def larger(self, table: SqliteTable, columns: Sequence[str], size: int) -> Misfits:
        """Rows whose values in these columns have more than so many bytes together."""

    def orphans(
        self, table: SqliteTable, columns: Sequence[str], parent: SqliteTable, parent_columns: Sequence[str]
    ) -> Misfits:
        """Rows that refer to no row of the parent, as PostgreSQL compares: binary, NULL refers to nothing."""

    def duplicates(self, table: SqliteTable, columns: Sequence[str]) -> Misfits:
        """Groups of rows that are equal in these columns, none of them NULL."""

    def rows(self, table: SqliteTable, columns: Sequence[str]) -> Iterable[SqliteRow]:
        """Every row's values in these columns."""
