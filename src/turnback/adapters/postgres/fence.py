"""The fence of PostgreSQL: statement triggers that refuse (REPLICATION: Fencing PostgreSQL, the table fence).

It needs ownership of the tables only, reads go on, it holds for sessions that are open already, and it
survives our death. An owner of the tables can undo it: it guards against mistakes, not against intent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
from psycopg.rows import args_row

from turnback.adapters.postgres.blockers import (
    ALL_LOCKS,
    WAITED_TOO_LONG,
    WRITERS,
    Blocker,
    blockers,
    end_sessions,
)
from turnback.adapters.postgres.connect import (
    Connection,
    connect,
    place,
    translate,
    translated,
)
from turnback.adapters.postgres.fence_trial import (
    FENCE_SQLSTATE,
    FencedTable,
    accepted,
    application_session,
    application_writes,
)
from turnback.core.sqltext import qualified
from turnback.errors import NotReady, ProofFailed, ServerError

FENCE_TRIGGER = "turnback_fence"
FUNCTION = "turnback.refuse_write"
ATTEMPTS = 3

# pg_trigger.tgtype of BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE FOR EACH STATEMENT (pg_trigger.h)
_TRIGGER_TYPE = 2 + 4 + 8 + 16 + 32

_CREATE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'turnback: this database is fenced, writes are refused' USING ERRCODE = '{FENCE_SQLSTATE}';
END $$
"""

# The named tables, and every partition and inheriting table below them: a trigger of the parent does not
# fire for a statement that names the child.
_FAMILY = """
WITH RECURSIVE family AS (
  SELECT c.oid FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p')
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON f.oid = i.inhparent
)
"""

_TABLES = (
    _FAMILY
    + """
SELECT c.oid::bigint, n.nspname, c.relname,
       coalesce(t.tgenabled = 'A' AND t.tgtype = %(type)s
                AND t.tgfoid = to_regprocedure(%(function)s), false),
       (SELECT a.attname FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           AND a.attgenerated = '' AND a.attidentity <> 'a' ORDER BY a.attnum LIMIT 1)
  FROM family f
  JOIN pg_catalog.pg_class c ON c.oid = f.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgname = %(trigger)s AND NOT t.tgisinternal
 ORDER BY n.nspname, c.relname
"""
)

_OUTSIDE = (
    _FAMILY
    + """
SELECT c.relname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'f')
   AND c.oid NOT IN (SELECT oid FROM family) AND c.relname <> ALL(%(excluded)s)
 ORDER BY c.relname
"""
)

_FENCED_IN_SCHEMA = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE t.tgname = %(trigger)s AND NOT t.tgisinternal
   AND (n.nspname = %(schema)s OR c.oid::bigint = ANY(%(oids)s))
 ORDER BY n.nspname, c.relname
