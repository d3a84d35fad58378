"""Foreign keys and triggers set aside while rows are loaded in any order, put back, and proven by the data.

The ladder (REPLICATION: Rights): where this user may set session_replication_role, the loading transaction
does, and only triggers that fire even then (ENABLE ALWAYS, ENABLE REPLICA) are switched off by name.
Elsewhere foreign keys are dropped and made again (NOT VALID, then VALIDATE) and the user's triggers are
switched off. On the first rung an orphan comes in under a constraint that says it is validated: `prove` asks
the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from turnback.adapters.postgres.connect import Connection, connect, translated
from turnback.core.plan import Plan
from turnback.core.sqltext import identifier, literal, qualified
from turnback.errors import ProofFailed

FENCE_TRIGGER = "turnback_fence"  # never set aside here: a fenced table is not to be loaded

_LOCK_TIMEOUT = {"lock_timeout": "30s"}
_SHOWN_KEYS = 5
_REPAIR = "repair the rows on the SQLite side (PRAGMA foreign_key_check names orphans), then migrate again"


@dataclass(frozen=True, slots=True)
class SuspendedForeignKey:
    schema: str
    table: str
    name: str
    definition: str  # pg_get_constraintdef()
    validated: bool


@dataclass(frozen=True, slots=True)
class SuspendedTrigger:
    schema: str
    table: str
    name: str
    enabled: str  # pg_trigger.tgenabled: O, A or R; those that are off already are not touched


@dataclass(frozen=True, slots=True)
class FormerState:
    """What stood before, and by which rung it is set aside."""

    rung: str  # "replica_role" or "drop"
    foreign_keys: tuple[SuspendedForeignKey, ...]
    triggers: tuple[SuspendedTrigger, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def former_state(raw: dict[str, Any]) -> FormerState:
    """The state that `to_json` made."""
    return FormerState(
        raw["rung"],
        tuple(SuspendedForeignKey(**f) for f in raw["foreign_keys"]),
        tuple(SuspendedTrigger(**t) for t in raw["triggers"]),
    )


class Suspension:
    """Sets aside what stands in the way of a load into existing tables.

    `describe` first, and its result into the journal: after a crash a new Suspension made with it (`former`)
    restores. Each call is one transaction and may be repeated.
    """

    def __init__(self, admin_dsn: str, plan: Plan, *, former: dict[str, Any] | None = None) -> None:
        self._dsn = admin_dsn
        self._plan = plan
        self._former = former_state(former) if former is not None else None

    def describe(self) -> dict[str, Any]:
        """The state before the suspension, as JSON values."""
        if self._former is None:
            with translated(self._dsn), connect(self._dsn, settings=_LOCK_TIMEOUT) as connection:
                self._former = read_state(connection, self._plan)
        return self._former.to_json()

    def suspend(self) -> None:
        former = former_state(self.describe())
        with translated(self._dsn), connect(self._dsn, settings=_LOCK_TIMEOUT) as connection:
            with connection.transaction():
                suspend(connection, former)

    def restore(self) -> None:
        """Puts everything back. Raises ProofFailed where the rows break a foreign key that is made again, and
        where the definitions are not what they were.
        """
        former = former_state(self.describe())
        with translated(self._dsn), connect(self._dsn, settings=_LOCK_TIMEOUT) as connection:
            with connection.transaction():
                restore(connection, former)
            now = read_state(connection, self._plan)
        if (now.foreign_keys, now.triggers) != (former.foreign_keys, former.triggers):
            changed = set(now.foreign_keys + now.triggers) ^ set(former.foreign_keys + former.triggers)
            names = ", ".join(sorted({f"{c.table}.{c.name}" for c in changed}))
            raise ProofFailed(
                f"constraints or triggers are not what they were before the load: {names}",
                hint="compare them with the application's schema, put them right, then run `turnback resume`",
            )

    def prove(self, plan: Plan) -> None:
        """Raises ProofFailed where rows break a foreign key, unique or check constraint that says it is
        validated: with table, constraint, count and up to five keys.
        """
        with translated(self._dsn), connect(self._dsn) as connection:
            with connection.transaction():
                prove(connection, plan)


def read_state(connection: Connection, plan: Plan) -> FormerState:
    """Foreign keys from and to the plan's tables, and the triggers on these tables that fire."""
    tables = [t.postgres for t in plan.tables]
    foreign_keys = _rows(
        connection,
        """
        SELECT n.nspname, r.relname, c.conname, pg_catalog.pg_get_constraintdef(c.oid), c.convalidated
        FROM pg_catalog.pg_constraint c
        JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        JOIN pg_catalog.pg_class p ON p.oid = c.confrelid
        JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
        WHERE c.contype = 'f' AND c.conparentid = 0
          AND ((n.nspname = %(schema)s AND r.relname = ANY (%(tables)s))
               OR (pn.nspname = %(schema)s AND p.relname = ANY (%(tables)s)))
        ORDER BY 1, 2, 3
        """,
        {"schema": plan.schema, "tables": tables},
    )
    triggers = _rows(
        connection,
        """
        SELECT n.nspname, r.relname, t.tgname, t.tgenabled::text
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_class r ON r.oid = t.tgrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' AND t.tgname <> %(fence)s
          AND n.nspname = %(schema)s AND r.relname = ANY (%(tables)s)
        ORDER BY 1, 2, 3
        """,
        {"schema": plan.schema, "tables": tables, "fence": FENCE_TRIGGER},
    )
    return FormerState(
        "replica_role" if may_set_replica_role(connection) else "drop",
        tuple(SuspendedForeignKey(*row) for row in foreign_keys),
        tuple(SuspendedTrigger(*row) for row in triggers),
    )


