"""PostgreSQL's own view of itself: connections, locks, transactions; and the replication slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnback.adapters.postgres.bounded import BoundedSession, Row
from turnback.errors import ProbeError, ServerError, TurnbackError
from turnback.ports import Probe

# `reserved_connections` came with PostgreSQL 16. This session itself is left out: where it takes the last
# place it must not be what exhausts the server. The state of other roles' sessions shows to pg_monitor only;
# without that right oldest_transaction_seconds counts what can be seen.
_ACTIVITY = """
WITH client AS (
  SELECT usename, xact_start FROM pg_catalog.pg_stat_activity
   WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
)
SELECT (SELECT count(*) FROM client),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0),
       (SELECT count(*) FROM client WHERE usename = $1),
       (SELECT nullif(rolconnlimit, -1) FROM pg_catalog.pg_roles WHERE rolname = $1),
       (SELECT count(DISTINCT pid) FROM pg_catalog.pg_locks WHERE NOT granted),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8 FROM client),
       (SELECT deadlocks FROM pg_catalog.pg_stat_database WHERE datname = current_database())
"""

_SLOT = """
SELECT wal_status, safe_wal_size,
       coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::bigint
  FROM pg_catalog.pg_replication_slots WHERE slot_name = $1
"""


@dataclass(slots=True)
class ActivityProbe(Probe):
    """postgres: what is in use, held against the limits of the server and of the application's role."""

    dsn: Callable[[], str]
    role: Callable[[], str]  # the application's
    interval_seconds: float
    timeout_seconds: float = 5.0
    name: str = "postgres"

    def observe(self) -> Mapping[str, Any]:
        """Raises ProbeError where the server does not answer."""
        (row,) = _ask(self.dsn, self.timeout_seconds, _ACTIVITY, self.role)
        connections, maximum, of_role, limit, waiting, oldest, deadlocks = row
        return {
            "connections": int(connections or 0),
            "max_connections": int(maximum or 0),
            "role_connections": int(of_role or 0),
            "role_limit": None if limit is None else int(limit),
            "waiting": int(waiting or 0),
            "oldest_transaction_seconds": max(0.0, float(oldest or 0.0)),
            "deadlocks": int(deadlocks or 0),
        }

    def close(self) -> None:
        """No session is kept."""


@dataclass(slots=True)
class SlotProbe(Probe):
    """slot: how long the server still keeps what capture needs (documentation: pg_replication_slots)."""

    dsn: Callable[[], str]
    slot: str
    interval_seconds: float
    timeout_seconds: float = 5.0
    name: str = "slot"

    def observe(self) -> Mapping[str, Any]:
        """Raises ProbeError where the server does not answer; a slot that is gone is a value."""
        rows = _ask(self.dsn, self.timeout_seconds, _SLOT, lambda: self.slot)
        if not rows:
            return {"wal_status": None, "safe_wal_size": None, "retained_bytes": 0}
        ((status, safe, retained),) = rows
        return {
            "wal_status": status,
            "safe_wal_size": None if safe is None else int(safe),
            "retained_bytes": int(retained or 0),
        }

    def close(self) -> None:
        """No session is kept."""


def _ask(dsn: Callable[[], str], seconds: float, sql: str, parameter: Callable[[], str]) -> list[Row]:
    try:
        with BoundedSession(dsn(), seconds) as session:
            return session.query(sql, [parameter()])
    except TurnbackError as e:
        hint = e.hint if not isinstance(e, ServerError) else "check that PostgreSQL runs"
        raise ProbeError(str(e), hint=hint) from None