"""

_PREPARED = (
    "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared"
)


def fence_statements(tables: Sequence[str]) -> list[str]:
    """What raises the fence on these tables (quoted names), in one transaction."""
    statements = [f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE"]
    for table in tables:
        statements.append(
            f"CREATE OR REPLACE TRIGGER {FENCE_TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE"
            f" ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
        )
        statements.append(f"ALTER TABLE ONLY {table} ENABLE ALWAYS TRIGGER {FENCE_TRIGGER}")
    return statements


class PostgresFence:
    """Of the plan's tables, in one schema: writes refused, and proven to be. `raise_` and `lift` may be
    repeated.

    `admin_dsn` owns the tables. `app_dsn` is the application's own, perhaps through a pooler: it is only used
    to try writes. `known_excluded` are tables of the schema that the plan leaves out by name. Waiting for
    running writers takes at most `lock_timeout_seconds`, three times.
    """

    def __init__(
        self,
        admin_dsn: str,
        app_dsn: str | None,
        schema: str,
        tables: Sequence[str],
        *,
        lock_timeout_seconds: float,
        known_excluded: Sequence[str] = (),
    ) -> None:
        self._admin_dsn = admin_dsn
        self._app_dsn = app_dsn
        self._schema = schema
        self._names = list(tables)
        self._lock_timeout_seconds = lock_timeout_seconds
        self._known_excluded = list(known_excluded)
        self._admin: Connection | None = None
        self._canary: Connection | None = None
        self.untried: str | None = None  # what of the proof could not be tried, and why

    def open_canary(self) -> None:
        """Opens the application's session that `prove` tries to write through. Before `raise_`.

        Where the application's own way to the server is cut there is none: that must not keep a rollback
        from draining. `untried` says so.
        """
        if self._app_dsn is not None and self._canary is None:
            try:
                self._canary = application_session(self._app_dsn)
            except ServerError as e:
                self.untried = f"with the application's credentials: {e}"

    def raise_(self) -> None:
        """Fences. When it returns, every write that was under way is committed or undone; repeatable.

        Raises ServerError (blocked: names who, after terminating whom it may; prepared transactions),
        NotReady (the schema has a table that the plan lacks, or lacks one).
        """
        admin = self._session()
        with translated(self._admin_dsn):
            self._demand_no_prepared(admin)
            self._demand_known_tables(admin)
            self._create_function(admin)
            self._under_lock(admin, self._create_triggers, WRITERS, terminate=True)

    def prove(self) -> None:
        """Raises ProofFailed unless every table refuses the admin, a new session of the application, and the
        canary. A write is tried that would change no row: a statement trigger fires all the same.

        The triggers refuse every role alike, so where the application cannot connect the admin's proof
        stands; `untried` then says what was not tried.
        """
        admin = self._session()
        with translated(self._admin_dsn):
            tables = self._tables(admin)
            wrong = [f"table {t.name} lacks the fence" for t in tables if not t.fenced]
            for table in tables:
                wrong += [f"{what} by the admin" for what in accepted(admin, table, rights_may_lack=False)]
        if self._app_dsn is not None:
            wrong += self._try_application(self._app_dsn, tables)
            if self._canary is not None:
                with translated(self._app_dsn):
                    wrong += self._try_canary(self._canary, tables)
        if wrong:
            raise ProofFailed(
                f"{place(self._admin_dsn)}: the fence does not hold: {'; '.join(wrong[:3])}",
                hint="run the same command again: it sets the fence anew",
            )

    def _try_application(self, dsn: str, tables: list[FencedTable]) -> list[str]:
        if self.untried is not None:  # the canary could not connect: nobody waits for that twice
            return []
        try:
            session = application_session(dsn)
        except ServerError as e:
            self.untried = f"with the application's credentials: {e}"
            return []
        with translated(dsn), session:
            return application_writes(session, tables, "a new session")

    def is_raised(self) -> bool:
        """Every table, partitions included, has the fence's trigger, enabled always."""
        admin = self._session()
        with translated(self._admin_dsn):
            tables = self._tables(admin)
        return bool(tables) and all(t.fenced for t in tables)

    def lift(self) -> None:
        """Drops the fence wherever it is in the schema; repeatable. Readers are waited for, never ended."""
        admin = self._session()
        with translated(self._admin_dsn):
            self._under_lock(admin, self._drop_triggers, ALL_LOCKS, terminate=False)

    def close(self) -> None:
        """Ends the sessions; the fence stays as it is."""
        for session in (self._admin, self._canary):
            if session is not None:
                session.close()
        self._admin = self._canary = None

    # ---- inside ----------------------------------------------------------------------------------

    def _session(self) -> Connection:
        if self._admin is None or self._admin.closed:
            self._admin = connect(
                self._admin_dsn,
                application_name="turnback fence",
                settings={
                    "row_security": "on"
                },  # nothing is read; off, a policy would refuse the attempts of `prove`
            )
        return self._admin

    def _tables(self, admin: Connection) -> list[FencedTable]:
        cursor = admin.cursor(row_factory=args_row(FencedTable))
        return cursor.execute(
            _TABLES.encode(),
            {
                "schema": self._schema,
                "tables": self._names,
                "type": _TRIGGER_TYPE,
                "function": f"{FUNCTION}()",
                "trigger": FENCE_TRIGGER,
            },
        ).fetchall()

    def _demand_known_tables(self, admin: Connection) -> None:
        """A table that the plan lacks would take writes that nothing carries back."""
        missing = set(self._names) - {t.name for t in self._tables(admin) if t.schema == self._schema}
        rows = admin.execute(
            _OUTSIDE.encode(),
            {"schema": self._schema, "tables": self._names, "excluded": self._known_excluded},
        ).fetchall()
        for what, names in (
            ("lacks", missing),
            ("has, and the plan lacks,", {str(name) for (name,) in rows}),
        ):
            if names:
                raise NotReady(
                    f"schema {self._schema} {what} {', '.join(sorted(names))}",
                    hint="undo that change in PostgreSQL: the plan, and so the way back, does not know it",
                )

    def _demand_no_prepared(self, admin: Connection) -> None:
        """A prepared transaction commits whenever somebody says so, past every trigger."""
        if rows := admin.execute(_PREPARED).fetchall():
            raise ServerError(
                f"prepared transactions are open: {', '.join(str(gid) for (gid,) in rows)}",
                hint="COMMIT PREPARED or ROLLBACK PREPARED each of them, then try again",
            )

    def _create_function(self, admin: Connection) -> None:
        with admin.transaction():
            if admin.execute("SELECT to_regnamespace('turnback')").fetchone() == (None,):
                admin.execute("CREATE SCHEMA turnback")
            admin.execute(_CREATE_FUNCTION.encode())

    def _under_lock(
        self, admin: Connection, work: Callable[[Connection], None], modes: list[str], *, terminate: bool
    ) -> None:
        """Runs `work` in one transaction with bounded waiting, names who is in the way when it can't."""
        in_the_way: list[Blocker] = []
        for attempt in range(ATTEMPTS):
            try:
                with admin.transaction():
                    limit = f"{max(1, int(self._lock_timeout_seconds * 1000))}ms"
                    for name in ("lock_timeout", "statement_timeout"):
                        admin.execute("SELECT set_config(%s, %s, true)", (name, limit))
                    work(admin)
            except WAITED_TOO_LONG:
                in_the_way = blockers(admin, [t.oid for t in self._tables(admin)], modes)
                if terminate and attempt < ATTEMPTS - 1:
                    end_sessions(admin, in_the_way)
            else:
                return
        named = ", ".join(map(str, in_the_way)) or "nobody that can be seen now"
        self._demand_no_prepared(admin)
        raise ServerError(
            f"the tables of schema {self._schema} stay locked; in the way: {named}",
            hint="end them, or GRANT pg_signal_backend to the admin role, then run `turnback resume`",
        )

    def _create_triggers(self, admin: Connection) -> None:
        tables = self._tables(admin)
        for statement in fence_statements([t.sql for t in tables]):
            admin.execute(statement.encode())
        if {t.oid for t in self._tables(admin)} != {t.oid for t in tables}:
            raise NotReady("a partition was added meanwhile", hint="run the same command again")

    def _drop_triggers(self, admin: Connection) -> None:
        rows = admin.execute(
            _FENCED_IN_SCHEMA.encode(),
            {
                "trigger": FENCE_TRIGGER,
                "schema": self._schema,
                "oids": [t.oid for t in self._tables(admin)],
            },
        ).fetchall()
        for schema, name in rows:
            table = qualified(str(schema), str(name))
            admin.execute(f"DROP TRIGGER IF EXISTS {FENCE_TRIGGER} ON {table}".encode())

    def _try_canary(self, canary: Connection, tables: list[FencedTable]) -> list[str]:
        """A canary whose session was ended cannot write: that is a refusal too."""
        try:
            return application_writes(canary, tables, "a session opened before the fence")
        except psycopg.OperationalError as e:
            if canary.closed:
                return []
            raise translate(e, self._app_dsn or "") from None
