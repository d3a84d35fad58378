"""What becomes of a decision: the journal, the run, a guard that died, the frozen rules; and the trace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

import test_trace
import test_watching as watching
from test_watching import Bench

from mutants import Mutant, Place, demand, never, nothing
from mutants.rewritten import caught_by, rewritten
from mutants.told import fixture, swap
from turnback.adapters import trace
from turnback.adapters.trace import FileTrace
from turnback.app import server_gone
from turnback.app import watching as of_watching
from turnback.app.deciding import Deciding
from turnback.app.guard import Guard
from turnback.app.proving import Proofs
from turnback.app.recording import Recorder
from turnback.app.steps_cutover import _Cutover
from turnback.app.steps_rollback import _Rollback
from turnback.app.watching import Watching
from turnback.core.lsn import Lsn
from turnback.core.phases import Intent
from turnback.core.state import Fold, Run
from turnback.core.watch.rules import Rules
from turnback.errors import NotReady, ServerGone
from turnback.ports import Position

BENCH = fixture(watching.bench)
PATH = fixture(test_trace.path)

HERE, ELSEWHERE = "7000000000000000001", "7000000000000000002"


class Server:
    """Gone, until `back` seconds have passed; then it can be fenced."""

    def __init__(self, bench: Bench, back: float | None, system: str = HERE) -> None:
        self.bench, self.begun, self.back = bench, bench.clock.at, back
        self.known = system
        self.fenced = False
        self.untried = None

    def reachable(self) -> bool:
        return self.back is not None and self.bench.clock.at >= self.begun + self.back

    def system(self) -> tuple[str, int]:
        if not self.reachable():
            raise ServerGone("connection refused")
        return self.known, 1

    def fence(self, plan: object) -> Server:
        return self

    def raise_(self) -> None:
        self.fenced = True

    def prove(self) -> None: ...

    def close(self) -> None: ...


@contextmanager
def rolling_back(
    place: Place,
    *,
    back: float | None = None,
    contact: timedelta | None = timedelta(seconds=1),
    age: float | None = None,
    rpo: float = 60.0,
    system: str = HERE,
) -> Iterator[tuple[_Rollback, Server, Run]]:
    """The fence of a rollback, with a server that is gone. `contact`: how long ago the wall clock says that the
    last one was; `age`: what the steady one says.
    """
    with BENCH.make(place) as bench:
        bench.on_postgres()
        bench.start()
        server = Server(bench, back, system)
        run = Run("rollback-9", Intent.ROLLBACK, {}, bench.clock.now())
        position = Position("turnback", HERE, 1, Lsn(4096), 0)
        clock = bench.clock
        world = SimpleNamespace(
            journal=bench.journal,
            clock=clock,
            plan=None,
            capture=None,
            postgres=server,
            sqlite=SimpleNamespace(
                fallback=place.folder / "fallback.db", fallback_position=lambda plan: position
            ),
            announce=lambda text: None,
            start_server=lambda: None,
            server_wait_seconds=30.0,
            rpo_objective_seconds=rpo,
            last_contact=lambda: None if contact is None else clock.now() - contact,
            contact_age=lambda: age,
            note=lambda run, key, value: None,
        )
        yield _Rollback(world, run), server, run  # type: ignore[arg-type]


def _fenced_without_server(steps: _Rollback) -> bool:
    try:
        return steps.fence_postgres()["fenced"] is False
    except NotReady:
        return False


def a_server_that_comes_back_is_waited_for(place: Place) -> None:
    with rolling_back(place, back=5.0) as (steps, server, run):
        lossy = _fenced_without_server(steps)
        demand(
            not lossy and server.fenced, "it goes on with a loss, and the server was back after five seconds"
        )
        assert not run.notes.get("loss_manifest")


def a_contact_in_the_future_is_not_known(place: Place) -> None:
    with rolling_back(place, contact=-timedelta(days=1)) as (steps, _, _):
        demand(not _fenced_without_server(steps), "a contact of tomorrow is inside the RPO")


def the_larger_age_counts(place: Place) -> None:
    """The wall clock was put back: it makes the contact younger than it is."""
    with rolling_back(place, contact=timedelta(seconds=1), age=3600.0) as (steps, _, _):
        demand(not _fenced_without_server(steps), "a contact of an hour ago is inside the RPO of a minute")


def inside_the_rpo_it_goes_on(place: Place) -> None:
    with rolling_back(place, contact=timedelta(seconds=1), age=1.0) as (steps, _, _):
        demand(_fenced_without_server(steps), "what the RPO allows is refused")


def outside_the_rpo_it_does_not_go_on(place: Place) -> None:
    with rolling_back(place, contact=timedelta(seconds=61)) as (steps, _, _):
        demand(not _fenced_without_server(steps), "more is lost than the RPO allows")


def another_server_is_not_the_one_with_the_writes(place: Place) -> None:
    with rolling_back(place, back=0.0, system=ELSEWHERE, contact=None) as (steps, server, _):
        _fenced_without_server(steps)
        demand(not server.fenced, "another cluster is fenced, and the writes are elsewhere")


def a_rollback_that_cannot_begin(place: Place) -> None:
    """Nothing was done, so that nothing is latched: as soon as it can, it does."""
    with BENCH.make(place) as bench:
        watching.started(bench)
        bench.guard.make_engine, proper = _refused, bench.guard.make_engine
        bench.turn(5, watching.SICK)
        demand(not bench.state().latched, "it is latched, and no run ever began")
        assert bench.state().waiting_decision is None and bench.events()[-1] == "page"
        bench.guard.make_engine = proper
        bench.turn(10, watching.SICK)
        demand(len(bench.executed) == 1, "it could roll back now, and does not")


def _refused(intent: Intent | None) -> NoReturn:
    raise NotReady("what it needs cannot be read", hint="wait")


def a_decision_is_carried_out_once(place: Place) -> None:
    """The guard died in its rollback, which was undone; then it was started again, at once."""
    with BENCH.make(place) as bench:
        watching.started(bench)

        def dies(intent: Intent, options: dict[str, Any]) -> None:
            bench.executed.append((intent, options))
            bench.run(intent, options, "undone")
            raise watching.Killed

        bench.engine.execute = dies  # type: ignore[assignment, method-assign]
        with suppress(watching.Killed):
            bench.turn(5, watching.SICK)
        assert len(bench.executed) == 1
        bench.kill()
        bench.start()
        demand(len(bench.executed) == 1, "a decision is carried out a second time")


def a_person_may_roll_back_as_often_as_there_is_need(place: Place) -> None:
    with BENCH.make(place) as bench:
        bench.start()
        body = {"id": "decision-1", "automatic": False, "action": "rollback"}
        bench.journal.append("decision", body)
        demand(not bench.state().latched, "a person's rollback takes the guard's only one")


def the_thresholds_stand_in_the_journal_before_the_stop(place: Place) -> None:
    notes: dict[str, Any] = {}
    world = SimpleNamespace(
        plan=None,
        postgres=SimpleNamespace(
            ensure_running=lambda: None, schema_differences=lambda plan: [], retention_warnings=list
        ),
        sqlite=SimpleNamespace(schema=lambda: None, holders=lambda: []),
        platform=SimpleNamespace(prepare=lambda side: None),
        rules=Rules(mode="enforce"),
        baseline=lambda: {"p95_seconds": 0.1},
        note=lambda run, key, value: notes.update({key: value}),
    )
    run = Run("cutover-1", Intent.CUTOVER, {}, datetime.now(UTC))
    steps = _Cutover(world, run)  # type: ignore[arg-type]
    place.patch.setattr("turnback.app.steps_cutover.refuse_changed_schema", nothing)
    place.patch.setattr(_Cutover, "_refuse_strangers", nothing)
    try:
        steps.prepare_application()
    except KeyError:
        pass  # what was not noted is missing
    demand(
        notes.get("rules") == world.rules.to_json() and notes.get("baseline") == world.baseline(),
        "what was agreed on at the cutover is written down nowhere",
    )
    world.rules = Rules(mode="observe")
    steps.prepare_application()
    demand(notes["rules"]["mode"] == "enforce", "taken up again it agrees on something else")


SCENARIOS = [
    a_server_that_comes_back_is_waited_for,
    a_contact_in_the_future_is_not_known,
    the_larger_age_counts,
    inside_the_rpo_it_goes_on,
    outside_the_rpo_it_does_not_go_on,
    another_server_is_not_the_one_with_the_writes,
    a_rollback_that_cannot_begin,
    a_decision_is_carried_out_once,
    a_person_may_roll_back_as_often_as_there_is_need,
    the_thresholds_stand_in_the_journal_before_the_stop,
]


def _folding(old: str, new: str) -> Callable[[Place], None]:
    """In the journal's folding, whoever does it."""
    return rewritten(Fold, "take", old, new)


