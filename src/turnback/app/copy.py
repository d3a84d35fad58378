"""Rows from SQLite to PostgreSQL: the whole tables, once, and later only what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from turnback.app.verify import Keys, differing_keys
from turnback.core.codecs.row import RowCodec
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow
from turnback.errors import ProofFailed
from turnback.ports import PostgresReader, Progress, ScanKey, SqliteReader

ROWS_PER_BATCH = 10_000


class RowLoader(Protocol):
    """Loads batches: each with its checkpoint in one transaction, so that none is loaded twice."""

    def checkpoint(self, table: TablePlan) -> tuple[ScanKey | None, int]: ...

    def load(self, table: TablePlan, rows: Iterable[PostgresRow], after: ScanKey) -> int: ...

    def row_count(self, table: TablePlan) -> int: ...


class RowCorrector(Protocol):
    """Corrects loaded tables, inside one `correction()`: all of its calls come to stand, or none."""

    def correction(self) -> AbstractContextManager[None]: ...

    def empty(self, table: TablePlan) -> int: ...

    def delete(self, table: TablePlan, keys: Sequence[PostgresRow]) -> int: ...

    def delete_whole(self, table: TablePlan, rows: Sequence[PostgresRow]) -> int: ...

    def add(self, table: TablePlan, rows: Iterable[PostgresRow]) -> int: ...


def copy_tables(
    plan: Plan,
    reader: SqliteReader,
    loader: RowLoader,
    progress: Progress,
    failpoint: Callable[[str], None],
) -> dict[str, int]:
    """Loads every table of the plan, from where an earlier try of the same run stopped: rows per table.

    `failpoint` is called with "copy_batch" after each batch. Raises ProofFailed unless as many rows were sent
    as SQLite has and as PostgreSQL then counts, CannotCarry for a value that the plan does not carry.
    """
    loaded = {}
    for table in plan.tables:
        encode = RowCodec(table).encode
        after, done = loader.checkpoint(table)
        total = reader.count(table)
        progress.begin(f"copy {table.sqlite}", total)
        progress.advance(done)
        for batch in reader.batches(table, after=after, size=ROWS_PER_BATCH):
            count = loader.load(table, map(encode, batch.rows), batch.last)
            done += count
            progress.advance(count)
            failpoint("copy_batch")
        progress.end()
        counted = loader.row_count(table)
        if not done == total == counted:
            raise ProofFailed(
                f"{table.sqlite}: SQLite has {total} rows, {done} were sent, PostgreSQL has {counted}",
                hint="the table must be empty before the load, nothing else may write to it; migrate again",
            )
        loaded[table.sqlite] = done
    return loaded


def synchronise(
    plan: Plan,
    sqlite: SqliteReader,
    postgres: PostgresReader,
    corrector: RowCorrector,
    progress: Progress,
) -> dict[str, int]:
    """Makes PostgreSQL equal to SQLite by writing only what differs, all in one transaction.

    Returns for each table that differed how many rows were deleted and added. Nothing may write to either
    side meanwhile. Closes `postgres` when it has been read: an open reader would block the correction's ALTER
    TABLE. Raises ProofFailed when PostgreSQL is not as it was read, or foreign keys do not hold afterwards.
    """
    differing = differing_keys(plan, sqlite, postgres, progress)
    postgres.close()
    if not differing:
        return {}
    changed = {}
    with corrector.correction():
        progress.begin("synchronise", len(differing))
        for name, keys in differing.items():
            changed[name] = _correct(plan.table(name), keys, sqlite, corrector)
            progress.advance()
        progress.end()
    return changed


def _correct(table: TablePlan, keys: Keys, sqlite: SqliteReader, corrector: RowCorrector) -> int:
    encode = RowCodec(table).encode
    if keys.whole:
        deleted = corrector.empty(table)
        every = (row for batch in sqlite.batches(table, size=ROWS_PER_BATCH) for row in batch.rows)
        return deleted + corrector.add(table, map(encode, every))
    if not table.key:
        return corrector.delete_whole(table, keys.to_delete) + corrector.add(table, map(encode, keys.to_load))
    deleted = corrector.delete(table, keys.to_delete)
    added = corrector.add(table, map(encode, sqlite.by_keys(table, keys.to_load)))
    if added != len(keys.to_load):
        raise ProofFailed(
            f"{table.sqlite}: {len(keys.to_load)} rows were to be loaded again, {added} were found",
            hint="something else writes to the SQLite file: stop it, then run `turnback resume`",
        )
    return deleted + added
