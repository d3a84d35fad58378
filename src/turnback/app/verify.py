"""Proves that both sides hold the same rows, and finds those that differ.

Equal means two things at once (ARCHITECTURE: Laws): equal in PostgreSQL's domain, and, with
`check_round_trip`, that what PostgreSQL printed decodes to the very value that SQLite holds. Each side is
read once and digested by chunks (core.digest); rows of chunks that differ are looked at in a second reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from turnback.core.codecs.row import RowCodec
from turnback.core.digest import Canonical, TableDigest, chunk_of, exact, row_digest
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteRow, SqliteValue
from turnback.ports import PostgresReader, Progress, SqliteReader

ROWS_PER_BATCH = 10_000
MAX_DIFFERENCES = 100  # shown
MAX_HELD_ROWS = 200_000  # of one table, while its differing chunks are looked at
MAX_WHOLE_DELETES = 100  # of a table without a key: each of them reads the table
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


@dataclass(frozen=True, slots=True)
class TableProof:
    table: str
    rows_sqlite: int
    rows_postgres: int
    digest_sqlite: str
    digest_postgres: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference_count` is a lower bound where `counted_all` is False: more differs than was looked at."""

    tables: tuple[TableProof, ...]
    differences: tuple[Difference, ...]  # the first MAX_DIFFERENCES
    difference_count: int
    equal: bool
    counted_all: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Keys:
    """What must change in PostgreSQL for one table to be equal.

    With a key: keys, of rows to delete there and of rows to load from SQLite. Without one: whole rows.
    `whole`: so much differs that the table is to be emptied and loaded again, and both lists are empty.
    """

    to_delete: list[PostgresRow] = field(default_factory=list)
    to_load: list[SqliteRow] = field(default_factory=list)
    whole: bool = False


def compare(
    plan: Plan,
    sqlite: SqliteReader,
    postgres: PostgresReader,
    progress: Progress,
    *,
    check_round_trip: bool,
) -> Comparison:
    """Reads every row of both sides. Raises CannotCarry for a SQLite value that the plan does not carry (and,
    checking the round trip, for a PostgreSQL value that does not decode).
    """
    proofs: list[TableProof] = []
    differences: list[Difference] = []
    count = 0
    equal = counted_all = True
    for table in plan.tables:
        sides = _Sides(table, sqlite, postgres, progress, check_round_trip=check_round_trip)
        proofs.append(sides.table_proof())
        differing = sides.differing()
        looked_at = sides.affordable(differing)
        equal = equal and not differing
        counted_all = counted_all and looked_at == differing
        for difference in sides.differences(looked_at):
            count += 1
            if len(differences) < MAX_DIFFERENCES:
                differences.append(difference)
        count += len(differing - looked_at)  # each holds at least one
    return Comparison(tuple(proofs), tuple(differences), count, equal, counted_all)


def differing_keys(
    plan: Plan, sqlite: SqliteReader, postgres: PostgresReader, progress: Progress
) -> dict[str, Keys]:
    """What must change in PostgreSQL, per SQLite table name; only tables that differ."""
    found = {}
    for table in plan.tables:
        sides = _Sides(table, sqlite, postgres, progress, check_round_trip=False)
        if differing := sides.differing():
            found[table.sqlite] = (
                sides.keys(differing) if sides.affordable(differing) == differing else Keys(whole=True)
            )
    return found


@dataclass(frozen=True, slots=True)
class _SqliteRow:
    """A row of a differing chunk, as SQLite holds it."""

    row: SqliteRow
    text: PostgresRow
    proof: Canonical


@dataclass(frozen=True, slots=True)
class _PostgresRow:
    """A row of a differing chunk, as PostgreSQL printed it."""

    text: PostgresRow
    proof: Canonical


_Pair = tuple[_SqliteRow | None, _PostgresRow | None]


