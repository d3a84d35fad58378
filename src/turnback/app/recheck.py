"""The fallback against PostgreSQL while the application writes.

Such a comparison sees the two sides at different moments. A key that differs is looked at again after the
fallback has passed the server's position of that moment; what still differs then, round after round, is a
difference of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from turnback.app.verify import MAX_DIFFERENCES, Comparison, Difference, compare, compare_keys
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.core.rows import PostgresRow
from turnback.errors import NotReady
from turnback.ports import Clock, PostgresReader, Progress, SqliteReader

ROUNDS = 10
ROUND_SECONDS = 0.3
CATCH_UP_SECONDS = 60.0
MAX_SUSPECTS = 100_000

T = TypeVar("T")


def verify_live(
    plan: Plan,
    open_fallback: Callable[[], SqliteReader],
    open_postgres: Callable[[], PostgresReader],
    applied: Callable[[], Lsn],
    insert_lsn: Callable[[], Lsn],
    clock: Clock,
    progress: Progress,
) -> Comparison:
    """The fallback against PostgreSQL under load. Raises NotReady when capture stands still."""

    def look(what: Callable[[SqliteReader, PostgresReader], T]) -> T:
        """Both sides close together: PostgreSQL's snapshot first, the fallback when it has passed it."""
        postgres = open_postgres()
        try:
            _catch_up(applied, insert_lsn(), clock)
            sqlite = open_fallback()
            try:
                return what(sqlite, postgres)
            finally:
                sqlite.close()
        finally:
            postgres.close()

    first = look(lambda s, p: compare(plan, s, p, progress, check_round_trip=False, limit=MAX_SUSPECTS))
    suspects = list(first.differences)
    if first.equal or first.difference_count > len(suspects) or not first.counted_all:
        return replace(first, differences=first.differences[:MAX_DIFFERENCES])
    for _ in range(ROUNDS):
        suspects = look(lambda s, p, held=tuple(suspects): _still(plan, held, s, p))  # type: ignore[misc]
        if not suspects:
            break
        clock.sleep(ROUND_SECONDS)
    return replace(
        first,
        differences=tuple(suspects[:MAX_DIFFERENCES]),
        difference_count=len(suspects),
        equal=not suspects,
    )


def _still(
    plan: Plan, suspects: Sequence[Difference], sqlite: SqliteReader, postgres: PostgresReader
) -> list[Difference]:
    """Those that differ again. Of a table without a key a row is its content: one that was under way the last
    time is not among the differences now.
    """
    keys: dict[str, list[PostgresRow]] = {}
    contents: dict[str, set[PostgresRow]] = {}
    for d in suspects:
        if plan.table(d.table).key:
            keys.setdefault(d.table, []).append(d.key_text)
        else:
            contents.setdefault(d.table, set()).add(d.key_text)
    again = list(compare_keys(plan, sqlite, postgres, keys))
    for name, held in contents.items():
        again += [d for d in compare_keys(plan, sqlite, postgres, {name: ()}) if d.key_text in held]
    return again


def _catch_up(applied: Callable[[], Lsn], goal: Lsn, clock: Clock) -> None:
    deadline = clock.monotonic() + CATCH_UP_SECONDS
    while applied() < goal:
        if clock.monotonic() > deadline:
            raise NotReady(
                f"the fallback did not catch up within {CATCH_UP_SECONDS:.0f} s",
                hint="`turnback status` says why",
            )
        clock.sleep(0.05)