_DECIDED = {
    "the decision stands before the run": caught_by(
        watching.test_the_fifth_failed_check_rolls_back_and_the_decision_stands_before_the_run,
        "the run begins before its decision is in the journal",
        rewritten(
            Deciding,
            "_decide",
            'self.journal.append("decision", body)',
            'self._carry_out(body)\n        self.journal.append("decision", body)\n        return',
        ),
        bench=BENCH,
    ),
    "no run without a record": caught_by(
        watching.test_a_full_disk_holds_a_decision_back_until_it_can_be_recorded,
        "what cannot be recorded is carried out",
        rewritten(
            Deciding,
            "_decide",
            "except TurnbackError as e:",
            "except TurnbackError as e:\n        return self._carry_out(body)",
        ),
        bench=BENCH,
    ),
    "what could not be recorded is dropped when it is over": caught_by(
        watching.test_a_decision_that_was_held_back_is_dropped_when_all_is_well_again,
        "with room on the disk it rolls back what has been well for long",
        swap(Watching, "_try_again", lambda self, state: self.deciding.try_again()),
        bench=BENCH,
    ),
    "the run names its decision": caught_by(
        watching.test_the_fifth_failed_check_rolls_back_and_the_decision_stands_before_the_run,
        "a run that no decision belongs to",
        rewritten(Deciding, "_carry_out", '"decision": body["id"],', '"decision": "another",'),
        bench=BENCH,
    ),
    "a decision is carried out by the next guard": caught_by(
        watching.test_killed_around_the_record_of_the_decision_it_is_carried_out_once,
        "a decision is forgotten by the next guard",
        swap(Deciding, "take_up", nothing),
        bench=BENCH,
        point="guard.decided:record",
        recorded=1,
    ),
    "void: too old": caught_by(
        watching.test_a_decision_that_came_to_nothing_is_voided_and_told,
        "a decision of long ago is carried out",
        rewritten(Deciding, "take_up", "elif not 0 <= age <= limit:", "elif False:"),
        bench=BENCH,
        why="old",
    ),
    "void: another boot": caught_by(
        watching.test_a_decision_that_came_to_nothing_is_voided_and_told,
        "a decision from before a restart of the machine is carried out",
        rewritten(Deciding, "take_up", 'if body.get("boot") == self.boot', "if True"),
        bench=BENCH,
        why="boot, as far on",
    ),
    "void: the time objective": caught_by(
        watching.test_a_decision_is_good_for_its_time_objective,
        "a decision of a severity with more time is dropped",
        rewritten(Deciding, "take_up", 'body["objective_seconds"] or WITHOUT', "WITHOUT"),
        bench=BENCH,
        objective=900.0,
        age=600,
        carried_out=1,
    ),
    "void: another phase": caught_by(
        watching.test_a_decision_that_came_to_nothing_is_voided_and_told,
        "what a person has rolled back meanwhile waits for ever",
        rewritten(Deciding, "take_up", 'self._void(body, f"the phase is {state.phase.value}")', "pass"),
        bench=BENCH,
        why="phase",
    ),
    "void: it did not begin": Mutant(
        "a rollback that was refused before its first step stays latched",
        rewritten(
            Deciding, "_carry_out", 'if waiting is not None and waiting["id"] == body["id"]:', "if False:"
        ),
        a_rollback_that_cannot_begin,
        "latched, and no run ever began",
    ),
    "a refused rollback blinds nothing": Mutant(
        "behind a rollback that could not begin nothing is decided any more",
        rewritten(
            Guard,
            "_roll_back",
            "    with self._running(Intent.ROLLBACK):",
            "    self._engine(None)\n    with self._running(Intent.ROLLBACK):",
        ),
        a_rollback_that_cannot_begin,
        "could roll back now",
    ),
    "latch: told to a new watch": caught_by(
        watching.test_a_rollback_that_fails_sets_the_latch_and_is_told,
        "the journal's latch is not read after a run",
        rewritten(Watching, "_situate", "self._serving[1], state.latched", "self._serving[1], False"),
        bench=BENCH,
    ),
    "latch: a decision sets it": caught_by(
        watching.test_a_rollback_that_fails_sets_the_latch_and_is_told,
        "a decision in the journal latches nothing",
        _folding("state.latched = True", "pass"),
        bench=BENCH,
    ),
    "latch: a cutover lifts it": caught_by(
        watching.test_a_new_cutover_arms_it_again,
        "after a new cutover it is latched for ever",
        _folding("if intent is Intent.CUTOVER:", "if False:"),
        bench=BENCH,
    ),
    "latch: not for a person": Mutant(
        "a person's rollback counts as the guard's",
        _folding('body["automatic"] and', "True and"),
        a_person_may_roll_back_as_often_as_there_is_need,
        "takes the guard's only one",
    ),
    "a decision is carried out once": Mutant(
        "a run that names its decision leaves it waiting",
        _folding(' or (waiting and body["options"].get("decision") == waiting["id"])', ""),
        a_decision_is_carried_out_once,
        "a second time",
    ),
    "observe tells nobody": caught_by(
        watching.test_the_mode_is_the_files,
        "mode observe sends pages",
        rewritten(
            Deciding,
            "take",
            "if decision.action is not Action.OBSERVE:\n        self._tell_decision(body)",
            'self.notice(body, "page", "observed", body["reason"])',
        ),
        bench=BENCH,
        mode="observe",
        events=[],
    ),
}

