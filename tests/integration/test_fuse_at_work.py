"""The WAL fuse of a guard: a real journal, a clock that is set by hand, and a server that says what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_watching import Fullable, Killed, SetClock

from turnback.adapters.postgres.retention import Measured, retention_findings
from turnback.app import engine
from turnback.app.guard import Guard
from turnback.app.status import assemble
from turnback.app.wal_fuse import WalFuse, lost_capture
from turnback.core.fuse import READER, Followed, SlotFacts
from turnback.core.incident_timeline import _event
from turnback.core.lsn import Lsn
from turnback.core.phases import Intent
from turnback.core.state import State
from turnback.core.watch.observation import Observation
from turnback.errors import DiskFull, NotReady, ServerGone, SourceError, WayBackLost
from turnback.ports import Notice

LIMIT = 1000
OURS = Followed("turnback", "7000", 1, Lsn(4096))
SLOT = SlotFacts("turnback", "logical", "pgoutput", "app", "app", "7000", 1, "reserved", None, Lsn(4096), 100, READER)


class Bench:
    """One application on PostgreSQL; `restart` is a new guard."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        self.journal = Fullable(folder / "journal.db", now=self.clock.now)
        self.slot: SlotFacts | None = SLOT
        self.system = ("7000", 1)
        self.away = self.unreadable = False
        self.die_at = ""
        self.drops = True
        self.released = 0
        self.dropped: list[str] = []
        self.journal.append("assessed", {"plan": "p", "schema": "s"})
        for intent in (Intent.MIGRATE, Intent.CUTOVER):
            self.run(intent)
        self.restart()

    def run(self, intent: Intent, outcome: str = "done", **options: Any) -> None:
        ident = f"{intent.value}-{len(self.journal.records())}"
        self.journal.append("run_started", {"intent": intent.value, "options": options}, run=ident)
        self.journal.append("run_ended", {"outcome": outcome}, run=ident)

    def restart(self) -> None:
        self.notices: list[Notice] = []
        self.said: list[str] = []
        self.fuse = WalFuse(
            journal=self.journal, clock=self.clock, limit_bytes=LIMIT, drops=self.drops, facts=self._facts,
            system=lambda: self.system, drop_slot=self._drop, followed=self._followed, tell=self.notices.append,
            say=self.said.append, failpoint=self._failpoint, about={}, release=self._release,
        )
        self.fuse.turn(self.state(), None, needed=False)

    def _facts(self) -> SlotFacts | None:
        if self.away:
            raise ServerGone("PostgreSQL does not answer")
        return self.slot

    def _drop(self) -> None:
        assert self.slot is not None
        self.dropped.append(self.slot.slot)
        self.slot = None

    def _followed(self) -> Followed:
        if self.unreadable:
            raise SourceError("the fallback is locked")
        return OURS

    def _release(self) -> None:
        self.released += 1

    def _failpoint(self, name: str) -> None:
        if name == self.die_at:
            raise Killed(name)

    def state(self) -> State:
        return self.journal.state()

    def look(self, *held: int, needed: bool = False, **changed: Any) -> None:
        """The probe reads this, and the guard's turn comes twice."""
        for retained in held:
            self.clock.pass_(10.0)
            if self.slot is not None:
                self.slot = replace(self.slot, retained_bytes=retained, **changed)
            status = self.slot.wal_status if self.slot is not None else None
            value = {"wal_status": status, "safe_wal_size": None, "retained_bytes": retained}
            seen = Observation(self.clock.at, self.clock.now(), "slot", value)
            for _ in range(2):
                self.fuse.turn(self.state(), seen, needed=needed)

    def bodies(self, kind: str) -> list[Mapping[str, Any]]:
        return [r.body for r in self.journal.records(kind=kind)]

    def told(self) -> list[tuple[str, str]]:
        """What people heard, each once."""
        found: list[tuple[str, str]] = []
        for n in self.notices:
            if not found or found[-1] != (n.event, n.severity):
                found.append((n.event, n.severity))
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_told_at_half_and_given_up_far_over_the_limit(bench: Bench) -> None:
    bench.look(100, 400)
    assert bench.notices == []
    bench.look(500, 600, 999)
    assert bench.told() == [("page", "high")] and bench.dropped == []
    bench.look(1600)
    assert bench.told()[-1] == ("page", "critical") and bench.dropped == [], "one reading never blows it"
    bench.look(1700)
    assert bench.dropped == ["turnback"] and bench.released == 1
    kinds = [r.kind for r in bench.journal.records()][-2:]
    assert kinds == ["way_back_lost", "slot_dropped"], "the journal knows before the slot goes"
    (lost,) = bench.bodies("way_back_lost")
    assert lost["retained_bytes"] == 1700 and lost["applied_lsn"] == "0/1000" and lost["drop"] is True
    assert bench.notices[-1].title == "wal-fuse: the way back is lost"
    bench.look(0, 0, 0)
    assert bench.dropped == ["turnback"] and len(bench.bodies("way_back_lost")) == 1


