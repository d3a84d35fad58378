"""kill -9 of the capturing process at random points under load: each change is applied exactly once (R11)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

import patience
from capturing import Both, column, table
from turnback.core.plan import Plan

PLAN = Plan(
    "create",
    "public",
    (
        table(
            "t",
            ("id",),
            column("id", "integer", "INTEGER"),
            column("pos", "integer", "INTEGER"),
            column("doc", "json_text", "TEXT", respell=True),
        ),
        table("log", (), column("line", "text", "TEXT")),
    ),
)
SQLITE = "CREATE TABLE t(id INTEGER PRIMARY KEY, pos INTEGER UNIQUE, doc TEXT); CREATE TABLE log(line TEXT);"
POSTGRES = (
    "CREATE TABLE t(id bigint PRIMARY KEY, pos bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, doc jsonb);"
    "CREATE TABLE log(line text)"
)

CHILD = """
import sys, time
from pathlib import Path
from turnback.adapters.postgres import slot as slots
from turnback.adapters.postgres.stream import SlotStream
from turnback.adapters.sqlite.fallback import Fallback
from turnback.app import transactions
from turnback.app.capture import Capture
from turnback.core.plan import from_json
sys.path.insert(0, sys.argv[1])
from turnback.adapters.clock import SystemClock
folder, slot = Path(sys.argv[2]), sys.argv[3]
dsn = sys.stdin.readline().strip()
transactions.IN_MEMORY = 50  # also the spool is killed in the middle
plan = from_json((folder / "plan.json").read_text())
capture = Capture(
    lambda: Fallback(folder / "fallback.db", plan, busy_seconds=10),
    lambda start: SlotStream(dsn, slot, "turnback", start),
    lambda: slots.identify_system(dsn),
    lambda: slots.confirmed_flush(dsn, slot),
    list,
    SystemClock(),
)
print("up", flush=True)
capture.start()
while capture.status().state != "stopped":
    time.sleep(0.02)
sys.exit(capture.status().error)
"""


# On a busy machine the load would else be written faster than a capture that is killed all the time applies it.
TRANSACTIONS_BETWEEN = 150


class Load(threading.Thread):
    """Small transactions, shifts under the unique constraint, and now and then a large one. `allowed` of them."""

    def __init__(self, dsn: str, seed: int) -> None:
        super().__init__(name="load")
        self._dsn = dsn
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self.transactions = self.allowed = 0
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as session:
                session.execute("SET synchronous_commit = off")
                while not self._stopping.is_set():
                    if self.transactions >= self.allowed:
                        time.sleep(0.005)
                        continue
                    with session.transaction():
                        self._one(session)
                    self.transactions += 1
        except psycopg.Error as e:
            self.failed = e

    def _one(self, session: psycopg.Connection) -> None:
        r = self._random
        match r.randrange(8):
            case 0 | 1 | 2:
                session.execute(
                    "INSERT INTO t SELECT coalesce(max(id), 0) + 1, coalesce(max(pos), 0) + 1, %s FROM t",
                    [f'{{"n": {r.randrange(9)}}}'],
                )
                session.execute("INSERT INTO log VALUES (%s)", [str(r.randrange(5))])
            case 3:
                session.execute("UPDATE t SET pos = pos + 1 WHERE pos > %s", [r.randrange(50)])
            case 4:
                session.execute("UPDATE t SET doc = '{\"x\":1}' WHERE id %% 3 = %s", [r.randrange(3)])
            case 5:
                session.execute("DELETE FROM t WHERE id = (SELECT min(id) FROM t)")
                session.execute("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log)")
            case 6:
                session.execute("INSERT INTO log SELECT 'bulk' FROM generate_series(1, 120)")
                session.execute("DELETE FROM log WHERE line = 'bulk'")
            case _:
                session.execute("DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 100")
        time.sleep(r.random() / 200)

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if self.failed is not None:
            raise self.failed


def await_progress(both: Both) -> None:
    before, deadline = both.rows("_turnback_position", "applied_lsn"), time.monotonic() + patience.SECONDS
    while both.rows("_turnback_position", "applied_lsn") == before:
        assert time.monotonic() < deadline, "nothing is applied"
        time.sleep(0.01)


def killed_again_and_again(database, folder: Path, kills: int) -> None:
    seed = int(os.environ.get("TURNBACK_TEST_SEED", time.time_ns() % 2**32))
    print(f"TURNBACK_TEST_SEED={seed}")
    dice = random.Random(seed)
    both = Both(database, folder, PLAN, SQLITE, POSTGRES)
    both.open_up()
    (folder / "plan.json").write_text(PLAN.to_json())
    tests = str(Path(__file__).resolve().parent.parent)
    load = Load(database.admin_dsn, seed)
    load.start()
    progressed = set()
    try:
        for number in range(kills):
            load.allowed += TRANSACTIONS_BETWEEN
            with subprocess.Popen(
                [sys.executable, "-c", CHILD, tests, str(folder), both.slot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as child:
                assert child.stdin is not None and child.stdout is not None and child.stderr is not None
                child.stdin.write(database.admin_dsn.encode() + b"\n")
                child.stdin.flush()
                # From before its first connection on; every second time well inside the stream, however busy
                # the machine is.
                try:
                    assert child.stdout.readline() == b"up\n"
                    if number % 2:
                        await_progress(both)
                    time.sleep(dice.uniform(0.0, 0.5))
                finally:
                    child.send_signal(signal.SIGKILL)
                    child.wait()
                said = child.stderr.read().decode()
            assert child.returncode == -signal.SIGKILL, said
            progressed.add(both.rows("_turnback_position", "applied_lsn")[0])
    finally:
        load.stop()
    with both.capturing() as capture:
        both.drain(capture)
    both.assert_equal()
    assert both.rows("pragma_integrity_check") == [("ok",)]
    assert load.transactions > 10 * kills
    # Else it was never killed at work.
    assert len(progressed) > kills // 3


@pytest.mark.hazard("R11", "carried")
def test_killed_eight_times(database, tmp_path):
    killed_again_and_again(database, tmp_path, 8)


@pytest.mark.long
@pytest.mark.hazard("R11", "carried")
def test_killed_thirty_times(database, tmp_path):
    killed_again_and_again(database, tmp_path, 30)
