"""The sessions that hold locks on tables: named, and ended where that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import args_row

from turnback.adapters.postgres.connect import Connection

# The sessions that hold a lock of one of the `modes` on the tables. Another role's state shows to
# pg_read_all_stats only. Never the text of a query, which holds values.
_BLOCKERS = """
SELECT DISTINCT l.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''), coalesce(a.state, ''),
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)), 0)::float8
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.granted AND l.locktype = 'relation'
   AND l.relation::bigint = ANY(%(oids)s) AND l.mode = ANY(%(modes)s)
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND l.pid IS NOT NULL AND l.pid <> pg_backend_pid()
 ORDER BY l.pid
"""

# Conflicts with EXCLUSIVE (PostgreSQL documentation: Explicit Locking); DROP TRIGGER waits for readers, too
WRITERS = [
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
]
ALL_LOCKS = ["AccessShareLock", *WRITERS]

WAITED_TOO_LONG = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that holds a lock on a table."""

    pid: int
    application_name: str
    user: str
    state: str
    age_seconds: float

    def __str__(self) -> str:
        named = f"pid {self.pid} ({self.application_name or 'no application_name'}"
        return f"{named}, user {self.user or '?'}, {self.state or 'state hidden'}, {self.age_seconds:.0f} s)"


def blockers(admin: Connection, oids: Sequence[int], modes: Sequence[str]) -> list[Blocker]:
    """Those that hold a lock of one of the `modes` on the tables `oids`, our own session left out."""
    cursor = admin.cursor(row_factory=args_row(Blocker))
    return cursor.execute(_BLOCKERS.encode(), {"oids": list(oids), "modes": list(modes)}).fetchall()


def end_sessions(admin: Connection, blockers: Sequence[Blocker]) -> None:
    """Ends the sessions in the way, turnback's own and those it has no right to left alone."""
    for blocker in blockers:
        if blocker.application_name.startswith("turnback"):
            continue
        try:
            admin.execute("SELECT pg_terminate_backend(%s)", (blocker.pid,))
        except psycopg.errors.InsufficientPrivilege:
            continue  # named in the error if it is still there after the last attempt
