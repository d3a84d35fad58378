"""The guard's loop from observation to act, in this process: a real journal and a real trace, a clock that is set
by hand, probes that say what they are told, and an engine that only writes down what it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.trace import FileTrace
from turnback.app.deciding import Deciding
from turnback.app.guard import Guard
from turnback.app.recording import Recorder
from turnback.app.reporting import Reporting
from turnback.app.watching import ON_SQLITE, Watching, trace_notice
from turnback.core.phases import Intent, Phase
from turnback.core.state import State, fold
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Consecutive, Rules
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.guarding import _refuse_helpless
from turnback.entrypoints.wiring import Setup
from turnback.errors import ConfigError, DiskFull, NotReady, TurnbackError, UsageError
from turnback.ports import Notice

BEGUN = datetime(2026, 11, 23, 12, tzinfo=UTC)
INTERVALS = {"application": 10.0, "server": 10.0, "capture": 10.0}
RULES = Rules(mode="enforce", intervals=INTERVALS, warm_up_seconds=0.0)
GOOD: Mapping[str, Mapping[str, Any]] = {
    "application": {"ok": True, "detail": "200 OK", "seconds": 0.01},
    "server": {"ok": True, "detail": "", "seconds": 0.01, "step": "write"},
    "capture": {
        "state": "streaming", "lag_bytes": 0, "lag_seconds": 0.0, "contact_age_seconds": 0.0,
        "lost": False, "warning": None, "error": None,
    },
}
HERE = {"application": "http://app/health"}
SICK = {"application": {"ok": False, "detail": "refused", "seconds": 0.01}}
BEHIND = {"capture": {**GOOD["capture"], "lag_seconds": 3600.0, "lag_bytes": 1 << 40}}


class Killed(BaseException):
    """Stands for SIGKILL."""


class SetClock:
    def __init__(self) -> None:
        self.at, self.wall = 1000.0, BEGUN

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return self.wall

    def sleep(self, seconds: float) -> None:
        self.pass_(seconds)

    def pass_(self, seconds: float) -> None:
        self.at += seconds
        self.wall += timedelta(seconds=seconds)


class Told:
    """A prober: gives what it was told to see, unless it is suspended."""

    def __init__(self) -> None:
        self.queue: list[Observation] = []
        self.suspended = False
        self.selected: set[str] = set()
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def suspend(self) -> None:
        self.calls.append("suspend")
        self.suspended = True

    def resume(self) -> None:
        self.calls.append("resume")
        self.suspended = False

    def select(self, names: Iterable[str]) -> None:
        self.selected = set(names)

    def see(self, observation: Observation) -> None:
        if not self.suspended and observation.probe in self.selected:
            self.queue.append(observation)

    def drain(self) -> list[Observation]:
        taken, self.queue = self.queue, []
        return taken


class Fullable(SqliteJournal):
    """A journal whose disk may be full."""

    full = False

    def append(self, kind: str, body: Mapping[str, Any], *, run: str | None = None) -> Any:
        if self.full:
            raise DiskFull("the journal cannot be written: no space", hint="make room")
        return super().append(kind, body, run=run)


class Engine:
    """Writes a run into the journal, as the real one does; `fails` is what its steps meet."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.fails: TurnbackError | None = None
        self.resumed = 0
        plan = SimpleNamespace(digest=lambda: "digest")
        self.world = SimpleNamespace(capture=None, plan=plan, watched=None, announce=bench.said.append)

    def execute(self, intent: Intent, options: Mapping[str, Any]) -> None:
        self.bench.executed.append((intent, dict(options)))
        self.bench.suspended_in_run.append(self.bench.prober.suspended)
        self.bench.seen_in_run.append(self.world.watched())
        self.bench.run(intent, options, "undone" if self.fails else "done", amid=self._step)
        if self.fails:
            raise self.fails

    def _step(self) -> None:
        self.world.announce("stop_application")
        last = self.bench.guard.reporting.last
        self.bench.reported_in_run.append((last["phase"], last["watch"]["suspended"], last["at"]))

    def resume(self) -> None:
        self.resumed += 1

    def ensure_capture(self) -> None: ...

    def release(self) -> None: ...


