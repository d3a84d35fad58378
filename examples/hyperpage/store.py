"""Hyperpage's data on either engine: a small bounded pool, and one short transaction per request.

Values are Python's: text, bool, float, int, dict (JSON), bytes, and moments as milliseconds since 1970.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

JSON, MOMENT = "json", "moment"  # the kinds of columns that the engines hold differently
KINDS = {"config": JSON, "payload": JSON, "data": JSON, "at": MOMENT} | dict.fromkeys(
    ("created_at", "updated_at", "expires_at"), MOMENT
)


class Refused(Exception):
    """The database did not do it: nothing was written."""


class Conflict(Refused):
    """The database's rules refuse this row."""


class Unknown(Exception):
    """The connection broke in COMMIT: nobody knows whether it was written."""


class Pool:
    """At most `size` connections, opened when needed; whoever finds none waits for `patience` seconds."""

    def __init__(self, size: int, patience: float, opened: Callable[[], Any]) -> None:
        self.size, self.patience = size, patience
        self.in_use = self.waiting = self.timeouts = 0
        self.down = False  # a fault switch
        self._open = opened
        self._idle: list[Any] = []
        self._free = threading.Condition()

    def acquire(self) -> Any:
        with self._free:
            if self.down:
                raise Refused("the database is down")
            self.waiting += 1
            try:
                if not self._free.wait_for(lambda: self.in_use < self.size, self.patience):
                    self.timeouts += 1
                    raise Refused("no connection is free")
            finally:
                self.waiting -= 1
            self.in_use += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._open()
        except BaseException:
            self.release(None)
            raise

    def release(self, connection: Any, *, broken: bool = False) -> None:
        """Takes it back; with a broken one, all that are idle are given up as well."""
        given_up = []
        with self._free:
            self.in_use -= 1
            if broken:
                given_up = [connection, *self._idle]
                self._idle.clear()
            elif connection is not None:
                self._idle.append(connection)
            self._free.notify()
        for one in given_up:
            one.close()

    def close(self) -> None:
        with self._free:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Store:
    """What both engines do; a subclass knows one engine's connections, spelling and errors."""

    engine: str
    mark: str  # of a parameter

    def __init__(self, pool_size: int, patience: float) -> None:
        self.pool = Pool(pool_size, patience, self.connect)

    def connect(self) -> Any:
        raise NotImplementedError

    def transaction(self, *, reading: bool = False) -> AbstractContextManager[Any]:
        """Gives something with execute(), and commits at its end. Raises Refused, Conflict, Unknown."""
        raise NotImplementedError

    def to_database(self, column: str, value: Any) -> Any:
        raise NotImplementedError

    def to_python(self, column: str, value: Any) -> Any:
        raise NotImplementedError

    def ping(self) -> None:
        with self.transaction(reading=True) as session:
            session.execute("SELECT 1").fetchone()

    def version(self) -> str:
        """What app_state says; raises Refused when this is not Hyperpage's database."""
        with self.transaction(reading=True) as session:
            row = session.execute("SELECT value FROM app_state WHERE key = 'version'").fetchone()
        if row is None:
            raise Refused("app_state has no version: this is not Hyperpage's data")
        return str(row[0])

    def insert(self, table: str, values: dict[str, Any], key: str | None) -> Any:
        """The new row's key, None for a table without one."""
        columns = ", ".join(values)
        marks = ", ".join([self.mark] * len(values))
        returning = f" RETURNING {key}" if key else ""
        with self.transaction() as session:
            done = session.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({marks}){returning}", self._parameters(values)
            )
            row = done.fetchone() if key else None
        return row and self.to_python(key or "", row[0])

    def update(self, table: str, key: str, identity: Any, values: dict[str, Any]) -> bool:
        changes = ", ".join(f"{column} = {self.mark}" for column in values)
        with self.transaction() as session:
            done = session.execute(
                f"UPDATE {table} SET {changes} WHERE {key} = {self.mark}",
                [*self._parameters(values), identity],
            )
            return bool(done.rowcount)

    def delete(self, table: str, key: str, identity: Any) -> bool:
        with self.transaction() as session:
            return bool(
                session.execute(f"DELETE FROM {table} WHERE {key} = {self.mark}", [identity]).rowcount
            )

    def get(self, table: str, key: str, identity: Any) -> dict[str, Any] | None:
        with self.transaction(reading=True) as session:
            done = session.execute(f"SELECT * FROM {table} WHERE {key} = {self.mark}", [identity])
            row = done.fetchone()
            names = [column[0] for column in done.description]
        return row and {n: self.to_python(n, v) for n, v in zip(names, row, strict=True)}

    def _parameters(self, values: dict[str, Any]) -> list[Any]:
        return [None if v is None else self.to_database(c, v) for c, v in values.items()]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_store(environment: dict[str, str]) -> Store:
    """The store that USE_SQLITE, DATABASE_PATH and DATABASE_URL name. Raises Refused."""
    size, patience = int(environment.get("POOL_SIZE", "8")), float(environment.get("POOL_PATIENCE", "5"))
    if environment.get("USE_SQLITE", "").lower() in ("1", "true", "yes"):
        path = environment.get("DATABASE_PATH")
        if not path:
            raise Refused("DATABASE_PATH is not set")
        from store_sqlite import SqliteStore

        try:
            return SqliteStore(Path(path), size, patience)
        except OSError as e:
            raise Refused(f"{path}: {e.strerror}") from e
    url = environment.get("DATABASE_URL")
    if not url:
        raise Refused("neither USE_SQLITE nor DATABASE_URL is set")
    from store_postgres import PostgresStore  # here: a start on SQLite need not wait for psycopg

    return PostgresStore(url, size, patience)
