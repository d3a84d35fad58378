"""What the slot costs the server: whose it is, for the fuse, and how long a disk would last."""

from __future__ import annotations

from dataclasses import dataclass

from turnback.adapters.postgres.connect import Connection, connect, translated
from turnback.adapters.postgres.slot import identify_system
from turnback.core import lsn as positions
from turnback.core.findings import Finding
from turnback.core.fuse import Fuse, SlotFacts, hours, seconds_until, size
from turnback.core.lsn import ZERO

UNLIMITED = "-1"
SHORT_SECONDS = 86_400.0  # a guard that is down for a night must not cost the way back
MEASURED_SECONDS = 600.0  # a server that counts for less says nothing of an hour

# invalidation_reason came with PostgreSQL 17.
_FACTS = """
SELECT s.slot_type, s.plugin, s.database, current_database(), s.wal_status,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason', s.confirmed_flush_lsn::text,
       coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn), 0)::bigint,
       s.active,
       (SELECT a.application_name FROM pg_catalog.pg_stat_activity a WHERE a.pid = s.active_pid)
  FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s
"""

# max_slot_wal_keep_size in MB; WAL since the counters were reset (documentation: pg_stat_wal, 14 and newer).
_MEASURED = """
SELECT current_setting('max_slot_wal_keep_size'),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
       wal_bytes::float8, extract(epoch FROM clock_timestamp() - stats_reset)::float8,
       pg_catalog.to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD')
  FROM pg_catalog.pg_stat_wal
"""


def slot_facts(admin_dsn: str, slot: str) -> SlotFacts | None:
    """The slot as it is now; None: there is none. Raises ServerError."""
    connection = connect(admin_dsn, application_name="turnback slot")
    try:
        with translated(admin_dsn):
            row = connection.execute(_FACTS, (slot,)).fetchone()
    finally:
        connection.close()
    if row is None:
        return None
    system = identify_system(admin_dsn)
    kind, plugin, database, here, status, invalidation, confirmed, retained, active, reader = row
    return SlotFacts(
        slot=slot,
        slot_type=str(kind),
        plugin=None if plugin is None else str(plugin),
        database=None if database is None else str(database),
        connected_to=str(here),
        system_identifier=system.identifier,
        timeline=system.timeline,
        wal_status=None if status is None else str(status),
        invalidation=None if invalidation is None else str(invalidation),
        confirmed_flush_lsn=ZERO if confirmed is None else positions.parse(str(confirmed)),
        retained_bytes=int(str(retained)),
        reader=str(reader or "") if active else None,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """`keep_bytes` is max_slot_wal_keep_size (None: no limit), `keep` as the server prints it."""

    keep: str
    keep_bytes: int | None
    wal_bytes: float
    seconds: float
    since: str


def measure(connection: Connection) -> Measured:
    """The server's own bound, and how much WAL it has written since it counts. Raises psycopg.Error."""
    row = connection.execute(_MEASURED).fetchone()
    assert row is not None, "pg_stat_wal has one row"
    keep, megabytes, written, seconds, since = row
    bound = None if str(megabytes) == UNLIMITED else int(str(megabytes)) * 1024**2
    return Measured(str(keep), bound, float(str(written)), float(str(seconds or 0)), str(since))


def retention_findings(measured: Measured, limit_bytes: int) -> tuple[Finding, ...]:
    """What a dead guard would cost: it drops no slot, so only the server bounds it then.

    `limit_bytes` is [postgres] max_retained_wal_bytes.
    """
    if measured.keep_bytes is None:
        return (
            Finding(
                "rights.wal_retention",
                "carries",
                "max_slot_wal_keep_size is -1: with the guard dead, the slot fills the disk with WAL"
                + _lasts(measured, limit_bytes),
                settle=f"ALTER SYSTEM SET max_slot_wal_keep_size = '{_setting(limit_bytes)}';"
                " SELECT pg_reload_conf();",
            ),
        )
    left = _seconds(measured, measured.keep_bytes)
    if left is None or left >= SHORT_SECONDS:
        return ()
    return (
        Finding(
            "rights.wal_room",
            "carries",
            f"max_slot_wal_keep_size is {measured.keep}: a guard that is dead for {hours(left)} costs the way"
            f" back, at {_rate(measured)}",
            settle="ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare;"
            " SELECT pg_reload_conf();",
        ),
    )


def _setting(limit_bytes: int) -> str:
    """Where the guard's own fuse has blown at the latest: as long as it lives, it comes first."""
    megabytes = max(1, Fuse(limit_bytes).ceiling_bytes // 1024**2)
    return f"{megabytes // 1024}GB" if megabytes % 1024 == 0 else f"{megabytes}MB"


def _lasts(measured: Measured, limit_bytes: int) -> str:
    left = _seconds(measured, limit_bytes)
    if left is None:
        return ""
    return f"; {size(limit_bytes)} of it in {hours(left)}, at {_rate(measured)}"


def _rate(measured: Measured) -> str:
    an_hour = size(measured.wal_bytes / measured.seconds * 3600)
    return (
        f"{an_hour} an hour as measured since {measured.since} (what your application adds is not in it yet)"
    )


def _seconds(measured: Measured, room: int) -> float | None:
    if measured.seconds < MEASURED_SECONDS:
        return None
    return seconds_until(room, measured.wal_bytes, measured.seconds)
