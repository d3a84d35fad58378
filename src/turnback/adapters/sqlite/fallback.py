"""The fallback: a SQLite file that follows PostgreSQL, one whole transaction after the other.

Rows and position are stored in one SQLite transaction (HAZARDS R11); what is at or below the stored position
is left out. The file's triggers do not fire here and its foreign keys are not checked: PostgreSQL did both,
and its order of changes is not always one that SQLite would take (HAZARDS R7, R9).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from turnback.adapters.sqlite.apply import TableWriter
from turnback.adapters.sqlite.apply_net import NetChange
from turnback.adapters.sqlite.database import atomic, open_database, run_script, translate, translated
from turnback.adapters.sqlite.relation_map import filled, map_relation
from turnback.core.changes import CapturedTransaction, Delete, Insert, Relation, RowChange, Truncate, Update
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.core.rows import PostgresRow
from turnback.errors import CannotCarry, NotReady, SourceError, WayBackLost
from turnback.ports import ChangeSink, Position

_SCHEMA = """
CREATE TABLE IF NOT EXISTS _turnback_position(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  slot TEXT NOT NULL, system_identifier TEXT NOT NULL, timeline INTEGER NOT NULL,
  applied_lsn INTEGER NOT NULL, commit_time_us INTEGER NOT NULL, plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _turnback_touched(
  table_name TEXT NOT NULL, key TEXT NOT NULL, lsn INTEGER NOT NULL,
  PRIMARY KEY (table_name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _turnback_token(
  id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, lsn INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _turnback_sequence(table_name TEXT PRIMARY KEY, value INTEGER NOT NULL);
DELETE FROM _turnback_position; DELETE FROM _turnback_touched; DELETE FROM _turnback_token;
DELETE FROM _turnback_sequence;
"""

_TOUCH = (
    "INSERT INTO _turnback_touched VALUES (?, ?, ?) "
    "ON CONFLICT (table_name, key) DO UPDATE SET lsn = excluded.lsn"
)

_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode

_REBUILD_HINT = "`turnback fallback rebuild` makes a new one from the kept original and PostgreSQL"

_WHOLE = ""  # as a key: the table as a whole (no usable key, or truncated)
_TOUCHED_IN_MEMORY = 10_000
_TOKENS_KEPT = 1000
_HEARTBEAT_EVERY = 500  # changes
_LOCK_TRY_SECONDS = 1.0
_UNIQUE = (
    apsw.SQLITE_CONSTRAINT_UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
    apsw.SQLITE_CONSTRAINT_ROWID,
)


def _nothing() -> None:
    pass


class Fallback(ChangeSink):
    """One connection to the fallback file; to be used by one thread at a time.

    Raises NotReady: the file is not a fallback, or was made for another plan; SourceError: it cannot be used,
    or is locked by somebody else for longer than `busy_seconds` (seconds).
    """

    @staticmethod
    def initialise(path: Path, plan: Plan, position: Position) -> None:
        """Makes the file a fallback that stands at `position`. On one that is already, starts it anew."""
        connection = open_database(path, "write")
        try:
            with translated(path), atomic(connection):
                run_script(connection, _SCHEMA)
                connection.execute(
                    "INSERT INTO _turnback_position VALUES (1, ?, ?, ?, ?, ?, ?)",
                    (
                        position.slot,
                        position.system_identifier,
                        position.timeline,
                        position.applied_lsn,
                        position.commit_time_us,
                        plan.digest(),
                    ),
                )
        finally:
            connection.close()

    @staticmethod
    def has_position(path: Path) -> bool:
        """Whether the file is a fallback still: promote takes out what makes it one. Raises SourceError."""
        connection = open_database(path, "write")
        try:
            with translated(path):
                return bool(connection.table_exists("main", "_turnback_position"))
        finally:
            connection.close()

    def __init__(
        self, path: Path, plan: Plan, *, busy_seconds: float, extensions: Sequence[str] = ()
    ) -> None:
        self.folder = path.parent
        self._path = path
        self._plan = plan
        self._busy_seconds = busy_seconds
        self._writers: dict[int, tuple[Relation, TableWriter]] = {}
        self._touched: set[tuple[str, PostgresRow | None]] = set()
        try:
            self._connection = open_database(
                path, "write", busy_seconds=_LOCK_TRY_SECONDS, extensions=extensions
            )
        except SourceError as e:
            if path.exists() and not isinstance(e.__cause__, apsw.CorruptError | apsw.NotADBError):
                raise
            raise WayBackLost(f"the fallback cannot be used: {e}", hint=_REBUILD_HINT) from e
        try:
            with self._translated():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        db = self._connection
        if not db.table_exists("main", "_turnback_position"):
            raise NotReady(f"{self._path} is not a fallback", hint="it is made by `turnback cutover`")
        row = db.execute("SELECT plan FROM _turnback_position").fetchone()
        if row is None or row[0] != self._plan.digest():
            raise NotReady(
                f"{self._path} was made for another plan",
                hint="the plan must stay as it was at cutover: put turnback.plan.json back",
            )
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 0)):
            db.pragma(pragma, value)
        # A wanted side effect of large transactions only: the -wal file shrinks again afterwards.
        db.pragma("journal_size_limit", 64 << 20)

    def position(self) -> Position:
        with self._translated():
            row = self._connection.execute(
                "SELECT slot, system_identifier, timeline, applied_lsn, commit_time_us "
                "FROM _turnback_position"
            ).fetchone()
        if row is None:
            raise WayBackLost(f"{self._path} has lost its position", hint=_REBUILD_HINT)
        slot, system, timeline, applied, commit_time = row
        return Position(str(slot), str(system), int(timeline), Lsn(int(applied)), int(commit_time))

    # ---- applying --------------------------------------------------------------------------------

    def apply(
        self, transactions: Sequence[CapturedTransaction], heartbeat: Callable[[], None] = _nothing
    ) -> None:
        """All in one SQLite transaction, which is durable when this returns (see ChangeSink).

        A transaction that cannot be applied is left out whole; those before it are stored, then it is raised.
        """
        failure: CannotCarry | NotReady | None = None
        with self._translated(), self._writing(heartbeat):
            applied = self.position().applied_lsn
            done: CapturedTransaction | None = None
            tokens: list[tuple[str, int]] = []
            for transaction in transactions:
                if transaction.commit.end_lsn <= applied:
                    continue
                try:
                    self._apply_one(transaction, heartbeat)
                except (CannotCarry, NotReady) as e:
                    failure = e
                    break
                done = transaction
                tokens += [(t, transaction.commit.end_lsn) for t in transaction.tokens]
            if done is not None:
                self._store(done, tokens)
        if failure is not None:
            raise failure

    def _store(self, last: CapturedTransaction, tokens: Sequence[tuple[str, int]]) -> None:
        self._connection.execute(
            "UPDATE _turnback_position SET applied_lsn = ?, commit_time_us = ?",
            (last.commit.end_lsn, last.commit.commit_time_us),
        )
        self._flush_touched(last.commit.end_lsn)
        if tokens:
            self._connection.executemany(
                "INSERT OR REPLACE INTO _turnback_token(token, lsn) VALUES (?, ?)", tokens
            )
            self._connection.execute(
                "DELETE FROM _turnback_token WHERE id <= (SELECT max(id) FROM _turnback_token) - ?",
                (_TOKENS_KEPT,),
            )

    def _apply_one(self, transaction: CapturedTransaction, heartbeat: Callable[[], None]) -> None:
        db = self._connection
        db.execute("SAVEPOINT one")
        try:
            try:
                self._run(transaction, self._change, heartbeat)
            except apsw.ConstraintError as e:
                if getattr(e, "extendedresult", 0) not in _UNIQUE:
                    raise
                db.execute("ROLLBACK TO one")
                net = NetChange(db, self._writer)
                self._run(transaction, net.add, heartbeat)
                net.finish()
        except apsw.ConstraintError as e:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            raise CannotCarry(
                f"the transaction {transaction.begin.xid} breaks a rule of the SQLite file: {e}",
                hint="PostgreSQL lacks that rule: correct the row there, then `turnback fallback rebuild`",
            ) from e
        except apsw.TooBigError as e:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            raise CannotCarry(
                f"the transaction {transaction.begin.xid} has a value that is too large for SQLite: {e}",
                hint="make it smaller in PostgreSQL, then run `turnback fallback rebuild`",
            ) from e
        except UnicodeDecodeError as e:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            raise CannotCarry(
                f"the transaction {transaction.begin.xid} touches a row of the fallback whose text is not "
                "valid UTF-8",
                hint="something else wrote to the file: `turnback verify --full` shows what differs",
            ) from e
        except (CannotCarry, NotReady):
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            raise
        db.execute("RELEASE one")

    def _run(
        self,
        transaction: CapturedTransaction,
        change: Callable[[RowChange], None],
        heartbeat: Callable[[], None],
    ) -> None:
        count = 0
        for count, item in enumerate(transaction.changes, 1):
            change(item)
            self._touch(item)
            if count % _HEARTBEAT_EVERY == 0:
                heartbeat()
                if len(self._touched) > _TOUCHED_IN_MEMORY:
                    self._flush_touched(transaction.commit.end_lsn)
        if count >= _HEARTBEAT_EVERY:
            heartbeat()

    def _change(self, change: RowChange) -> None:
        match change:
            case Insert():
                self._writer(change.relation).insert(change)
            case Update():
                self._writer(change.relation).update(change)
            case Delete():
                self._writer(change.relation).delete(change)
            case Truncate():
                for relation in change.relations:
                    self._writer(relation).truncate()

    def _writer(self, relation: Relation) -> TableWriter:
        """The statements for the relation, made when it is met first or was described anew."""
        known = self._writers.get(relation.oid)
        if known is not None and known[0] is relation:
            return known[1]
        # After a new connection, and from a spool, an equal description is another object.
        if known is not None and known[0] == relation:
            writer = known[1]
        else:
            writer = TableWriter(self._connection, map_relation(self._plan, relation))
        self._writers[relation.oid] = (relation, writer)
        return writer

    # ---- what was touched ------------------------------------------------------------------------

    def _touch(self, change: RowChange) -> None:
        match change:
            case Truncate():
                for relation in change.relations:
                    self._touched.add((self._writer(relation).map.table.sqlite, None))
                return
            case Insert():
                rows = [change.new]
            case Delete():
                rows = [change.old]
            case Update():
                old = change.old or change.old_key
                rows = [change.new] if old is None else [old, filled(change)]
        map = self._writer(change.relation).map
        for row in rows:
            self._touched.add((map.table.sqlite, map.key_of(map.pick(row)) if map.key else None))

    def _flush_touched(self, lsn: int) -> None:
        self._connection.executemany(
            _TOUCH,
            [(table, _WHOLE if key is None else _to_json(key), lsn) for table, key in self._touched],
        )
        self._touched.clear()

    def touched(self, limit: int) -> dict[str, list[PostgresRow]] | None:
        """Keys changed since they were last cleared, by SQLite table; None where there are more than `limit`.

        Tables of which no key can be told (see touched_whole) have no entry here.
        """
        with self._translated():
            rows = self._connection.execute(
                "SELECT table_name, key FROM _turnback_touched WHERE key <> ? LIMIT ?", (_WHOLE, limit + 1)
            ).fetchall()
        if len(rows) > limit:
            return None
        keys: dict[str, list[PostgresRow]] = {}
        for table, key in rows:
            keys.setdefault(str(table), []).append(tuple(json.loads(str(key))))
        return keys

    def touched_whole(self) -> list[str]:
        """SQLite tables that changed in a way no list of keys tells: without a key, or truncated."""
        with self._translated():
            rows = self._connection.execute(
                "SELECT table_name FROM _turnback_touched WHERE key = ?", (_WHOLE,)
            ).fetchall()
        return [str(name) for (name,) in rows]

    def clear_touched(self, up_to: Lsn) -> None:
        """Forgets what was touched at or before `up_to`: a proof has covered it."""
        with self._translated(), self._writing(_nothing):
            self._connection.execute("DELETE FROM _turnback_touched WHERE lsn <= ?", (up_to,))

    # ---- position, tokens, sequences -------------------------------------------------------------

    def store_position(self, lsn: Lsn) -> None:
        """Nothing is missing up to `lsn`. Never goes back."""
        with self._translated(), self._writing(_nothing):
            self._connection.execute(
                "UPDATE _turnback_position SET applied_lsn = ? WHERE applied_lsn < ?", (lsn, lsn)
            )

    def seen_token(self, token: str) -> Lsn | None:
        """Where the transaction with the token ended, once it is applied."""
        with self._translated():
            row = self._connection.execute(
                "SELECT lsn FROM _turnback_token WHERE token = ?", (token,)
            ).fetchone()
        return None if row is None else Lsn(int(row[0]))

    def store_sequences(self, values: Mapping[str, int]) -> None:
        """The highest values PostgreSQL has handed out, by SQLite table (HAZARDS R16). Never goes back."""
        with self._translated(), self._writing(_nothing):
            self._connection.executemany(
                "INSERT INTO _turnback_sequence VALUES (?, ?) ON CONFLICT (table_name) "
                "DO UPDATE SET value = excluded.value WHERE value < excluded.value",
                list(values.items()),
            )

    def sequences(self) -> dict[str, int]:
        """What store_sequences was given last."""
        with self._translated():
            rows = self._connection.execute("SELECT table_name, value FROM _turnback_sequence").fetchall()
        return {str(table): int(str(value)) for table, value in rows}

    def close(self) -> None:
        with self._translated():
            self._connection.close()

    # ---- the connection --------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as e:
            if isinstance(e, apsw.CorruptError | apsw.NotADBError):
                raise WayBackLost(f"{self._path}: the fallback is damaged: {e}", hint=_REBUILD_HINT) from e
            raise translate(e, self._path) from e

    @contextmanager
    def _writing(self, heartbeat: Callable[[], None]) -> Iterator[None]:
        """One write transaction. Waiting for another writer goes on with signs of life to the server."""
        db = self._connection
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                break
            except apsw.BusyError:
                heartbeat()
                if time.monotonic() > deadline:
                    raise
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            self._touched.clear()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
