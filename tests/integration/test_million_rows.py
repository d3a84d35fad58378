"""A transaction of a million rows reaches the fallback in bounded memory (HAZARDS R15)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import apsw
import pytest

from bench_app import Bench
from turnback.adapters.journal import Lease
from turnback.core import lsn

ROWS = 1_000_000
LIMIT_KIB = 400 * 1024


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.long
@pytest.mark.hazard("R15", "carried")
def test_a_million_rows_in_one_transaction(tmp_path: Path, database) -> None:
    bench = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        bench.ok("assess")
        bench.ok("migrate")
        bench.ok("cutover", "--yes")
        lease = Lease(bench.state / "lease")
        holder = lease.holder()
        lease.close()
        assert holder is not None
        pid = int(holder["pid"])
        begun = time.monotonic()
        database.connect(app=True).execute(
            "INSERT INTO public.person (team_id, name, active)"
            f" SELECT 1, 'generated ' || g, true FROM generate_series(1, {ROWS}) g"
        )
        row = database.connect().execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        committed = lsn.parse(row[0])
        while lsn.parse((status := bench.ok("status"))["applied_lsn"]) < committed:
            assert time.monotonic() - begun < 400, status
            time.sleep(1)
        peak = _peak_kib(pid)
        print(f"{ROWS} rows after {time.monotonic() - begun:.0f} s, peak {peak // 1024} MiB")
        assert peak < LIMIT_KIB
        os.kill(pid, signal.SIGTERM)
        bench.stop_guard()
        bench.ok("rollback", "--yes", timeout=400)  # at its end every row is compared twice, while SQLite serves
        with apsw.Connection(os.fspath(bench.path), flags=apsw.SQLITE_OPEN_READONLY) as db:
            assert db.execute("SELECT count(*) FROM person WHERE name LIKE 'generated %'").fetchall() == [(ROWS,)]
    finally:
        bench.stop_guard()