class Bench:
    """One application's journal and clock; `restart` makes a new guard on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SetClock()
        self.journal = Fullable(folder / "journal.db", now=self.clock.now)
        self.notices: list[Notice] = []
        self.executed: list[tuple[Intent, dict[str, Any]]] = []
        self.suspended_in_run: list[bool] = []
        self.seen_in_run: list[Any] = []
        self.reported_in_run: list[tuple[str, bool, str]] = []
        self.said: list[str] = []
        self.die_at: str | None = None
        self.boot = "boot-1"
        self.runs = 0

    # ---- the journal ----

    def run(
        self, intent: Intent, options: Mapping[str, Any] | None = None, outcome: str = "done",
        notes: Mapping[str, Any] | None = None, amid: Callable[[], None] = lambda: None,
    ) -> None:
        self.runs += 1
        ident = f"{intent.value}-{self.runs}"
        self.journal.append("run_started", {"intent": intent.value, "options": dict(options or {})}, run=ident)
        for key, value in (notes or {}).items():
            self.journal.append("note", {"key": key, "value": value}, run=ident)
        amid()
        self.journal.append("run_ended", {"outcome": outcome}, run=ident)

    def on_postgres(self, frozen: Rules = RULES) -> None:
        self.journal.append("assessed", {"plan": "p", "schema": "s"})
        self.run(Intent.MIGRATE)
        self.cut_over(frozen)

    def cut_over(self, frozen: Rules = RULES) -> None:
        self.run(Intent.CUTOVER, notes={"rules": frozen.to_json(), "baseline": None})

    def state(self) -> State:
        return fold(self.journal.records())

    def decisions(self, action: str | None = None) -> list[Mapping[str, Any]]:
        bodies = [r.body for r in self.journal.records(kind="decision")]
        return [b for b in bodies if action is None or b["action"] == action]

    def kinds(self) -> list[str]:
        return [r.kind for r in self.journal.records()]

    # ---- the guard ----

    def start(
        self, current: Rules = RULES, *, normal_seconds: float = 0.0, trace: Any = None,
        targets: Mapping[str, str] | None = None,
    ) -> None:
        """As the guard's `run` begins."""
        self.prober = Told()
        self.trace = trace or FileTrace(
            self.folder / "trace.jsonl", 1 << 22, boot=self.boot, monotonic=self.clock.monotonic
        )
        deciding = Deciding(
            self.journal, self.clock, self.notices.append, self.said.append, self._failpoint, self.boot, "host", "app"
        )
        recorder = Recorder(self.trace, self.clock, trace_notice(deciding))
        self.watching = Watching(
            self.journal, self.clock, self.prober, recorder, deciding, current, self.said.append, "1.0", "runbook",
            normal_seconds, targets or {},
        )
        self.engine = Engine(self)
        reporting = Reporting(self.folder / "status.json", self.clock, self.boot, "1.0", dict)
        platform = SimpleNamespace(name="manual", supervise=lambda side: None)
        self.guard = Guard(
            self.journal, self.clock, platform, lambda intent: self.engine, lambda: None,  # type: ignore[arg-type]
            reporting, self.watching, self.said.append,
        )
        deciding.roll_back = self.guard._roll_back
        deciding.take_up(self.state())
        self.watching.begin(self.state())

    def _failpoint(self, name: str) -> None:
        if name == self.die_at:
            self.die_at = None
            raise Killed

    def kill(self) -> None:
        self.trace.close()

    def turn(self, times: int = 1, over: Mapping[str, Any] | None = None, *, seconds: float = 10.0) -> None:
        """So many rounds of all probes, one each `seconds`; `over` says what some of them see."""
        for _ in range(times):
            self.clock.pass_(seconds)
            for probe, value in {**GOOD, **(over or {})}.items():
                self.prober.see(Observation(self.clock.at, self.clock.wall, probe, value))
            self.watching.turn(self.state())

    def events(self) -> list[str]:
        return [n.event for n in self.notices]


@pytest.fixture
def bench(tmp_path: Path) -> Iterable[Bench]:
    made = Bench(tmp_path)
    yield made
    made.trace.close()
    made.journal.close()


