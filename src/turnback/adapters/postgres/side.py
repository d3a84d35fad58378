"""The server, as the steps of a run see it: this package's pieces, each call with its own session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import conninfo

from turnback.adapters.postgres import fingerprint as catalogue
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.connect import Connection, connect, translated
from turnback.adapters.postgres.constraints import Suspension
from turnback.adapters.postgres.fence import PostgresFence, fence_statements
from turnback.adapters.postgres.introspect import read_schema
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.postgres.retention import measure, retention_findings, slot_facts
from turnback.adapters.postgres.sequences import read_sequences
from turnback.core import ddl
from turnback.core import lsn as positions
from turnback.core.fuse import DEFAULT_LIMIT_BYTES, SlotFacts
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.core.sqltext import identifier, qualified
from turnback.errors import ServerGone, TurnbackError

Json = Any


@dataclass(frozen=True)
class PostgresServer:
    """One target database. `start` brings up the embedded server and does nothing for any other."""

    admin_dsn: str
    app_dsn: str | None
    schema: str
    slot: str
    publication: str
    slot_timeout_seconds: float
    lock_timeout_seconds: float
    start: Callable[[], None]
    run_command: Callable[[str], None]
    retained_limit_bytes: int = DEFAULT_LIMIT_BYTES

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        connection = connect(self.admin_dsn)
        try:
            with translated(self.admin_dsn):
                yield connection
        finally:
            connection.close()

    def ensure_running(self) -> None:
        self.start()

    def reachable(self) -> bool:
        try:
            connect(self.admin_dsn).close()
        except ServerGone:
            return False
        return True

    # ---- schema and load ----

    def run_schema_command(self, command: str) -> None:
        self.run_command(command)

    def occupied(self, plan: Plan) -> list[str]:
        with self._session() as c:
            there = read_schema(c, self.schema)
            views = c.execute(
                "SELECT c.relname FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = %s AND c.relkind IN ('v', 'm') ORDER BY 1",
                (self.schema,),
            ).fetchall()
        planned = {t.postgres for t in plan.tables}
        if plan.mode == "create":
            planned |= {v.postgres for v in plan.views}
            return [n for n in (*(t.name for t in there.tables), *(str(v) for (v,) in views)) if n in planned]
        seeded = {t.postgres: t.seed_rows for t in plan.tables if t.clear_first}
        return [t.name for t in there.tables if t.name in planned and t.row_count > seeded.get(t.name, 0)]

    def schema_differences(self, plan: Plan) -> list[str]:
        with self._session() as c:
            there = read_schema(c, self.schema)
        tables = {t.name: t for t in there.tables}
        found: list[str] = []
        for table in plan.tables:
            if table.postgres not in tables:
                found.append(f"table {table.postgres} is missing")
                continue
            columns = {c.name: c.type_name for c in tables[table.postgres].columns}
            for column in (*table.columns, *(g.column for g in table.generated)):
                if column.postgres not in columns:
                    found.append(f"column {table.postgres}.{column.postgres} is missing")
                elif columns[column.postgres] != column.pg_type:
                    found.append(
                        f"column {table.postgres}.{column.postgres} is {columns[column.postgres]}, "
                        f"the plan says {column.pg_type}"
                    )
        return found

    def loader(self, plan: Plan, run_token: str) -> Loader:
        return Loader(self.admin_dsn, plan, run_token=run_token)

    def suspension(self, plan: Plan, former: Json = None) -> Suspension:
        return Suspension(self.admin_dsn, plan, former=former)

    def _app_role(self) -> str | None:
        if self.app_dsn is None or self.app_dsn == self.admin_dsn:
            return None
        role = conninfo.conninfo_to_dict(self.app_dsn).get("user")
        return str(role) if role else None

    def hand_over(self, plan: Plan) -> None:
        role = self._app_role()
        if role is None:
            return
        with self._session() as c, c.transaction():
            c.execute(f"GRANT USAGE ON SCHEMA {identifier(plan.schema)} TO {identifier(role)}".encode())
            for table in plan.tables:
                name = qualified(plan.schema, table.postgres)
                c.execute(f"ALTER TABLE {name} OWNER TO {identifier(role)}".encode())
            for view in plan.views:  # made last: the first time there is none yet
                name = qualified(plan.schema, view.postgres)
                c.execute(f"ALTER VIEW IF EXISTS {name} OWNER TO {identifier(role)}".encode())

    def drop_tables(self, plan: Plan) -> None:
        self._execute(ddl.drop_schema(plan))

    def empty_tables(self, plan: Plan) -> None:
        """TRUNCATE of the plan's tables alone: a table outside the plan that refers to one makes it fail."""
        with self._session() as c:
            there = {t.name for t in read_schema(c, self.schema).tables}
        names = [qualified(plan.schema, t.postgres) for t in plan.tables if t.postgres in there]
        if names:
            self._execute([f"TRUNCATE {', '.join(names)}"])

    def _execute(self, statements: Sequence[str]) -> None:
        with self._session() as c, c.transaction():
            for statement in statements:
                c.execute(statement.encode())

    def lift_fence(self, plan: Plan) -> None:
        fence = self.fence(plan)
        try:
            fence.lift()
        finally:
            fence.close()

    def reader(self, snapshot: str | None = None) -> SnapshotReader:
        return SnapshotReader(self.admin_dsn, self.schema, snapshot=snapshot)

    # ---- replication ----

    def replica_identity(self, plan: Plan) -> Json:
        with self._session() as c:
            return slots.replica_identity(c, plan)

    def set_replica_identity(self, plan: Plan) -> Json:
        with self._session() as c:
            return slots.set_replica_identity(c, plan)

    def restore_replica_identity(self, former: Json) -> None:
        with self._session() as c:
            slots.restore_replica_identity(c, former, self.schema)

    def create_publication(self, plan: Plan) -> None:
        with self._session() as c:
            slots.create_publication(c, plan, self.publication)

    def drop_publication(self) -> None:
        with self._session() as c:
            slots.drop_publication(c, self.publication)

    def publication_difference(self, plan: Plan) -> list[str]:
        with self._session() as c:
            there = slots.publication_tables(c, self.publication)
        planned = {(plan.schema, t.postgres) for t in plan.tables}
        return [f"table {name} is not published" for _, name in sorted(planned - there)] + [
            f"table {name} is published and not in the plan" for _, name in sorted(there - planned)
        ]

    def create_slot(self) -> slots.ExportedSlot:
        return slots.create_slot(self.admin_dsn, self.slot, timeout_seconds=self.slot_timeout_seconds)

    def drop_slot(self) -> None:
        slots.drop_slot(self.admin_dsn, self.slot)

    def retention_warnings(self) -> list[str]:
        with self._session() as c:
            found = retention_findings(measure(c), self.retained_limit_bytes)
        return [f"{f.message}: {f.settle}" for f in found]

    def slot_facts(self) -> SlotFacts | None:
        return slot_facts(self.admin_dsn, self.slot)

    def confirmed_flush(self) -> Lsn:
        """Where the slot stands. Raises NotReady when it is gone."""
        return slots.confirmed_flush(self.admin_dsn, self.slot)

    def retention_warning(self) -> str:
        """That the slot may soon be lost, or "". Raises WayBackLost when it is."""
        return slots.retention_warning(self.admin_dsn, self.slot)

    def system(self) -> tuple[str, int]:
        found = slots.identify_system(self.admin_dsn)
        return found.identifier, found.timeline

    def fingerprint(self) -> Json:
        with self._session() as c:
            return catalogue.fingerprint(c, self.schema, self.publication)

    def drift(self, before: Json) -> list[str]:
        return catalogue.drift(before, self.fingerprint())

    # ---- fence and gate ----

    def fence(self, plan: Plan) -> PostgresFence:
        return PostgresFence(
            self.admin_dsn,
            self.app_dsn,
            self.schema,
            [t.postgres for t in plan.tables],
            lock_timeout_seconds=self.lock_timeout_seconds,
            known_excluded=[e.name for e in plan.excluded if e.side == "postgres"],
        )

    def insert_lsn(self) -> Lsn:
        with self._session() as c:
            return _insert_lsn(c)

    def emit_token(self, token: str) -> Lsn:
        with self._session() as c:
            position = _insert_lsn(c)
            c.execute("SELECT pg_logical_emit_message(true, 'turnback', %s)", (token,))
            return position

    def sequences(self, plan: Plan) -> Mapping[str, int]:
        with self._session() as c:
            return read_sequences(c, plan)

    def describe(self, what: str, plan: Plan) -> list[str]:
        """For --dry-run: the statements of that part of a run."""
        match what:
            case "schema" if plan.mode == "create":
                return ddl.create_schema(plan)
            case "constraints" if plan.mode == "create":
                return ddl.build_constraints(plan)
            case "replica_identity":
                wanted = [w for w in slots.planned_identity(plan) if w["identity"] != "d"]
                return [slots.identity_statement(plan.schema, w) for w in wanted]
            case "publication":
                return [slots.publication_statement(plan, self.publication)]
            case "slot":
                return [slots.slot_statement(self.slot)]
            case "fence":
                return fence_statements([qualified(plan.schema, t.postgres) for t in plan.tables])
            case "token":
                return ["SELECT pg_logical_emit_message(true, 'turnback', TOKEN)"]
            case _:
                return []


def _insert_lsn(connection: Connection) -> Lsn:
    row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    if row is None:
        raise TurnbackError("pg_current_wal_insert_lsn() gave nothing")
    return positions.parse(str(row[0]))
