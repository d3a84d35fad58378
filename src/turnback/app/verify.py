"""Proves that both sides hold the same rows, and finds those that differ.

Equal means two things at once (ARCHITECTURE: Laws): equal in PostgreSQL's domain, and, with
`check_round_trip`, that what PostgreSQL printed decodes to the very value that SQLite holds. Each side is
read once and digested by chunks (core.digest); rows of chunks that differ are looked at in a second reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from turnback.core.certificate import Censuses, TableCensus
from turnback.core.digest import Canonical, TableDigest, chunk_of, row_digest
from turnback.core.equality import Difference as Difference
from turnback.core.equality import Pair, RowEquality
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteRow
from turnback.errors import CannotCarry
from turnback.ports import PostgresReader, Progress, SqliteReader

ROWS_PER_BATCH = 10_000
KEYS_AT_ONCE = 1_000
MAX_DIFFERENCES = 100  # shown
MAX_HELD_ROWS = 200_000  # of one table, both sides, while its differing chunks are looked at
MAX_WHOLE_DELETES = 100  # of a table without a key: each of them reads the table


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

    def headline(self) -> str:
        """One line, for a terminal or an error."""
        if self.equal:
            return f"{sum(t.rows_sqlite for t in self.tables)} rows in {len(self.tables)} tables are equal"
        least = "" if self.counted_all else "at least "
        first = f"; the first: {self.differences[0].headline()}" if self.differences else ""
        return f"{least}{self.difference_count} rows differ{first}"

    def to_json(self) -> dict[str, Any]:
        raw = asdict(self)
        for difference in raw["differences"]:
            del difference["key_text"]
        return raw


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
    limit: int | None = None,
    censuses: Censuses | None = None,
) -> Comparison:
    """Reads every row of both sides; keeps at most `limit` differences (MAX_DIFFERENCES). `censuses` gets
    what a certificate says of the values, from the same reading.

    Raises CannotCarry for a SQLite value that the plan does not carry (and, checking the round trip, for a
    PostgreSQL value that does not decode).
    """
    proofs: list[TableProof] = []
    differences: list[Difference] = []
    count = 0
    equal = counted_all = True
    for table in plan.tables:
        census = censuses.of(table) if censuses is not None else None
        sides = _digested(table, sqlite, postgres, progress, check_round_trip=check_round_trip, census=census)
        proofs.append(sides.table_proof())
        differing = sides.differing()
        looked_at = sides.affordable(differing)
        equal = equal and not differing
        counted_all = counted_all and looked_at == differing
        count += len(differing - looked_at)  # each holds at least one
        for pair in sides.pairs(looked_at):
            count += 1
            if len(differences) < (MAX_DIFFERENCES if limit is None else limit):
                differences.append(sides.equality.difference(pair))
    return Comparison(tuple(proofs), tuple(differences), count, equal, counted_all)


def generated_plan(plan: Plan) -> Plan:
    """The plan of what both sides compute (decision 15): of each table with generated columns or translated
    index expressions its key and these, and every view as a table without a key.

    A table without a key is compared by what it computes alone.
    """
    tables = []
    for table in plan.tables:
        computed = tuple(g.column for g in table.generated) + tuple(e.column for e in table.expressions)
        if computed:
            key = tuple(table.columns[p] for p in table.key_positions())
            tables.append(replace(table, columns=key + computed))
    views = tuple(TablePlan(v.sqlite, v.postgres, v.columns, (), "full") for v in plan.views)
    return replace(plan, tables=(*tables, *views))


def compare_keys(
    plan: Plan,
    sqlite: SqliteReader,
    postgres: PostgresReader,
    keys: Mapping[str, Sequence[PostgresRow]],
    *,
    check_round_trip: bool = False,
) -> tuple[Difference, ...]:
    """The rows with these keys that are not the same on both sides; a key that neither side has is the same.

    `keys`: by SQLite table name, PostgreSQL's text in the order of TablePlan.key. Reads no other rows, except
    of a table without a key, which is compared whole if it is named.
    """
    differences: list[Difference] = []
    for name, touched in keys.items():
        table = plan.table(name)
        if not table.key:
            differences += compare_table(table, sqlite, postgres, check_round_trip=check_round_trip)
            continue
        equality = RowEquality(table, check_round_trip=check_round_trip)
        for start in range(0, len(touched), KEYS_AT_ONCE):
            some = touched[start : start + KEYS_AT_ONCE]
            here = sqlite.by_keys(table, [equality.key_codec.decode(key) for key in some])
            pairs = equality.pairs(here, postgres.by_keys(table, some))
            differences += map(equality.difference, pairs)
    return tuple(differences)


def compare_table(
    table: TablePlan, sqlite: SqliteReader, postgres: PostgresReader, *, check_round_trip: bool = False
) -> list[Difference]:
    """Every row of one table; [] is equal."""
    sides = _Sides(table, sqlite, postgres, lambda rows: None, check_round_trip=check_round_trip)
    looked_at = sides.affordable(sides.differing())
    return [sides.equality.difference(pair) for pair in sides.pairs(looked_at)]


def differing_keys(
    plan: Plan, sqlite: SqliteReader, postgres: PostgresReader, progress: Progress
) -> dict[str, Keys]:
    """What must change in PostgreSQL, by SQLite table name; only tables that differ."""
    found = {}
    for table in plan.tables:
        sides = _digested(table, sqlite, postgres, progress, check_round_trip=False)
        if differing := sides.differing():
            affordable = sides.affordable(differing) == differing
            found[table.sqlite] = sides.keys(differing) if affordable else Keys(whole=True)
    return found


def differing_groups(
    table: TablePlan, sqlite: SqliteReader, postgres: PostgresReader, progress: Progress
) -> Iterator[list[Pair]]:
    """The rows that are not the same on both sides, as many at a time as may be held (MAX_HELD_ROWS). Each
    group costs a reading of both sides.
    """
    sides = _digested(table, sqlite, postgres, progress, check_round_trip=False)
    left = sides.differing()
    while left:
        looked_at = sides.affordable(left)
        yield list(sides.pairs(looked_at))
        left -= looked_at


def _digested(
    table: TablePlan,
    sqlite: SqliteReader,
    postgres: PostgresReader,
    progress: Progress,
    *,
    check_round_trip: bool,
    census: TableCensus | None = None,
) -> _Sides:
    progress.begin(f"compare {table.sqlite}", 2 * sqlite.count(table))
    sides = _Sides(
        table, sqlite, postgres, progress.advance, check_round_trip=check_round_trip, census=census
    )
    progress.end()
    return sides


class _Sides:
    """Both sides of one table: digested when made, looked into afterwards."""

    def __init__(
        self,
        table: TablePlan,
        sqlite: SqliteReader,
        postgres: PostgresReader,
        advance: Callable[[int], None],
        *,
        check_round_trip: bool,
        census: TableCensus | None = None,
    ) -> None:
        self._table = table
        self._sqlite = sqlite
        self._postgres = postgres
        self.equality = RowEquality(table, check_round_trip=check_round_trip)
        self._rows = sqlite.count(table)
        here = self._sqlite_proofs() if census is None else self._counted_sqlite(census)
        self._here = self._digest(here, advance)
        there = self._postgres_proofs() if census is None else self._counted_postgres(census)
        self._there = self._digest(there, advance)

    def table_proof(self) -> TableProof:
        here, there = self._here, self._there
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
        return self._here.differing(self._there)

    def affordable(self, chunks: set[int]) -> set[int]:
        """As many of the chunks as may be held in memory, at least one."""
        taken: set[int] = set()
        held = 0
        for chunk in sorted(chunks):
            held += self._here.rows_in(chunk) + self._there.rows_in(chunk)
            if taken and held > MAX_HELD_ROWS:
                break
            taken.add(chunk)
        return taken

    def pairs(self, chunks: set[int]) -> Iterator[Pair]:
        """The rows of these chunks that are not the same on both sides. Reads both sides again."""
        if not chunks:
            return
        equality = self.equality
        chunk_of_key = chunk_of(self._table, self._rows, range(len(equality.key_positions)))
        here = (r for r in self._sqlite_rows() if chunk_of_key(*equality.sqlite_key(r)) in chunks)
        there = (
            r for r in self._postgres.rows(self._table) if chunk_of_key(*equality.postgres_key(r)) in chunks
        )
        yield from equality.pairs(here, there)

    def keys(self, chunks: set[int]) -> Keys:
        """What must change in PostgreSQL, from these chunks."""
        keys = Keys()
        positions = self.equality.key_positions
        for here, there in self.pairs(chunks):
            if there is not None:
                keys.to_delete.append(tuple(there.text[p] for p in positions))
            if here is not None:
                keys.to_load.append(tuple(here.row[p] for p in positions))
        if not self._table.key and len(keys.to_delete) > MAX_WHOLE_DELETES:
            return Keys(whole=True)
        return keys

    def _digest(
        self, rows: Iterable[tuple[PostgresRow, Canonical]], advance: Callable[[int], None]
    ) -> TableDigest:
        digest = TableDigest()
        add, chunk_of_row = digest.add, chunk_of(self._table, self._rows, self.equality.key_positions)
        pending = 0
        for text, proof in rows:
            add(chunk_of_row(text, proof), row_digest(proof))
            pending += 1
            if pending == ROWS_PER_BATCH:
                advance(pending)
                pending = 0
        advance(pending)
        return digest

    def _sqlite_proofs(self) -> Iterator[tuple[PostgresRow, Canonical]]:
        return map(self.equality.of_sqlite, self._sqlite_rows())

    def _postgres_proofs(self) -> Iterator[tuple[PostgresRow, Canonical]]:
        return map(self.equality.of_postgres, self._postgres.rows(self._table))

    def _counted_sqlite(self, census: TableCensus) -> Iterator[tuple[PostgresRow, Canonical]]:
        for row in self._sqlite_rows():
            proven = self.equality.of_sqlite(row)
            census.sqlite.add(row, proven[1])
            yield proven

    def _counted_postgres(self, census: TableCensus) -> Iterator[tuple[PostgresRow, Canonical]]:
        equality = self.equality
        for text in self._postgres.rows(self._table):
            try:
                values = equality.values(text)
            except CannotCarry as e:
                census.refuse(str(e))
                yield equality.of_postgres(text)  # raises the same where the round trip is checked
            else:
                proven = equality.of_postgres(text, values)
                census.postgres.add(values, proven[1])
                yield proven

    def _sqlite_rows(self) -> Iterator[SqliteRow]:
        for batch in self._sqlite.batches(self._table, size=ROWS_PER_BATCH):
            yield from batch.rows
