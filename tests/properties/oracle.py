"""The codecs' laws, with a live PostgreSQL and a live SQLite as the oracles of what each value becomes.

A property tries 200 examples; TURNBACK_EXAMPLES says another number (`make properties`: 10,000). What fails
prints the blob that replays it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import LiteralString

import apsw
from hypothesis import settings
from hypothesis import strategies as st

from turnback.adapters.postgres.connect import Connection, connect
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.codecs import carries, codec_for
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue, identical
from turnback.errors import CannotCarry

BATCH = 120  # values in one question to the server
EXAMPLES = int(os.environ.get("TURNBACK_EXAMPLES", "200"))

budget = settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
# For properties whose examples are many or large.
small_budget = settings(max_examples=max(1, EXAMPLES // 8), deadline=None, print_blob=True)


def many(values: st.SearchStrategy[SqliteValue]) -> st.SearchStrategy[list[SqliteValue]]:
    return st.lists(values, min_size=1, max_size=BATCH)


@contextmanager
def oracle_of(server: EmbeddedPostgres) -> Iterator[Oracle]:
    with closing(connect(server.admin_dsn("postgres"))) as connection:
        yield Oracle(connection)


def column(codec: str, pg_type: str, affinity: str = "BLOB", **options: str | int | bool) -> ColumnPlan:
    return ColumnPlan("c", "c", pg_type, codec, options, affinity)


class Oracle:
    """What PostgreSQL prints for input texts, by the way that rows take: COPY in, output text out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables: dict[str, str] = {}

    def printed(self, pg_type: str, texts: list[str]) -> list[str]:
        table = self._table(pg_type)
        with self._connection.transaction(force_rollback=True), self._connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} (i, v) FROM STDIN".encode()) as copy:
                for row in enumerate(texts):
                    copy.write_row(row)
            cursor.execute(f"SELECT v FROM {table} ORDER BY i".encode())
            assert cursor.pgresult is not None and cursor.pgresult.ntuples == len(texts)
            values = [cursor.pgresult.get_value(i, 0) for i in range(len(texts))]
        return [v.decode() for v in values if v is not None]

    def valid(self, pg_type: str, texts: list[str]) -> list[bool]:
        rows = self._connection.execute(
            "SELECT pg_input_is_valid(v, %s) FROM unnest(%s::text[]) WITH ORDINALITY u (v, i) ORDER BY i",
            [pg_type, texts],
        )
        return [bool(v) for (v,) in rows]

    def asked(self, sql: LiteralString, values: list[str]) -> list[str]:
        """What a query of one column says, whose one parameter is an array of texts."""
        return [str(v) for (v,) in self._connection.execute(sql, [values])]

    def rows(self, sql: bytes, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        """What a question to the server brings, for laws that need its own reckoning."""
        return self._connection.execute(sql, parameters).fetchall()

    def _table(self, pg_type: str) -> str:
        if pg_type not in self._tables:
            name = f"pg_temp.oracle_{len(self._tables)}"
            self._connection.execute(f"CREATE TEMP TABLE {name[8:]} (i integer, v {pg_type})".encode())
            self._tables[pg_type] = name
        return self._tables[pg_type]


def accepted(plan: ColumnPlan, values: list[SqliteValue]) -> list[tuple[SqliteValue, str]]:
    """The values that encode takes, with their texts; `carries` must agree on each one."""
    codec = codec_for(plan)
    taken = []
    for value in values:
        try:
            text = codec.encode(value)
        except CannotCarry as e:
            assert carries(codec, plan, value) == str(e)
        else:
            assert carries(codec, plan, value) is None
            taken.append((value, text))
    return taken


def forward(oracle: Oracle, plan: ColumnPlan, values: list[SqliteValue]) -> int:
    """Laws 1 and 2 for what encode takes of the values; how many that were."""
    codec = codec_for(plan)
    taken = accepted(plan, values)
    printed = oracle.printed(plan.pg_type, [text for _, text in taken])
    for (value, text), output in zip(taken, printed, strict=True):
        back = codec.decode(output)
        if plan.options.get("respell"):
            assert codec.canonical(codec.encode(back)) == codec.canonical(output)
        else:
            assert identical(back, value), (value, text, output, back)
        assert codec.canonical(text) == codec.canonical(output), (value, text, output)
    distinct(plan, printed)
    return len(taken)


def distinct(plan: ColumnPlan, printed: list[str]) -> None:
    """Canonical forms are equal exactly where the outputs are."""
    codec = codec_for(plan)
    pairs = {(output, codec.canonical(output)) for output in printed}
    assert len(pairs) == len({output for output, _ in pairs}) == len({form for _, form in pairs})


def back(oracle: Oracle, plan: ColumnPlan, texts: list[str]) -> int:
    """Law 3 for what decode takes of PostgreSQL's own values, and that SQLite keeps what decode gives."""
    codec = codec_for(plan)
    sqlite = apsw.Connection(":memory:")
    sqlite.execute(f"CREATE TABLE t (v {plan.affinity})")
    taken = 0
    for output in oracle.printed(plan.pg_type, texts):
        try:
            value = codec.decode(output)
        except CannotCarry:
            continue
        taken += 1
        assert codec.canonical(codec.encode(value)) == codec.canonical(output), (output, value)
        sqlite.execute("INSERT INTO t VALUES (?)", [value])
        ((kept,),) = sqlite.execute("SELECT v FROM t").fetchall()
        sqlite.execute("DELETE FROM t")
        assert identical(kept, value), (output, value, kept)
    sqlite.close()
    return taken


def stored(values: list[SqliteValue], declared: str) -> list[SqliteValue]:
    """What SQLite makes of the values in a column of that declared type."""
    sqlite = apsw.Connection(":memory:")
    sqlite.execute(f"CREATE TABLE t (v {declared})")
    sqlite.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])
    kept = [v for (v,) in sqlite.execute("SELECT v FROM t ORDER BY rowid")]
    sqlite.close()
    return kept
