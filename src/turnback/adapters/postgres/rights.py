"""What the server lets us do, found out by doing it (REPLICATION: Rights and managed servers).

has_*_privilege lies in places, so each right is tried on scratch objects: inside a transaction that is
undone, or as a temporary slot that ends with its session. Nothing is left behind, even when this process is
killed. All findings come at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo

from turnback.adapters.postgres.connect import (
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    connect,
    place,
    refuse_pooler,
    translated,
)
from turnback.adapters.postgres.fence_trial import FENCE_SQLSTATE
from turnback.adapters.postgres.retention import measure, retention_findings
from turnback.adapters.postgres.slot import identify_system
from turnback.core.findings import Finding
from turnback.core.fuse import DEFAULT_LIMIT_BYTES
from turnback.core.plan import Mode
from turnback.core.sqltext import identifier, qualified
from turnback.errors import ServerError, TurnbackError

SLOT_SECONDS = 10

_SETTINGS = """
SELECT name, setting FROM pg_catalog.pg_settings
 WHERE name IN ('wal_level', 'max_replication_slots', 'max_wal_senders', 'fsync', 'full_page_writes',
                'idle_replication_slot_timeout')
"""

# What slot creation waits for: every transaction of the cluster that has an id, in any of its databases.
_OPEN_TRANSACTIONS = """
SELECT 'pid ' || pid || ' (' || coalesce(nullif(application_name, ''), 'no application_name') || ', '
       || coalesce(state, 'state hidden') || ', '
       || coalesce(round(extract(epoch FROM clock_timestamp() - xact_start))::text, '?') || ' s, database '
       || coalesce(datname, '?') || ')'
  FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""

_PREPARED = """
SELECT 'prepared transaction ' || gid || ' (database ' || database || ', since ' || prepared || ')'
  FROM pg_catalog.pg_prepared_xacts ORDER BY prepared
"""

# Ownership is what ALTER TABLE, the fence and a publication ask for; a superuser has every role.
_NOT_OWNED = """
SELECT c.relname, pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY c.relname
"""