def test_what_hovers_is_told_of_once_and_its_end_too(bench: Bench) -> None:
    bench.look(500, 450, 500, 410, 390)
    assert bench.told() == [("page", "high"), ("resolved", "high")]


def test_the_last_look_decides(bench: Bench) -> None:
    """It got on between the reading and the act."""
    bench.look(1600)
    bench.fuse.facts = lambda: replace(SLOT, retained_bytes=10)
    bench.look(1700)
    assert bench.dropped == [] and not bench.bodies("way_back_lost")


@pytest.mark.parametrize("point", ["fuse.blown:before", "fuse.blown:record", "fuse.dropped:effect"])
def test_killed_at_any_step_the_next_guard_goes_on(bench: Bench, point: str) -> None:
    bench.die_at = point
    with pytest.raises(Killed):
        bench.look(1600, 1700)
    assert bool(bench.dropped) is (point == "fuse.dropped:effect")
    assert len(bench.bodies("way_back_lost")) == (point != "fuse.blown:before")
    bench.die_at = ""
    bench.restart()
    bench.look(1700, 1700)
    assert bench.dropped == ["turnback"] and bench.slot is None
    assert len(bench.bodies("way_back_lost")) == len(bench.bodies("slot_dropped")) == 1
    assert bench.notices[-1].title == "wal-fuse: the way back is lost"


@pytest.mark.parametrize("another", [{"confirmed_flush_lsn": Lsn(4097)}, {"database": "other"}, {"reader": "debezium"}])
def test_a_slot_that_is_not_proven_to_be_ours_stays(bench: Bench, another: Mapping[str, Any]) -> None:
    bench.look(1600, 1700, **another)
    bench.look(*[1700] * 10)
    assert bench.dropped == [] and not bench.bodies("way_back_lost")
    assert "not proven to be ours" in bench.notices[-1].text and "pg_drop_replication_slot('turnback')" in bench.notices[-1].text


def test_made_anew_between_the_record_and_the_drop_it_stays(bench: Bench) -> None:
    bench.die_at = "fuse.blown:record"
    with pytest.raises(Killed):
        bench.look(1600, 1700)
    bench.die_at = ""
    bench.restart()
    with pytest.raises(NotReady, match="made it anew"):
        bench.look(1700, confirmed_flush_lsn=Lsn(9999))
    assert bench.dropped == [] and not bench.bodies("slot_dropped")


def test_a_fallback_that_cannot_be_read_is_known_from_before_or_not_at_all(bench: Bench) -> None:
    bench.look(600)
    bench.unreadable = True
    bench.look(1600, 1700)
    assert bench.dropped == ["turnback"]


def test_a_fallback_that_was_never_read_proves_nothing(bench: Bench) -> None:
    bench.unreadable = True
    bench.look(600, 1600, 1700)
    assert bench.dropped == [] and "the fallback cannot be read" in bench.notices[-1].text


def test_while_a_run_is_open_nothing_is_dropped(bench: Bench) -> None:
    bench.journal.append("run_started", {"intent": "rollback", "options": {}}, run="r")
    bench.look(*[1700] * 12)
    assert bench.dropped == [] and not bench.bodies("way_back_lost")
    bench.journal.append("run_ended", {"outcome": "undone"}, run="r")
    bench.look(1700)
    assert bench.dropped == [], "what was seen in the run does not count"
    bench.look(1700)
    assert bench.dropped == ["turnback"]