def started(bench: Bench, current: Rules = RULES, frozen: Rules = RULES, **how: Any) -> Bench:
    bench.on_postgres(frozen)
    bench.start(current, **how)
    bench.turn(3)
    return bench


# ---- a rollback ----


def test_the_fifth_failed_check_rolls_back_and_the_decision_stands_before_the_run(bench: Bench) -> None:
    started(bench)
    bench.turn(4, SICK)
    assert bench.executed == [] and bench.decisions() == []
    bench.turn(1, SICK)
    (decision,) = bench.decisions()
    assert decision["action"] == "rollback" and decision["trigger"] == "application-health"
    assert decision["boot"] == "boot-1" and decision["at"] == bench.clock.at
    assert decision["readiness"]["ready"] is True and decision["samples"]["points"]
    ((intent, options),) = bench.executed
    assert intent is Intent.ROLLBACK and options["decision"] == decision["id"] and options["automatic"] is True
    assert options["severity"] == "critical" and options["emergency"] is True and options["plan"] == "digest"
    kinds = bench.kinds()
    assert kinds.index("decision") < len(kinds) - 1 - kinds[::-1].index("run_started")
    assert bench.events() == ["rollback", "rolled_back"]
    assert bench.notices[-1].resolved and {n.key for n in bench.notices} == {"application-health"}
    assert {n.fields["decision"] for n in bench.notices} == {decision["id"]}
    assert not any("Held back" in n.text for n in bench.notices)
    assert bench.state().phase is Phase.ON_SQLITE and bench.state().latched


def test_triggers_are_suspended_while_a_run_is_under_way(bench: Bench) -> None:
    started(bench)
    bench.turn(5, SICK)
    assert bench.suspended_in_run == [True] and bench.prober.suspended is False
    assert bench.prober.calls[-2:] == ["suspend", "resume"]
    assert all(n in ON_SQLITE or n.startswith("dependency:") for n in bench.prober.selected)
    bench.turn(20, SICK)  # still sick, on SQLite: told, never rolled back
    assert len(bench.executed) == 1 and [d["action"] for d in bench.decisions()] == ["rollback", "page"]


def test_what_the_guard_says_of_itself_goes_on_in_a_run(bench: Bench) -> None:
    """An alert that waits while a rollback is under way, and /status, have to see that one is."""
    started(bench)
    bench.turn(5, SICK)
    assert bench.reported_in_run == [("rolling_back", True, bench.clock.wall.isoformat())]
    assert "stop_application" in bench.said  # and whoever listened hears it still


def test_what_arrived_before_the_run_is_dropped(bench: Bench) -> None:
    started(bench)
    bench.turn(4, SICK)
    for _ in range(8):  # all at once, as after a pause of the machine
        bench.clock.pass_(10)
        bench.prober.see(Observation(bench.clock.at, bench.clock.wall, "application", SICK["application"]))
    bench.watching.turn(bench.state())
    assert len(bench.executed) == 1
    assert bench.watching.watch.to_json()["probes"] == {}


def test_a_rollback_that_fails_sets_the_latch_and_is_told(bench: Bench) -> None:
    started(bench)
    bench.engine.fails = NotReady("the fallback did not reach the fence", hint="look at the server's load")
    bench.turn(5, SICK)
    assert bench.state().phase is Phase.ON_POSTGRES and bench.state().latched
    assert bench.events() == ["rollback", "failed"] and "server's load" in bench.notices[-1].text
    bench.engine.fails = None
    bench.turn(10, SICK)
    assert len(bench.executed) == 1, "one automatic rollback, then a person's turn"
    (held,) = bench.decisions("hold")
    assert "automatic rollback" in held["held_back"] and bench.events()[-1] == "hold"


def test_a_new_cutover_arms_it_again(bench: Bench) -> None:
    started(bench)
    bench.turn(5, SICK)
    bench.run(Intent.MIGRATE, {"again": True})
    bench.cut_over()
    bench.watching.run_ended(bench.state())
    assert bench.state().latched is False
    bench.turn(3)
    bench.turn(5, SICK)
    assert len(bench.executed) == 2