def may_set_replica_role(connection: Connection) -> bool:
    """Tried by doing it; nothing stays set."""
    try:
        with connection.transaction(force_rollback=True):
            set_replica_role(connection)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def set_replica_role(connection: Connection) -> None:
    """For the transaction under way: foreign keys and ordinary triggers do not fire."""
    connection.execute("SET LOCAL session_replication_role = replica")


def suspend(connection: Connection, former: FormerState) -> None:
    """In the transaction under way."""
    for trigger in former.triggers:
        if former.rung == "drop" or trigger.enabled != "O":
            _alter(connection, trigger, f"DISABLE TRIGGER {identifier(trigger.name)}")
    if former.rung == "drop":
        for foreign_key in former.foreign_keys:
            _alter(connection, foreign_key, f"DROP CONSTRAINT IF EXISTS {identifier(foreign_key.name)}")


def restore(connection: Connection, former: FormerState) -> None:
    """In the transaction under way. A foreign key that is there is left as it is. Raises ProofFailed."""
    for foreign_key in former.foreign_keys:
        if not _exists(connection, foreign_key):
            definition = foreign_key.definition.removesuffix(" NOT VALID")
            name = identifier(foreign_key.name)
            _alter(connection, foreign_key, f"ADD CONSTRAINT {name} {definition} NOT VALID")
            if foreign_key.validated:
                try:
                    _alter(connection, foreign_key, f"VALIDATE CONSTRAINT {name}")
                except psycopg.errors.ForeignKeyViolation as e:
                    raise ProofFailed(
                        f'{foreign_key.table}: a row has no parent for the foreign key "{foreign_key.name}": '
                        f"{e.diag.message_detail}",
                        hint=_REPAIR,
                    ) from None
    how = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}
    for trigger in former.triggers:
        _alter(connection, trigger, f"{how[trigger.enabled]} TRIGGER {identifier(trigger.name)}")


def prove(connection: Connection, plan: Plan, *, kinds: str = "fpuc") -> None:
    """In the transaction under way. The first constraint that the rows break is raised.

    `kinds` as in pg_constraint.contype.
    """
    # A broken unique index would agree with itself: read the tables.
    for name in ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"):
        connection.execute(f"SET LOCAL {name} = off".encode())
    constraints = _rows(
        connection,
        """
        SELECT n.nspname, r.relname, c.conname, c.contype::text, pg_catalog.pg_get_constraintdef(c.oid),
               pg_catalog.pg_get_expr(c.conbin, c.conrelid), pn.nspname, p.relname,
               ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(n, o)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n
                     ORDER BY k.o),
               ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k(n, o)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n
                     ORDER BY k.o),
               ARRAY(SELECT pg_catalog.format('OPERATOR(%%I.%%s)', opn.nspname, op.oprname)
                     FROM unnest(c.conpfeqop) WITH ORDINALITY AS k(n, o)
                     JOIN pg_catalog.pg_operator op ON op.oid = k.n
                     JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace ORDER BY k.o)
        FROM pg_catalog.pg_constraint c
        JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        LEFT JOIN pg_catalog.pg_class p ON p.oid = c.confrelid
        LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
        WHERE c.contype::text = ANY (%(kinds)s) AND c.convalidated AND c.conparentid = 0
          AND ((n.nspname = %(schema)s AND r.relname = ANY (%(tables)s))
               OR (pn.nspname = %(schema)s AND p.relname = ANY (%(tables)s)))
        ORDER BY 1, 2, 3
        """,
        {"schema": plan.schema, "tables": [t.postgres for t in plan.tables], "kinds": list(kinds)},
    )
    for row in constraints:
        _prove_one(connection, _Constraint(*row))