_WATCHING = {
    "probes are suspended in a run": caught_by(
        watching.test_triggers_are_suspended_while_a_run_is_under_way,
        "probes look on while a run stops the application",
        rewritten(Watching, "run_begins", "self.prober.suspend()", "pass"),
        bench=BENCH,
    ),
    "what came before a run is dropped": caught_by(
        watching.test_what_arrived_before_the_run_is_dropped,
        "what was seen before a run is judged after it",
        rewritten(
            Watching,
            "run_begins",
            "self._arrived.clear()",
            "pass",
        ),
        bench=BENCH,
    ),
    "only what there is on SQLite is asked": caught_by(
        watching.test_triggers_are_suspended_while_a_run_is_under_way,
        "on SQLite the server is asked",
        rewritten(Watching, "_select", "if state.phase is not Phase.ON_POSTGRES:", "if False:"),
        bench=BENCH,
    ),
    "what was seen before a restart counts": caught_by(
        watching.test_half_a_breach_is_not_forgotten_by_a_restart,
        "a restart of the guard forgets what it saw",
        swap(Watching, "_fold", nothing),
        bench=BENCH,
    ),
    "what nobody saw does not": caught_by(
        watching.test_a_guard_that_was_away_for_long_begins_anew,
        "checks of before a long absence are counted on",
        swap(of_watching, "AWAY_INTERVALS", 1e9),
        bench=BENCH,
    ),
    "nothing is told twice": caught_by(
        watching.test_what_was_told_before_a_restart_is_not_told_again_and_is_resolved,
        "each restart tells everything again",
        rewritten(
            Watching, "_fold", "if decision.at > newest and says != told.get(decision.trigger):", "if True:"
        ),
        bench=BENCH,
    ),
    "no rollback on the past": caught_by(
        watching.test_killed_around_the_record_of_the_decision_it_is_carried_out_once,
        "what a recorded trace leads to is done a second time",
        rewritten(Watching, "_fold", '"latched": True', '"latched": False'),
        bench=BENCH,
        point="guard.decided:before",
        recorded=0,
    ),
    "the thresholds of the cutover": caught_by(
        watching.test_the_thresholds_of_the_cutover_decide_not_those_of_the_file,
        "the file's thresholds decide, not those that were agreed on",
        swap(of_watching, "deciding", lambda frozen, current: current),
        bench=BENCH,
    ),
    "the mode of the file": caught_by(
        watching.test_the_mode_is_the_files,
        "a guard that was told to observe acts",
        swap(of_watching, "deciding", lambda frozen, current: Rules.from_json(frozen) if frozen else current),
        bench=BENCH,
        mode="observe",
        events=[],
    ),
    "rules are frozen": Mutant(
        "the thresholds are not written down at the cutover",
        rewritten(_Cutover, "_freeze", 'self._note("rules", self.world.rules.to_json())', "pass"),
        the_thresholds_stand_in_the_journal_before_the_stop,
        "written down nowhere",
    ),
    "the baseline is frozen": Mutant(
        "the baseline is not written down at the cutover",
        rewritten(
            _Cutover,
            "_freeze",
            'self._note("baseline", self.world.baseline())',
            'self.run.notes["baseline"] = 1',
        ),
        the_thresholds_stand_in_the_journal_before_the_stop,
        "written down nowhere",
    ),
    "rules are frozen once": Mutant(
        "a cutover that is taken up again takes the file's thresholds of then",
        rewritten(_Cutover, "_freeze", 'if "rules" not in self.run.notes:', "if True:"),
        the_thresholds_stand_in_the_journal_before_the_stop,
        "agrees on something else",
    ),
    "decided by the steady clock": caught_by(
        watching.test_a_wall_clock_that_jumps_decides_nothing,
        "a wall clock that was set ends a breach",
        rewritten(Watching, "_take", "at=max(o.at, self._at)", "at=o.utc.timestamp()"),
        bench=BENCH,
    ),
    "an answer is not lost": caught_by(
        watching.test_an_answer_that_a_full_disk_kept_back_is_given_later,
        "who asked for a rollback is never answered",
        rewritten(
            Guard, "_answer", "self._answers[0]()\n        self._answers.pop(0)", "self._answers.pop(0)()"
        ),
        bench=BENCH,
    ),
    "normal again, once": caught_by(
        watching.test_back_to_normal_is_said_once,
        "each guard says anew that all is normal",
        rewritten(
            Watching,
            "_arm_normal",
            'if not self.journal.records(kind="normal_again", run=rollback.id):',
            "if True:",
        ),
        bench=BENCH,
    ),
    "without a trace it guards on": caught_by(
        watching.test_without_a_trace_it_guards_on_says_so_once_and_records_again_later,
        "a full disk ends the guard",
        rewritten(Recorder, "record", "except DiskFull as e:", "except ZeroDivisionError as e:"),
        harm="DiskFull",
        bench=BENCH,
    ),
    "without a trace it says so once": caught_by(
        watching.test_without_a_trace_it_guards_on_says_so_once_and_records_again_later,
        "a full disk is told every minute",
        rewritten(Recorder, "record", "if self.error is None:\n            self.tell(e)", "self.tell(e)"),
        bench=BENCH,
    ),
}