def test_without_readiness_it_holds_and_rolls_back_when_it_is_there(bench: Bench) -> None:
    started(bench)
    bench.turn(5, {**SICK, **BEHIND})
    (held,) = bench.decisions("hold")
    assert "fallback" in held["held_back"] and bench.executed == []
    assert f"Held back: {held['held_back']}." in bench.notices[-1].text
    assert bench.events() == ["hold"] and not bench.state().latched
    bench.turn(2, SICK)
    assert len(bench.executed) == 1


# ---- killed, and started again ----


@pytest.mark.parametrize(
    ("point", "recorded"), [("guard.decided:before", 0), ("guard.decided:record", 1)]
)
def test_killed_around_the_record_of_the_decision_it_is_carried_out_once(
    bench: Bench, point: str, recorded: int
) -> None:
    started(bench)
    bench.die_at = point
    with pytest.raises(Killed):
        bench.turn(5, SICK)
    bench.kill()
    assert len(bench.decisions()) == recorded and bench.executed == []
    bench.clock.pass_(2)
    bench.start()
    bench.turn(1, SICK)
    assert len(bench.executed) == 1 and len(bench.decisions("rollback")) == 1
    assert bench.prober.selected <= {*ON_SQLITE}
    assert bench.executed[0][1]["decision"] == bench.decisions("rollback")[0]["id"]
    bench.kill()
    bench.start()
    bench.turn(10, SICK)
    assert len(bench.executed) == 1


@pytest.mark.parametrize("why", ["old", "boot", "boot, as far on", "phase"])
def test_a_decision_that_came_to_nothing_is_voided_and_told(bench: Bench, why: str) -> None:
    started(bench)
    bench.die_at = "guard.decided:record"
    with pytest.raises(Killed):
        bench.turn(5, SICK)
    bench.kill()
    if why == "old":
        bench.clock.pass_(301)
    elif why == "boot":
        bench.boot, bench.clock.at = "boot-2", 7.0
    elif why == "boot, as far on":
        bench.boot = "boot-2"
    else:
        bench.run(Intent.ROLLBACK, {"by": "a person"})
    bench.start()
    assert bench.executed == []
    assert [r.body["id"] for r in bench.journal.records(kind="decision_void")] == [bench.decisions()[0]["id"]]
    assert bench.events()[-1] == "page" and bench.state().waiting_decision is None
    assert not bench.state().latched, "nothing was done"


def test_a_person_who_asks_for_what_the_guard_does_at_that_moment_gets_it_once(bench: Bench) -> None:
    started(bench)
    bench.turn(4, SICK)
    asked = {"intent": "rollback", "options": {}}
    bench.journal.append("intent", {"id": "during", **asked})
    bench.turn(1, SICK)
    assert len(bench.executed) == 1 and bench.state().phase is Phase.ON_SQLITE
    bench.guard._take_intents()
    assert len(bench.executed) == 1, "it was done, by whomever"
    assert [r.body["id"] for r in bench.journal.records(kind="intent_done")] == ["during"]

    def refuse(intent: Intent, options: Mapping[str, Any]) -> None:
        raise UsageError("it does not fit the phase", hint="")

    bench.engine.execute = refuse  # type: ignore[method-assign]
    bench.journal.append("intent", {"id": "after", **asked})
    bench.guard._take_intents()
    assert [r.body["id"] for r in bench.journal.records(kind="intent_failed")] == ["after"]


def test_a_rollback_that_cannot_begin_is_tried_again_and_wakes_nobody_twice(bench: Bench) -> None:
    started(bench)
    begin, tried = bench.engine.execute, list[float]()

    def in_the_way(intent: Intent, options: Mapping[str, Any]) -> None:
        tried.append(bench.clock.at)
        raise NotReady(why, hint="give it back")

    why = "the plan cannot be read"
    bench.engine.execute = in_the_way  # type: ignore[method-assign]
    bench.turn(5, SICK)
    assert bench.events() == ["rollback", "page"] and why in bench.notices[-1].text
    bench.turn(60, SICK)
    assert bench.events() == ["rollback", "page"] and 5 <= len(tried) <= 11, "ten minutes more of the same"
    assert min(b - a for a, b in pairwise(tried)) >= 60
    assert len(bench.decisions("rollback")) == len(tried) and not bench.state().latched
    why = "the disk is full"
    bench.turn(12, SICK)
    assert bench.events() == ["rollback", "page", "page"] and why in bench.notices[-1].text
    bench.engine.execute = begin  # type: ignore[method-assign]
    bench.turn(12, SICK)
    assert len(bench.executed) == 1 and "rolled_back" in bench.events()
    assert bench.state().phase is Phase.ON_SQLITE