class _Sides:
    """Both sides of one table: digested when made, looked into afterwards.

    A row's *proof* is its canonical values and, checking the round trip, its exact ones: two rows are equal
    when their proofs are. A table without a key has its whole row as the key.
    """

    def __init__(
        self,
        table: TablePlan,
        sqlite: SqliteReader,
        postgres: PostgresReader,
        progress: Progress,
        *,
        check_round_trip: bool,
    ) -> None:
        self._table = table
        self._sqlite = sqlite
        self._postgres = postgres
        self._codec = RowCodec(table)
        self._key = table.key_positions() or tuple(range(len(table.columns)))
        self._key_codec = RowCodec(replace(table, columns=tuple(table.columns[p] for p in self._key)))
        # A column whose spelling may change has no exact value to come back to (law 1).
        self._exact = tuple(
            i for i, c in enumerate(table.columns) if check_round_trip and not c.options.get("respell")
        )
        rows = sqlite.count(table)
        self._chunk_of = chunk_of(table, rows)
        progress.begin(f"compare {table.sqlite}", 2 * rows)
        self._digest_sqlite = self._digest(map(self._proven_sqlite, self._sqlite_rows()), progress)
        self._digest_postgres = self._digest(map(self._proven_postgres, postgres.rows(table)), progress)
        progress.end()

    def table_proof(self) -> TableProof:
        here, there = self._digest_sqlite, self._digest_postgres
        return TableProof(
            table=self._table.sqlite,
            rows_sqlite=here.rows,
            rows_postgres=there.rows,
            digest_sqlite=here.text(),
            digest_postgres=there.text(),
            chunks=max(here.chunks, there.chunks),
        )

    def differing(self) -> set[int]:
        """The chunks that are not equal."""
        return self._digest_sqlite.differing(self._digest_postgres)

    def affordable(self, chunks: set[int]) -> set[int]:
        """As many of the chunks as may be held in memory, at least one."""
        taken: set[int] = set()
        held = 0
        for chunk in sorted(chunks):
            held += self._digest_sqlite.rows_in(chunk) + self._digest_postgres.rows_in(chunk)
            if taken and held > MAX_HELD_ROWS:
                break
            taken.add(chunk)
        return taken

    def differences(self, chunks: set[int]) -> Iterator[Difference]:
        """Every row of these chunks that is not the same on both sides."""
        for here, there in self._pairs(chunks):
            held = here or there
            assert held is not None
            key = tuple(_shown(held.text[p]) for p in self._key)
            if here is None:
                yield Difference(self._table.sqlite, key, "missing_in_sqlite")
            elif there is None:
                yield Difference(self._table.sqlite, key, "missing_in_postgres")
            else:
                columns = self._differing_columns(here.proof, there.proof)
                yield Difference(
                    self._table.sqlite,
                    key,
                    "differs",
                    tuple(self._table.columns[c].sqlite for c in columns),
                    _shown(here.row[columns[0]]),
                    _shown(there.text[columns[0]]),
                )

    def keys(self, chunks: set[int]) -> Keys:
        """What must change in PostgreSQL, from these chunks."""
        keys = Keys()
        for here, there in self._pairs(chunks):
            if there is not None:
                keys.to_delete.append(tuple(there.text[p] for p in self._key))
            if here is not None:
                keys.to_load.append(tuple(here.row[p] for p in self._key))
        if not self._table.key and len(keys.to_delete) > MAX_WHOLE_DELETES:
            return Keys(whole=True)
        return keys

    # ---- the first reading: digests --------------------------------------------------------------

    def _digest(self, rows: Iterable[tuple[PostgresRow, Canonical]], progress: Progress) -> TableDigest:
        digest = TableDigest()
        add, chunk_of_key, key = digest.add, self._chunk_of, self._key
        pending = 0
        for text, proof in rows:
            chunk = chunk_of_key(tuple([text[p] for p in key]), tuple([proof[p] for p in key]))
            add(chunk, row_digest(proof))
            pending += 1
            if pending == ROWS_PER_BATCH:
                progress.advance(pending)
                pending = 0
        progress.advance(pending)
        return digest

    def _proven_sqlite(self, row: SqliteRow) -> tuple[PostgresRow, Canonical]:
        text = self._codec.encode(row)
        return text, self._codec.canonical(text) + self._exactly(row)

    def _proven_postgres(self, text: PostgresRow) -> tuple[PostgresRow, Canonical]:
        canonical = self._codec.canonical(text)
        return text, canonical + self._exactly(self._codec.decode(text)) if self._exact else canonical

    def _exactly(self, row: SqliteRow) -> Canonical:
        return tuple([exact(row[p]) for p in self._exact])

    # ---- the second reading: rows of differing chunks ----------------------------------------------

    def _pairs(self, chunks: set[int]) -> Iterator[_Pair]:
        """Rows with the same key that are not equal; None where a side has none.

        A key that stands more than once on a side (as spelled, two keys; in PostgreSQL's domain, one) gives a
        pair for each.
        """
        if not chunks:
            return
        found: dict[Canonical, tuple[list[_SqliteRow], list[_PostgresRow]]] = {}
        for row in self._sqlite_rows():
            key_text = self._key_codec.encode(tuple([row[p] for p in self._key]))
            key = self._key_codec.canonical(key_text)
            if self._chunk_of(key_text, key) in chunks:
                text, proof = self._proven_sqlite(row)
                found.setdefault(key, ([], []))[0].append(_SqliteRow(row, text, proof))
        for text in self._postgres.rows(self._table):
            key_text = tuple([text[p] for p in self._key])
            key = self._key_codec.canonical(key_text)
            if self._chunk_of(key_text, key) in chunks:
                _, proof = self._proven_postgres(text)
                here, there = found.setdefault(key, ([], []))
                equal = next((i for i, held in enumerate(here) if held.proof == proof), None)
                if equal is None:
                    there.append(_PostgresRow(text, proof))
                else:
                    del here[equal]
        for here, there in found.values():
            yield from zip_longest(here, there)

    def _sqlite_rows(self) -> Iterator[SqliteRow]:
        for batch in self._sqlite.batches(self._table, size=ROWS_PER_BATCH):
            yield from batch.rows

    def _differing_columns(self, here: Canonical, there: Canonical) -> list[int]:
        width = len(self._table.columns)
        of_proof = (*range(width), *self._exact)  # which column each item of a proof is of
        return sorted({of_proof[i] for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b})


def _shown(value: SqliteValue) -> str:
    """Short, with the class visible: text is quoted."""
    text = "NULL" if value is None else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
