"""The changes of one PostgreSQL table, as statements on one SQLite table.

Law 2 (untouched stays untouched): an update reads the fallback's own row first and writes only the columns
whose PostgreSQL value differs from what that row maps to. Every update and delete hits exactly one row, or
NotReady is raised: the fallback is not what PostgreSQL's table was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import apsw

from turnback.adapters.sqlite.raw_text import CarriedColumns
from turnback.adapters.sqlite.relation_map import RelationMap, filled, known
from turnback.core.changes import Delete, Insert, Update
from turnback.core.landing import is_watched, may_change
from turnback.core.plan import TablePlan
from turnback.core.rows import PostgresText, SqliteRow, SqliteValue, Unchanged, identical
from turnback.core.sqltext import identifier, identifiers
from turnback.errors import CannotCarry, NotReady

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_DIFFERS_HINT = "the fallback differs from PostgreSQL: `turnback verify --full` shows where"


@dataclass(frozen=True, slots=True)
class Found:
    """One row of the SQLite table: how to name it in a WHERE, and its values in the plan's order."""

    where: SqliteRow
    values: SqliteRow


def free_rowid_name(connection: apsw.Connection, table: TablePlan) -> str | None:
    """A name for the row id that no column hides; None where all are taken."""
    taken = {
        str(name).lower()
        for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table.sqlite,))
    }
    return next((n for n in _ROWID_NAMES if n not in taken), None)


def table_columns(connection: apsw.Connection, table: TablePlan) -> dict[str, str | None]:
    """The table's columns with their defaults as SQL; generated ones are left out."""
    return {
        str(name): None if default is None else str(default)
        for name, default in connection.execute(
            "SELECT name, dflt_value FROM pragma_table_xinfo(?) WHERE hidden = 0", (table.sqlite,)
        )
    }