def test_what_could_not_begin_and_is_over_holds_back_nothing_that_comes_later(bench: Bench) -> None:
    started(bench)
    begin = bench.engine.execute

    def in_the_way(intent: Intent, options: Mapping[str, Any]) -> None:
        raise NotReady("the plan cannot be read", hint="give it back")

    bench.engine.execute = in_the_way  # type: ignore[method-assign]
    bench.turn(5, SICK, seconds=1)
    bench.turn(5, SICK, seconds=1)
    bench.turn(10, seconds=1)
    bench.engine.execute = begin  # type: ignore[method-assign]
    bench.turn(5, SICK, seconds=1)
    assert len(bench.executed) == 1 and bench.events()[-1] == "rolled_back"


@pytest.mark.parametrize(
    ("objective", "age", "carried_out"), [(900.0, 600, 1), (900.0, 901, 0), (None, 299, 1), (None, 301, 0)]
)
def test_a_decision_is_good_for_its_time_objective(
    bench: Bench, objective: float | None, age: float, carried_out: int
) -> None:
    started(bench)
    body = {
        "id": "decision-1", "boot": bench.boot, "at": bench.clock.at, "automatic": True, "action": "rollback",
        "trigger": "error-rate", "reason": "7 % failed", "severity": "low", "emergency": False,
        "objective_seconds": objective, "held_back": None,
    }
    bench.journal.append("decision", body)
    bench.clock.pass_(age)
    bench.watching.deciding.take_up(bench.state())
    assert len(bench.executed) == carried_out
    assert len(bench.journal.records(kind="decision_void")) == 1 - carried_out


def test_half_a_breach_is_not_forgotten_by_a_restart(bench: Bench) -> None:
    started(bench)
    bench.turn(3, SICK)
    bench.kill()
    bench.clock.pass_(5)
    bench.start()
    bench.turn(1, SICK)
    assert bench.executed == []
    bench.turn(1, SICK)
    assert len(bench.executed) == 1


def test_a_guard_that_was_away_for_long_begins_anew(bench: Bench) -> None:
    started(bench)
    bench.turn(4, SICK)
    bench.kill()
    bench.clock.pass_(60)
    bench.start()
    bench.turn(4, SICK)
    assert bench.executed == [], "nobody saw the minute between"
    bench.turn(1, SICK)
    assert len(bench.executed) == 1


@pytest.mark.parametrize(
    ("added", "away"),
    [({"database": 10.0, "metrics": 5.0}, 5.0), ({"capture": 1.0}, 25.0)],
    ids=["new probes", "away for longer than a quick probe may be silent"],
)
def test_a_restart_makes_no_probe_blind(bench: Bench, added: dict[str, float], away: float) -> None:
    """Nobody was paged for a probe that the guard before did not have, or while there was no guard."""
    started(bench)
    bench.turn(30)
    bench.kill()
    bench.clock.pass_(away)
    rules = replace(RULES, intervals={**INTERVALS, **added})
    bench.start(rules)
    bench.turn(1, {name: {"ok": True, "detail": "", "seconds": 0.01} for name in added if name == "database"}, seconds=1.0)
    assert bench.events() == []
    bench.turn(30, seconds=5.0)
    assert {n.key for n in bench.notices} == {f"probe:{name}" for name in added if name not in INTERVALS}, "still silent"


def test_what_was_told_before_a_restart_is_not_told_again_and_is_resolved(bench: Bench) -> None:
    recommending = replace(RULES, mode="recommend")
    started(bench, recommending)
    bench.turn(5, SICK)
    assert bench.events() == ["recommend"]
    bench.kill()
    bench.start(recommending)
    bench.turn(1, SICK)
    assert bench.events() == ["recommend"]
    bench.turn(10)
    assert bench.events() == ["recommend", "resolved"]


