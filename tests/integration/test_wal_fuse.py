"""The WAL fuse on a real server: told of, blown, dead in between, and a new way back (core/fuse.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from test_fallback_rebuild import FILE, WRITES, admin, equal, until
from test_watching import Killed, SetClock

import trips
from turnback.adapters.postgres.view import SlotProbe
from turnback.app.status import Status, assemble
from turnback.app.wal_fuse import WalFuse, lost_capture
from turnback.core.fuse import PATIENCE_SECONDS
from turnback.core.phases import Intent, Phase
from turnback.core.watch.observation import Observation
from turnback.entrypoints.guarding import _fuse
from turnback.errors import WayBackLost
from turnback.ports import Notice, Record

trip = trips.trip

MB = 1024 * 1024
LIMIT = 4 * MB
INTERVAL = 10.0  # of the probe, in the time of the test


class Fused:
    """A trip on PostgreSQL and the fuse of its guard, each look of which is ordered by the test."""

    def __init__(self, t: trips.Trip) -> None:
        self.trip = t
        self.clock = SetClock()
        self.die_at = ""
        self.restart()

    def restart(self) -> None:
        """A new guard on the same journal."""
        self.notices: list[Notice] = []
        self.said: list[str] = []
        deciding: Any = SimpleNamespace(
            tell=self.notices.append, say=self.said.append, failpoint=self._failpoint, application="app", host="here"
        )
        self.fuse: WalFuse = _fuse(self.trip.setup, deciding)
        self.fuse.clock = self.clock
        self.fuse.release = self._release
        self.fuse.capture = lambda: self.trip.capture().status() if self.trip.capture() else None
        self.fuse.turn(self.state(), None, needed=False)

    def _failpoint(self, name: str) -> None:
        if name == self.die_at:
            raise Killed(name)

    def _release(self) -> None:
        self.trip._capturing.release()

    def state(self) -> Any:
        return self.trip.setup.state()

    def probe(self) -> SlotProbe:
        setup = self.trip.setup
        return SlotProbe(lambda: setup.urls.admin_dsn, setup.config.postgres.slot, INTERVAL)

    def look(self, *, needed: bool = False, times: int = 1) -> None:
        """The probe reads, then the guard's turn comes, and once more: what was recorded is acted on."""
        for _ in range(times):
            self.clock.pass_(INTERVAL)
            seen = Observation(self.clock.at, self.clock.now(), "slot", self.probe().observe())
            for _ in range(2):
                self.fuse.turn(self.state(), seen, needed=needed)

    def hold(self, megabytes: int) -> None:
        """So much more WAL, from beside the application."""
        for _ in range(megabytes):
            admin(self.trip, f"SELECT pg_logical_emit_message(false, 'ballast', repeat('x', {MB}))")

    def blow(self) -> None:
        """Far over the limit, in two looks."""
        self.hold(8)
        self.look(times=2)

    def slots(self) -> list[str]:
        found = self.trip.in_postgres("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()")
        return [name for (name,) in found]

    def records(self, kind: str) -> list[Record]:
        return list(self.trip.setup.journal.records(kind=kind))

    def status(self) -> Status:
        lost = self.fuse.lost
        now = self.trip.setup.clock.now()
        capture = {"state": "streaming"} if lost is None else {"state": "stopped", "lost": True, "error": lost_capture(lost).error}
        return assemble(self.state(), {"pid": 1}, {"at": now.isoformat(), "capture": capture, "fuse": self.fuse.to_json()}, now)


@pytest.fixture
def fused(trip: Callable[..., trips.Trip]) -> Iterator[Callable[..., Fused]]:
    def make(more: str = "") -> Fused:
        t = trip(FILE, settle=f"[postgres]\nmax_retained_wal_bytes = {LIMIT}\n{more}")
        t.there()
        return Fused(t)

    yield make


def reader_gone(f: Fused) -> None:
    f._release()
    until(lambda: not f.trip.in_postgres("SELECT 1 FROM pg_replication_slots WHERE active AND database = current_database()"))


