"""What a guard sees becomes verdicts and decisions: probes -> trace -> watch -> decision.

Everything is decided by `Observation.at`. It all runs in the guard's own thread; only `hearing.post` may be
called from another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol

from turnback.app.deciding import Deciding
from turnback.app.hearing import Hearing
from turnback.app.proving import Proofs
from turnback.app.recording import Recorder
from turnback.app.sides import Watched
from turnback.core.phases import Intent, Phase
from turnback.core.state import Run, State
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.frozen import deciding, differences
from turnback.core.watch.normal import BackToNormal
from turnback.core.watch.observation import DEPENDENCY, PROBES, Observation, Situation
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action, Outcome
from turnback.core.watch.watch import Watch
from turnback.errors import DiskFull, SourceError
from turnback.ports import Clock, Journal

# On SQLite there is no server to look at: the guard watches the application, and rolls nothing back.
ON_SQLITE = ("application", "database", "synthetic", "metrics", "log", "process", "disk", "alert")
AWAY_INTERVALS = 3  # a guard that was away for longer begins with empty windows: nobody saw the time between


class Observers(Protocol):
    """turnback.app.probing.Prober."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def suspend(self) -> None: ...

    def resume(self) -> None: ...

    def select(self, names: Iterable[str]) -> None: ...

    def drain(self) -> list[Observation]: ...