@pytest.mark.parametrize("away", [0.0, 600.0], ids=["at once", "after a while"])
def test_a_restart_of_the_guard_is_no_start_of_the_application(bench: Bench, away: float) -> None:
    """What fails with its dependency is held back, and was healthy: so it is not "never healthy" either."""
    rules = replace(RULES, intervals={**INTERVALS, "dependency:mail": 10.0})
    down = {**SICK, "dependency:mail": {"ok": False, "detail": "refused", "seconds": 0.01}}
    started(bench, rules, rules)
    bench.turn(100, down)
    bench.kill()
    bench.clock.pass_(away)
    bench.start(rules)
    bench.turn(30, down)
    assert {d["action"] for d in bench.decisions()} == {"recommend"}, bench.decisions()
    assert bench.executed == [] and {n.key for n in bench.notices} == {"application-health"}


def test_restarts_in_a_breach_that_lasts_tell_nothing_anew(bench: Bench) -> None:
    """It began long before what a restart reads of the trace (12 minutes here)."""
    recommending = replace(RULES, mode="recommend")
    started(bench, recommending)
    for _ in range(110):
        bench.turn(1, SICK)
        bench.kill()
        bench.start(recommending)
    assert bench.events() == ["recommend"] and len(bench.decisions()) == 1
    bench.turn(10)
    assert bench.events() == ["recommend", "resolved"]
    bench.turn(5, SICK)
    assert bench.events() == ["recommend", "resolved", "recommend"]


@pytest.mark.parametrize("over", [False, True])
def test_what_was_told_and_goes_on_is_resolved_by_a_run_and_no_second_time(bench: Bench, over: bool) -> None:
    started(bench, replace(RULES, mode="recommend"))
    bench.turn(5, SICK)
    if over:
        bench.turn(10)
    told = bench.events()
    assert told == ["recommend", "resolved"][: 1 + over]
    bench.journal.append("intent", {"id": "i", "intent": "rollback", "options": {}})
    bench.guard._take_intents()
    assert bench.events() == ["recommend", "resolved"]


def test_enforce_switched_on_by_a_restart_acts_on_what_still_fires(bench: Bench) -> None:
    started(bench, replace(RULES, mode="recommend"))
    bench.turn(5, SICK)
    bench.kill()
    bench.start()
    bench.turn(1, SICK)
    assert len(bench.executed) == 1


# ---- which rules ----


def test_the_thresholds_of_the_cutover_decide_not_those_of_the_file(bench: Bench) -> None:
    loose = replace(RULES, application_health=Consecutive(500))
    started(bench, loose)
    assert any("application_health.failures is 5 since the cutover" in s for s in bench.said)
    assert bench.watching.to_json()["frozen_otherwise"]
    bench.turn(5, SICK)
    assert len(bench.executed) == 1


@pytest.mark.parametrize(("mode", "events"), [("observe", []), ("recommend", ["recommend"])])
def test_the_mode_is_the_files(bench: Bench, mode: Any, events: list[str]) -> None:
    started(bench, replace(RULES, mode=mode))
    bench.turn(10, SICK)
    assert bench.executed == [] and bench.events() == events
    assert [d["action"] for d in bench.decisions()] == [mode]


# ---- a check that was never answered properly ----


def test_a_wrong_address_rolls_nothing_back_and_a_right_one_does(bench: Bench) -> None:
    bench.on_postgres()
    bench.start(targets=HERE)
    bench.turn(8, SICK)
    assert bench.executed == [] and bench.events() == []
    bench.turn(1)
    assert [r.body for r in bench.journal.records(kind="check_proven")] == [
        {"check": "application", "target": "http://app/health"}
    ]
    bench.turn(4, SICK)
    assert bench.executed == []
    bench.turn(1, SICK)
    assert [intent for intent, _ in bench.executed] == [Intent.ROLLBACK]


