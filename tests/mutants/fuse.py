"""The WAL fuse: each check that keeps a slot, or production's disk, taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import test_fuse_at_work as at_work
import test_fuse_laws as laws
from test_fuse_at_work import LIMIT, OURS, SLOT

from mutants import Mutant, Place, Scenario, demand
from mutants.rewritten import caught_by, rewritten
from mutants.told import fixture, swap
from turnback.app import engine
from turnback.app.guard import Guard
from turnback.app.wal_fuse import WalFuse
from turnback.core import fuse as of_fuse
from turnback.core.fuse import Fuse, Level, Retention
from turnback.core.lsn import Lsn
from turnback.core.state import Fold

BENCH = fixture(at_work.bench)


def _levels(*held: int, needed: bool = False) -> list[Level]:
    fuse = Fuse(LIMIT)
    return [fuse.take(Retention(10.0 * i, "reserved", n), needed=needed) for i, n in enumerate(held)]


def one_reading_blows_nothing(place: Place) -> None:
    demand(Level.BLOWN not in _levels(100, 9000, 100, 9000), "one reading blew the fuse")


def far_over_the_limit_it_blows_whoever_needs_it(place: Place) -> None:
    demand(
        _levels(1501, 1501, needed=True)[-1] is Level.BLOWN, "the disk fills, and somebody might roll back"
    )


def a_slot_that_catches_up_has_time(place: Place) -> None:
    demand(Level.BLOWN not in _levels(*range(1490, 1001, -40)), "it was dropped while it caught up")


def who_may_roll_back_keeps_it(place: Place) -> None:
    demand(Level.BLOWN not in _levels(*[1200] * 20, needed=True), "the slot of a rollback was dropped")


def one_that_stands_still_is_given_up(place: Place) -> None:
    demand(_levels(*[1200] * 8)[-1] is Level.BLOWN, "over the limit for good, and it stays")


SCENARIOS: list[Scenario] = [
    one_reading_blows_nothing,
    far_over_the_limit_it_blows_whoever_needs_it,
    a_slot_that_catches_up_has_time,
    who_may_roll_back_keeps_it,
    one_that_stands_still_is_given_up,
]

_DECIDED = {
    "fuse: two readings": Mutant(
        "one reading is enough",
        swap(of_fuse, "READINGS", 1),
        one_reading_blows_nothing,
        "one reading blew",
    ),
    "fuse: the ceiling": Mutant(
        "there is no ceiling",
        rewritten(Fuse, "_judge", "now.retained_bytes > self.ceiling_bytes", "False"),
        far_over_the_limit_it_blows_whoever_needs_it,
        "the disk fills",
    ),
    "fuse: patience": Mutant(
        "it has no patience",
        rewritten(Fuse, "_judge", "now.at - self._low[1] >= PATIENCE_SECONDS", "True"),
        a_slot_that_catches_up_has_time,
        "while it caught up",
    ),
    "fuse: a new low": Mutant(
        "getting lower counts for nothing",
        rewritten(Fuse, "take", "now.retained_bytes < self._low[0]", "False"),
        a_slot_that_catches_up_has_time,
        "while it caught up",
    ),
    "fuse: needed": Mutant(
        "whoever needs the way back is not asked",
        rewritten(Fuse, "_judge", "stands_still and not needed", "stands_still"),
        who_may_roll_back_keeps_it,
        "of a rollback was dropped",
    ),
    "fuse: patience ends": Mutant(
        "its patience has no end",
        swap(of_fuse, "PATIENCE_SECONDS", 1e9),
        one_that_stands_still_is_given_up,
        "it stays",
    ),
}


_CHANGES: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"slot": "other"}, "facts.slot != ours.slot"),
    (
        {"system_identifier": "7001"},
        "(facts.system_identifier, facts.timeline) != (ours.system_identifier, ours.timeline)",
    ),
    ({"plugin": "test_decoding"}, '(facts.slot_type, facts.plugin) != ("logical", "pgoutput")'),
    ({"database": "other"}, "facts.database != facts.connected_to"),
    ({"confirmed_flush_lsn": Lsn(4097)}, "facts.confirmed_flush_lsn > ours.applied_lsn"),
    ({"reader": "debezium"}, "facts.reader not in (None, READER)"),
)


def _doubted(fields: Mapping[str, Any]) -> Scenario:
    """A slot that is not ours in one respect."""

    def scenario(place: Place) -> None:
        demand(of_fuse.doubts(replace(SLOT, **fields), OURS) is not None, "it is not ours")

    return scenario


_WHOSE = {
    f"fuse: whose slot: {next(iter(fields))}": Mutant(
        f"{next(iter(fields))} is not looked at",
        rewritten(of_fuse, "doubts", f"if {check}:", "if False:"),
        _doubted(fields),
        "it is not ours",
    )
    for fields, check in _CHANGES
}

_AT_WORK = {
    "fuse: the journal first": caught_by(
        at_work.test_a_full_disk_of_the_journal_drops_nothing,
        "the slot goes before the record",
        rewritten(
            WalFuse,
            "_blow",
            "self._record(why, facts, drop=True)",
            "self.drop_slot(); self._record(why, facts, drop=True)",
        ),
        bench=BENCH,
    ),
    "fuse: proven ours when decided": caught_by(
        at_work.test_a_slot_that_is_not_proven_to_be_ours_stays,
        "any slot of that name is given up",
        rewritten(
            WalFuse, "_blow", "self._doubts(facts) if self.drops else None", "self._followed() and None"
        ),
        bench=BENCH,
        another={"reader": "debezium"},
        harm="NotReady: the slot of the lost way back is not dropped",
    ),
    "fuse: proven ours when dropped": caught_by(
        at_work.test_made_anew_between_the_record_and_the_drop_it_stays,
        "any slot of that name is dropped",
        rewritten(WalFuse, "_drop", "if facts is not None and doubt is not None:", "if False:"),
        bench=BENCH,
    ),
    "fuse: the last look": caught_by(
        at_work.test_the_last_look_decides,
        "what got on meanwhile is dropped all the same",
        rewritten(
            WalFuse,
            "_blow",
            "if facts is None or facts.retained_bytes <= self.limit_bytes:",
            "if facts is None:",
        ),
        bench=BENCH,
    ),
    "fuse: not in a run": caught_by(
        at_work.test_what_is_lost_is_not_dropped_while_a_run_is_open,
        "a run's slot is dropped",
        rewritten(
            WalFuse,
            "turn",
            "state.phase is not Phase.ON_POSTGRES or state.open_run is not None",
            "state.phase is not Phase.ON_POSTGRES",
            ("state.slot_to_drop and state.open_run is None and", "state.slot_to_drop and"),
        ),
        bench=BENCH,
    ),
    "fuse: what was seen before a run does not count": caught_by(
        at_work.test_what_was_seen_before_a_run_does_not_count_after_it,
        "what was seen before a run counts after it",
        rewritten(
            WalFuse,
            "_rest",
            "self._fuse, self._looked_at = Fuse(self.limit_bytes), self.clock.monotonic()",
            "pass",
        ),
        bench=BENCH,
    ),
    "fuse: who has asked": caught_by(
        at_work.test_who_has_asked_for_a_rollback_needs_the_slot,
        "the slot of a rollback that was asked for is dropped",
        rewritten(Guard, "_mind_fuse", "self.fuse is None or asked or", "self.fuse is None or"),
        bench=BENCH,
        asked=True,
        waiting=None,
    ),
    "fuse: what waits": caught_by(
        at_work.test_who_has_asked_for_a_rollback_needs_the_slot,
        "the slot of a decision that waits is dropped",
        rewritten(Guard, "_mind_fuse", "watching.deciding.waiting or", ""),
        bench=BENCH,
        asked=False,
        waiting="error-rate",
    ),
    "fuse: page": caught_by(
        at_work.test_fuse_page_drops_nothing,
        "what the configuration says is not asked",
        rewritten(WalFuse, "_blow", "if doubt is not None or not self.drops:", "if doubt is not None:"),
        bench=BENCH,
    ),
    "fuse: taken up by the next guard": caught_by(
        at_work.test_killed_at_any_step_the_next_guard_goes_on,
        "a slot that was given up stays for ever",
        rewritten(Fold, "take", 'bool(body["drop"])', "False"),
        bench=BENCH,
        point="fuse.blown:record",
    ),
    "fuse: dropped once": caught_by(
        at_work.test_killed_at_any_step_the_next_guard_goes_on,
        "the record of the drop says nothing",
        rewritten(
            Fold,
            "take",
            'case "slot_dropped":\n            state.slot_to_drop = False',
            'case "slot_dropped":\n            pass',
        ),
        bench=BENCH,
        point="fuse.dropped:effect",
    ),
    "fuse: another server": caught_by(
        at_work.test_on_another_server_its_absence_says_nothing,
        "a wrong address loses the way back",
        rewritten(
            WalFuse, "_given_up", "if self.system() != (ours.system_identifier, ours.timeline):", "if False:"
        ),
        bench=BENCH,
    ),
    "fuse: no rollback without a way back": caught_by(
        at_work.test_everybody_learns_that_it_is_lost,
        "a rollback to a stale fallback begins",
        rewritten(
            engine, "check", 'if intent is Intent.ROLLBACK and not options.get("accept_loss"):', "if False:"
        ),
        bench=BENCH,
    ),
    "fuse: an undone rebuild brings nothing back": caught_by(
        at_work.test_a_rebuild_ends_it_and_one_that_was_undone_does_not,
        "a rebuild that failed is a way back",
        rewritten(Fold, "take", 'run.outcome == "done" and run.intent', "run.intent"),
        bench=BENCH,
    ),
    "fuse: what an undo left": caught_by(
        at_work.test_what_an_undo_could_not_drop_is_dropped_when_the_server_is_back,
        "a slot of an undone cutover fills the disk",
        rewritten(Fold, "take", "state.slot_to_drop = True", "pass"),
        bench=BENCH,
    ),
    "fuse: it warns": caught_by(
        laws.test_the_time_left_is_that_of_the_last_minutes_and_of_the_nearer_bound,
        "the server's own bound is not told",
        rewritten(Fuse, "bound_bytes", "now is None or now.safe_wal_size is None", "True"),
    ),
    "fuse: people are told": caught_by(
        at_work.test_told_at_half_and_given_up_far_over_the_limit,
        "nobody is told before it blows",
        swap(of_fuse, "WARN_SHARE", 1.0),
        bench=BENCH,
    ),
}

MUTANTS: dict[str, Mutant] = _DECIDED | _WHOSE | _AT_WORK
