"""Writes rows into PostgreSQL: whole batches with their checkpoint, corrections, and the sequences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from turnback.adapters.postgres import constraints
from turnback.adapters.postgres.connect import connect, translated
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.rows import PostgresRow, SqliteValue
from turnback.core.sqltext import identifier, identifiers, qualified
from turnback.errors import ProofFailed, ServerError
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

    # ---- sequences ---------------------------------------------------------------------------------

    def set_sequences(self, values: Mapping[str, int]) -> list[tuple[str, str, int]]:
        """Every sequence behind a column goes on where SQLite would: (table, column, next value).

        `values`: per SQLite table the value in sqlite_sequence. The next value is one more than the
        greater of that and the highest id, or 1 (HAZARDS F22 to F25). A sequence that goes in steps goes on a
        whole step further, because an ORM may count down from the value that it draws.
        """
        done = []
        with self._transaction():
            for sequence in self._sequences():
                following = self._next_value(sequence, values)
                self._connection.execute(
                    "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, false)", (sequence.name, following)
                )
                done.append((sequence.table.postgres, sequence.column.postgres, following))
        return done

    def check_sequences(self, values: Mapping[str, int]) -> None:
        """Raises ProofFailed where a sequence would not give the value that `set_sequences` means."""
        with translated(self._dsn):
            for sequence in self._sequences():
                following = self._next_value(sequence, values)
                actual = self._integer(
                    f"SELECT CASE WHEN is_called THEN last_value + {sequence.increment} ELSE last_value END "
                    f"FROM {sequence.name}"
                )
                if actual != following:
                    raise ProofFailed(
                        f"{sequence.table.postgres}.{sequence.column.postgres}: the next id would be "
                        f"{actual}, it must be {following}",
                        hint="run `turnback resume`; if it stays so, something else uses the sequence",
                    )

    def _sequences(self) -> list[_Sequence]:
        """Sequences that a column owns (serial, identity) or draws its default from."""
        rows = self._connection.execute(
            """
            SELECT DISTINCT r.relname, a.attname, pg_catalog.format('%%I.%%I', sn.nspname, s.relname),
                   q.seqincrement
            FROM pg_catalog.pg_class r
            JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
            JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = r.oid AND f.adnum = a.attnum
            JOIN pg_catalog.pg_depend d
              ON (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = r.oid
                  AND d.refobjsubid = a.attnum AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.deptype IN ('a', 'i'))
              OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid
                  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
            JOIN pg_catalog.pg_class s
              ON s.relkind = 'S' AND s.oid IN (d.objid, d.refobjid)
            JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
            JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
            WHERE n.nspname = %s AND r.relname = ANY (%s)
            ORDER BY 1, 2
            """,
            (self._plan.schema, [t.postgres for t in self._plan.tables]),
        ).fetchall()
        found = []
        for table_name, column_name, name, increment in rows:
            table = self._plan.by_postgres(str(table_name))
            assert table is not None
            column = next((c for c in table.columns if c.postgres == column_name), None)
            if column is not None:  # else PostgreSQL alone has the column, and its sequence is its own
                assert isinstance(increment, int)
                found.append(_Sequence(table, column, str(name), increment))
        missing = {(t.postgres, c.postgres) for t in self._plan.tables for c in t.columns if c.identity} - {
            (s.table.postgres, s.column.postgres) for s in found
        }
        if missing:
            raise ProofFailed(
                "no sequence stands behind " + ", ".join(f"{t}.{c}" for t, c in sorted(missing)),
                hint="make the column an identity column again, or run `turnback assess` for a new plan",
            )
        return found

    def _next_value(self, sequence: _Sequence, values: Mapping[str, int]) -> int:
        if sequence.increment < 0:
            raise ServerError(
                f"{sequence.table.postgres}.{sequence.column.postgres}: its sequence counts down",
                hint="turnback sets ascending sequences only; alter the sequence",
            )
        column = identifier(sequence.column.postgres)
        highest = self._integer(
            f"SELECT COALESCE(max({column}), 0)::bigint FROM {self._name(sequence.table)}"
        )
        highest = max(highest, values.get(sequence.table.sqlite, 0))
        return highest + sequence.increment if highest > 0 else 1

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
        sql = f"COPY {self._name(table)} ({identifiers(c.postgres for c in table.columns)}) FROM STDIN"
        with self._connection.cursor() as cursor:
            with cursor.copy(sql.encode()) as copy:
                write_row = copy.write_row
                for row in rows:
                    write_row(row)
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


@dataclass(frozen=True, slots=True)
class _Sequence:
    table: TablePlan
    column: ColumnPlan
    name: str  # quoted and qualified
    increment: int


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