def test_what_is_proven_outlives_the_guard_and_holds_for_that_address_only(bench: Bench) -> None:
    bench.on_postgres()
    bench.start(targets=HERE)
    bench.turn(2)
    for target, rolled_back in (("http://wrong/health", 0), ("http://app/health", 1)):
        bench.kill()
        bench.clock.pass_(3600)  # too long for the trace to count
        bench.start(targets={"application": target})
        bench.turn(6, SICK)
        assert len(bench.executed) == rolled_back


def test_the_cutovers_own_healthy_answer_proves_the_address(bench: Bench) -> None:
    bench.on_postgres()
    healthy = {"health": "GET http://app/health: 200 OK"}
    ident = bench.state().last(Intent.CUTOVER).id  # type: ignore[union-attr]
    bench.journal.append("step_started", {"step": "await_healthy"}, run=ident)
    bench.journal.append("step_done", {"step": "await_healthy", "result": healthy}, run=ident)
    bench.start(targets=HERE)
    bench.turn(6, SICK)
    assert len(bench.executed) == 1


def test_a_full_disk_keeps_no_check_unproven_and_it_is_recorded_later(bench: Bench) -> None:
    bench.on_postgres()
    bench.start(targets=HERE)
    bench.journal.full = True
    bench.turn(2)
    bench.journal.full = False
    bench.turn(5, SICK)
    assert len(bench.executed) == 1 and not bench.journal.records(kind="check_proven")
    bench.turn(1)
    assert bench.journal.records(kind="check_proven")


# ---- the world is not kind ----


def test_a_wall_clock_that_jumps_decides_nothing(bench: Bench) -> None:
    started(bench)
    bench.turn(2, SICK)
    bench.clock.wall += timedelta(days=400)
    bench.turn(2, SICK)
    assert bench.executed == []
    bench.clock.wall -= timedelta(days=4000)
    bench.turn(1, SICK)
    assert len(bench.executed) == 1


def test_a_full_disk_holds_a_decision_back_until_it_can_be_recorded(bench: Bench) -> None:
    started(bench)
    bench.journal.full = True
    bench.turn(8, SICK)
    assert bench.executed == [] and bench.events() == ["hold"] and "recorded" in bench.notices[0].text
    bench.journal.full = False
    bench.turn(1, SICK)
    assert len(bench.executed) == 1 and len(bench.decisions("rollback")) == 1
    assert bench.watching.watch.situation.phase == "on_sqlite"


def test_a_decision_that_was_held_back_is_dropped_when_all_is_well_again(bench: Bench) -> None:
    started(bench)
    bench.journal.full = True
    bench.turn(6, SICK)
    bench.turn(10)
    bench.journal.full = False
    bench.turn(4)
    assert bench.executed == [] and bench.state().latched is False
    bench.turn(5, SICK)
    assert len(bench.executed) == 1, "the next breach is decided on as ever"


class FullTrace(FileTrace):
    full = False

    def append(self, observation: Observation) -> None:
        if self.full:
            raise DiskFull("the trace cannot be written", hint="make room")
        super().append(observation)


def test_without_a_trace_it_guards_on_says_so_once_and_records_again_later(bench: Bench) -> None:
    trace = FullTrace(bench.folder / "trace.jsonl", 1 << 20, boot="boot-1", monotonic=bench.clock.monotonic)
    started(bench, trace=trace)
    trace.full = True
    bench.turn(10)
    assert bench.events() == ["page"] and bench.notices[0].key == "trace"
    assert bench.watching.to_json()["trace"]["error"]
    trace.full = False
    bench.turn(8)
    assert bench.events() == ["page", "resolved"]
    trace.full = True
    bench.turn(5, SICK)
    assert len(bench.executed) == 1


def test_alerts_from_the_listeners_thread_are_observations(bench: Bench) -> None:
    rules = replace(RULES, alerts={"ApplicationDown": "critical"})
    started(bench, rules, rules)
    alert = {"name": "ApplicationDown", "severity": "critical", "status": "firing", "fingerprint": "f", "summary": "gone"}
    assert bench.watching.hearing.post([alert]) is None
    bench.turn(1)
    assert len(bench.executed) == 1 and bench.decisions()[0]["trigger"] == "alert:ApplicationDown"