_UNLOGGED = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND c.relpersistence = 'u' ORDER BY c.relname
"""


def try_rights(
    admin_dsn: str,
    app_dsn: str | None,
    schema: str,
    mode: Mode,
    retained_limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> tuple[Finding, ...]:
    """Every right and setting that the way there and the way back need, each tried; nothing is left behind.

    A `choice` says in `settle` what to GRANT or set. Never raises for what the server answers: an unreachable
    server is the one finding `rights.connect`.
    """
    try:
        refuse_pooler(admin_dsn)
    except ServerError as e:
        return (Finding("rights.pooler", "choice", str(e), settle=e.hint),)
    try:
        admin = connect(admin_dsn, application_name="turnback assess")
    except TurnbackError as e:
        return (Finding("rights.connect", "choice", str(e), settle=e.hint),)
    try:
        with translated(admin_dsn):
            trial = _Trial(admin, admin_dsn, schema, mode, _user(app_dsn), retained_limit_bytes)
            found = [finding for attempt in trial.attempts() for finding in attempt()]
    except TurnbackError as e:
        return (Finding("rights.connect", "choice", str(e), settle=e.hint),)
    finally:
        admin.close()
    return (*found, *(_application(app_dsn, schema) if app_dsn is not None else ()))


class _Trial:
    """The attempts of one session; each returns what it found, and undoes what it did."""

    def __init__(
        self,
        admin: Connection,
        admin_dsn: str,
        schema: str,
        mode: Mode,
        app_role: str | None,
        retained_limit_bytes: int,
    ) -> None:
        self._admin = admin
        self._dsn = admin_dsn
        self._schema = schema
        self._mode = mode
        self._app_role = app_role
        self._limit = retained_limit_bytes
        self._role = _one(admin, "SELECT current_user")
        self._database = _one(admin, "SELECT current_database()")
        self._settings = {str(n): str(v) for n, v in admin.execute(_SETTINGS).fetchall()}

    def attempts(self) -> tuple[Callable[[], Iterator[Finding]], ...]:
        return (
            self.schemas,
            self.hand_over,
            self.tables_owned,
            self.fence,
            self.publication,
            self.suspension,
            self.decoding,
            self.prepared,
            self.walsender,
            self.slot,
            self.retention,
            self.durability,
        )

    # ---- on scratch objects, in a transaction that is undone ----

    def schemas(self) -> Iterator[Finding]:
        """CREATE on the database (schema turnback), and on the target schema in create mode."""
        grant = f"GRANT CREATE ON DATABASE {identifier(self._database)} TO {identifier(self._role)};"
        with self._undone():
            if refusal := self._refused(self._make_own_schema()):
                yield self._choice("rights.schema", f"schema turnback cannot be made: {refusal}", grant)
        if not self._exists(self._schema):
            yield self._choice(
                "rights.target_schema",
                f"database {self._database} has no schema {self._schema}",
                f"CREATE SCHEMA {identifier(self._schema)};",
            )
        elif self._mode == "create":
            with self._undone():
                if refusal := self._refused(f"CREATE TABLE {self._scratch(self._schema)} (id bigint)"):
                    yield self._choice(
                        "rights.create",
                        f"no table can be made in schema {self._schema}: {refusal}",
                        f"GRANT CREATE, USAGE ON SCHEMA {identifier(self._schema)}"
                        f" TO {identifier(self._role)};",
                    )

    def hand_over(self) -> Iterator[Finding]:
        """Create mode: the tables that turnback makes are given to the application's role."""
        if self._mode != "create" or self._app_role in (None, self._role):
            return
        role = identifier(str(self._app_role))
        with self._undone():
            table = self._scratch(self._schema)
            if self._refused(f"CREATE TABLE {table} (id bigint)"):
                return  # `schemas` has said so
            if refusal := self._refused(f"ALTER TABLE {table} OWNER TO {role}"):
                yield self._choice(
                    "rights.hand_over",
                    f"tables cannot be given to the application's role {self._app_role}: {refusal}",
                    f"GRANT {role} TO {identifier(self._role)};"
                    f" GRANT CREATE, USAGE ON SCHEMA {identifier(self._schema)} TO {role};",
                )

    def tables_owned(self) -> Iterator[Finding]:
        """The fence and the publication need each table's owner; in create mode turnback is it."""
        if self._mode == "create":
            return
        rows = self._admin.execute(_NOT_OWNED, (self._schema,)).fetchall()
        if rows:
            owners = sorted({str(owner) for _, owner in rows})
            yield Finding(
                "rights.owner",
                "choice",
                f"role {self._role} does not own {len(rows)} tables of schema {self._schema}:"
                " it cannot fence or publish them",
                count=len(rows),
                keys=tuple(str(name) for name, _ in rows[:5]),
                settle=" ".join(f"GRANT {identifier(o)} TO {identifier(self._role)};" for o in owners),
            )

    def fence(self) -> Iterator[Finding]:
        """A statement trigger that refuses, on a scratch table, and a write that it must refuse."""
        with self._undone():
            if not (table := self._scratch_table()):
                return  # `schemas` has said so
            function = self._scratch(table[0])
            refusal = self._refused(
                f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{FENCE_SQLSTATE}'; END $$",
                f"CREATE TRIGGER turnback_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table[1]}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                f"ALTER TABLE {table[1]} ENABLE ALWAYS TRIGGER turnback_fence",
            )
            if refusal is None:
                refusal = self._unrefused(f"DELETE FROM {table[1]} WHERE false")
            if refusal:
                yield self._choice(
                    "rights.fence",
                    f"a fence cannot be set: {refusal}",
                    f"GRANT USAGE ON LANGUAGE plpgsql TO {identifier(self._role)};",
                )

    def publication(self) -> Iterator[Finding]:
        """CREATE PUBLICATION ... FOR TABLE: CREATE on the database and ownership of the table."""
        with self._undone():
            if not (table := self._scratch_table()):
                return
            refusal = self._refused(
                f"CREATE PUBLICATION {identifier(_scratch_name())} FOR TABLE {table[1]}",
            )
            if refusal:
                yield self._choice(
                    "rights.publication",
                    f"no publication can be made: {refusal}",
                    f"GRANT CREATE ON DATABASE {identifier(self._database)} TO {identifier(self._role)};",
                )

    def suspension(self) -> Iterator[Finding]:
        """session_replication_role: the fast rung of loading under foreign keys; not required."""
        if self._mode == "create":
            return
        with self._undone():
            if refusal := self._refused("SET LOCAL session_replication_role = replica"):
                yield Finding(
                    "rights.suspension",
                    "carries",
                    f"constraints are not suspended by session_replication_role ({refusal}): foreign keys are"
                    " dropped for the load and added again, their definitions journalled",
                    settle="GRANT SET ON PARAMETER session_replication_role TO "
                    f"{identifier(self._role)};  (PostgreSQL 15 and newer)",
                )

    # ---- capture ----

    def decoding(self) -> Iterator[Finding]:
        """wal_level, the one setting without which nothing is captured."""
        if self._settings["wal_level"] != "logical":
            yield self._choice(
                "rights.wal_level",
                f"wal_level is {self._settings['wal_level']}: changes cannot be captured",
                "ALTER SYSTEM SET wal_level = logical; then restart the server"
                " (RDS: rds.logical_replication = 1, Cloud SQL: cloudsql.logical_decoding = on)",
            )

    def prepared(self) -> Iterator[Finding]:
        """Prepared transactions: slot creation waits for them, and they commit past every fence."""
        rows = self._admin.execute(_PREPARED).fetchall()
        if rows:
            yield Finding(
                "rights.prepared",
                "choice",
                f"prepared transactions are open: {', '.join(str(r[0]) for r in rows[:5])}",
                count=len(rows),
                settle="COMMIT PREPARED or ROLLBACK PREPARED each of them",
            )

    def walsender(self) -> Iterator[Finding]:
        """A replication connection, as capture opens it."""
        try:
            identify_system(self._dsn)
        except TurnbackError as e:
            yield self._choice(
                "rights.replication",
                f"no replication connection: {e}",
                f"ALTER ROLE {identifier(self._role)} REPLICATION; (RDS: GRANT rds_replication TO"
                f" {identifier(self._role)};) max_wal_senders is {self._settings['max_wal_senders']},"
                " and pg_hba.conf must admit it",
            )

    def slot(self) -> Iterator[Finding]:
        """A temporary pgoutput slot: it waits for every open transaction, here not for long."""
        if self._settings["wal_level"] != "logical":
            return
        session = connect(
            self._dsn,
            application_name="turnback assess slot",
            settings={"statement_timeout": f"{SLOT_SECONDS}s"},
        )
        try:
            session.execute(
                "SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", (_scratch_name(),)
            )
        except psycopg.errors.QueryCanceled:
            rows = self._admin.execute(_OPEN_TRANSACTIONS).fetchall()
            yield Finding(
                "rights.slot_waits",
                "choice",
                f"a slot could not be made within {SLOT_SECONDS} s: it waits for"
                f" {', '.join(str(r[0]) for r in rows[:5]) or 'a transaction that cannot be seen from here'}",
                count=len(rows) or None,
                settle="end these transactions before cutover",
            )
        except psycopg.errors.ConfigurationLimitExceeded:
            yield self._choice(
                "rights.slot",
                f"all {self._settings['max_replication_slots']} replication slots are in use",
                "drop a slot that nobody needs, or ALTER SYSTEM SET max_replication_slots = ...; and restart",
            )
        except psycopg.Error as e:
            yield self._choice(
                "rights.slot",
                f"no logical slot can be made: {e.diag.message_primary}",
                f"ALTER ROLE {identifier(self._role)} REPLICATION;",
            )
        finally:
            session.close()

    def retention(self) -> Iterator[Finding]:
        """What ends a slot, and what keeps it from filling the disk (REPLICATION: WAL fuse)."""
        yield from retention_findings(measure(self._admin), self._limit)
        if self._settings.get("idle_replication_slot_timeout", "0") != "0":
            yield Finding(
                "rights.idle_slot",
                "carries",
                "idle_replication_slot_timeout is set: a slot that nobody reads from for that long is lost,"
                " and the way back with it",
                settle="ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();",
            )

    def durability(self) -> Iterator[Finding]:
        """What PostgreSQL itself may lose in a crash: said, not forbidden."""
        for name in ("fsync", "full_page_writes"):
            if self._settings[name] == "off":
                yield Finding(
                    f"rights.{name}",
                    "carries",
                    f"{name} is off: a crash of the server's machine can lose or corrupt committed data",
                    settle=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
                )
        for (table,) in self._admin.execute(_UNLOGGED, (self._schema,)).fetchall():
            yield Finding(
                "rights.unlogged",
                "carries",
                f"table {table} is UNLOGGED: emptied by a crash, and never sent to the fallback",
                table=str(table),
                settle=f"ALTER TABLE {qualified(self._schema, str(table))} SET LOGGED;",
            )

    # ---- inside ----

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """A transaction that never commits."""
        with self._admin.transaction(force_rollback=True):
            self._admin.execute("SET LOCAL lock_timeout = '3s'")
            yield

    def _refused(self, *statements: str) -> str | None:
        """The server's words, where it refused one of them; None when it ran them all."""
        try:
            with self._admin.transaction():
                for statement in statements:
                    self._admin.execute(statement.encode())
        except psycopg.Error as e:
            if self._admin.closed:
                raise
            return e.diag.message_primary or type(e).__name__
        return None

    def _unrefused(self, statement: str) -> str | None:
        """What happened to a write that the fence must refuse; None when it did."""
        try:
            with self._admin.transaction():
                self._admin.execute(statement.encode())
        except psycopg.Error as e:
            if self._admin.closed:
                raise
            return None if e.sqlstate == FENCE_SQLSTATE else e.diag.message_primary
        return "a write was accepted in spite of it"

    def _make_own_schema(self) -> str:
        if self._exists("turnback"):
            return f"CREATE TABLE {self._scratch('turnback')} (id bigint)"
        return "CREATE SCHEMA turnback"

    def _exists(self, schema: str) -> bool:
        return _one(self._admin, "SELECT to_regnamespace(%s) IS NOT NULL", identifier(schema)) == "True"

    def _scratch_table(self) -> tuple[str, str] | None:
        """(schema, qualified name) of a new table in the open transaction; None where none can be made."""
        for schema in ("turnback", self._schema):
            name = self._scratch(schema)
            made = [f"CREATE TABLE {name} (id bigint)"]
            if schema == "turnback" and not self._exists(schema):
                made.insert(0, "CREATE SCHEMA turnback")
            if self._refused(*made) is None:
                return schema, name
        return None

    def _scratch(self, schema: str) -> str:
        return qualified(schema, _scratch_name())

    def _choice(self, code: str, message: str, settle: str) -> Finding:
        return Finding(code, "choice", f"{place(self._dsn)}, role {self._role}: {message}", settle=settle)