def test_what_was_seen_before_a_run_does_not_count_after_it(bench: Bench) -> None:
    bench.look(1700)
    bench.run(Intent.REBUILD, "undone")
    bench.look(1700)
    assert bench.dropped == [] and not bench.bodies("way_back_lost")
    bench.look(1700, 1700)
    assert bench.dropped == ["turnback"]


def test_what_is_lost_is_not_dropped_while_a_run_is_open(bench: Bench) -> None:
    """A rebuild makes a new slot of the same name."""
    bench.die_at = "fuse.blown:record"
    with pytest.raises(Killed):
        bench.look(1600, 1700)
    bench.die_at = ""
    bench.journal.append("run_started", {"intent": "rebuild", "options": {}}, run="r")
    bench.restart()
    bench.look(1700, 1700)
    assert bench.dropped == []
    bench.journal.append("run_ended", {"outcome": "done"}, run="r")
    bench.look(100, 100)
    assert bench.dropped == [] and bench.state().way_back_lost is None and bench.notices == []


def test_fuse_page_drops_nothing(bench: Bench) -> None:
    bench.drops = False
    bench.restart()
    bench.look(*[1700] * 12)
    assert bench.dropped == [] and not bench.bodies("way_back_lost")
    assert bench.told() == [("page", "critical")] and 'fuse is "page"' in bench.notices[-1].text


def test_a_full_disk_of_the_journal_drops_nothing(bench: Bench) -> None:
    """Without the record a new guard would not know why the slot is gone."""
    bench.look(1600)
    bench.journal.full = True
    with pytest.raises(DiskFull):
        bench.look(1700)
    assert bench.dropped == []
    bench.journal.full = False
    bench.look(1700)
    assert bench.dropped == ["turnback"]


def test_a_server_that_is_away_is_asked_again(bench: Bench) -> None:
    bench.die_at = "fuse.blown:record"
    with pytest.raises(Killed):
        bench.look(1600, 1700)
    bench.die_at = ""
    bench.away = True
    bench.restart()
    with pytest.raises(ServerGone):
        bench.look(1700)
    bench.away = False
    bench.look(1700)
    assert bench.dropped == ["turnback"] and len(bench.bodies("slot_dropped")) == 1


@pytest.mark.parametrize(("asked", "waiting"), [(True, None), (False, "error-rate")])
def test_who_has_asked_for_a_rollback_needs_the_slot(bench: Bench, asked: bool, waiting: str | None) -> None:
    """The guard minds its fuse between two runs, and not on the eve of one."""
    bench.look(1600)
    if asked:
        bench.journal.append("intent", {"id": "i", "intent": "rollback", "options": {}})
    seen = Observation(bench.clock.at + 1, bench.clock.now(), "slot", {"wal_status": "reserved", "retained_bytes": 1700})
    watching = SimpleNamespace(deciding=SimpleNamespace(waiting=waiting), readings={"slot": seen}, breached=False)
    guard: Any = SimpleNamespace(journal=bench.journal, watching=watching, fuse=bench.fuse, _seen=len(bench.journal.records()) - asked)
    Guard._mind_fuse(guard)
    assert not bench.bodies("way_back_lost")
    guard._seen, watching.deciding.waiting = len(bench.journal.records()), None
    Guard._mind_fuse(guard)
    assert bench.bodies("way_back_lost")


def test_what_the_server_gave_up_is_lost_in_the_journal_too(bench: Bench) -> None:
    bench.look(100, wal_status="lost", invalidation="idle_timeout")
    assert not bench.bodies("way_back_lost")
    bench.look(100)
    (lost,) = bench.bodies("way_back_lost")
    assert lost["why"] == "the server has given up the slot turnback (idle_timeout)" and lost["drop"] is False
    assert bench.dropped == [], "a lost slot keeps nothing; a rebuild clears it"


def test_a_slot_that_is_gone_is_lost(bench: Bench) -> None:
    bench.slot = None
    bench.look(0, 0)
    assert bench.bodies("way_back_lost")[0]["why"] == "the slot turnback is gone"


def test_on_another_server_its_absence_says_nothing(bench: Bench) -> None:
    """A wrong address, or a failover: the old server may come back with everything."""
    bench.slot, bench.system = None, ("7001", 1)
    bench.look(0, 0, 0)
    assert not bench.bodies("way_back_lost")