def test_a_persons_rollback_is_recorded_with_what_was_seen_before_it(bench: Bench) -> None:
    started(bench)
    bench.turn(2, SICK)
    bench.journal.append("intent", {"id": "i", "intent": "rollback", "options": {"by": "a person"}})
    bench.guard._take_intents()
    (seen,) = bench.seen_in_run
    assert seen.readiness.ready is True
    assert any(v.trigger == "application-health" and v.outcome == "breach" for v in seen.verdicts)
    assert bench.kinds()[-1] == "intent_done"


def test_an_answer_that_a_full_disk_kept_back_is_given_later(bench: Bench) -> None:
    started(bench)
    bench.journal.append("intent", {"id": "i", "intent": "rollback", "options": {}})
    proper = bench.run

    def fills_up(*given: Any, **named: Any) -> None:
        proper(*given, **named)
        bench.journal.full = True

    bench.run = fills_up  # type: ignore[method-assign]
    bench.guard._attempt(bench.guard._take_intents)
    assert "intent_done" not in bench.kinds()
    bench.journal.full = False
    bench.guard._attempt(bench.guard._take_intents)
    assert bench.kinds()[-1] == "intent_done" and len(bench.executed) == 1


def test_a_switch_that_its_own_full_disk_cut_off_is_gone_on_with(bench: Bench) -> None:
    started(bench)
    bench.journal.append("run_started", {"intent": "rollback", "options": {}}, run="cut-off")
    bench.journal.append("step_started", {"step": "record_decision"}, run="cut-off")
    for _ in range(3):
        bench.guard._keep()
    assert bench.engine.resumed == 1, "and not twice a second"
    bench.clock.pass_(11)
    bench.guard._keep()
    assert bench.engine.resumed == 2
    failed = {"step": "validate", "error": "unhealthy", "hint": ""}
    bench.journal.append("step_failed", failed, run="cut-off")
    bench.clock.pass_(11)
    bench.guard._keep()
    assert bench.engine.resumed == 2, "a step that failed is a person's"


@pytest.mark.parametrize(("mode", "refused"), [("enforce", True), ("recommend", False)])
def test_enforce_needs_an_application_that_can_be_stopped(tmp_path: Path, mode: str, refused: bool) -> None:
    text = (
        '[sqlite]\npath = "app.db"\n[state]\nallow_any_filesystem = true\n'
        f'[app]\nhealth = "http://127.0.0.1:1/"\n[guard]\nmode = "{mode}"\n'
    )
    (tmp_path / "turnback.toml").write_text(text)
    setup = Setup(load(tmp_path / "turnback.toml"))
    try:
        if refused:
            with pytest.raises(ConfigError, match="platform is manual"):
                _refuse_helpless(setup)
        else:
            _refuse_helpless(setup)
        setup.__dict__.pop("platform", None)
        setup.use_command(("true",))
        _refuse_helpless(setup)  # `turnback exec` can stop what it has started
    finally:
        setup.close()


def test_back_to_normal_is_said_once(bench: Bench) -> None:
    started(bench, normal_seconds=60)
    bench.turn(5, SICK)
    bench.turn(3, SICK)
    assert not bench.journal.records(kind="normal_again")
    bench.turn(20)
    (record,) = bench.journal.records(kind="normal_again")
    assert record.run == bench.state().runs[-1].id and record.body["seconds"] >= 60
    assert bench.events()[-1] == "normal" or "normal" in bench.events()
    bench.kill()
    bench.start(normal_seconds=60)
    bench.turn(20)
    assert len(bench.journal.records(kind="normal_again")) == 1


def test_what_it_shows_is_json_and_names_what_is_missing(bench: Bench) -> None:
    import json

    started(bench)
    bench.turn(5, {**SICK, **BEHIND})
    shown = json.loads(json.dumps(bench.watching.to_json()))
    assert shown["mode"] == "enforce" and shown["modes"]["low"] == "enforce" and shown["profile"] == "runbook"
    assert shown["decision"]["action"] == "hold" and "samples" not in shown["decision"]
    assert [p["name"] for p in shown["watch"]["readiness"]["parts"] if p["ok"] is False] == ["fallback"]
    assert shown["trace"]["bytes"] > 0
    assert "baseline" in shown["why_no_latency"] or "probe" in shown["why_no_latency"]
