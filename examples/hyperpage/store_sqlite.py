"""Hyperpage on SQLite: WAL, foreign keys on, writers wait for each other up to five seconds."""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store import JSON, KINDS, Conflict, Refused, Store, Unknown


class SqliteStore(Store):
    engine, mark = "sqlite", "?"

    def __init__(self, path: Path, pool_size: int, patience: float) -> None:
        super().__init__(pool_size, patience)
        self.path = path
        with path.open("rb") as file:  # before SQLite has it open: closing it later would drop SQLite's locks
            if file.read(16) != b"SQLite format 3\0":
                raise Refused(f"{path} is not a SQLite database")

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{urllib.parse.quote(os.fspath(self.path.absolute()))}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # the pool hands it to one thread at a time
            timeout=5.0,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[sqlite3.Connection]:
        connection, broken, committing = None, True, False
        try:
            connection = self.pool.acquire()
            connection.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
            yield connection
            committing = True
            connection.execute("COMMIT")
            broken = False
        except sqlite3.IntegrityError as e:
            raise Conflict(str(e)) from e
        except sqlite3.Error as e:
            if committing and connection is not None and not connection.in_transaction:
                raise Unknown(f"COMMIT failed: {e}") from e
            raise Refused(str(e)) from e
        finally:
            if connection is not None:
                if connection.in_transaction:
                    connection.rollback()
                    broken = False
                self.pool.release(connection, broken=broken)

    def to_database(self, column: str, value: Any) -> Any:
        if KINDS.get(column) == JSON:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return int(value) if isinstance(value, bool) else value

    def to_python(self, column: str, value: Any) -> Any:
        return json.loads(value) if KINDS.get(column) == JSON and value is not None else value