def test_it_warns_blows_and_a_rebuild_brings_the_way_back_again(fused: Callable[..., Fused]) -> None:
    f = fused()
    t = f.trip
    t.write(*WRITES)
    admin(t, "ALTER TABLE member ADD COLUMN unheard_of integer")  # capture stops at what the plan does not know
    until(lambda: t.capture().status().state == "stopped")
    f.look()
    assert f.notices == [] and f.status().warnings == ()
    f.hold(3)
    f.look()
    assert [(n.event, n.severity) for n in f.notices] == [("page", "high")]
    assert "MB of WAL are held back, 4.0 MB are allowed" in f.notices[0].text and "an hour: there in" in f.notices[0].text
    assert any("WAL fuse" in w for w in f.status().warnings) and f.slots()
    f.hold(4)
    f.look()
    assert f.notices[-1].severity == "critical" and f.slots(), "one reading never blows it"
    f.look()
    assert f.slots() == []
    (lost,) = f.records("way_back_lost")
    (dropped,) = f.records("slot_dropped")
    assert lost.sequence < dropped.sequence and lost.body["retained_bytes"] > LIMIT and dropped.body["found"]
    assert f.notices[-1].title == "wal-fuse: the way back is lost" and "fallback rebuild" in f.notices[-1].text
    said = f.status()
    assert said.ready is False and said.reasons[0].startswith("no way back: the slot") and said.next_command == "turnback fallback rebuild"
    t.write("UPDATE member SET score = 100 WHERE id = 7")  # the application has not felt anything

    admin(t, "ALTER TABLE member DROP COLUMN unheard_of")
    t._capturing.ensure_capture()
    assert t.capture() is None, "nothing follows a slot that is gone"
    with pytest.raises(WayBackLost, match="no way back") as refused:
        t.back()
    assert "fallback rebuild" in refused.value.hint and t.phase is Phase.ON_POSTGRES
    with pytest.raises(WayBackLost, match="PostgreSQL answers"):
        t.run(Intent.ROLLBACK, accept_loss=True)
    assert [s for r in t.setup.state().runs for s in r.started].count("stop_application") == 1, "the cutover's alone"

    t.run(Intent.REBUILD)
    f.look(times=2)
    assert f.state().way_back_lost is None and f.slots() and f.status().ready and f.notices[-1].resolved
    assert equal(t)
    t.back()
    assert t.in_sqlite("SELECT id, score FROM member WHERE id IN (5, 7)") == [(5, 99.0), (7, 100.0)]


@pytest.mark.long
def test_a_fallback_that_somebody_locks_blows_it_too(fused: Callable[..., Fused]) -> None:
    f = fused()
    with closing(apsw.Connection(os.fspath(f.trip.setup.sqlite.fallback))) as other:
        other.execute("BEGIN IMMEDIATE")
        f.hold(8)
        f.trip.write(*WRITES)
        f.look(times=3)
        assert f.slots() == [] and len(f.records("slot_dropped")) == 1
        other.execute("ROLLBACK")


@pytest.mark.long
def test_a_slot_that_somebody_made_anew_is_not_dropped(fused: Callable[..., Fused]) -> None:
    f = fused()
    reader_gone(f)
    (name,) = f.slots()
    f.hold(1)
    admin(f.trip, f"SELECT pg_drop_replication_slot('{name}')::text")
    admin(f.trip, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')::text")
    f.blow()
    assert f.slots() == [name] and not f.records("way_back_lost")
    assert "somebody made it anew" in f.notices[-1].text and "pg_drop_replication_slot" in f.notices[-1].text


@pytest.mark.long
def test_a_slot_that_catches_up_has_time(fused: Callable[..., Fused]) -> None:
    """Over the limit, and under half as much again: as long as somebody may need it, or it gets lower."""
    f = fused()
    reader_gone(f)
    f.hold(5)
    f.look(times=2 + int(PATIENCE_SECONDS / INTERVAL), needed=True)
    assert f.slots() and f.notices[-1].severity == "critical"
    f.trip._capturing.ensure_capture()
    f.trip.capture().wait_streaming(10)

    def got_on() -> bool:
        admin(f.trip, "CHECKPOINT")  # logs what runs now: only then a slot moves on
        return bool(f.probe().observe()["retained_bytes"] < MB)

    until(got_on, 60)
    f.look(times=2)
    assert f.slots() and f.notices[-1].resolved and not f.records("way_back_lost")


@pytest.mark.long
def test_what_the_server_gave_up_is_lost_in_the_journal_too(fused: Callable[..., Fused]) -> None:
    """max_slot_wal_keep_size of the server, or idle_replication_slot_timeout (18)."""
    f = fused()
    reader_gone(f)

    def server(statement: str) -> None:
        admin(f.trip, statement)

    server("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    server("SELECT pg_reload_conf()")
    try:

        def given_up() -> bool:
            f.hold(1)
            server("SELECT pg_switch_wal()")
            server("CHECKPOINT")
            return f.probe().observe()["wal_status"] == "lost"

        until(given_up)
    finally:
        server("ALTER SYSTEM RESET max_slot_wal_keep_size")
        server("SELECT pg_reload_conf()")
    f.look()
    assert not f.records("way_back_lost"), "one reading is not enough"
    f.look()
    (lost,) = f.records("way_back_lost")
    assert "has given up the slot" in lost.body["why"] and lost.body["drop"] is False
    assert f.status().next_command == "turnback fallback rebuild"
    f.trip.run(Intent.REBUILD)
    f.look()
    assert f.state().way_back_lost is None and equal(f.trip)
