"""Random rows of both sides, compared by core.independent: a second way that shares no code with the codecs.

Rows are picked on the SQLite side and looked up in PostgreSQL by key, so a row that only PostgreSQL has is
not met; where nothing is being written the numbers of rows are compared too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

from turnback.app.catching_up import ROUND_SECONDS, ROUNDS
from turnback.core.independent import NoRule, meant, same
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import SqliteRow, SqliteValue
from turnback.ports import Clock, Progress

MAX_DIFFERENCES = 100  # shown
MAX_KEYLESS_ROWS = 20_000  # of a table without a key, which is searched as a whole
SHOWN_CHARACTERS = 60

TypedRow = tuple[object, ...]


class SqliteSample(Protocol):
    """One state of one file. Text that is not valid comes with surrogates; nothing is refused."""

    def count(self, table: TablePlan) -> int: ...

    def pick(self, table: TablePlan, ordinals: Sequence[int]) -> Iterator[SqliteRow]:
        """The rows at these places (from 0, ascending) of some fixed order."""

    def by_key(self, table: TablePlan, key: SqliteRow) -> list[SqliteRow]: ...

    def holds(self, table: TablePlan, row: SqliteRow) -> bool:
        """Whether there is a row with exactly these values."""

    def close(self) -> None: ...


class PostgresSample(Protocol):
    """One snapshot, as the Python objects of the driver's own loaders."""

    def count(self, table: TablePlan) -> int: ...

    def by_key(self, table: TablePlan, key: Sequence[object]) -> list[TypedRow]: ...

    def everything(self, table: TablePlan) -> list[TypedRow]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Oddity:
    """One row that does not mean the same on both sides. `row` is SQLite's, to look at it again."""

    table: str
    key: tuple[str, ...]
    what: str  # "differs", "missing in postgres", "another number of rows"
    columns: tuple[str, ...] = ()
    sqlite_value: str = ""
    postgres_value: str = ""
    row: SqliteRow = field(default=(), repr=False, compare=False)

    def headline(self) -> str:
        where = f" in {', '.join(self.columns)}" if self.columns else ""
        return f"{self.table} ({', '.join(self.key)}) {self.what}{where}"


@dataclass(slots=True)
class Sampled:
    """`unjudged`: values of a column for which there is no independent rule. `left_out`: tables, and why."""

    seed: int
    rows: dict[str, int] = field(default_factory=dict)  # sampled, by table
    values: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    looked_again: int = 0
    differences: list[Oddity] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differences

    def headline(self) -> str:
        rows = sum(self.rows.values())
        seed = f"(seed {self.seed})"
        if self.differences:
            first = self.differences[0].headline()
            return f"{len(self.differences)} of {rows} random rows differ {seed}; the first: {first}"
        return f"{rows} random rows in {len(self.rows)} tables, {self.values} values, mean the same {seed}"

    def to_json(self) -> dict[str, Any]:
        differences = [
            {k: v for k, v in asdict(d).items() if k != "row"} for d in self.differences[:MAX_DIFFERENCES]
        ]
        return {
            "equal": self.equal,
            "seed": self.seed,
            "rows": dict(self.rows),
            "values": self.values,
            "unjudged": dict(self.unjudged),
            "left_out": dict(self.left_out),
            "looked_at_again": self.looked_again,
            "difference_count": len(self.differences),
            "differences": differences,
        }


Opened = tuple[SqliteSample, PostgresSample]


def sample(
    plan: Plan,
    rows: int,
    seed: int,
    open_sides: Callable[[], Opened],
    clock: Clock,
    progress: Progress,
    *,
    live: bool,
) -> Sampled:
    """About `rows` rows over all tables in proportion, at least one of each table that has any.

    `open_sides` opens PostgreSQL's snapshot, then the file in a state that has passed it. `live`: both sides
    are being written to, and what differs is looked at again, round after round (the rule of app.recheck).
    """
    result = Sampled(seed)
    sqlite, postgres = open_sides()
    try:
        counts = {t.sqlite: sqlite.count(t) for t in plan.tables}
        share = shares(counts, rows)
        random = Random(seed)
        progress.begin("sample", sum(share.values()))
        for table in plan.tables:
            wanted = share[table.sqlite]
            ordinals = sorted(random.sample(range(counts[table.sqlite]), wanted))
            if not live:
                _compare_counts(table, counts[table.sqlite], postgres.count(table), result)
            if wanted and (why := _unsearchable(table, postgres)):
                result.left_out[table.sqlite] = why
                continue
            picked = list(sqlite.pick(table, ordinals))
            result.rows |= {table.sqlite: len(picked)} if picked else {}
            result.differences += _Judge(table, postgres, result).all(picked)
            progress.advance(len(picked))
        progress.end()
    finally:
        sqlite.close()
        postgres.close()
    if live:
        result.looked_again = len(result.differences)
        result.differences = _again(plan, result, open_sides, clock)
    return result