def test_everybody_learns_that_it_is_lost(bench: Bench) -> None:
    bench.look(1600, 1700)
    assert bench.fuse.lost is not None
    capture = lost_capture(bench.fuse.lost)
    assert capture.lost and capture.state == "stopped" and "given up to spare" in str(capture.error)
    for rollback in ({}, {"automatic": True, "trigger": "error-rate"}):
        with pytest.raises(WayBackLost, match="no way back") as refused:
            engine.check(bench.state(), Intent.ROLLBACK, rollback)
        assert "fallback rebuild" in refused.value.hint and "--accept-loss" in refused.value.hint
    engine.check(bench.state(), Intent.ROLLBACK, {"accept_loss": True})
    engine.check(bench.state(), Intent.REBUILD, {})
    said = assemble(bench.state(), None, None, bench.clock.now())
    assert said.ready is False and said.next_command == "turnback fallback rebuild"
    assert any(r.startswith("no way back: the slot turnback is given up") for r in said.reasons)


def test_an_incident_tells_it(bench: Bench) -> None:
    bench.look(1600, 1700)
    told = [event.what for r in bench.journal.records() if (event := _event(r)) is not None]
    assert any("the way back is lost: the slot turnback is given up" in what for what in told)
    assert any("the slot was dropped, 1.7 kB of WAL with it" in what for what in told)


def test_a_rebuild_ends_it_and_one_that_was_undone_does_not(bench: Bench) -> None:
    bench.look(1600, 1700)
    bench.run(Intent.REBUILD, "undone")
    assert bench.state().way_back_lost is not None
    bench.look(0)
    bench.slot = SLOT
    bench.run(Intent.REBUILD)
    engine.refuse_without_way_back(bench.state())
    bench.look(100, 100)
    assert bench.told()[-1] == ("resolved", "critical") and bench.fuse.lost is None and bench.slot is not None


def test_what_an_undo_could_not_drop_is_dropped_when_the_server_is_back(bench: Bench) -> None:
    """A cutover that was undone without the server leaves a slot that nobody reads."""
    bench.run(Intent.ROLLBACK)
    bench.run(Intent.MIGRATE)
    bench.journal.append("run_started", {"intent": "cutover", "options": {}}, run="c")
    bench.journal.append("step_started", {"step": "create_slot"}, run="c")
    bench.journal.append("undo_postponed", {"step": "create_slot", "error": "gone"}, run="c")
    bench.away = True
    bench.look(100)
    assert bench.dropped == []
    bench.journal.append("run_ended", {"outcome": "undone"}, run="c")
    with pytest.raises(ServerGone):
        bench.look(100)
    bench.away = False
    bench.run(Intent.MIGRATE)
    bench.look(100)
    assert bench.dropped == ["turnback"] and not bench.state().slot_to_drop


GB = 1024**3


def test_without_a_bound_of_the_servers_assess_says_how_long_the_disk_lasts() -> None:
    (found,) = retention_findings(Measured("-1", None, 48 * GB, 86_400.0, "2026-11-22"), 10 * GB)
    assert (found.code, found.severity) == ("rights.wal_retention", "carries")
    assert "10.0 GB of it in about 5 h, at 2.0 GB an hour as measured since 2026-11-22" in found.message
    assert found.settle == "ALTER SYSTEM SET max_slot_wal_keep_size = '15GB'; SELECT pg_reload_conf();"


def test_a_server_that_has_just_begun_to_count_says_nothing_of_an_hour() -> None:
    (found,) = retention_findings(Measured("-1", None, 48 * GB, 60.0, "2026-11-23"), 1000 * 1024**2)
    assert found.message.endswith("fills the disk with WAL") and "'1500MB'" in found.settle


def test_a_bound_that_a_night_reaches_is_told() -> None:
    busy, idle = Measured("10GB", 10 * GB, 48 * GB, 86_400.0, "2026-11-22"), Measured("10GB", 10 * GB, GB, 86_400.0, "2026-11-22")
    (found,) = retention_findings(busy, 10 * GB)
    assert found.code == "rights.wal_room" and "dead for about 5 h costs the way back" in found.message
    assert retention_findings(idle, 10 * GB) == ()
