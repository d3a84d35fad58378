"""Hyperpage on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import store
from psycopg.types.json import Jsonb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresStore(store.Store):
    engine, mark = "postgres", "%s"

    def __init__(self, dsn: str, pool_size: int, patience: float) -> None:
        super().__init__(pool_size, patience)
        self.dsn = dsn

    def connect(self) -> Any:
        return psycopg.connect(self.dsn, connect_timeout=3, application_name="hyperpage")

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[Any]:
        connection, committing = None, False
        try:
            connection = self.pool.acquire()
            yield connection
            committing = True
            connection.commit()
        except psycopg.IntegrityError as e:
            raise store.Conflict(e.diag.message_primary or "refused") from e
        except psycopg.Error as e:
            if committing and (connection is None or connection.closed):
                raise store.Unknown("the connection broke in COMMIT") from e
            raise store.Refused(e.diag.message_primary or "the database cannot be reached") from e
        finally:
            if connection is not None:
                try:
                    connection.rollback()  # nothing to do after a commit
                except psycopg.Error:
                    connection.close()
                self.pool.release(connection, broken=connection.closed)

    def to_database(self, column: str, value: Any) -> Any:
        match store.KINDS.get(column):
            case store.JSON:
                return Jsonb(value)
            case store.MOMENT:
                return EPOCH + timedelta(milliseconds=value)
            case _:
                return value

    def to_python(self, column: str, value: Any) -> Any:
        if isinstance(value, datetime):
            return (value - EPOCH) // timedelta(milliseconds=1)
        return value if isinstance(value, dict | list | int | float | bytes | None) else str(value)
