"""The application's SQLite file as it is now, opened and queried through SQLite, for `turnback validate`.

Each question has a read-only connection of its own, so that no read transaction stays open beside the
application. A file that is there is no database yet: only what SQLite reads from it counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from turnback.adapters.sqlite.database import open_database, translated
from turnback.adapters.sqlite.introspect import read_schema
from turnback.adapters.sqlite.touched_keys import binds
from turnback.core.plan import Plan
from turnback.core.sqltext import identifier, literal
from turnback.core.validation import Reference
from turnback.errors import SourceError

SHOWN = 5
PROBLEMS = 20
QUERY_SECONDS = 30.0
STEPS_BETWEEN_LOOKS = 50_000  # of SQLite's virtual machine: some milliseconds


@dataclass(frozen=True)
class FileChecks:
    """See app.checks.CheckedFile."""

    path: Path
    busy_seconds: float
    extensions: tuple[str, ...] = ()

    @contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        connection = open_database(
            self.path, "read", busy_seconds=self.busy_seconds, extensions=self.extensions
        )
        try:
            with translated(self.path):
                connection.execute("PRAGMA query_only = 1")
                yield connection
        except UnicodeDecodeError as e:
            raise SourceError(
                f"{self.path}: text that is not valid UTF-8 (byte {e.start} of a value)",
                hint="CAST(... AS BLOB) in the query reads such a value",
            ) from e
        finally:
            connection.close()

    def malformed(self) -> list[str]:
        with self._opened() as connection:
            lines = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({PROBLEMS})")]
        return [line for line in lines if line != "ok"]

    def dangling(self, plan: Plan | None) -> list[str]:
        problems: list[str] = []
        with self._opened() as connection:
            schema = read_schema(connection, self.path)
            for table, rowid, parent, number in connection.execute("PRAGMA foreign_key_check"):
                key = schema.table(str(table)).foreign_keys[-1 - int(str(number))]  # counted backwards
                if plan is not None and not binds(plan, str(table), key):
                    continue
                problems.append(f"row {rowid} of {table} refers to no row of {parent}")
                if len(problems) >= PROBLEMS:
                    break
        return problems

    def tables(self) -> list[str]:
        """Those of the application, virtual ones too; not SQLite's own, and not the parts of virtual ones."""
        with self._opened() as connection:
            rows = connection.execute(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            ).fetchall()
        return [str(name) for (name,) in rows]

    def count(self, table: str) -> int:
        with self._opened() as connection:
            # NOT INDEXED: an index may be whole where the table's own pages are not.
            [(rows,)] = connection.execute(
                f"SELECT count(*) FROM {identifier(table)}" + self._by_itself(connection, table)
            ).fetchall()
        return int(str(rows))

    @staticmethod
    def _by_itself(connection: apsw.Connection, table: str) -> str:
        """A virtual table takes no hint on indexes."""
        row = connection.execute(
            "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
        ).fetchone()
        return " NOT INDEXED" if row is not None and row[0] == "table" else ""

    def orphans(self, reference: Reference) -> tuple[int, list[str]]:
        child, parent = identifier(reference.table), identifier(reference.parent)
        column, key = identifier(reference.column), identifier(reference.parent_column)
        with self._opened() as connection:
            self._demand_column(connection, reference.table, reference.column)
            self._demand_column(connection, reference.parent, reference.parent_column)
            # NOT IN reads the parent once, with or without an index on its column.
            orphaned = (
                f"FROM {child} WHERE {column} IS NOT NULL AND {column} NOT IN "
                f"(SELECT {key} FROM {parent} WHERE {key} IS NOT NULL)"
            )
            [(number,)] = connection.execute(f"SELECT count(*) {orphaned}").fetchall()
            shown = connection.execute(f"SELECT DISTINCT {column} {orphaned} LIMIT {SHOWN}").fetchall()
        return int(str(number)), [_shown(value) for (value,) in shown]

    def _demand_column(self, connection: apsw.Connection, table: str, column: str) -> None:
        """SQLite takes a quoted name that it does not know for a string: no row would be an orphan."""
        names = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,)).fetchall()
        if column.lower() not in {str(name).lower() for (name,) in names}:
            raise SourceError(
                f"{self.path}: no column {column} in table {table}" if names else f"no table {table}",
                hint="check [validate] orphans in turnback.toml",
            )

    def values(self, query: str) -> Sequence[tuple[object, ...]]:
        until = time.monotonic() + QUERY_SECONDS
        with self._opened() as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, STEPS_BETWEEN_LOOKS)
            cursor = connection.execute(query)
            rows = []
            for row in cursor:
                rows.append(tuple(row))
                if len(rows) == 2:
                    break
            cursor.close(True)
            return rows


def _shown(value: object) -> str:
    return literal(value.replace("\0", "")) if isinstance(value, str) else repr(value)