@dataclass(frozen=True, slots=True)
class _Constraint:
    schema: str
    table: str
    name: str
    kind: str  # pg_constraint.contype
    definition: str
    expression: str | None  # of a check
    parent_schema: str | None
    parent: str | None
    columns: Sequence[str]
    parent_columns: Sequence[str]
    operators: Sequence[str]  # parent = child, as the foreign key itself compares


def _prove_one(connection: Connection, constraint: _Constraint) -> None:
    table = qualified(constraint.schema, constraint.table)
    columns = [identifier(c) for c in constraint.columns]
    if constraint.kind == "c":
        broken = f"SELECT t.ctid::text AS k FROM {table} AS t WHERE NOT ({constraint.expression})"
    elif constraint.kind == "f":
        broken = _orphans(constraint)
    else:
        present = " AND ".join(f"{c} IS NOT NULL" for c in columns)
        where = "" if "NULLS NOT DISTINCT" in constraint.definition else f" WHERE {present}"
        broken = (
            f"SELECT ROW({', '.join(columns)})::text AS k FROM {table}{where} "
            f"GROUP BY {', '.join(columns)} HAVING count(*) > 1"
        )
    count, keys = _rows(
        connection, f"SELECT count(*), (array_agg(k))[1:{_SHOWN_KEYS}] FROM ({broken}) AS broken"
    )[0]
    if count:
        what = {"c": "rows break the check", "f": "rows have no parent for the foreign key"}
        raise ProofFailed(
            f"{constraint.table}: {count} {what.get(constraint.kind, 'keys stand twice under')} "
            f'"{constraint.name}": {", ".join(keys)}',
            hint=_REPAIR,
        )


def _orphans(constraint: _Constraint) -> str:
    """The child's rows that have a whole key and no parent with it (and, MATCH FULL, half a key)."""
    child = [f"t.{identifier(c)}" for c in constraint.columns]
    pairs = zip(constraint.parent_columns, constraint.operators, child, strict=True)
    match = " AND ".join(f"p.{identifier(c)} {operator} {own}" for c, operator, own in pairs)
    assert constraint.parent_schema is not None
    assert constraint.parent is not None
    parent = qualified(constraint.parent_schema, constraint.parent)
    orphan = (
        " AND ".join(f"{c} IS NOT NULL" for c in child)
        + f" AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {match})"
    )
    if "MATCH FULL" in constraint.definition:
        some, every = (f" {w} ".join(f"{c} IS NULL" for c in child) for w in ("OR", "AND"))
        orphan = f"({orphan}) OR (({some}) AND NOT ({every}))"
    table = qualified(constraint.schema, constraint.table)
    return f"SELECT ROW({', '.join(child)})::text AS k FROM {table} AS t WHERE {orphan}"


def _exists(connection: Connection, foreign_key: SuspendedForeignKey) -> bool:
    return bool(
        _rows(
            connection,
            "SELECT FROM pg_catalog.pg_constraint WHERE conname = %s "
            f"AND conrelid = {literal(qualified(foreign_key.schema, foreign_key.table)).replace('%', '%%')}"
            "::pg_catalog.regclass",
            (foreign_key.name,),
        )
    )


def _alter(connection: Connection, what: SuspendedForeignKey | SuspendedTrigger, action: str) -> None:
    connection.execute(f"ALTER TABLE {qualified(what.schema, what.table)} {action}".encode())


def _rows(connection: Connection, sql: str, bound: Any = None) -> list[tuple[Any, ...]]:
    return connection.cursor(row_factory=tuple_row).execute(sql.encode(), bound).fetchall()
