"""The WAL fuse of a guard process, at the example application under load: the guard is killed between the record and
the drop, the application feels nothing, nothing rolls back to what is stale, and a rebuild opens the way back again.
"""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from guarded import HEALTH, Guarded

MB = 1024 * 1024
pytestmark = pytest.mark.long


def slots(g: Guarded) -> list[str]:
    with closing(psycopg.connect(g.admin_dsn, autocommit=True)) as admin:
        found = admin.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
        return [str(name) for (name,) in found.fetchall()]


@pytest.mark.parametrize("point", ["fuse.blown:record", "fuse.dropped:effect"])
def test_it_is_blown_once_and_only_a_rebuild_brings_the_way_back(guarded, point: str) -> None:
    g: Guarded = guarded(
        {"postgres": {"max_retained_wal_bytes": 4 * MB}}, environment={"TURNBACK_FAILPOINT": point}
    )
    g.to_postgres()
    g.execute("ALTER TABLE users ADD COLUMN unheard_of integer")
    g.wait_until(lambda: g.status()["capture"]["state"] == "stopped", "capture stops at the drift")
    for _ in range(8):
        g.execute(f"SELECT pg_logical_emit_message(false, 'ballast', repeat('x', {MB}))")
    g.wait_failpoint(point)
    assert len(g.records("way_back_lost")) == 1 and bool(slots(g)) is (point == "fuse.blown:record")
    assert g.kill_guard()
    g.wait_until(lambda: g.records("slot_dropped"), lambda: f"the next guard goes on\n{g.guard_log()}")
    assert slots(g) == [] and len(g.records("way_back_lost")) == len(g.records("slot_dropped")) == 1
    g.wait_until(
        lambda: (g.status().get("capture") or {}).get("lost"), lambda: f"status says it\n{g.guard_log()}"
    )
    assert "given up to spare" in g.status()["capture"]["error"]

    failing = 6  # checks, of which five would be a dead application
    g.wait_until(lambda: not g.watch()["readiness"]["ready"], "the way back is not ready")
    g.gateway.fail(HEALTH, failing)
    held = g.wait_decision("hold", "application-health")
    assert "the way back is lost" in held["held_back"] and g.rollbacks() == []
    refused = g.turnback("rollback", "--yes")
    assert refused.returncode != 0 and "turnback fallback rebuild" in refused.stderr
    assert g.rollbacks() == [] and g.serving(), "refused before anything was stopped"
    g.load.wait(20)
    assert "wal-fuse: the way back is lost" in g.hook.text()

    g.execute("ALTER TABLE users DROP COLUMN unheard_of")
    g.ok("fallback", "rebuild")
    g.wait_until(lambda: g.watch()["readiness"]["ready"], lambda: f"ready again\n{g.told()}")
    g.load.wait(20)
    g.ok("rollback", "--yes")
    assert g.phase() == "on_sqlite"
    g.assert_nothing_lost()
