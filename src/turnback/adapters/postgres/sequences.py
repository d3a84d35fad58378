"""The sequences behind the plan's columns: set where SQLite would go on, proven, and read on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from turnback.adapters.postgres.connect import Connection
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.schema import LAST_ID
from turnback.core.sqltext import identifier, qualified
from turnback.errors import ProofFailed, ServerError

# Those that a column owns (serial, identity) or draws its default from, and those that the plan names.
_SEQUENCES = """
SELECT DISTINCT r.relname, a.attname, pg_catalog.format('%%I.%%I', sn.nspname, s.relname), q.seqincrement
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
WHERE n.nspname = %(schema)s AND r.relname = ANY (%(tables)s)
UNION
SELECT named.table_name, named.column_name, pg_catalog.format('%%I.%%I', n.nspname, s.relname), q.seqincrement
FROM unnest(%(names)s::text[], %(named_tables)s::text[], %(named_columns)s::text[])
     AS named(name, table_name, column_name)
JOIN pg_catalog.pg_class s ON s.relname = named.name AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace AND n.nspname = %(schema)s
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """One carried column that gets the values of a sequence."""

    table: TablePlan
    column: ColumnPlan
    increment: int


Feeds = dict[str, list[Feed]]  # by the sequence's quoted and qualified name


def find_sequences(connection: Connection, plan: Plan) -> Feeds:
    """Every sequence behind a carried column. One of a column that PostgreSQL alone has is its own affair."""
    rows = connection.execute(
        _SEQUENCES.encode(),
        {
            "schema": plan.schema,
            "tables": [t.postgres for t in plan.tables],
            "names": [s.name for s in plan.sequences],
            "named_tables": [s.table for s in plan.sequences],
            "named_columns": [s.column for s in plan.sequences],
        },
    ).fetchall()
    found: Feeds = {}
    for table_name, column_name, name, increment in rows:
        table = plan.by_postgres(str(table_name))
        assert table is not None
        assert isinstance(increment, int)
        column = next((c for c in table.columns if c.postgres == column_name), None)
        if column is not None:
            found.setdefault(str(name), []).append(Feed(table, column, increment))
    return found


# ---- there -----------------------------------------------------------------------------------------


def set_sequences(
    connection: Connection, plan: Plan, values: Mapping[str, int]
) -> list[tuple[str, str, int]]:
    """Every sequence goes on where SQLite would: (table, column, next value), in the transaction under way.

    `values`: per SQLite table the value in sqlite_sequence. The next value is one more than the greater of
    that and the highest id, or 1 (HAZARDS F22 to F25). A sequence that goes in steps goes on a whole step
    further, because an ORM may count down from the value that it draws. One that several columns share goes
    on from the greatest of them.
    """
    done = []
    for name, feeds in _wanted(connection, plan).items():
        following = _next_value(connection, plan, feeds, values)
        connection.execute("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, false)", (name, following))
        done += [(f.table.postgres, f.column.postgres, following) for f in feeds]
    return sorted(done)


def check_sequences(connection: Connection, plan: Plan, values: Mapping[str, int]) -> None:
    """Raises ProofFailed where a sequence would not give the value that `set_sequences` means."""
    for name, feeds in _wanted(connection, plan).items():
        following = _next_value(connection, plan, feeds, values)
        upcoming = f"CASE WHEN is_called THEN last_value + {feeds[0].increment} ELSE last_value END"
        actual = _integer(connection, f"SELECT {upcoming} FROM {name}")
        if actual != following:
            raise ProofFailed(
                f"{feeds[0].table.postgres}.{feeds[0].column.postgres}: the next id would be {actual}, "
                f"it must be {following}",
                hint="run `turnback resume`; if it stays so, something else uses the sequence",
            )


def _wanted(connection: Connection, plan: Plan) -> Feeds:
    """All of those that the plan counts on. Raises ProofFailed when one is missing."""
    found = find_sequences(connection, plan)
    wanted = {(t.postgres, c.postgres) for t in plan.tables for c in t.columns if c.identity}
    wanted |= {(s.table, s.column) for s in plan.sequences}
    missing = wanted - {(f.table.postgres, f.column.postgres) for feeds in found.values() for f in feeds}
    if missing:
        raise ProofFailed(
            "no sequence stands behind " + ", ".join(f"{t}.{c}" for t, c in sorted(missing)),
            hint="make the column an identity column again, or run `turnback assess` for a new plan",
        )
    return found


def _next_value(connection: Connection, plan: Plan, feeds: list[Feed], values: Mapping[str, int]) -> int:
    highest = 0
    for feed in feeds:
        table, column = feed.table, feed.column
        if feed.increment < 0:
            raise ServerError(
                f"{table.postgres}.{column.postgres}: its sequence counts down",
                hint="turnback sets ascending sequences only; alter the sequence",
            )
        # sqlite_sequence counts the INTEGER PRIMARY KEY, and no other column.
        given = values.get(table.sqlite, 0) if column.identity or column.sqlite in table.key else 0
        highest = max(highest, given, _greatest(connection, plan.schema, table, column))
    following = highest + feeds[0].increment if highest > 0 else 1
    if following > LAST_ID:
        where = f"{feeds[0].table.postgres}.{feeds[0].column.postgres}"
        raise ServerError(
            f"{where}: the id {highest} is given, and no sequence of PostgreSQL goes on behind {LAST_ID}",
            hint="give that row a smaller id in SQLite, then migrate again",
        )
    return following


# ---- back ------------------------------------------------------------------------------------------


def read_sequences(connection: Connection, plan: Plan) -> dict[str, int]:
    """SQLite table -> the highest id handed out, for each table with AUTOINCREMENT; 0: none ever
    (HAZARDS R16). An id whose transaction was undone counts too. Raises psycopg.Error; the caller translates.
    """
    sequences = find_sequences(connection, plan)
    return {
        table.sqlite: _handed_out(connection, plan.schema, table, column, sequences)
        for table in plan.tables
        if table.autoincrement
        for column in _id_columns(table)
    }


def _id_columns(table: TablePlan) -> list[ColumnPlan]:
    """AUTOINCREMENT exists on an INTEGER PRIMARY KEY only: one column, the identity or the key."""
    own = [c for c in table.columns if c.identity and c.sqlite in table.key]
    own += [c for c in table.columns if c.identity]
    return own[:1] or [c for c in table.columns if c.sqlite in table.key][:1]


def _handed_out(
    connection: Connection, schema: str, table: TablePlan, column: ColumnPlan, sequences: Feeds
) -> int:
    highest = max(0, _greatest(connection, schema, table, column))
    for name, feeds in sequences.items():
        if any(f.table is table and f.column is column for f in feeds):
            last = f"CASE WHEN is_called THEN last_value ELSE last_value - {feeds[0].increment} END"
            highest = max(highest, _integer(connection, f"SELECT {last} FROM {name}"))
    return highest


def _greatest(connection: Connection, schema: str, table: TablePlan, column: ColumnPlan) -> int:
    greatest = f"SELECT COALESCE(max({identifier(column.postgres)}), 0)::bigint"
    return _integer(connection, f"{greatest} FROM {qualified(schema, table.postgres)}")


def _integer(connection: Connection, sql: str) -> int:
    row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))