class TableWriter:
    """Statements for one table: the fallback's own, or (`target`) a copy with the same columns."""

    def __init__(self, connection: apsw.Connection, map: RelationMap, *, target: str | None = None) -> None:
        table = map.table
        self.map = map
        self._connection = connection
        self._cursor = connection.cursor()
        self._decode = map.codec.decode
        self.target = target or f"main.{identifier(table.sqlite)}"
        # A copy (`target`) always has a row id, and no declared types that could change a value.
        rowid = free_rowid_name(connection, table) if target or not table.without_rowid else None
        self.rowid = rowid
        self.rowid_alias = None if target or rowid is None else self._find_rowid_alias()
        self._watched = () if target else tuple(p for p, c in enumerate(table.columns) if is_watched(c))

        self.columns = CarriedColumns(connection, table)
        # What SQLite has and PostgreSQL lacks: a row made there gets the plan's constant (HAZARDS F37).
        self._constants = tuple(_as_stored(c.value) for c in table.sqlite_constants)
        inserted = identifiers([c.sqlite for c in table.columns] + [c.column for c in table.sqlite_constants])
        marks = ", ".join([*self.columns.marks, *("?" for _ in self._constants)])
        self._insert = f"INSERT INTO {self.target} ({inserted}) VALUES ({marks})"
        self._row_key = () if rowid else self._primary_key()
        self.where = f"{rowid} = ?" if rowid else " AND ".join(self._equals(p) for p in self._row_key)
        self._read = f"SELECT {self.columns.terms} FROM {self.target} WHERE {self.where}"
        self._delete = f"DELETE FROM {self.target} WHERE {self.where}"

        # Only what decodes without a choice of spelling can be looked for; the rest is compared.
        self._sought = map.key or tuple(
            i for i, c in enumerate(table.columns) if not c.options.get("respell")
        )
        self._seek = f"SELECT {rowid or 'NULL'}, {self.columns.terms} FROM {self.target}"
        if self._sought:
            compared = "{0} = {1} AND {0} COLLATE BINARY = {1}" if map.key else "{0} IS {1}"
            tests = [
                compared.format(identifier(table.columns[p].sqlite), self.columns.marks[p])
                for p in self._sought
            ]
            self._seek += " WHERE " + " AND ".join(tests)

    def _equals(self, position: int) -> str:
        """`column = ?`, for a condition or for SET."""
        return f"{identifier(self.map.table.columns[position].sqlite)} = {self.columns.marks[position]}"

    def _primary_key(self) -> tuple[int, ...]:
        """Where the declared primary key stands in the plan's row; it names a row where no rowid does."""
        table = self.map.table
        names = [c.sqlite for c in table.columns]
        keys = [
            str(name)
            for (name,) in self._connection.execute(
                "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk", (table.sqlite,)
            )
        ]
        if not keys or any(k not in names for k in keys):
            raise NotReady(
                f"table {table.sqlite}: its rows cannot be named: no row id, no primary key that is carried",
                hint="exclude the table, or give it a primary key that the plan carries",
            )
        return tuple(names.index(k) for k in keys)

    # ---- changes ---------------------------------------------------------------------------------

    def insert(self, change: Insert) -> None:
        row = self._decode(self.map.pick(change.new))  # type: ignore[arg-type]  # an insert sends all
        self._cursor.execute(self._insert, self.columns.bound(row) + self._constants)
        if self._watched:
            self.verify_inserted(row)

    def update(self, change: Update) -> None:
        new = self.map.pick(filled(change))
        old = change.old or change.old_key
        found = self.find(new if old is None else self.map.pick(old), "update")
        changed = self._differences(found.values, new)
        if not changed:
            return
        names = ", ".join(self._equals(p) for p, _ in changed)
        values = tuple([self.columns.bound_at(p, v) for p, v in changed])
        self._cursor.execute(f"UPDATE {self.target} SET {names} WHERE {self.where}", values + found.where)
        self._one_row("update", new)
        if self._watched:
            row = list(found.values)
            for p, v in changed:
                row[p] = v
            where = found.where
            if self.rowid is None:
                where = self._named_by_key(tuple(row))
            elif self.rowid_alias is not None:
                where = (row[self.rowid_alias],)
            self._verify(where, [(p, v) for p, v in changed if p in self._watched])

    def delete(self, change: Delete) -> None:
        row = self.map.pick(change.old)
        found = self.find(row, "delete")
        self._cursor.execute(self._delete, found.where)
        self._one_row("delete", row)

    def truncate(self) -> None:
        self._cursor.execute(f"DELETE FROM {self.target}")

    # ---- finding ---------------------------------------------------------------------------------

    def find(self, row: Sequence[PostgresText | Unchanged], what: str) -> Found:
        """The row by its key, or by all its values. Raises NotReady where there is none."""
        found = self.look(row)
        if found is None:
            raise NotReady(
                f"table {self.map.table.sqlite}: the fallback has no row to {what} for {self.map.shown(row)}",
                hint=_DIFFERS_HINT,
            )
        return found

    def look(self, row: Sequence[PostgresText | Unchanged]) -> Found | None:
        """The same; None where there is none. Of equal rows without a key, the first."""
        codecs = self.map.codec.codecs
        sought: list[SqliteValue] = []
        for p in self._sought:
            text = known(row[p])
            try:
                value = None if text is None else codecs[p].decode(text)
            except CannotCarry as e:
                raise self._refused(p, row, str(e)) from e
            value = self.columns.bound_at(p, value)
            sought += (value, value) if self.map.key else (value,)
        wanted = None if self.map.key else self.map.codec.canonical(self.map.whole(row))
        # Its own cursor, closed at once: a statement that is still open would lock its table.
        with closing(self._connection.execute(self._seek, tuple(sought))) as rows:
            for rowid, *terms in rows:
                values = self.columns.read(tuple(terms))
                found = Found((rowid,) if self.rowid else self._named_by_key(values), values)
                if wanted is None or self._canonical(found.values) == wanted:
                    return found
        return None

    def _canonical(self, values: SqliteRow) -> tuple[bytes | None, ...]:
        return self.map.codec.canonical(self.map.codec.encode(values))

    def _named_by_key(self, row: SqliteRow) -> SqliteRow:
        return tuple(self.columns.bound_at(p, row[p]) for p in self._row_key)

    def _find_rowid_alias(self) -> int | None:
        """Which column of the plan's row is the row id, if one is: INTEGER PRIMARY KEY."""
        rows = self._connection.execute(
            "SELECT name, upper(type) FROM pragma_table_xinfo(?) WHERE pk > 0", (self.map.table.sqlite,)
        ).fetchall()
        if len(rows) != 1 or rows[0][1] != "INTEGER":
            return None
        return next((i for i, c in enumerate(self.map.table.columns) if c.sqlite == rows[0][0]), None)

    # ---- values ----------------------------------------------------------------------------------

    def _differences(
        self, old: SqliteRow, new: Sequence[PostgresText | Unchanged]
    ) -> list[tuple[int, SqliteValue]]:
        """Law 2: the columns to write, with their values."""
        changed: list[tuple[int, SqliteValue]] = []
        for p, text in enumerate(new):
            had = old[p]
            if text is None:
                if had is not None:
                    changed.append((p, None))
                continue
            if isinstance(text, Unchanged):
                continue
            codec = self.map.codec.codecs[p]
            try:
                if had is not None:
                    maps_to = codec.encode(had)
                    if maps_to == text or codec.canonical(maps_to) == codec.canonical(text):
                        continue
                changed.append((p, codec.decode(text)))
            except CannotCarry as e:
                raise self._refused(p, new, str(e)) from e
        return changed

    def verify_inserted(self, row: SqliteRow) -> None:
        """HAZARDS R2, for the row that was inserted last. Raises CannotCarry."""
        where = (self._connection.last_insert_rowid(),) if self.rowid else self._named_by_key(row)
        self._verify(where, [(p, row[p]) for p in self._watched])

    def _verify(self, where: SqliteRow, written: Sequence[tuple[int, SqliteValue]]) -> None:
        """HAZARDS R2: what landed is what was meant, storage class included."""
        columns = self.map.table.columns
        doubtful = [(p, v) for p, v in written if may_change(v, columns[p].affinity)]
        if not doubtful:
            return
        (landed,) = map(self.columns.read, self._cursor.execute(self._read, where).fetchall())
        for p, value in doubtful:
            if not identical(landed[p], value):
                if value == 0.0 and landed[p] == 0.0:
                    raise self._refused(p, None, "-0.0 would land as 0.0: a REAL column of SQLite has no -0")
                raise self._refused(
                    p,
                    None,
                    f"{value!r:.60} would land as {landed[p]!r:.60}: the declared type has the affinity "
                    f"{columns[p].affinity}",
                )

    def _refused(self, p: int, row: Sequence[PostgresText | Unchanged] | None, why: str) -> CannotCarry:
        column = self.map.table.columns[p]
        key = f", {self.map.shown(row)}" if row is not None else ""
        return CannotCarry(
            f'table "{self.map.table.sqlite}", column "{column.sqlite}"{key}: {why}',
            # The stream keeps what was committed: correcting it alone does not lead past it.
            hint=f"the plan carries this column as {column.pg_type} with the codec {column.codec}; "
            "correct the value in PostgreSQL, then run `turnback fallback rebuild`",
        )

    def _one_row(self, what: str, row: Sequence[PostgresText | Unchanged]) -> None:
        count = self._connection.changes()
        if count != 1:
            raise NotReady(
                f"table {self.map.table.sqlite}: the {what} of {self.map.shown(row)} hit {count} rows",
                hint=_DIFFERS_HINT,
            )


def _as_stored(value: str | int | float | bool | None) -> SqliteValue:
    """A JSON value as SQLite keeps it: true is 1."""
    return int(value) if isinstance(value, bool) else value