_TRACE = {
    "trace: of this boot only": caught_by(
        test_trace.test_recent_is_of_this_boot_and_of_the_time_asked_for,
        "times of two boots are one time",
        rewritten(FileTrace, "recent", "if boot != self._boot:", "if False:"),
        path=PATH,
    ),
    "trace: a replay goes on over a boot": caught_by(
        test_trace.test_a_replay_goes_on_over_a_restart_of_the_machine,
        "a replay goes back in time at a restart of the machine",
        rewritten(test_trace, "read_trace", "if fresh:", "if False:"),
        path=PATH,
    ),
    "trace: a torn line is left out": caught_by(
        test_trace.test_a_torn_last_line_is_left_out_and_written_over,
        "a line that was torn off is read",
        rewritten(trace, "_lines", 'if not raw.endswith(b"\\n"):', "if False:"),
        harm="UsageError",
        path=PATH,
    ),
    "trace: a torn line is written over": caught_by(
        test_trace.test_a_torn_last_line_is_left_out_and_written_over,
        "the next line is written behind half of one",
        swap(trace, "_drop_torn_line", lambda fd: os.fstat(fd).st_size),
        harm="UsageError",
        path=PATH,
    ),
    "trace: whole lines on a full disk": caught_by(
        test_trace.test_a_full_disk_leaves_whole_lines_only,
        "half a line stays where the disk is full",
        rewritten(FileTrace, "_write", "os.ftruncate(fd, self._size)", "pass"),
        path=PATH,
    ),
    "trace: bounded": caught_by(
        test_trace.test_the_size_is_bounded_and_the_newest_stay,
        "the trace grows without end",
        rewritten(FileTrace, "append", "if self._size + len(line) > self._half and self._size:", "if False:"),
        path=PATH,
    ),
    "trace: private": caught_by(
        test_trace.test_what_was_recorded_is_read_again_with_its_rules,
        "everybody may read the trace",
        rewritten(FileTrace, "_opened", "0o600", "0o644"),
        path=PATH,
    ),
    "trace: a replay is strict": caught_by(
        test_trace.test_a_line_that_is_no_observation_is_named,
        "a replay leaves out what it cannot read",
        rewritten(test_trace, "read_trace", "strict=True", "strict=False"),
        path=PATH,
        line="not json",
    ),
}

