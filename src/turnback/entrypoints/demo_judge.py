"""Counts what the clients of the example application were promised against what the SQLite file holds.

    python -m turnback.entrypoints.demo_judge SQLITE_FILE TRAFFIC_DIR

Reads nothing else: no journal, no PostgreSQL, nothing that turnback says of itself. Prints one JSON object:

    acknowledged      operations that were answered with success
    lost              of these, those whose effect is not in the file: the row is missing, or stale (an older
                      write stands there), or resurrected (it was deleted), or altered (other values)
    duplicated        tokens that stand in more than one row
    refused_present   operations that were certainly refused, and are there all the same
    unknown_present, unknown_absent   operations whose connection broke on the way: both are right
    details           the first 20 problems
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw

from turnback.adapters.sqlite.database import open_database, translated
from turnback.core.rows import SqliteValue, identical
from turnback.core.sqltext import identifier
from turnback.entrypoints.demo_traffic import EVENTS, TABLES, Attempt
from turnback.errors import TurnbackError, UsageError

DETAILS = 20
MOMENTS = ("created_at", "updated_at", "at")  # milliseconds: integers, whatever engine wrote them

Row = dict[str, SqliteValue]


@dataclass(slots=True)
class Verdict:
    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    refused_present: int = 0
    unknown_present: int = 0
    unknown_absent: int = 0
    details: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        if len(self.details) < DETAILS:
            self.details.append(text)

    def lose(self, attempt: Attempt, how: str) -> None:
        self.lost += 1
        self.problem(f"lost: {attempt.operation} of {_place(attempt)}, token {attempt.token}: {how}")

    def settle(self, present: bool) -> None:
        if present:
            self.unknown_present += 1
        else:
            self.unknown_absent += 1


class _Held:
    """What the file holds: rows by key, and rows by token."""

    def __init__(self, database: Path) -> None:
        self.by_key: dict[tuple[str, str | int], Row] = {}
        self.by_token: dict[str, list[Row]] = {}
        connection = open_database(database)
        try:
            with translated(database):
                for table in (*TABLES, EVENTS):
                    for row in _rows(connection, table):
                        self.by_token.setdefault(str(row["token"]), []).append(row)
                        if table in TABLES:
                            key = row[TABLES[table]]
                            assert isinstance(key, str | int), f"a key of {table} is {key!r}"
                            self.by_key[table, key] = row
        finally:
            connection.close()


def judge(database: Path, traffic: Path) -> Verdict:
    """Raises SourceError (the file cannot be read) and UsageError (no or malformed records)."""
    held = _Held(database)
    verdict = Verdict()
    histories: dict[tuple[str, str | int], list[Attempt]] = {}
    tokens: Counter[str] = Counter()
    for attempt in _attempts(traffic):
        tokens[attempt.token] += 1
        verdict.acknowledged += attempt.outcome == "acknowledged"
        if attempt.key is None:
            _judge_token(attempt, held, verdict)
        else:
            histories.setdefault((attempt.table, attempt.key), []).append(attempt)
    for history in histories.values():
        _judge_row(history, held, verdict)
    for token, times in tokens.items():
        if times > 1:
            raise UsageError(f"two records have the token {token}", hint="each run needs a folder of its own")
        if (count := len(held.by_token.get(token, ()))) > 1:
            verdict.duplicated += 1
            verdict.problem(f"duplicated: the token {token} stands in {count} rows")
    return verdict


def _judge_token(attempt: Attempt, held: _Held, verdict: Verdict) -> None:
    """Events, and creations without a known key: nothing followed, so the token alone decides."""
    found = held.by_token.get(attempt.token, [])
    match attempt.outcome:
        case "acknowledged" if not found:
            verdict.lose(attempt, "no row has it")
        case "acknowledged":
            if changed := _altered(found[0], attempt.values):
                verdict.lose(attempt, changed)
        case "refused" if found:
            _refused(attempt, verdict)
        case "unknown":
            verdict.settle(bool(found))


def _judge_row(history: list[Attempt], held: _Held, verdict: Verdict) -> None:
    """One row's attempts, in the order in which its client made them, beginning with its creation."""
    row = held.by_key.get((history[0].table, history[0].key or ""))
    last, expected = history[0], dict[str, Any]()
    unknown: Attempt | None = None  # at most one: the client then left the row alone
    for attempt in history:
        if attempt.outcome == "acknowledged":
            last, expected = attempt, expected | attempt.values
        elif attempt.outcome == "unknown":
            unknown = attempt
        elif row is not None and row["token"] == attempt.token:
            _refused(attempt, verdict)
            return
    if unknown is not None:
        if unknown.operation == "delete":
            applied = row is None
        else:
            applied = row is not None and row["token"] == unknown.token
        verdict.settle(applied)
        if applied:
            if row is not None and (changed := _altered(row, expected | unknown.values)):
                verdict.lose(last, changed)
            return
    if last.operation == "delete":
        if row is not None:
            verdict.lose(last, "resurrected: the row is there")
    elif row is None:
        verdict.lose(last, "the row is missing")
    elif row["token"] != last.token:
        verdict.lose(last, f"stale: the row has the token {row['token']!r}")
    elif changed := _altered(row, expected):
        verdict.lose(last, changed)