def shares(counts: dict[str, int], rows: int) -> dict[str, int]:
    """How many rows of each table: in proportion, one at least, never more than there are."""
    total = sum(counts.values())
    return {name: min(n, max(1, rows * n // total)) if n else 0 for name, n in counts.items()}


def _compare_counts(table: TablePlan, here: int, there: int, result: Sampled) -> None:
    if here != there:
        result.differences.append(
            Oddity(table.sqlite, (), "another number of rows", (), str(here), str(there))
        )


def _unsearchable(table: TablePlan, postgres: PostgresSample) -> str:
    if not table.key and postgres.count(table) > MAX_KEYLESS_ROWS:
        return f"no key, and more than {MAX_KEYLESS_ROWS} rows to search"
    return ""


def _again(plan: Plan, result: Sampled, open_sides: Callable[[], Opened], clock: Clock) -> list[Oddity]:
    suspects = result.differences
    for _ in range(ROUNDS):
        if not suspects:
            break
        sqlite, postgres = open_sides()
        try:
            still: list[Oddity] = []
            for suspect in suspects:
                table = plan.table(suspect.table)
                judge = _Judge(table, postgres, Sampled(result.seed))
                if table.key:
                    key = tuple(suspect.row[p] for p in table.key_positions())
                    now = sqlite.by_key(table, key)
                    still += judge.all(now) if now else judge.gone(suspect)
                elif sqlite.holds(table, suspect.row):
                    still += judge.all([suspect.row])
        finally:
            sqlite.close()
            postgres.close()
        suspects = still
        if suspects:
            clock.sleep(ROUND_SECONDS)
    return suspects


class _Judge:
    """Rows of one table, against one snapshot of PostgreSQL."""

    def __init__(self, table: TablePlan, postgres: PostgresSample, result: Sampled) -> None:
        self._table = table
        self._postgres = postgres
        self._result = result
        self._positions = table.key_positions()
        self._whole: list[TypedRow] | None = None

    def all(self, rows: Sequence[SqliteRow]) -> list[Oddity]:
        return [oddity for row in rows if (oddity := self._one(row)) is not None]

    def gone(self, suspect: Oddity) -> list[Oddity]:
        """The row left SQLite meanwhile: then it must have left PostgreSQL too."""
        there = self._postgres.by_key(self._table, self._key(suspect.row))
        if not there:
            return []
        return [Oddity(suspect.table, suspect.key, "missing in sqlite", row=suspect.row)]

    def _one(self, row: SqliteRow) -> Oddity | None:
        if not self._table.key:
            return self._searched(row)
        try:
            key = self._key(row)
        except NoRule:
            self._result.left_out[self._table.sqlite] = "no independent rule finds its key in PostgreSQL"
            self._result.rows.pop(self._table.sqlite, None)
            return None
        except (ValueError, ArithmeticError):
            return self._oddity(row, "has a key that is nothing of its type")
        found = self._postgres.by_key(self._table, key)
        if not found:
            return self._oddity(row, "missing in postgres")
        verdicts = [self._verdicts(row, one) for one in found]
        best = min(verdicts, key=lambda v: v.count(False))
        self._result.values += len(best)
        for column, verdict in zip(self._table.columns, best, strict=True):
            if verdict is None:
                self._result.unjudged[f"{self._table.sqlite}.{column.sqlite}"] += 1
        if False not in best:
            return None
        other = found[verdicts.index(best)]
        wrong = [i for i, verdict in enumerate(best) if verdict is False]
        names = tuple(self._table.columns[i].sqlite for i in wrong)
        return self._oddity(row, "differs", names, _shown(row[wrong[0]]), _shown(other[wrong[0]]))

    def _searched(self, row: SqliteRow) -> Oddity | None:
        if self._whole is None:
            self._whole = self._postgres.everything(self._table)
        for other in self._whole:
            if False not in (verdicts := self._verdicts(row, other)):
                self._result.values += len(verdicts)
                return None
        return self._oddity(row, "missing in postgres")

    def _verdicts(self, row: SqliteRow, other: TypedRow) -> list[bool | None]:
        return [same(c, v, o) for c, v, o in zip(self._table.columns, row, other, strict=True)]

    def _key(self, row: SqliteRow) -> list[object]:
        columns = self._table.columns
        return [meant(columns[p], row[p]) for p in self._positions]

    def _oddity(
        self, row: SqliteRow, what: str, columns: tuple[str, ...] = (), here: str = "", there: str = ""
    ) -> Oddity:
        key = tuple(_shown(row[p]) for p in self._positions) or tuple(map(_shown, row))
        return Oddity(self._table.sqlite, key, what, columns, here, there, row)


def _shown(value: SqliteValue | object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