@dataclass(slots=True)
class Watching:
    """`current` are the rules of turnback.toml; `normal_seconds` is [validate] watch_seconds."""

    journal: Journal
    clock: Clock
    prober: Observers
    recorder: Recorder
    deciding: Deciding
    current: Rules
    say: Callable[[str], None]
    version: str
    profile: str
    normal_seconds: float
    targets: Mapping[str, str] = field(default_factory=dict)  # what each check asks; see Proofs

    watch: Watch = field(init=False)
    hearing: Hearing = field(init=False)
    readings: dict[str, Observation] = field(default_factory=dict)  # the newest of each probe
    _rules: Rules = field(init=False)
    _proofs: Proofs = field(init=False)
    _begun: bool = False
    _arrived: deque[Observation] = field(default_factory=deque)  # not looked at yet
    _run: str = ""  # what the newest run was
    _situation: Situation | None = None
    _serving: tuple[str, float] = ("", 0.0)  # which start of the application, and `at` of it
    _at: float = 0.0
    _normal: BackToNormal | None = None
    _normal_run: str = ""
    _before_run: Watched | None = None
    _differ: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._rules = self.current
        self.watch = Watch(self.current)
        self.hearing = Hearing(self.clock)
        self._proofs = Proofs(self.journal, self.targets)

    # ---- start and end ----

    def begin(self, state: State) -> None:
        """What was seen before a restart of the guard counts, where it was away for a moment only."""
        self._arm(state)
        now = self.clock.monotonic()
        try:
            recent = self.recorder.trace.recent(reach_seconds(self._rules))
            alerts = self.recorder.trace.alerts()
        except SourceError as e:
            self.say(f"what was seen before is not known: {e}")
            recent, alerts = [], []
        since = _serving_since(recent, state.phase)
        self._serving = (_start_of(state), self._started_at(state) if since is None else since)
        if recent and now - recent[-1].at <= AWAY_INTERVALS * max(self._rules.intervals.values(), default=1):
            self.watch.asked_from(now)
            self._fold(recent)
        self._select(state)
        self.prober.start()
        self._begun = True
        for o in alerts:
            self.hearing.remember(o)
        watch = self.watch
        self._situate(state)  # what was seen before may lead to a rollback now
        if self.watch is watch:
            self._recall("this start of the guard")

    def _started_at(self, state: State) -> float:
        """By the journal, whose wall clock may have been set since: never in the future."""
        moves = _moves(state)
        ended = moves[-1].ended_at if moves else None
        now = self.clock.monotonic()
        return now if ended is None else now - max(0.0, (self.clock.now() - ended).total_seconds())

    def _fold(self, recent: Sequence[Observation]) -> None:
        """As if latched, so that it cannot act on the past. The situation that follows lifts that: a HOLD
        that is ready becomes a ROLLBACK then. Of the rest only what the guard before did not tell is told.
        """
        newest, told = self.deciding.told_before()
        if len(recent) > 1 and recent[0].probe == "situation":
            # The newest of before: what lies between it and the others is not looked at.
            recent = [replace(recent[0], at=recent[1].at), *recent[1:]]
        for o in recent:
            if o.probe == "situation" and o.value is not None:
                o = replace(o, value={**o.value, "latched": True})
            self._at = max(self._at, o.at)
            decision = self.watch.take(o)
            if decision is None or decision.action in (Action.HOLD, Action.ROLLBACK):
                continue
            # A breach that began before `recent` is seen to begin in it, and was told when it did.
            says = (decision.action.value, decision.severity)
            if decision.at > newest and says != told.get(decision.trigger):
                told[decision.trigger] = says
                self.deciding.take(decision)

    def end(self) -> None:
        self.prober.stop()
        self.recorder.trace.close()

    # ---- around a run ----

    def run_begins(self, intent: Intent) -> None:
        """What a run does to the application is no failure of it: nothing is looked at until its end."""
        if not self._begun:
            return
        self._before_run = Watched(self.watch.verdicts, self.watch.readiness)
        self._run = intent.value
        self.prober.suspend()
        self.hearing.close(f"a {intent.value} is under way")
        if self._situation is not None:
            self._post(replace(self._situation, open_run=intent.value))
        # Alertmanager believes that these are known: they are, and nothing is decided on them now.
        alerts = [o for o in (*self._arrived, *self.hearing.drain()) if o.probe == "alert"]
        self._arrived.clear()
        for o in alerts:
            self._take(o)

    def run_ended(self, state: State) -> None:
        """The windows begin anew."""
        self._before_run = None
        if not self._begun:
            return
        self.prober.drain()
        self.deciding.resolve_all("a run has ended; what it was about is judged anew")
        self._arm(state)
        self._situate(state)
        self._recall(f"the {self._run}")
        self._select(state)
        self.prober.resume()

    def _recall(self, before: str) -> None:
        """With the triggers armed anew: the alerts that fired before; each waits to be said again."""
        for alert in (a for a in self.hearing.standing(before) if a["name"] in self._rules.alerts):
            if not self.watch.knows(alert["name"], alert["fingerprint"]):
                self.say(
                    f"alert:{alert['name']} fired before {before}: it counts when Alertmanager says it again"
                )
                self._take(Observation(self.clock.monotonic(), self.clock.now(), "alert", alert))
        self._listen()

    def _listen(self) -> None:
        """Alerts are taken where they count: what Alertmanager sends then is what fires then."""
        if self.watch.suspended:
            self.hearing.close(f"a {self.watch.situation.open_run} is under way")
        elif self.watch.warming_up:
            self.hearing.close("the application has just been started: the warm-up is not over")
        else:
            self.hearing.open()

    def watched(self) -> Watched | None:
        """For the record of a person's rollback: what was seen just before it."""
        now = Watched(self.watch.verdicts, self.watch.readiness) if self._begun else None
        return self._before_run or now

    # ---- each turn ----

    def turn(self, state: State) -> None:
        """Takes what has arrived; the rest of it is dropped where a decision has become a run meanwhile."""
        if not self._begun:
            self.begin(state)
            return
        watch = self.watch
        self._try_again(state)
        if self.watch is not watch:
            return
        self._situate(state)
        self._arrived += sorted([*self.prober.drain(), *self.hearing.drain()], key=lambda o: o.at)
        while self._arrived:  # a run leaves nothing of it
            self._take(self._arrived.popleft())
        self._listen()

    def _try_again(self, state: State) -> None:
        """A decision that could not be recorded is made as soon as it can, where it would be made now too."""
        if self.deciding.waiting is None:
            return
        verdicts = (v for v in self.watch.verdicts if v.trigger == self.deciding.waiting)
        verdict = next(verdicts, None)
        if verdict is None or not verdict.firing:
            self.deciding.drop()
            self._arm(state)  # the watch believes that it was done, and would be latched
            self._situate(state)
            self._recall("a decision that could not be recorded")
        elif verdict.outcome is Outcome.BREACH and self.watch.readiness.ready:
            self.deciding.try_again()

    def _take(self, o: Observation) -> None:
        # Several threads read one clock: an answer may come a moment after a later one.
        o = replace(o, at=max(o.at, self._at))
        self._at = o.at
        if self._proofs.take(o) and self._situation is not None:
            # Before it, at the same moment: from here on a failure of this check is one.
            still = tuple(c for c in self._situation.unproven if c != o.probe)
            self._situation = replace(self._situation, unproven=still)
            self._take(replace(o, probe="situation", value=self._situation.to_json()))
        self.recorder.record(o)
        self.hearing.remember(o)
        self.readings[o.probe] = o
        decision = self.watch.take(o)
        if self._normal is not None:
            self._judge_normal(self._normal, o)
        if decision is not None:
            self.deciding.take(decision)

    def _judge_normal(self, normal: BackToNormal, o: Observation) -> None:
        found = normal.take(o)
        if found is None:
            return
        self._normal = None
        self.say("all is back to normal")
        body = {"trigger": "rollback", "severity": "low"}
        text = f"everything has been normal on SQLite for {self.normal_seconds:.0f} s"
        self.deciding.notice(body, "normal", "back to normal", text, resolved=True)
        self.journal.append("normal_again", dict(found), run=self._normal_run)

    # ---- the situation, and what decides in it ----

    def _situate(self, state: State) -> None:
        start = _start_of(state)
        if start != self._serving[0]:
            self._serving = (start, self.clock.monotonic())
        open_run = state.open_run.intent.value if state.open_run else None
        unproven = self._proofs.unproven(state)
        now = Situation(state.phase.value, open_run, self._serving[1], state.latched, unproven)
        if now != self._situation:
            self._post(now)

    def _post(self, situation: Situation) -> None:
        self._situation = situation
        now = self.clock.monotonic()
        self._take(Observation(now, self.clock.now(), "situation", situation.to_json()))

    def _arm(self, state: State) -> None:
        """A fresh watch; while PostgreSQL serves by what was frozen at the cutover."""
        cutover = state.last(Intent.CUTOVER)
        notes: Mapping[str, Any] = cutover.notes if cutover is not None else {}
        frozen = notes.get("rules") if state.phase is Phase.ON_POSTGRES else None
        self._rules = deciding(frozen, self.current)
        baseline = Baseline.from_json(notes["baseline"]) if notes.get("baseline") else None
        self.watch = Watch(self._rules, baseline)
        self._situation = None
        self.recorder.trace.begin(self.version, self._rules, baseline)
        self._arm_normal(state, baseline)
        differ = tuple(differences(self._rules, self.current))
        if differ and differ != self._differ:
            self.say(f"decided by what was frozen at the cutover: {'; '.join(differ)}")
        self._differ = differ

    def _arm_normal(self, state: State, baseline: Baseline | None) -> None:
        self._normal = None
        rollback = state.last(Intent.ROLLBACK)
        if state.phase is not Phase.ON_SQLITE or rollback is None or not self.normal_seconds:
            return
        if not self.journal.records(kind="normal_again", run=rollback.id):
            self._normal = BackToNormal(self._rules, baseline, self.normal_seconds)
            self._normal_run = rollback.id

    def _select(self, state: State) -> None:
        names = {*PROBES, *self._rules.intervals}
        if state.phase is not Phase.ON_POSTGRES:
            names = {n for n in names if n in ON_SQLITE or n.startswith(DEPENDENCY)}
        self.prober.select(sorted(names))

    # ---- for status.json, /status and /metrics ----

    def to_json(self) -> dict[str, Any]:
        rules, last = self._rules, self.deciding.last
        latency = next((v for v in self.watch.verdicts if v.trigger == "latency"), None)
        return {
            "watch": self.watch.to_json(),
            "mode": rules.mode,
            "modes": {name: line.mode or rules.mode for name, line in rules.severities.items()},
            "profile": self.profile,
            "why_no_latency": latency.off if latency is not None else None,
            "frozen_otherwise": list(self._differ),
            "decision": {k: v for k, v in last.items() if k != "samples"} if last else None,
            "trace": {
                "path": str(self.recorder.trace.path),
                "bytes": self.recorder.trace.size,
                "error": self.recorder.error,
            },
            "slot": self._reading("slot"),
            "postgres": self._reading("postgres"),
            "disk": self._reading("disk"),
            "last_verification": self._last_verification(),
            "last_drill": None,
        }

    @property
    def breached(self) -> bool:
        """Whether a trigger is in breach: a rollback may follow."""
        return any(v.firing or v.outcome is Outcome.BREACH for v in self.watch.verdicts)

    def _reading(self, probe: str) -> Mapping[str, Any] | None:
        o = self.readings.get(probe)
        return o.value if o is not None else None

    def _last_verification(self) -> Mapping[str, Any] | None:
        o = self.readings.get("verification")
        if o is None or o.value is None:
            return None
        at = o.utc - timedelta(seconds=float(o.value["age_seconds"]))
        return {"at": at.isoformat(), "equal": o.value["equal"]}


