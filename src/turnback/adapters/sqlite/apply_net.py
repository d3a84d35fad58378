"""A transaction as its net change, for where row by row collides: `SET pos = pos + 1` under UNIQUE.

Every row that the transaction touches is moved out of its table, into a temporary one without constraints,
when it is touched first; the changes happen there; at the end what is left moves back. So all deletes come
before all inserts, memory stays bounded, and a row keeps its row id and the columns that the plan leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apsw

from turnback.adapters.sqlite.apply import TableWriter, table_columns
from turnback.core.changes import Delete, Insert, Relation, RowChange, Truncate, Update
from turnback.core.rows import PostgresText, Unchanged
from turnback.core.sqltext import identifier, identifiers


class NetChange:
    """One transaction. Runs inside the caller's savepoint, which undoes it whole on any error."""

    def __init__(self, connection: apsw.Connection, writer: Callable[[Relation], TableWriter]) -> None:
        self._connection = connection
        self._writer = writer
        self._tables: dict[str, _NetTable] = {}

    def add(self, change: RowChange) -> None:
        match change:
            case Insert():
                self._table(change.relation).copy.insert(change)
            case Update():
                table = self._table(change.relation)
                table.take(change.old or change.old_key or change.new)
                table.copy.update(change)
            case Delete():
                table = self._table(change.relation)
                table.take(change.old)
                table.copy.delete(change)
            case Truncate():
                for relation in change.relations:
                    table = self._table(relation)
                    table.own.truncate()
                    table.copy.truncate()

    def finish(self) -> None:
        """Moves what is left back. Raises apsw.ConstraintError where even the end state collides."""
        for table in self._tables.values():
            table.put_back()

    def _table(self, relation: Relation) -> _NetTable:
        writer = self._writer(relation)
        name = writer.map.table.sqlite
        if name not in self._tables:
            copy = f"temp.{identifier(f'_turnback_net_{len(self._tables)}')}"
            self._tables[name] = _NetTable(self._connection, writer, copy)
        return self._tables[name]


class _NetTable:
    """One table and its temporary copy."""

    def __init__(self, connection: apsw.Connection, own: TableWriter, copy: str) -> None:
        table = own.map.table
        defaults = table_columns(connection, table)
        self._connection = connection
        self._names = list(defaults)
        # A hidden row id is kept in a column of its own; "rowid" as a name would hide the copy's own.
        self._kept = _free_name(self._names)
        columns = [f"{identifier(n)}{'' if d is None else f' DEFAULT ({d})'}" for n, d in defaults.items()]
        # No types and no collations: values stay as they are.
        connection.execute(f"CREATE TABLE {copy} ({', '.join([*columns, identifier(self._kept)])})")
        if table.key:
            schema, name = copy.split(".", 1)
            index = identifier(name.strip('"') + "_key")
            connection.execute(f"CREATE INDEX {schema}.{index} ON {name} ({identifiers(table.key)})")
        self.own = own
        self.copy = TableWriter(connection, own.map, target=copy)

    def take(self, row: Sequence[PostgresText | Unchanged]) -> None:
        """Makes sure that the row is in the copy. A row that is nowhere is reported by what follows."""
        picked = self.own.map.pick(tuple(row))
        if self.copy.look(picked) is not None:
            return
        found = self.own.look(picked)
        if found is None:
            return
        names = identifiers(self._names)
        self._connection.execute(
            f"INSERT INTO {self.copy.target} ({names}, {identifier(self._kept)}) "
            f"SELECT {names}, {self.own.rowid or 'NULL'} FROM {self.own.target} WHERE {self.own.where}",
            found.where,
        )
        self._connection.execute(f"DELETE FROM {self.own.target} WHERE {self.own.where}", found.where)

    def put_back(self) -> None:
        names, kept = identifiers(self._names), identifier(self._kept)
        source = f"FROM {self.copy.target} WHERE {self.copy.rowid} = ?"
        insert = f"INSERT INTO {self.own.target} ({names}) SELECT {names} {source}"
        # The name of the hidden row id is given with the others; an alias of it is one of the others.
        insert_kept = (
            f"INSERT INTO {self.own.target} ({self.own.rowid}, {names}) SELECT {kept}, {names} {source}"
        )
        hidden = self.own.rowid is not None and self.own.rowid_alias is None
        writing = self._connection.cursor()
        # Rows with a row id first: those without are given the next free one.
        rows = self._connection.execute(
            f"SELECT {self.copy.rowid}, {kept} IS NOT NULL, {self.copy.columns.terms} "
            f"FROM {self.copy.target} ORDER BY {kept} IS NULL, {self.copy.rowid}"
        )
        for at, has_row_id, *terms in rows:
            writing.execute(insert_kept if hidden and has_row_id else insert, (at,))
            self.own.verify_inserted(self.copy.columns.read(tuple(terms)))
        self._connection.execute(f"DROP TABLE {self.copy.target}")


def _free_name(taken: Sequence[str]) -> str:
    lowered = {t.lower() for t in taken}
    name = "_turnback_row"
    while name in lowered:
        name += "_"
    return name
