"""Puts a certificate together from what a comparison saw; compares a file with the original it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from turnback import __version__
from turnback.app.verify import ROWS_PER_BATCH, Comparison, compare, generated_plan
from turnback.core.certificate import (
    FORMAT,
    Censuses,
    SideCensus,
    left_out,
    respelled_positions,
    seal,
    table_entry,
    values_digest,
    verdict,
)
from turnback.core.digest import LEAST_ROWS_PER_CHUNK, MOST_CHUNKS, TableDigest
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.rows import SqliteRow
from turnback.ports import PostgresReader, Progress, SqliteReader

SHOWN_DIFFERENCES = 20
# Foreign keys that were left behind by choice are none of the plan's: their rows may refer to nothing.
FILE_CHECKS = "integrity_check, and foreign_key_check of the plan's foreign keys"
MAX_HELD_ROWS = 200_000  # of one table, both files, while changed rows are counted

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sides:
    """What was compared, and in which state, for a person to find it again."""

    sqlite_path: str
    sqlite_state: str  # a phrase: which file, and as of when
    postgres_place: str  # host, port and database; no user, no password
    postgres_schema: str
    postgres_state: str
    system_identifier: str = ""
    lsn: str = ""

    def to_json(self) -> Json:
        return {
            "sqlite": {"path": self.sqlite_path, "state": self.sqlite_state},
            "postgres": {
                "place": self.postgres_place,
                "schema": self.postgres_schema,
                "state": self.postgres_state,
                "system_identifier": self.system_identifier,
                "lsn": self.lsn,
            },
        }


def certificate(
    what: str,
    plan: Plan,
    sides: Sides,
    *,
    by: str,
    begun_at: datetime,
    ended_at: datetime,
    comparison: Comparison | None,
    censuses: Censuses | None = None,
    why_not: str = "",
    looked_again: Mapping[str, int] | None = None,
    checks: Json | None = None,
    sequences: Json | None = None,
    original: Json | None = None,
    generated: list[Json] | None = None,
    not_compared: list[Json] | None = None,
) -> Json:
    """The sealed document. `why_not` says why there is no comparison; `checks` are {name: [problems]}."""
    censuses = censuses or Censuses()
    again = looked_again or {}
    tables = []
    if comparison is not None:
        differing = {d.table for d in comparison.differences}
        for table in plan.tables:
            census = censuses.tables[table.sqlite]
            # A row that was under way when it was read is settled by looking again, not by the digests.
            settled = census.equal or again.get(table.sqlite, 0) > 0
            equal = table.sqlite not in differing and settled and not census.unreadable
            tables.append(table_entry(table, census, equal=equal, looked_again=again.get(table.sqlite, 0)))
    problems = [f"{name}: {lines[0]}" for name, lines in (checks or {}).items() if lines]
    problems += [f"generated {g['table']}: {g['headline']}" for g in generated or [] if not g["equal"]]
    unequal = [t["table"] for t in tables if not t["equal"]]
    rows_equal = comparison is not None and comparison.equal
    if comparison is None:
        reason = why_not
    elif not comparison.equal:
        reason = comparison.headline()
    elif unequal:
        reason = f"the values of {', '.join(unequal)} are not the same in SQLite's terms"
    else:
        reason = problems[0] if problems else ""
    equal = rows_equal and not unequal and not problems
    document: Json = {
        "format": FORMAT,
        "what": what,
        "verdict": verdict(compared=comparison is not None, equal=equal),
        "equal": equal,
        "reason": reason,
        "begun_at": _moment(begun_at),
        "ended_at": _moment(ended_at),
        "by": by,
        "turnback": __version__,
        "plan": plan.digest(),
        "mode": plan.mode,
        **sides.to_json(),
        "tables": tables,
        "difference_count": comparison.difference_count if comparison else None,
        "counted_all": comparison.counted_all if comparison else None,
        "differences": [
            {k: v for k, v in asdict(d).items() if k != "key_text"}
            for d in (comparison.differences[:SHOWN_DIFFERENCES] if comparison else ())
        ],
        "canonical_columns": [
            f"{t.sqlite}.{t.columns[p].sqlite}" for t in plan.tables for p in respelled_positions(t)
        ],
        "generated": generated or [],
        "checks": {name: lines or "ok" for name, lines in (checks or {}).items()},
        "sequences": sequences or {},
        "original": original,
        "not_compared": left_out(plan)
        + (_computed(plan) if generated is None else [])
        + (not_compared or []),
    }
    return seal(document)


def _computed(plan: Plan) -> list[Json]:
    """What both sides compute, where this certificate is of stored rows alone."""
    return [
        {
            "what": f"{t.sqlite}: {', '.join(c.sqlite for c in t.columns if c.sqlite not in t.key)}",
            "why": "each side computes it from the stored rows; `migrate` and `verify` compare it",
        }
        for t in generated_plan(plan).tables
    ]


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def prove_generated(
    plan: Plan, sqlite: SqliteReader, postgres: PostgresReader, progress: Progress
) -> list[Json]:
    """What both sides compute is the same: generated columns, index expressions, views; by table or view."""
    generated = generated_plan(plan)
    found: list[Json] = []
    for table in generated.tables:
        one = replace(generated, tables=(table,))
        result = compare(one, sqlite, postgres, progress, check_round_trip=True)
        columns = [c.sqlite for c in table.columns if c.sqlite not in table.key]
        found.append(
            {
                "table": table.sqlite,
                "columns": columns,
                "rows": result.tables[0].rows_sqlite,
                "equal": result.equal,
                "headline": result.headline(),
            }
        )
    return found


# ---- a file and its original ---------------------------------------------------------------------


def compare_with_original(
    plan: Plan,
    path: str,
    original: SqliteReader,
    now: SqliteReader,
    progress: Progress,
) -> Json:
    """Every stored column of the plan's tables, value for value and class for class, by key.

    Reads each file once, and again where a table is not the same.
    """
    tables = []
    for table in plan.tables:
        whole = _with_constants(table)
        progress.begin(f"original {table.sqlite}", original.count(whole) + now.count(whole))
        before, after = (_census(whole, r, progress) for r in (original, now))
        entry: Json = {
            "table": table.sqlite,
            "rows_original": before.rows,
            "rows_now": after.rows,
            "digest_original": before.exact_digest,
            "digest_now": after.exact_digest,
            "equal": (before.rows, before.exact_digest) == (after.rows, after.exact_digest),
            "changed": 0,
            "gone": 0,
            "new": 0,
            "counted_all": True,
        }
        if not entry["equal"]:
            entry |= _count_changes(whole, original, now)
        progress.end()
        tables.append(entry)
    return {"made": True, "path": path, "equal": all(t["equal"] for t in tables), "tables": tables}


def _with_constants(table: TablePlan) -> TablePlan:
    """With the columns that PostgreSQL lacks: in the file they are columns like all others."""
    more = tuple(ColumnPlan(c.column, c.column, "text", "text") for c in table.sqlite_constants)
    return replace(table, columns=table.columns + more)


def _rows(table: TablePlan, reader: SqliteReader) -> Iterator[SqliteRow]:
    for batch in reader.batches(table, size=ROWS_PER_BATCH):
        yield from batch.rows


def _census(table: TablePlan, reader: SqliteReader, progress: Progress) -> SideCensus:
    plain = replace(table, columns=tuple(replace(c, options={}) for c in table.columns))
    census = SideCensus(plain)
    for batch in reader.batches(table, size=ROWS_PER_BATCH):
        for row in batch.rows:
            census.add(row, ())
        progress.advance(len(batch.rows))
    return census


def _count_changes(table: TablePlan, original: SqliteReader, now: SqliteReader) -> Json:
    """How many rows changed, went and came. Held are digests, of the chunks that differ, in portions."""
    positions = table.key_positions() or tuple(range(len(table.columns)))
    buckets = min(max(original.count(table), now.count(table)) // LEAST_ROWS_PER_CHUNK + 1, MOST_CHUNKS)

    def key_of(row: SqliteRow) -> int:
        return values_digest(tuple([row[p] for p in positions]))

    before, after = TableDigest(), TableDigest()
    for digest, reader in ((before, original), (after, now)):
        for row in _rows(table, reader):
            digest.add(key_of(row) % buckets, values_digest(row))
    chunks: set[int] = set()
    held = 0
    differing = before.differing(after)
    for chunk in sorted(differing):
        held += before.rows_in(chunk) + after.rows_in(chunk)
        if chunks and held > MAX_HELD_ROWS:
            break
        chunks.add(chunk)
    old, new = (_held(table, reader, key_of, chunks, buckets) for reader in (original, now))
    gone = new_rows = changed = 0
    for key in old.keys() | new.keys():
        here, there = old.get(key, Counter()), new.get(key, Counter())
        lost, won = (here - there).total(), (there - here).total()
        both = min(lost, won)
        changed, gone, new_rows = changed + both, gone + lost - both, new_rows + won - both
    return {"changed": changed, "gone": gone, "new": new_rows, "counted_all": chunks == differing}


def _held(
    table: TablePlan,
    reader: SqliteReader,
    key_of: Callable[[SqliteRow], int],
    chunks: set[int],
    buckets: int,
) -> dict[int, Counter[int]]:
    """The rows of these chunks: {key: {digest of the row: how often}}."""
    held: dict[int, Counter[int]] = {}
    for row in _rows(table, reader):
        key = key_of(row)
        if key % buckets in chunks:
            held.setdefault(key, Counter())[values_digest(row)] += 1
    return held