def reach_seconds(rules: Rules) -> float:
    """How far back the longest rule looks, and as much again for its recovery."""
    slowest = max(rules.intervals.values(), default=10.0)
    looks = [
        rules.error_rate.for_seconds + rules.error_rate.window_seconds,
        rules.latency.for_seconds + rules.latency.window_seconds,
        rules.log_errors.for_seconds + 60.0,
        rules.crash_loop.within_seconds,
        rules.never_healthy.seconds,
        slowest * max(rules.database_health.failures, rules.application_health.failures, rules.pool.of),
        slowest * rules.blind_after,
        rules.warm_up_seconds,
    ]
    return 2 * max(looks)


def _start_of(state: State) -> str:
    """Names the last start of the application that a run has made: the end of a cutover or a rollback."""
    moves = _moves(state)
    return moves[-1].id if moves else ""


def _moves(state: State) -> list[Run]:
    return [r for r in state.runs if r.intent in (Intent.CUTOVER, Intent.ROLLBACK) and r.outcome is not None]


def _serving_since(recent: Sequence[Observation], phase: Phase) -> float | None:
    """As the guard before knew it."""
    for o in reversed(recent):
        if o.probe == "situation" and o.value is not None:
            situation = Situation.from_json(o.value)
            return situation.serving_since if situation.phase == phase.value else None
    return None


def trace_notice(deciding: Deciding) -> Callable[[DiskFull | None], None]:
    """What a Recorder says when the disk is full, and when there is room again."""

    def tell(error: DiskFull | None) -> None:
        body = {"trigger": "trace", "severity": "low"}
        if error is None:
            deciding.notice(
                body, "resolved", "trace: is over", "observations are recorded again", resolved=True
            )
            return
        deciding.say(str(error))
        deciding.notice(body, "page", "trace: observations are not recorded", f"{error}. Next: {error.hint}")

    return tell
