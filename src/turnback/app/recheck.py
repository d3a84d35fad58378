"""Looks again at chosen keys on both sides: what capture touched (the gate), and what differed under load.

A comparison under load sees the two sides at different moments. A key that differs is looked at again after
the fallback has passed the server's position of that moment; what still differs then, round after round, is
a difference of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from turnback.app.verify import Comparison, Difference, compare
from turnback.core.codecs.row import RowCodec
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteRow
from turnback.errors import NotReady
from turnback.ports import Clock, PostgresReader, Progress, SqliteReader

KEYS_AT_ONCE = 5_000
ROUNDS = 10
ROUND_SECONDS = 0.3
CATCH_UP_SECONDS = 60.0

Canonical = tuple[bytes | None, ...]
T = TypeVar("T")


def compare_keys(
    plan: Plan, sqlite: SqliteReader, postgres: PostgresReader, keys: Mapping[str, Sequence[PostgresRow]]
) -> list[Difference]:
    """The rows behind these keys (PostgreSQL's text in plan.key order, by SQLite table) that are not equal.

    Of a table without a key the whole table is compared: the rows cannot be told apart.
    """
    found: list[Difference] = []
    for name, wanted in keys.items():
        table = plan.table(name)
        if not table.key:
            found += compare_whole(table, sqlite, postgres)
            continue
        iterator = iter(wanted)
        while chunk := list(islice(iterator, KEYS_AT_ONCE)):
            found += _compare_chunk(table, sqlite, postgres, chunk)
    return found


def _compare_chunk(
    table: TablePlan, sqlite: SqliteReader, postgres: PostgresReader, keys: list[PostgresRow]
) -> list[Difference]:
    codec = RowCodec(table)
    positions = table.key_positions()
    key_codec = RowCodec(replace(table, columns=tuple(table.columns[p] for p in positions)))
    here = _by_key(
        codec, positions, (codec.encode(r) for r in sqlite.by_keys(table, _decoded(key_codec, keys)))
    )
    there = _by_key(codec, positions, postgres.by_keys(table, keys))
    found = []
    for key in keys:
        wanted = key_codec.canonical(key)
        a, b = here.get(wanted), there.get(wanted)
        if a == b:
            continue
        text = tuple("NULL" if k is None else k for k in key)
        if a is None:
            found.append(Difference(table.sqlite, text, "missing_in_sqlite"))
        elif b is None:
            found.append(Difference(table.sqlite, text, "missing_in_postgres"))
        else:
            columns = tuple(c.sqlite for c, x, y in zip(table.columns, a, b, strict=True) if x != y)
            found.append(Difference(table.sqlite, text, "differs", columns))
    return found


def _decoded(key_codec: RowCodec, keys: list[PostgresRow]) -> list[SqliteRow]:
    return [key_codec.decode(key) for key in keys]


def _by_key(
    codec: RowCodec, positions: tuple[int, ...], rows: Iterable[PostgresRow]
) -> dict[Canonical, Canonical]:
    found = {}
    for row in rows:
        canonical = codec.canonical(row)
        found[tuple(canonical[p] for p in positions)] = canonical
    return found


def compare_whole(table: TablePlan, sqlite: SqliteReader, postgres: PostgresReader) -> list[Difference]:
    """Every row of one table; [] is equal."""
    one = Plan(mode="existing", schema="", tables=(table,))
    return list(compare(one, sqlite, postgres, Silent(), check_round_trip=False).differences)


class Silent:
    """Progress that nobody watches."""

    def begin(self, what: str, total: int | None = None) -> None:
        return None

    def advance(self, amount: int = 1) -> None:
        return None

    def end(self) -> None:
        return None


def verify_live(
    plan: Plan,
    open_fallback: Callable[[], SqliteReader],
    open_postgres: Callable[[], PostgresReader],
    applied: Callable[[], Lsn],
    insert_lsn: Callable[[], Lsn],
    clock: Clock,
    progress: Progress,
) -> Comparison:
    """The fallback against PostgreSQL while the application writes. Raises NotReady when capture stands still."""
    result = _at_one_moment(
        open_fallback, open_postgres, lambda s, p: compare(plan, s, p, progress, check_round_trip=False)
    )
    if result.equal or not result.counted_all:
        return result
    suspects = list(result.differences)
    keyless = {d.table for d in suspects if not plan.table(d.table).key}
    if result.difference_count > len(suspects):
        return result
    for _ in range(ROUNDS):
        _catch_up(applied, insert_lsn(), clock)
        again: dict[str, list[PostgresRow]] = {name: [] for name in keyless}
        for d in suspects:
            if d.table not in keyless:
                again.setdefault(d.table, []).append(_key_of(d))
        suspects = _at_one_moment(open_fallback, open_postgres, lambda s, p: compare_keys(plan, s, p, again))  # noqa: B023
        keyless = {d.table for d in suspects if not plan.table(d.table).key}
        if not suspects:
            break
        clock.sleep(ROUND_SECONDS)
    return replace(result, differences=tuple(suspects), difference_count=len(suspects), equal=not suspects)


def _key_of(difference: Difference) -> PostgresRow:
    return tuple(difference.key)


def _at_one_moment(
    open_fallback: Callable[[], SqliteReader],
    open_postgres: Callable[[], PostgresReader],
    look: Callable[[SqliteReader, PostgresReader], T],
) -> T:
    sqlite = open_fallback()
    try:
        postgres = open_postgres()
        try:
            return look(sqlite, postgres)
        finally:
            postgres.close()
    finally:
        sqlite.close()


def _catch_up(applied: Callable[[], Lsn], goal: Lsn, clock: Clock) -> None:
    deadline = clock.monotonic() + CATCH_UP_SECONDS
    while applied() < goal:
        if clock.monotonic() > deadline:
            raise NotReady(
                f"the fallback did not catch up within {CATCH_UP_SECONDS:.0f} s",
                hint="`turnback status` says why",
            )
        clock.sleep(0.05)
