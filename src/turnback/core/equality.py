"""When a row of SQLite and a row of PostgreSQL are the same, and how they differ when they are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Literal

from turnback.core.codecs.row import RowCodec
from turnback.core.digest import Canonical, exact
from turnback.core.plan import TablePlan
from turnback.core.rows import PostgresRow, SqliteRow, SqliteValue, identical

SHOWN_CHARACTERS = 60

Kind = Literal["missing_in_postgres", "missing_in_sqlite", "differs"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row. The values are short texts of the first differing column; empty where a side lacks the row."""

    table: str
    key: tuple[str, ...]  # PostgreSQL's text; the whole row where the table has no key
    kind: Kind
    columns: tuple[str, ...] = ()
    sqlite_value: str = ""
    postgres_value: str = ""
    key_text: PostgresRow = field(
        default=(), repr=False, compare=False
    )  # as PostgreSQL prints it, to look the row up again

    def headline(self) -> str:
        """One line: table, key, and what is the matter. No values but the key's."""
        what = self.kind.replace("_", " ")
        if self.columns:
            what += f" in {', '.join(self.columns)}"
        return f"{self.table} ({', '.join(self.key)}) {what}"


@dataclass(frozen=True, slots=True)
class ProvenSqliteRow:
    row: SqliteRow
    text: PostgresRow  # as it goes to PostgreSQL
    proof: Canonical


@dataclass(frozen=True, slots=True)
class ProvenPostgresRow:
    text: PostgresRow
    proof: Canonical


Pair = tuple[ProvenSqliteRow | None, ProvenPostgresRow | None]


class RowEquality:
    """The rule for one table.

    A row's *proof* is its canonical values and, checking the round trip, one item for its exact SQLite values
    (those that PostgreSQL's text decodes to, on that side): rows are the same when their proofs are. A table
    without a key has its whole row as the key.
    """

    def __init__(self, table: TablePlan, *, check_round_trip: bool) -> None:
        self._table = table
        self._codec = RowCodec(table)
        self.key_positions = table.key_positions() or tuple(range(len(table.columns)))
        self.key_codec = RowCodec(replace(table, columns=tuple(table.columns[p] for p in self.key_positions)))
        # A column whose spelling may change has no exact value to come back to (law 1).
        self._exact = tuple(
            i for i, c in enumerate(table.columns) if check_round_trip and not c.options.get("respell")
        )
        self._all_exact = len(self._exact) == len(table.columns)

    def of_sqlite(self, row: SqliteRow) -> tuple[PostgresRow, Canonical]:
        """The row's text and proof. Raises CannotCarry."""
        text = self._codec.encode(row)
        canonical = self._codec.canonical(text)
        return text, (*canonical, self._exactly(row)) if self._exact else canonical

    def of_postgres(
        self, text: PostgresRow, values: SqliteRow | None = None
    ) -> tuple[PostgresRow, Canonical]:
        """The row's text and proof; `values` is what it decodes to, where that is known already.

        Raises CannotCarry when checking the round trip.
        """
        canonical = self._codec.canonical(text)
        if not self._exact:
            return text, canonical
        return text, (*canonical, self._exactly(self._codec.decode(text) if values is None else values))

    def values(self, text: PostgresRow) -> SqliteRow:
        """What PostgreSQL's row is in SQLite. Raises CannotCarry."""
        return self._codec.decode(text)

    def sqlite_key(self, row: SqliteRow) -> tuple[PostgresRow, Canonical]:
        """The row's key as text and canonical. Much cheaper than the whole proof."""
        text = self.key_codec.encode(tuple([row[p] for p in self.key_positions]))
        return text, self.key_codec.canonical(text)

    def postgres_key(self, row: PostgresRow) -> tuple[PostgresRow, Canonical]:
        """The row's key as text and canonical."""
        text = tuple([row[p] for p in self.key_positions])
        return text, self.key_codec.canonical(text)

    def pairs(self, sqlite: Iterable[SqliteRow], postgres: Iterable[PostgresRow]) -> Iterator[Pair]:
        """Rows with the same key that are not the same; None where a side has none.

        Holds the SQLite rows, and those of PostgreSQL that have no equal. A key that stands more than once on
        a side (in SQLite two spellings may be what is one key in PostgreSQL) gives a pair for each.
        """
        found: dict[Canonical, tuple[list[ProvenSqliteRow], list[ProvenPostgresRow]]] = {}
        for row in sqlite:
            _, key = self.sqlite_key(row)
            found.setdefault(key, ([], []))[0].append(ProvenSqliteRow(row, *self.of_sqlite(row)))
        for text in postgres:
            _, key = self.postgres_key(text)
            proven = ProvenPostgresRow(*self.of_postgres(text))
            here, there = found.setdefault(key, ([], []))
            same = next((i for i, held in enumerate(here) if held.proof == proven.proof), None)
            if same is None:
                there.append(proven)
            else:
                del here[same]
        for here, there in found.values():
            yield from zip_longest(here, there)

    def difference(self, pair: Pair) -> Difference:
        """What a person is told of a pair."""
        here, there = pair
        held = here or there
        assert held is not None
        raw = tuple(held.text[p] for p in self.key_positions)
        key = tuple("NULL" if text is None else _short(text) for text in raw)
        if here is None:
            return Difference(self._table.sqlite, key, "missing_in_sqlite", key_text=raw)
        if there is None:
            return Difference(self._table.sqlite, key, "missing_in_postgres", key_text=raw)
        columns = self._differing_columns(here, there)
        return Difference(
            self._table.sqlite,
            key,
            "differs",
            tuple(self._table.columns[c].sqlite for c in columns),
            _shown(here.row[columns[0]]),
            _shown(there.text[columns[0]]),
            raw,
        )

    def _exactly(self, row: SqliteRow) -> bytes:
        return exact(row if self._all_exact else tuple([row[p] for p in self._exact]))

    def _differing_columns(self, here: ProvenSqliteRow, there: ProvenPostgresRow) -> list[int]:
        width = len(self._table.columns)
        columns = {p for p in range(width) if here.proof[p] != there.proof[p]}
        if self._exact:
            back = self._codec.decode(there.text)
            columns |= {p for p in self._exact if not identical(here.row[p], back[p])}
        return sorted(columns)


def _shown(value: SqliteValue) -> str:
    """Short, with the class visible: text is quoted."""
    return "NULL" if value is None else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
