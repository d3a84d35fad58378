"""What capture needs on the server: replica identity, publication, slot; and what can be said of them.

Order (REPLICATION: The order in which capture starts): replica identity, publication, slot. A publication
made after the slot is an error on PostgreSQL 15 and silently skips changes on 18.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import conninfo, pq

from turnback.adapters.postgres.connect import Connection, connect, place, scrub, translate, translated
from turnback.core import lsn as lsn_text
from turnback.core.lsn import ZERO, Lsn
from turnback.core.plan import Plan
from turnback.core.sqltext import identifier, qualified
from turnback.errors import NotReady, ServerError, ServerGone, WayBackLost

Identity = dict[str, str | None]  # table, identity ('d', 'n', 'f', 'i'), index

# A slot is never made again in silence: what was committed meanwhile would be missing.
REBUILD_HINT = "`turnback fallback rebuild` makes a new slot, and a fallback that is equal from there on"
_LOCK_TIMEOUT = b"SET LOCAL lock_timeout = '10s'"


@dataclass(frozen=True, slots=True)
class System:
    """Which server, and on which timeline. `wal_end` is how far its WAL was flushed when asked."""

    identifier: str
    timeline: int
    wal_end: Lsn = ZERO


@dataclass(frozen=True, slots=True)
class SlotState:
    confirmed_flush_lsn: Lsn
    restart_lsn: Lsn | None
    wal_status: str | None  # reserved, extended, unreserved, lost
    safe_wal_size: int | None  # bytes until the slot is lost; None: no limit
    active: bool
    retained_bytes: int  # WAL that the slot holds back


def identify_system(dsn: str) -> System:
    """IDENTIFY_SYSTEM on a replication connection. Raises ServerError."""
    with translated(dsn):
        replication = conninfo.make_conninfo(dsn, replication="database")
    connection = connect(replication, application_name="turnback identify")
    try:
        with translated(dsn):
            row = connection.execute("IDENTIFY_SYSTEM").fetchone()
    finally:
        connection.close()
    assert row is not None, "IDENTIFY_SYSTEM gives one row"
    return System(str(row[0]), int(str(row[1])), lsn_text.parse(str(row[2])))


# ---- replica identity ----------------------------------------------------------------------------


def replica_identity(connection: Connection, plan: Plan) -> list[Identity]:
    """How each table of the plan is identified now. Raises NotReady where a table is missing."""
    rows = connection.execute(
        """
        SELECT c.relname, c.relreplident::text,
               (SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                 WHERE i.indrelid = c.oid AND i.indisreplident)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
         ORDER BY c.relname
        """,
        (plan.schema, [t.postgres for t in plan.tables]),
    ).fetchall()
    found: list[Identity] = [
        {"table": str(name), "identity": str(kind), "index": None if index is None else str(index)}
        for name, kind, index in rows
    ]
    missing = {t.postgres for t in plan.tables} - {str(f["table"]) for f in found}
    if missing:
        raise NotReady(
            f"schema {plan.schema} has no table {', '.join(sorted(missing))}",
            hint="the plan names it: run `turnback migrate`, or check [postgres] schema",
        )
    return found


def set_replica_identity(connection: Connection, plan: Plan) -> list[Identity]:
    """Sets what the plan says, where it is not so yet; returns the former state, for the journal."""
    former = replica_identity(connection, plan)
    _alter_identity(connection, plan.schema, former, planned_identity(plan))
    return former


def planned_identity(plan: Plan) -> list[Identity]:
    return [
        {
            "table": t.postgres,
            "identity": {"default": "d", "index": "i", "full": "f"}[t.replica_identity],
            "index": t.identity_index if t.replica_identity == "index" else None,
        }
        for t in plan.tables
    ]


def restore_replica_identity(
    connection: Connection, former: Sequence[Mapping[str, str | None]], schema: str
) -> None:
    """Back to the journalled state; a table that is gone is left out. May be repeated."""
    wanted = [dict(f) for f in former]
    _alter_identity(
        connection, schema, [], [w for w in wanted if _exists(connection, schema, str(w["table"]))]
    )


def _exists(connection: Connection, schema: str, table: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = %s", (schema, table)
    ).fetchone()
    return row is not None


def _alter_identity(
    connection: Connection, schema: str, now: Sequence[Identity], wanted: Sequence[Identity]
) -> None:
    is_now = {str(f["table"]): f for f in now}
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT)
        for w in wanted:
            table = str(w["table"])
            if is_now.get(table) == w:
                continue
            connection.execute(identity_statement(schema, w).encode())


def identity_statement(schema: str, wanted: Identity) -> str:
    match wanted["identity"]:
        case "d":
            kind = "DEFAULT"
        case "f":
            kind = "FULL"
        case "n":
            kind = "NOTHING"
        case _:
            kind = f"USING INDEX {identifier(str(wanted['index']))}"
    return f"ALTER TABLE {qualified(schema, str(wanted['table']))} REPLICA IDENTITY {kind}"


# ---- publication ---------------------------------------------------------------------------------


def create_publication(connection: Connection, plan: Plan, name: str) -> None:
    """All tables of the plan, all of their changes. Raises ServerError where one of that name is there."""
    connection.execute(publication_statement(plan, name).encode())


def publication_statement(plan: Plan, name: str) -> str:
    tables = ", ".join(qualified(plan.schema, t.postgres) for t in plan.tables)
    return (
        f"CREATE PUBLICATION {identifier(name)} {'FOR TABLE ' + tables if tables else ''} "
        "WITH (publish = 'insert, update, delete, truncate')"
    )


def drop_publication(connection: Connection, name: str) -> None:
    """May be repeated."""
    connection.execute(f"DROP PUBLICATION IF EXISTS {identifier(name)}".encode())


def publication_tables(connection: Connection, name: str) -> set[tuple[str, str]]:
    """(schema, table) of what the publication sends; empty where there is no such publication."""
    rows = connection.execute(
        "SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = %s", (name,)
    ).fetchall()
    return {(str(schema), str(table)) for schema, table in rows}


# ---- slot ----------------------------------------------------------------------------------------


def slot_state(connection: Connection, slot: str) -> SlotState | None:
    """None: no such slot."""
    row = connection.execute(
        """
        SELECT confirmed_flush_lsn::text, restart_lsn::text, wal_status, safe_wal_size, active,
               coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::bigint
          FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
        """,
        (slot,),
    ).fetchone()
    if row is None:
        return None
    confirmed, restart, status, safe, active, retained = row
    return SlotState(
        confirmed_flush_lsn=lsn_text.parse(str(confirmed)) if confirmed is not None else ZERO,
        restart_lsn=lsn_text.parse(str(restart)) if restart is not None else None,
        wal_status=None if status is None else str(status),
        safe_wal_size=None if safe is None else int(str(safe)),
        active=bool(active),
        retained_bytes=int(str(retained)),
    )


def confirmed_flush(admin_dsn: str, slot: str) -> Lsn:
    """Up to where the server has let go. Raises WayBackLost: the slot is missing or lost (HAZARDS R12)."""
    return _living(admin_dsn, slot).confirmed_flush_lsn


def retention_warning(admin_dsn: str, slot: str) -> str:
    """That the server may soon not keep what the slot needs, or "". Raises WayBackLost as above."""
    return warning_of(_living(admin_dsn, slot), slot)


def warning_of(state: SlotState, slot: str) -> str:
    """PostgreSQL documentation, pg_replication_slots: wal_status, safe_wal_size."""
    safe, held = state.safe_wal_size, state.retained_bytes
    left = f"{safe} bytes more and it is lost" if safe is not None else "the server's disk is the only limit"
    if state.wal_status == "unreserved":
        return f"the slot {slot} is about to be lost: the next checkpoint may remove WAL that it needs"
    if state.wal_status == "extended":
        return f"the slot {slot} holds back {held} bytes of WAL, more than max_wal_size: {left}"
    if safe is not None and safe < held:
        return f"the slot {slot} has used more than half of max_slot_wal_keep_size: {left}"
    return ""


def _living(admin_dsn: str, slot: str) -> SlotState:
    connection = connect(admin_dsn, application_name="turnback slot")
    try:
        with translated(admin_dsn):
            state = slot_state(connection, slot)
    finally:
        connection.close()
    if state is None:
        raise WayBackLost(f"{place(admin_dsn)}: the replication slot {slot} is gone", hint=REBUILD_HINT)
    if state.wal_status == "lost" or state.restart_lsn is None:
        raise WayBackLost(
            f"{place(admin_dsn)}: the replication slot {slot} has lost WAL that was not applied yet",
            hint=REBUILD_HINT,
        )
    return state


def drop_slot(admin_dsn: str, slot: str, *, timeout_seconds: float = 10.0) -> None:
    """May be repeated. A reader that is still connected is ended; waited for at most `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    connection = connect(admin_dsn, application_name="turnback slot")
    try:
        while True:
            try:
                connection.execute(
                    "SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
                    "FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
                    (slot,),
                )
                return
            except psycopg.errors.ObjectInUse as e:
                if time.monotonic() > deadline:
                    raise translate(e, admin_dsn) from None
                connection.execute(
                    "SELECT pg_catalog.pg_terminate_backend(active_pid) "
                    "FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND active_pid IS NOT NULL",
                    (slot,),
                )
                time.sleep(0.05)
            except psycopg.errors.UndefinedObject:
                return  # somebody else dropped it between the two
            except psycopg.Error as e:
                raise translate(e, admin_dsn) from None
    finally:
        connection.close()


class ExportedSlot:
    """A new slot and the snapshot that begins where it does; the snapshot lives until `close`."""

    def __init__(self, connection: Connection, slot: str, consistent_point: Lsn, snapshot_name: str) -> None:
        self._connection = connection
        self.slot = slot
        self.consistent_point = consistent_point
        self.snapshot_name = snapshot_name

    def close(self) -> None:
        """Lets the snapshot go; the slot stays."""
        self._connection.close()


def create_slot(dsn: str, slot: str, *, timeout_seconds: float) -> ExportedSlot:
    """Makes the slot and exports its snapshot.

    It waits for every transaction that writes now, in any database of the cluster. When that takes longer
    than `timeout_seconds` (seconds), nothing is left behind and NotReady names who is waited for.
    Raises ServerError where a slot of that name is there already.
    """
    with translated(dsn):
        replication = conninfo.make_conninfo(dsn, replication="database")
    watcher = connect(dsn, application_name="turnback slot")
    try:
        connection = connect(replication, application_name="turnback slot")
        try:
            result = _run(
                connection,
                slot_statement(slot),
                timeout_seconds,
                dsn,
            )
            if result is None:
                with translated(dsn):
                    blockers = open_transactions(watcher)
                _cancel(connection)
                connection.close()
                drop_slot(dsn, slot)
                raise NotReady(
                    f"{place(dsn)}: slot {slot} waits for open transactions, {timeout_seconds:g} s by now: "
                    + ("; ".join(blockers) or "none is visible to this role"),
                    hint="end them (COMMIT, ROLLBACK PREPARED or pg_terminate_backend), then try again",
                )
            return ExportedSlot(connection, slot, *_created(result, dsn))
        except BaseException:
            connection.close()
            raise
    finally:
        watcher.close()


def slot_statement(slot: str) -> str:
    """In the replication protocol's own grammar."""
    return f"CREATE_REPLICATION_SLOT {identifier(slot)} LOGICAL pgoutput EXPORT_SNAPSHOT"


def open_transactions(connection: Connection) -> list[str]:
    """Who writes now, in any database of the cluster, prepared transactions too; one phrase each."""
    sessions = connection.execute(
        """
        SELECT pid, application_name, coalesce(datname, ''), state,
               extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)::bigint
          FROM pg_catalog.pg_stat_activity
         WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() ORDER BY xact_start
        """
    ).fetchall()
    prepared = connection.execute(
        """
        SELECT gid, owner, database, extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::bigint
          FROM pg_catalog.pg_prepared_xacts ORDER BY prepared
        """
    ).fetchall()
    return [
        f"pid {pid} ({name or 'no application_name'}, database {database}, {state or 'hidden'}, for {age} s)"
        for pid, name, database, state, age in sessions
    ] + [
        f"prepared transaction {gid!r} (owner {owner}, database {database}, prepared {age} s ago)"
        for gid, owner, database, age in prepared
    ]


def _run(connection: Connection, command: str, timeout_seconds: float, dsn: str) -> pq.abc.PGresult | None:
    """The command's result, or None when it takes longer: no server-side timeout reaches such commands."""
    pgconn = connection.pgconn
    deadline = time.monotonic() + timeout_seconds
    with translated(dsn):
        pgconn.send_query(command.encode())
        while True:
            pgconn.flush()
            if not pgconn.is_busy():
                result = pgconn.get_result()
                while pgconn.get_result() is not None:
                    pass  # a command gives one result; libpq wants to say that there is no other
                return result
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            poll = select.poll()
            poll.register(pgconn.socket, select.POLLIN)
            if poll.poll(left * 1000):
                pgconn.consume_input()


def _cancel(connection: Connection) -> None:
    try:
        connection.pgconn.get_cancel().cancel()
    except psycopg.Error:
        pass  # the connection is closed next, and the slot dropped: that ends it too


def _created(result: pq.abc.PGresult, dsn: str) -> tuple[Lsn, str]:
    if result.status == pq.ExecStatus.TUPLES_OK:
        point, snapshot = result.get_value(0, 1), result.get_value(0, 2)
        assert point is not None and snapshot is not None, "EXPORT_SNAPSHOT gives both"
        return lsn_text.parse(point.decode()), snapshot.decode()
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"the connection ended").decode()
    text = scrub(text, dsn)
    if not state or state.startswith(("57P", "08")):
        raise ServerGone(f"{place(dsn)}: {text}", hint="check that PostgreSQL runs")
    hint = {
        "42710": "an earlier cutover left it: drop it with pg_drop_replication_slot once nothing uses it",
        "53400": "raise max_replication_slots, or drop a slot that nothing uses",
        "55000": "set wal_level = logical and restart PostgreSQL",
        "42501": "the role of admin_url needs the attribute REPLICATION",
    }.get(state, f"SQLSTATE {state}")
    raise ServerError(f"{place(dsn)}: {text}", hint=hint)
