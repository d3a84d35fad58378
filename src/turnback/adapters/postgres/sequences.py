"""Which ids PostgreSQL has handed out, so that SQLite gives none of them again (HAZARDS R16)."""

from __future__ import annotations

from turnback.adapters.postgres.connect import Connection
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.sqltext import identifier, qualified

# Sequences that a column owns (serial, identity), or that its default draws from without owning.
_SEQUENCES = """
SELECT n.nspname, s.relname, q.seqincrement
  FROM pg_catalog.pg_class s
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
 WHERE s.relkind = 'S' AND s.oid IN (
   SELECT d.objid FROM pg_catalog.pg_depend d
     JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.deptype IN ('a', 'i') AND d.refobjid = to_regclass(%(table)s) AND a.attname = %(column)s
   UNION
   SELECT d.refobjid FROM pg_catalog.pg_depend d
     JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
     JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND f.adrelid = to_regclass(%(table)s) AND a.attname = %(column)s)
"""


def read_sequences(connection: Connection, plan: Plan) -> dict[str, int]:
    """SQLite table -> the highest id handed out, for each table with AUTOINCREMENT; 0: none ever.

    An id whose transaction was undone counts too. Raises psycopg.Error; the caller translates.
    """
    return {
        table.sqlite: _highest(connection, plan.schema, table, column)
        for table in plan.tables
        if table.autoincrement
        for column in _id_columns(table)
    }


def _id_columns(table: TablePlan) -> list[ColumnPlan]:
    """AUTOINCREMENT exists on an INTEGER PRIMARY KEY only: one column, the identity or the key."""
    own = [c for c in table.columns if c.identity]
    return own[:1] or [c for c in table.columns if c.sqlite in table.key][:1]


def _highest(connection: Connection, schema: str, table: TablePlan, column: ColumnPlan) -> int:
    name = qualified(schema, table.postgres)
    found = [connection.execute(f"SELECT max({identifier(column.postgres)}) FROM {name}".encode()).fetchone()]
    sequences = connection.execute(_SEQUENCES.encode(), {"table": name, "column": column.postgres}).fetchall()
    for namespace, sequence, increment in sequences:
        found.append(
            connection.execute(
                "SELECT CASE WHEN is_called THEN last_value ELSE last_value - %s END"
                f" FROM {qualified(str(namespace), str(sequence))}".encode(),
                (increment,),
            ).fetchone()
        )
    return max([0, *(int(str(row[0])) for row in found if row is not None and row[0] is not None)])