def _application(dsn: str, schema: str) -> Iterator[Finding]:
    """The application's own connection: that it works, and what its settings mean for the way back."""
    try:
        with (
            translated(dsn),
            psycopg.connect(
                dsn,
                autocommit=True,
                application_name="turnback assess",
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                prepare_threshold=None,
            ) as session,
        ):
            durable = _one(session, "SELECT current_setting('synchronous_commit')")
            usable = _one(
                session,
                "SELECT coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace"
                " WHERE nspname = %s), true)::text",
                schema,
            )
            role = _one(session, "SELECT current_user")
    except TurnbackError as e:
        yield Finding("rights.application", "choice", f"the application's url: {e}", settle=e.hint)
        return
    if durable == "off":
        yield Finding(
            "rights.synchronous_commit",
            "carries",
            f"synchronous_commit is off for role {role}: a crash of the server loses its last commits",
            settle=f"ALTER ROLE {identifier(role)} SET synchronous_commit = on;",
        )
    if usable == "false":
        yield Finding(
            "rights.application",
            "choice",
            f"role {role} cannot use schema {schema}",
            settle=f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {identifier(role)};",
        )


def _user(dsn: str | None) -> str | None:
    """The role that the DSN names; None where it names none, or is no DSN (`_application` says so)."""
    try:
        user = conninfo.conninfo_to_dict(dsn or "").get("user")
    except psycopg.Error:
        return None
    return str(user) if user else None


def _scratch_name() -> str:
    return f"turnback_scratch_{secrets.token_hex(4)}"


def _one(connection: Connection, statement: str, *parameters: str) -> str:
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None, "the statement gives one row"
    return str(row[0])