def _refused(attempt: Attempt, verdict: Verdict) -> None:
    verdict.refused_present += 1
    verdict.problem(f"refused, but there: {attempt.operation} of {_place(attempt)}, token {attempt.token}")


def _altered(row: Row, sent: dict[str, Any]) -> str | None:
    """What differs between the row and what the client sent, None when nothing does."""
    for column, value in sent.items():
        if not _same(column, row.get(column), value):
            return f"altered: {column} is {row.get(column)!r:.80}, not {value!r:.80}"
    for column in MOMENTS:
        if column in row and type(row[column]) is not int:
            return f"altered: {column} is {row[column]!r:.80}, not milliseconds"
    return None


def _same(column: str, stored: SqliteValue, sent: Any) -> bool:
    """Whether the file holds what was sent, in the storage class that the application uses."""
    match sent:
        case dict() | list():
            return isinstance(stored, str) and json.loads(stored) == sent
        case bool():
            return identical(stored, int(sent))
        case str() if column == "avatar":
            return identical(stored, base64.b64decode(sent))
        case None | str() | int() | float():
            return identical(stored, sent)
        case _:
            raise UsageError(f"a record has a value of an unknown kind: {sent!r:.80}")


def _place(attempt: Attempt) -> str:
    return attempt.table if attempt.key is None else f"{attempt.table} {attempt.key}"


def _rows(connection: apsw.Connection, table: str) -> Iterator[Row]:
    cursor = connection.cursor()
    for values in cursor.execute(f"SELECT * FROM {identifier(table)}"):
        yield dict(zip((name for name, _ in cursor.get_description()), values, strict=True))


def _attempts(traffic: Path) -> Iterator[Attempt]:
    """Every client's records, each client's in their order."""
    files = sorted(traffic.glob("*.jsonl"))
    if not files:
        raise UsageError(
            f"{traffic} holds no records of clients", hint="name the folder of the *.jsonl files"
        )
    for file in files:
        with file.open() as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield Attempt(**json.loads(line))
                except (ValueError, TypeError) as e:
                    raise UsageError(f"{file}, line {number}: not a record: {e}") from e


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo_judge", description="Counts promises against a SQLite file.")
    parser.add_argument("database", type=Path)
    parser.add_argument("traffic", type=Path)
    asked = parser.parse_args(arguments)
    try:
        print(json.dumps(asdict(judge(asked.database, asked.traffic))))
    except TurnbackError as e:
        print(f"error: {e}" + (f"\nhint: {e.hint}" if e.hint else ""), file=sys.stderr)
        return e.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