_SERVER_GONE = {
    "the server is waited for": Mutant(
        "a server that is restarted is given up at once",
        swap(server_gone, "comes_back", never),
        a_server_that_comes_back_is_waited_for,
        "back after five seconds",
    ),
    "the server is waited for, for as long as is configured": Mutant(
        "the server is looked for once",
        rewritten(server_gone, "comes_back", "if clock.monotonic() >= deadline:", "if True:"),
        a_server_that_comes_back_is_waited_for,
        "back after five seconds",
    ),
    "a contact in the future is not known": Mutant(
        "an age below zero is an age",
        rewritten(server_gone, "last_contact", "age is not None and age >= 0", "age is not None"),
        a_contact_in_the_future_is_not_known,
        "inside the RPO",
    ),
    "the larger age": Mutant(
        "the younger of two ages counts",
        rewritten(server_gone, "last_contact", "max(ages)", "min(ages)"),
        the_larger_age_counts,
        "inside the RPO of a minute",
    ),
    "the RPO": Mutant(
        "any loss is allowed",
        rewritten(
            server_gone,
            "loss_manifest",
            "age is not None and age <= world.rpo_objective_seconds",
            "True",
        ),
        outside_the_rpo_it_does_not_go_on,
        "more is lost",
    ),
    "the server's identity": Mutant(
        "any server at that address is the one",
        swap(_Rollback, "_refuse_another_server", nothing),
        another_server_is_not_the_one_with_the_writes,
        "another cluster is fenced",
    ),
}

_PROVEN = {
    "proven: in the journal": caught_by(
        watching.test_what_is_proven_outlives_the_guard_and_holds_for_that_address_only,
        "a guard that begins while the application is dead takes its addresses for wrong",
        swap(Proofs, "_record", nothing),
        bench=BENCH,
    ),
    "proven: at this address": caught_by(
        watching.test_what_is_proven_outlives_the_guard_and_holds_for_that_address_only,
        "another address is believed because the former one was right",
        rewritten(Proofs, "__init__", 'targets.get(r.body["check"]) == r.body["target"]', "True"),
        bench=BENCH,
    ),
    "proven: by the cutover": caught_by(
        watching.test_the_cutovers_own_healthy_answer_proves_the_address,
        "an application that dies just behind the cutover is taken for a wrong address",
        swap(Proofs, "_by_cutover", never),
        bench=BENCH,
    ),
}

MUTANTS: dict[str, Mutant] = _DECIDED | _WATCHING | _PROVEN | _TRACE | _SERVER_GONE
