"""The guard's own session on PostgreSQL: connect, read, and write one row of its own.

A new session each time: that also meets a full connection table, pg_hba.conf, an expired password. The
table is logged, so that a commit goes the way of the application's: a server whose disk is full, or whose WAL
hangs, fails here too. It stands in schema `turnback`, in no publication (ours names its tables); its commit
waits for no standby.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import conninfo

from turnback.adapters.postgres.bounded import BoundedSession, Refused
from turnback.adapters.postgres.connect import place
from turnback.core.sqltext import identifier, literal
from turnback.errors import ProbeError, ServerError, TurnbackError
from turnback.ports import Probe

SCHEMA, TABLE = "turnback", "turnback.guard_probe"
NO_RIGHT, NO_TABLE, NO_SCHEMA = "42501", "42P01", "3F000"
LOCKED = "55P03"

AGAIN_SECONDS = 300.0  # until writing is tried again where the role might not

Step = Literal["connect", "read", "write"]


@dataclass(slots=True)
class ServerProbe(Probe):
    """server: as the application's role. Where that may not write the guard's row, only reading is tried, and
    the detail says so.

    `key` names this guard's row. The table is made once, by the role of `admin_dsn`.
    """

    app_dsn: Callable[[], str]
    admin_dsn: Callable[[], str]
    key: str
    write: bool
    interval_seconds: float
    timeout_seconds: float
    name: str = "server"
    _unwritable: str | None = None  # why writing is not tried
    _again_at: float = 0.0  # when it is tried again

    def observe(self) -> Mapping[str, Any]:
        began = time.monotonic()
        try:
            dsn = self.app_dsn()
        except TurnbackError as e:
            raise ProbeError(str(e), hint=e.hint) from None
        ok, step, said = self._try(dsn)
        detail = said + (f" (writing is not tried: {self._unwritable})" if ok and self._unwritable else "")
        return {"ok": ok, "detail": detail, "seconds": round(time.monotonic() - began, 4), "step": step}

    def close(self) -> None:
        """No session is kept."""

    def _try(self, dsn: str) -> tuple[bool, Step, str]:
        step: Step = "connect"
        try:
            with BoundedSession(dsn, self.timeout_seconds) as session:
                step = "read"
                session.query("SELECT oid FROM pg_catalog.pg_class LIMIT 1")
                if self.write and (self._unwritable is None or time.monotonic() >= self._again_at):
                    step = "write"
                    self._unwritable = self._write(session)
                    step = "read" if self._unwritable else "write"
        except ServerError as e:
            return False, step, f"{step}: {e}"
        return True, step, f"{place(dsn)}: {step}"

    def _write(self, session: BoundedSession) -> str | None:
        """None: written. Or why this role may not write this row, which says nothing about the server.

        Raises ServerError where the server cannot write.
        """
        for prepared in (False, True):
            try:
                # A session that waits for a lock would outlive ours, and one more would come each time.
                limit = int(self.timeout_seconds * 1000) or 1
                session.query(
                    f"BEGIN; SET LOCAL statement_timeout = {limit}; "
                    f"SET LOCAL lock_timeout = {limit // 2 or 1}"
                )
                session.query(
                    "SET LOCAL synchronous_commit = local; "
                    f"INSERT INTO {TABLE} (name, written_at) VALUES ({literal(self.key)}, now()) "
                    "ON CONFLICT (name) DO UPDATE SET written_at = excluded.written_at; COMMIT"
                )
            except Refused as e:
                if e.sqlstate == LOCKED:
                    return "another session has locked the guard's own table"  # and not the application's
                if e.sqlstate not in (NO_RIGHT, NO_TABLE, NO_SCHEMA):
                    raise
                session.query("ROLLBACK")
                why = str(e) if prepared else self._prepare()
                if why is not None:
                    self._again_at = time.monotonic() + AGAIN_SECONDS
                    return why
            else:
                return None
        raise AssertionError("the second attempt returns")

    def _prepare(self) -> str | None:
        """Makes the table and grants it to the application's role; why not, where that fails."""
        role = conninfo.conninfo_to_dict(self.app_dsn()).get("user")
        try:
            with BoundedSession(self.admin_dsn(), self.timeout_seconds) as session:
                if not session.query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", [SCHEMA]):
                    session.query(f"CREATE SCHEMA {SCHEMA}")
                session.query(
                    f"CREATE TABLE IF NOT EXISTS {TABLE} "
                    "(name text PRIMARY KEY, written_at timestamptz NOT NULL)"
                )
                if role:
                    session.query(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {identifier(str(role))}")
                    session.query(f"GRANT SELECT, INSERT, UPDATE ON {TABLE} TO {identifier(str(role))}")
        except TurnbackError as e:
            return str(e)
        return None
