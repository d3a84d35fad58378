"""How the tuples of one PostgreSQL table, as the stream sends them, become rows of the plan's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from turnback.core.changes import Relation, StreamTuple, Update
from turnback.core.codecs.row import RowCodec
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import PostgresRow, PostgresText, Unchanged
from turnback.errors import NotReady

_DRIFT_HINT = "undo the schema change in PostgreSQL: the plan, and so the way back, does not know it"

_TYPE_OIDS = {
    "boolean": 16,
    "bytea": 17,
    "bigint": 20,
    "smallint": 21,
    "integer": 23,
    "text": 25,
    "json": 114,
    "double precision": 701,
    "character varying": 1043,
    "date": 1082,
    "timestamp without time zone": 1114,
    "timestamp with time zone": 1184,
    "numeric": 1700,
    "uuid": 2950,
    "jsonb": 3802,
    "real": 700,
    "time without time zone": 1083,
    "interval": 1186,
    "character": 1042,
    "cidr": 650,
    "inet": 869,
    "macaddr": 829,
    "smallint[]": 1005,
    "integer[]": 1007,
    "text[]": 1009,
    "character varying[]": 1015,
    "bigint[]": 1016,
}


@dataclass(frozen=True, slots=True)
class RelationMap:
    """How the tuples of one relation become rows of the plan's table."""

    relation: Relation
    table: TablePlan
    codec: RowCodec
    pick: Callable[[StreamTuple], tuple[PostgresText | Unchanged, ...]]  # into the plan's column order
    key: tuple[int, ...]  # where the key stands in a row of the plan; empty: none

    def key_of(self, row: Sequence[PostgresText | Unchanged]) -> PostgresRow:
        """The key's values, as PostgreSQL's text."""
        return tuple(known(row[p]) for p in self.key)

    def whole(self, row: Sequence[PostgresText | Unchanged]) -> PostgresRow:
        return tuple(known(v) for v in row)

    def shown(self, row: Sequence[PostgresText | Unchanged]) -> str:
        """The row's key, for a message."""
        if not self.key:
            return "a row without a key"
        names = ", ".join(self.table.key)
        return f"key ({names}) = ({', '.join(repr(v)[:60] for v in self.key_of(row))})"


def map_relation(plan: Plan, relation: Relation) -> RelationMap:
    """Raises NotReady where the relation is not what the plan knows (HAZARDS R10)."""
    name = f"{relation.schema}.{relation.name}"
    table = plan.by_postgres(relation.name) if relation.schema == plan.schema else None
    if table is None:
        raise NotReady(f"schema drift: the plan does not know the table {name}", hint=_DRIFT_HINT)
    at = {column: i for i, column in enumerate(relation.columns)}
    planned = {c.postgres for c in table.columns}
    left_out = {e.name for e in plan.excluded if e.side == "postgres"}
    missing = [c for c in planned if c not in at]
    added = [c for c in at if c not in planned and f"{relation.name}.{c}" not in left_out]
    if missing or added:
        what = [f"column {c} is gone" for c in missing] + [f"column {c} is new" for c in added]
        raise NotReady(f"schema drift: table {name}: {', '.join(what)}", hint=_DRIFT_HINT)
    for column in table.columns:
        wanted = _TYPE_OIDS.get(_base_type(column.pg_type))
        if relation.type_oids and wanted not in (None, relation.type_oids[at[column.postgres]]):
            raise NotReady(
                f"schema drift: table {name}: column {column.postgres} is no longer {column.pg_type}",
                hint=_DRIFT_HINT,
            )
    positions = table.key_positions()
    key_names = {table.columns[p].postgres for p in positions}
    if relation.replica_identity != "f" and (not key_names or key_names != set(relation.key_columns)):
        raise NotReady(
            f"schema drift: table {name}: its replica identity is not the plan's key "
            f"({', '.join(sorted(key_names)) or 'none: FULL is needed'})",
            hint=_DRIFT_HINT,
        )
    order = [at[c.postgres] for c in table.columns]
    return RelationMap(relation, table, RowCodec(table), _picker(order, len(at)), positions)


def _picker(order: list[int], width: int) -> Callable[[StreamTuple], tuple[PostgresText | Unchanged, ...]]:
    if order == list(range(width)):
        return lambda row: row
    if len(order) == 1:
        only = order[0]
        return lambda row: (row[only],)
    return itemgetter(*order)


def _base_type(pg_type: str) -> str:
    """format_type() without its modifier: timestamp(3) with time zone -> timestamp with time zone."""
    head, bracket, rest = pg_type.partition("(")
    return head + rest.partition(")")[2] if bracket else pg_type


def known(value: PostgresText | Unchanged) -> PostgresText:
    """The value, which was sent. Raises NotReady where it was not."""
    if isinstance(value, Unchanged):
        raise NotReady(
            "the stream leaves out a value that is needed to find a row: its replica identity is not enough",
            hint=_DRIFT_HINT,
        )
    return value


def filled(change: Update) -> StreamTuple:
    """The new row, where possible with the values that were not sent again (HAZARDS R6)."""
    old = change.old
    if old is None and change.old_key is not None:
        keys = set(change.relation.key_columns)
        old = tuple(
            v if c in keys else n
            for v, n, c in zip(change.old_key, change.new, change.relation.columns, strict=True)
        )
    if old is None:
        return change.new
    return tuple(o if isinstance(n, Unchanged) else n for n, o in zip(change.new, old, strict=True))
