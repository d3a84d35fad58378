"""Writes rows into PostgreSQL: whole batches with their checkpoint, corrections, and the sequences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from turnback.adapters.postgres import constraints, sequences
from turnback.adapters.postgres.connect import connect, translated
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteValue
from turnback.core.sqltext import identifier, identifiers, qualified
from turnback.errors import NeedsChoice, ProofFailed
from turnback.ports import ScanKey

_SETTINGS = {"lock_timeout": "30s"}
_KEYS_AT_ONCE = 1000

_OWN_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS turnback",
    """
    CREATE TABLE IF NOT EXISTS turnback.checkpoint (
        run text NOT NULL,
        name text NOT NULL,
        last_key text,
        row_count bigint NOT NULL,
        PRIMARY KEY (run, name)
    )
    """,
)


class Loader:
    """One session that loads the plan's tables for one run.

    What is done once stays done: a batch, and every named list of statements, is committed together with its
    own mark in turnback.checkpoint, under the run's token. A new Loader with that token goes on from there.
    """

    def __init__(self, admin_dsn: str, plan: Plan, *, run_token: str) -> None:
        self._dsn = admin_dsn
        self._plan = plan
        self._run = run_token
        self._connection = connect(admin_dsn, application_name="turnback loader", settings=_SETTINGS)
        self._replica_role: bool | None = None

    def prepare(self, statements: Sequence[str]) -> None:
        """Makes schema turnback, and runs the statements, in one transaction; once in a run."""
        with self._transaction():
            for statement in _OWN_TABLES:
                self._connection.execute(statement.encode())
            if self._mark("prepare"):
                self._run_all(statements)

    def execute(self, statements: Sequence[str], *, once: str | None = None) -> None:
        """Runs the statements in one transaction; with a name in `once`, only the first time in a run."""
        with self._transaction():
            if once is None or self._mark(f"once {once}"):
                self._run_all(statements)

    def discard(self, statements: Sequence[str]) -> None:
        """Runs the statements (that drop what `prepare` made) and forgets the run, in one transaction."""
        with self._transaction():
            self._run_all(statements)
            if self._value("SELECT to_regclass('turnback.checkpoint') IS NOT NULL"):
                self._connection.execute("DELETE FROM turnback.checkpoint WHERE run = %s", (self._run,))

    def checkpoint(self, table: TablePlan) -> tuple[ScanKey | None, int]:
        """How far the table is loaded: the scan key to go on behind (None: not begun), and how many rows."""
        with translated(self._dsn):
            row = self._connection.execute(
                "SELECT last_key, row_count FROM turnback.checkpoint WHERE run = %s AND name = %s",
                (self._run, _mark_of(table)),
            ).fetchone()
        if row is None:
            return None, 0
        last_key, row_count = row
        assert isinstance(last_key, str)
        assert isinstance(row_count, int)
        return _scan_key(last_key), row_count

    def load(self, table: TablePlan, rows: Iterable[PostgresRow], after: ScanKey) -> int:
        """Adds the rows and moves the checkpoint to `after`, in one transaction. Returns how many came in."""
        with self._transaction():
            self._set_replica_role()
            count = self._copy_in(table, rows)
            self._connection.execute(
                """
                INSERT INTO turnback.checkpoint AS c (run, name, last_key, row_count) VALUES (%s, %s, %s, %s)
                ON CONFLICT (run, name)
                DO UPDATE SET last_key = EXCLUDED.last_key, row_count = c.row_count + EXCLUDED.row_count
                """,
                (self._run, _mark_of(table), _scan_key_text(after), count),
            )
        return count

    def analyze(self) -> None:
        """Fresh statistics for every table of the plan."""
        with translated(self._dsn):
            for table in self._plan.tables:
                self._connection.execute(f"ANALYZE {self._name(table)}".encode())

    def row_count(self, table: TablePlan) -> int:
        """How many rows the table has, counted."""
        with translated(self._dsn):
            return self._integer(f"SELECT count(*) FROM {self._name(table)}")

    # ---- corrections -------------------------------------------------------------------------------

    @contextmanager
    def correction(self) -> Iterator[None]:
        """One transaction for any number of `empty`, `delete` and `add`, in any order of tables.

        Foreign keys and triggers are set aside inside it, and stand again, and are proven, at its end.
        """
        with self._transaction():
            former = constraints.read_state(self._connection, self._plan)
            constraints.suspend(self._connection, former)
            self._set_replica_role()
            yield
            self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # an ALTER TABLE refuses pending ones
            constraints.restore(self._connection, former)
            if former.rung == "replica_role":  # else they were made again, and PostgreSQL looked at every row
                constraints.prove(self._connection, self._plan, kinds="f")

    def empty(self, table: TablePlan) -> int:
        """Deletes every row."""
        return self._connection.execute(f"DELETE FROM {self._name(table)}".encode()).rowcount

    def delete(self, table: TablePlan, keys: Sequence[PostgresRow]) -> int:
        """Deletes the rows with these keys. Raises ProofFailed unless each was there once."""
        columns = [c for k in table.key for c in table.columns if c.sqlite == k]
        names = [f"k{i}" for i in range(len(columns))]
        matches = " AND ".join(
            f"t.{_plain(identifier(c.postgres))} = k.{n}" for c, n in zip(columns, names, strict=True)
        )
        arrays = ", ".join(f"%s::{_plain(c.pg_type)}[]" for c in columns)
        sql = (
            f"DELETE FROM {_plain(self._name(table))} AS t "
            f"USING unnest({arrays}) AS k({', '.join(names)}) WHERE {matches}"
        )
        deleted = 0
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            bound = [list(values) for values in zip(*keys[start : start + _KEYS_AT_ONCE], strict=True)]
            deleted += self._connection.execute(sql.encode(), bound).rowcount
        return _expect(table, deleted, len(keys))

    def delete_whole(self, table: TablePlan, rows: Sequence[PostgresRow]) -> int:
        """Deletes one copy of each of these rows of a table without a key."""
        matches = " AND ".join(
            # As text on both sides: json has no equality, and 0.0 = -0.0.
            f"{_plain(identifier(c.postgres))}::text IS NOT DISTINCT FROM %s::{_plain(c.pg_type)}::text"
            for c in table.columns
        )
        name = _plain(self._name(table))
        sql = f"DELETE FROM {name} WHERE ctid = (SELECT ctid FROM {name} WHERE {matches} LIMIT 1)"
        deleted = sum(self._connection.execute(sql.encode(), row).rowcount for row in rows)
        return _expect(table, deleted, len(rows))

    def add(self, table: TablePlan, rows: Iterable[PostgresRow]) -> int:
        """Adds the rows. Returns how many."""
        return self._copy_in(table, rows)

    # ---- seed rows ---------------------------------------------------------------------------------

    def clear_seed_rows(self) -> dict[str, int]:
        """Deletes the seed rows that the plan says, all in one transaction: how many, by PostgreSQL table.

        Raises NeedsChoice, and deletes nothing, where a table holds more rows than assess saw; ProofFailed
        where rows of other tables refer to the deleted ones.
        """
        listed = [t for t in self._plan.tables if t.clear_first]
        deleted: dict[str, int] = {}
        if not listed:
            return deleted
        with self.correction():
            # Against writers that are still there: what is counted is what is deleted.
            names = ", ".join(self._name(t) for t in listed)
            self._connection.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE".encode())
            for table in listed:
                there = self._integer(f"SELECT count(*) FROM {self._name(table)}")
                if there > table.seed_rows:
                    raise NeedsChoice(
                        f"{table.postgres} holds {there} rows; assess saw {table.seed_rows} to be cleared",
                        hint="run `turnback assess` again, and look at what would be cleared",
                    )
                deleted[table.postgres] = self.empty(table)
        return deleted

    # ---- sequences ---------------------------------------------------------------------------------

    def set_sequences(self, values: Mapping[str, int]) -> list[tuple[str, str, int]]:
        """As sequences.set_sequences, in one transaction."""
        with self._transaction():
            return sequences.set_sequences(self._connection, self._plan, values)

    def check_sequences(self, values: Mapping[str, int]) -> None:
        """As sequences.check_sequences. Raises ProofFailed."""
        with translated(self._dsn):
            sequences.check_sequences(self._connection, self._plan, values)

    # ---- inside ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the session."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(self._dsn), self._connection.transaction():
            yield

    def _set_replica_role(self) -> None:
        """Where allowed; elsewhere the foreign keys were dropped for the load (constraints.Suspension)."""
        if self._replica_role is None:
            self._replica_role = constraints.may_set_replica_role(self._connection)
        if self._replica_role:
            constraints.set_replica_role(self._connection)

    def _copy_in(self, table: TablePlan, rows: Iterable[PostgresRow]) -> int:
        sent = 0
        constants = tuple(str(c.value) for c in table.postgres_constants)
        names = [*(c.postgres for c in table.columns), *(c.column for c in table.postgres_constants)]
        sql = f"COPY {self._name(table)} ({identifiers(names)}) FROM STDIN"
        with self._connection.cursor() as cursor:
            with cursor.copy(sql.encode()) as copy:
                write_row = copy.write_row
                for row in rows:
                    write_row(row + constants)
                    sent += 1
            arrived = cursor.rowcount
        if arrived != sent:
            raise ProofFailed(
                f"{table.postgres}: {sent} rows were sent, {arrived} came in",
                hint="a trigger or rule of the table drops rows: disable it, then run `turnback resume`",
            )
        return sent

    def _mark(self, name: str) -> bool:
        """True the first time in this run; stands or falls with the transaction under way."""
        return bool(
            self._connection.execute(
                "INSERT INTO turnback.checkpoint (run, name, row_count) VALUES (%s, %s, 0) "
                "ON CONFLICT DO NOTHING",
                (self._run, name),
            ).rowcount
        )

    def _run_all(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self._connection.execute(statement.encode())

    def _integer(self, sql: str) -> int:
        value = self._value(sql)
        assert isinstance(value, int)
        return value

    def _value(self, sql: str) -> object:
        row = self._connection.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0]

    def _name(self, table: TablePlan) -> str:
        return qualified(self._plan.schema, table.postgres)


def _expect(table: TablePlan, deleted: int, expected: int) -> int:
    if deleted != expected:
        raise ProofFailed(
            f"{table.postgres}: {expected} rows were to be deleted, {deleted} were there",
            hint="something else writes to PostgreSQL: stop it, then run `turnback resume`",
        )
    return deleted


def _plain(sql: str) -> str:
    """A per cent sign that is no placeholder, for a query that has some."""
    return sql.replace("%", "%%")


def _mark_of(table: TablePlan) -> str:
    return f"table {table.sqlite}"


def _scan_key_text(key: ScanKey) -> str:
    return json.dumps([_tagged(v) for v in key])


def _tagged(value: SqliteValue) -> list[str]:
    match value:
        case None:
            return ["null", ""]
        case int():
            return ["integer", str(value)]
        case float():
            return ["real", value.hex()]
        case str():
            return ["text", value]
        case bytes():
            return ["blob", value.hex()]


def _scan_key(text: str) -> ScanKey:
    return tuple(_untagged(kind, spelled) for kind, spelled in json.loads(text))


def _untagged(kind: str, spelled: str) -> SqliteValue:
    match kind:
        case "integer":
            return int(spelled)
        case "real":
            return float.fromhex(spelled)
        case "text":
            return spelled
        case "blob":
            return bytes.fromhex(spelled)
        case _:
            return None
