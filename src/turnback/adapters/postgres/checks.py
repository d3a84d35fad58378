"""The application's tables on PostgreSQL as its own role sees them: a read-only session for each question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from turnback.adapters.postgres.connect import Connection, connect, translated
from turnback.core.sqltext import qualified

SETTINGS = {
    "default_transaction_read_only": "on",
    "row_security": "on",  # what the application sees is what is looked at
    "lock_timeout": "10s",  # a table that somebody holds is told, not waited for
}


@dataclass(frozen=True)
class ServerChecks:
    """See app.checks.CountedTables."""

    dsn: str = field(repr=False)
    schema: str

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        connection = connect(self.dsn, settings=SETTINGS)
        try:
            with translated(self.dsn):
                yield connection
        finally:
            connection.close()

    def tables(self) -> list[str]:
        """Those in the schema that the role may read."""
        with self._opened() as connection:
            rows = connection.execute(
                b"SELECT c.relname FROM pg_catalog.pg_class c "
                b"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                b"WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
                b"AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
                b"AND pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1",
                [self.schema],
            ).fetchall()
        return [str(name) for (name,) in rows]

    def count(self, table: str) -> int:
        with self._opened() as connection:
            [(rows,)] = connection.execute(
                f"SELECT count(*) FROM {qualified(self.schema, table)}".encode()
            ).fetchall()
        return int(str(rows))
