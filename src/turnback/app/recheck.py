"""The fallback against PostgreSQL while the application writes.

Such a comparison sees the two sides at different moments. A key that differs is looked at again after the
fallback has passed the server's position of that moment; what still differs then, round after round, is a
difference of the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from turnback.app.catching_up import ROUND_SECONDS, ROUNDS, catch_up
from turnback.app.verify import MAX_DIFFERENCES, Comparison, Difference, compare, compare_keys
from turnback.core.certificate import Censuses
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.core.rows import PostgresRow
from turnback.ports import Clock, PostgresReader, Progress, SqliteReader

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
    *,
    censuses: Censuses | None = None,
    looked_again: dict[str, int] | None = None,
) -> Comparison:
    """The fallback against PostgreSQL under load. Raises NotReady when capture stands still.

    With `censuses` (of the first look) the round trip is checked too. `looked_again` gets, by table, how many
    rows differed in the first look.
    """
    exact = censuses is not None

    def look(what: Callable[[SqliteReader, PostgresReader], T]) -> T:
        """Both sides close together: PostgreSQL's snapshot first, the fallback when it has passed it."""
        postgres = open_postgres()
        try:
            catch_up(applied, insert_lsn(), clock)
            sqlite = open_fallback()
            try:
                return what(sqlite, postgres)
            finally:
                sqlite.close()
        finally:
            postgres.close()

    first = look(
        lambda s, p: compare(
            plan, s, p, progress, check_round_trip=exact, limit=MAX_SUSPECTS, censuses=censuses
        )
    )
    suspects = list(first.differences)
    if looked_again is not None:
        looked_again |= Counter(d.table for d in suspects)
    if first.equal or first.difference_count > len(suspects) or not first.counted_all:
        return replace(first, differences=first.differences[:MAX_DIFFERENCES])
    for _ in range(ROUNDS):
        suspects = look(partial(_still, plan, tuple(suspects), exact=exact))
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
    plan: Plan,
    suspects: Sequence[Difference],
    sqlite: SqliteReader,
    postgres: PostgresReader,
    *,
    exact: bool,
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
    again = list(compare_keys(plan, sqlite, postgres, keys, check_round_trip=exact))
    for name, held in contents.items():
        whole = compare_keys(plan, sqlite, postgres, {name: ()}, check_round_trip=exact)
        again += [d for d in whole if d.key_text in held]
    return again
