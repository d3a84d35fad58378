"""Alertmanager and a guard side by side, with runs, restarts and a way back that comes and goes: an alert rolls back
while it fires, and only then.

The model of Alertmanager is what decision 23 measured: one group, sent when it changes and every minute, sent again
at the next group_interval when it was refused, and silent about what ends while it is inhibited.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_watching import BEHIND, RULES, Bench

from turnback.core.phases import Intent
from turnback.core.watch.triggers import ALERT_LASTS_SECONDS

TICK = 5.0  # seconds
REPEAT = 60.0
LONG = 30  # ticks of a rebuild
NAMES = ("f", "g")
ALARMED = replace(RULES, alerts={"ApplicationDown": "critical"})

intervals = st.integers(1, 6)  # group_interval, in ticks
steps = st.lists(
    st.one_of(
        st.tuples(st.just("raise"), st.sampled_from(NAMES)),
        st.tuples(st.just("clear"), st.sampled_from(NAMES)),
        st.tuples(st.just("inhibit"), st.booleans()),
        st.tuples(st.just("silently over"), st.sampled_from(NAMES)),
        st.tuples(st.just("behind"), st.booleans()),
        st.tuples(st.just("pass"), st.sampled_from([1, 3, 15, 40])),
        st.tuples(st.just("rebuild"), st.lists(st.sampled_from(["f", "g", "-f", "-g"]), max_size=3)),
        st.tuples(st.just("restart"), st.sampled_from([1.0, 20.0, 600.0, 90_000.0])),
    ),
    min_size=3,
    max_size=14,
)


@dataclass
class Alertmanager:
    """`told` is what it believes the guard knows; `interval` is the route's group_interval, in ticks."""

    interval: int
    firing: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    inhibited: bool = False
    ticks: int = 0
    sent_at: float = -1e9
    silent_at: float = -1e9  # when an alert ended of which it never says so

    def change(self, name: str, fires: bool) -> None:
        if fires:
            self.firing.add(name)
            self.ended.discard(name)
        elif name in self.firing:
            self.firing.discard(name)
            self.ended.add(name)

    def tick(self, bench: Bench) -> None:
        self.ticks += 1
        if self.ticks % self.interval == 0:
            self._flush(bench)

    def _flush(self, bench: Bench) -> None:
        if self.inhibited:
            if self.ended & self.told:
                self.silent_at = bench.clock.at
            self.ended.clear()
            return
        due = bench.clock.at - self.sent_at >= REPEAT
        if not (self.firing - self.told or self.ended & self.told or (self.firing and due)):
            return
        alerts = [_alert(n, "firing") for n in sorted(self.firing)]
        alerts += [_alert(n, "resolved") for n in sorted(self.ended)]
        if bench.watching.hearing.post(alerts) is None:
            self.told, self.sent_at = set(self.firing), bench.clock.at
            self.ended.clear()


def _alert(name: str, status: str) -> dict[str, Any]:
    return {"name": "ApplicationDown", "severity": "", "status": status, "fingerprint": name, "summary": ""}


@dataclass
class World:
    bench: Bench
    manager: Alertmanager
    behind: bool
    armed: float = 0.0  # for so long an alert fires, is not inhibited, and the guard could decide on it
    fired: list[bool] = field(default_factory=list)  # in each tick

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            if self.over:
                return
            self._meanwhile()
            self.bench.turn(1, BEHIND if self.behind else None, seconds=TICK)
            could = self.manager.firing and not self.manager.inhibited and not self.behind
            self.armed = self.armed + TICK if could else 0.0
            assert self.over or self.armed <= self.patience, "an alert that fires is missed"
            silent = self.bench.clock.at - self.manager.silent_at
            known = any(self.fired[-self.manager.interval - 2 :]) or silent <= ALERT_LASTS_SECONDS + 2 * TICK
            assert not self.over or known, "rolled back for an alert that is over"

    def _meanwhile(self) -> None:
        self.manager.tick(self.bench)
        self.fired.append(bool(self.manager.firing))

    @property
    def patience(self) -> float:
        return REPEAT + (self.manager.interval + 2) * TICK

    @property
    def over(self) -> bool:
        return bool(self.bench.decisions("rollback"))

    def do(self, what: str, how: Any) -> None:
        bench = self.bench
        match what:
            case "raise" | "clear":
                self.manager.change(how, what == "raise")
            case "inhibit":
                self.manager.inhibited = how
            case "silently over":
                self.manager.inhibited = True
                self.manager.change(how, False)
                self.tick(self.manager.interval)
                self.manager.inhibited = False
            case "behind":
                self.behind = how
            case "pass":
                self.tick(how)
            case "rebuild":
                bench.watching.run_begins(Intent.REBUILD)
                for name in how:
                    self.manager.change(name.removeprefix("-"), not name.startswith("-"))
                for _ in range(LONG):
                    bench.clock.pass_(TICK)
                    self._meanwhile()
                bench.run(Intent.REBUILD)
                bench.watching.run_ended(bench.state())
                self.behind, self.armed = False, 0.0  # a rebuilt fallback is not behind
            case "restart":
                bench.kill()
                bench.clock.pass_(how)
                bench.start(ALARMED)
                self.armed = 0.0
        self.tick()


OVER_IN_A_RUN = [("raise", "f"), ("pass", 15), ("rebuild", ["-f"]), ("pass", 3)]
OVER_UNSAID = [("raise", "f"), ("pass", 3), ("silently over", "f"), ("pass", 40), ("behind", False)]


@example(6, True, OVER_IN_A_RUN)
@example(3, True, OVER_UNSAID)
@given(intervals, st.booleans(), steps)
@settings(max_examples=12, deadline=None)
def test_an_alert_rolls_back_while_it_fires_and_only_then(
    interval: int, behind: bool, done: list[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.on_postgres(ALARMED)
            bench.start(ALARMED)
            world = World(bench, Alertmanager(interval), behind)
            world.tick(3)
            for what, how in done:
                if world.over:
                    break
                world.do(what, how)
            world.tick(int(world.patience / TICK) + 1)
        finally:
            bench.trace.close()
            bench.journal.close()
