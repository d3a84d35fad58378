"""Observations in, decisions out: the one place where the rules, the triggers and readiness meet.

Everything is decided at the observation's own time: the same observations give the same decisions, live and
in a replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from turnback.core.phases import Phase
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.decision import Fired, action, chosen, held_back, mode_of, reason
from turnback.core.watch.observation import MetricsReading, Observation, Situation
from turnback.core.watch.rates import ErrorRateTrigger, LatencyTrigger, LogErrorsTrigger
from turnback.core.watch.readiness import readiness
from turnback.core.watch.rules import ALERT, HARD, Rules
from turnback.core.watch.severity import Graded, of_errors, of_trigger, worse
from turnback.core.watch.shape import problem, reading, situation
from turnback.core.watch.sight import Blindness, Sight
from turnback.core.watch.trigger import Input, Trigger
from turnback.core.watch.triggers import (
    AlertTrigger,
    CrashLoopTrigger,
    Health,
    NeverHealthyTrigger,
    PoolTrigger,
)
from turnback.core.watch.verdict import Action, Decision, Outcome, Readiness, Verdict
from turnback.core.watch.whose import Whose
from turnback.core.watch.window import Readings, Slice, Window

DEFAULT_INTERVAL_SECONDS = 10.0  # of a probe that the rules name no interval of (a trace without its rules)
ANOTHER_BOOT_SECONDS = 60.0  # time that runs back by more is another boot's
RUN_BEGINS_SECONDS = 60.0  # a latch without a run that follows the decision is another's after this time
PROBE = "probe:"  # the trigger of a decision about a probe that gives nothing

# What is of no use, or not asked, while the application is on SQLite.
OF_POSTGRES = ("server", "postgres", "slot", "capture", "platform")
_SEEING = ("application", "database", "server")  # blindness of these is severity high, of others medium
_DECIDES = (Phase.ON_POSTGRES, Phase.ON_SQLITE)


class Watch:
    """Holds what the rules need of the past, bounded; take() costs the same however long it runs."""

    def __init__(self, rules: Rules, baseline: Baseline | None = None) -> None:
        self.rules = rules
        self.baseline = baseline
        self.situation = Situation(Phase.NEW.value)
        self._sight = Sight(rules.intervals, rules.blind_after)
        self._look_every = min([*rules.intervals.values(), DEFAULT_INTERVAL_SECONDS])
        self._at: float | None = None
        self._utc: datetime | None = None
        self._warm = False
        self._graded: dict[str, Graded] = {}  # of what fires, the worst so far
        self._held: set[str] = set()  # of what fires, what is held back
        self._told: dict[str, tuple[Action, str]] = {}  # of what is not over: what was decided, how severe
        self._open: dict[str, Graded] = {}  # what was decided on and is not over
        self._heard: set[str] = set()  # of these, what a person was told of
        self._blindness = Blindness()
        self._look_at = self._blind_at = 0.0  # when silence, and blindness, are looked for again
        self._taken = False  # the automatic rollback was decided on
        self._taken_at = 0.0
        self._run_seen = False  # and a run came after it
        self._anew(None)

    # ---- what is known ---------------------------------------------------------------------------

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(t.verdict() for t in self._triggers.values())

    @property
    def readiness(self) -> Readiness:
        return readiness(self.rules, self._sight, self._at or 0.0)

    @property
    def suspended(self) -> bool:
        return self.situation.open_run is not None

    @property
    def warming_up(self) -> bool:
        return self._warm

    @property
    def latched(self) -> bool:
        return self.situation.latched or self._taken

    @property
    def unheard(self) -> tuple[str, ...]:
        """The probes of a trigger that have said nothing yet, or not for several intervals."""
        return tuple(
            p
            for p in self._expected()
            if p in self._by_probe and (p in self._silent or p not in self._sight.probes)
        )

    def samples(self, trigger: str) -> dict[str, Any]:
        """{"title", "unit", "points": [[at, value or None], ...], "limit", "baseline", "since", "at", "utc"}:
        what the rule looked at and as much again, at most 400 points; {} for a trigger pulled by hand.
        """
        found = self._triggers.get(trigger)
        return found.samples() if found is not None else {}

    def knows(self, alert: str, fingerprint: str) -> bool:
        """Whether this alert of Alertmanager fires, by what it has said to this watch."""
        found = self._triggers.get(ALERT + alert)
        return isinstance(found, AlertTrigger) and found.fires(fingerprint)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdicts": [v.to_json() for v in self.verdicts],
            "readiness": self.readiness.to_json(),
            "latched": self.latched,
            "suspended": self.suspended,
            "lasting": {
                t.name: {"seconds": lasted[0], "fires_after_seconds": lasted[1]}
                for t in self._triggers.values()
                if t.off is None and (lasted := t.lasting()) is not None
            },
            "baseline": self.baseline is not None,
            "probes": {
                name: {"at": seen.at, "error": seen.error} for name, seen in self._sight.probes.items()
            },
        }

    def asked_from(self, at: float) -> None:
        """See Sight.asked_from: for a guard that begins with what one before it has seen."""
        self._sight.asked_from(at)

    # ---- observations ----------------------------------------------------------------------------

    def take(self, o: Observation) -> Decision | None:
        """A decision when something new is to be said or done. Several at once come one by one, with the
        observations that follow.
        """
        if self._at is not None and o.at < self._at:
            if self._at - o.at > ANOTHER_BOOT_SECONDS:
                self._at = None
                self._sight = Sight(self.rules.intervals, self.rules.blind_after)
                self._blindness, self._taken_at = Blindness(), min(self._taken_at, o.at)
                self._anew(o.at)
            else:
                o = replace(o, at=self._at)
        self._at, self._utc = o.at, o.utc
        bad = problem(o)
        if bad is not None:
            o = replace(o, value=None, error=bad)
        if o.probe == "situation":
            now = situation(o.value) if o.value is not None else None
            if now is None:
                return None
            self._situate(now, o.at)
            return None if self.suspended else self._decide(o)
        if self.suspended:
            return None
        o = self._believed(o)
        counters: MetricsReading | None = None
        if o.probe == "metrics" and o.value is not None:
            read = reading(o.value)
            if isinstance(read, str):
                o = replace(o, value=None, error=read)
            else:
                counters = read
        self._sight.take(o)
        self._silent.discard(o.probe)
        self._warm_up(o.at)
        self._feed(o, counters)
        if o.at >= self._look_at:
            self._look_at = o.at + self._look_every
            self._listen(o.at)
        return self._decide(o)

    def _believed(self, o: Observation) -> Observation:
        """A failed check that never passed may be asked at a wrong address: it is no failure, and not ok."""
        if o.probe not in self.situation.unproven or o.value is None or o.value.get("ok") is not False:
            return o
        detail = o.value.get("detail", "")
        return replace(o, value=None, error=f"never answered properly yet, is the address right? {detail}")

    def _situate(self, now: Situation, at: float) -> None:
        before, self.situation = self.situation, now
        if now.open_run is not None:
            self._run_seen = self._run_seen or self._taken
            return
        if now.phase in (Phase.NEW, Phase.PLANNED, Phase.MIGRATED, Phase.CUTTING_OVER):
            self._taken = self._run_seen = False  # the next cutover is a person's, and arms it again
        if before.phase != now.phase:
            self._told.clear()
        if before.open_run is not None or before.phase != now.phase:
            self._anew(at)
        since = now.serving_since
        unknown = since != before.serving_since or self._never.started_at is None
        # What came before this moment was not watched: of an older start nobody can say "never".
        if since is not None and unknown and at - since < self.rules.never_healthy.seconds:
            self._never.started(at)
        self._warm_up(at)

    def _warm_up(self, at: float) -> None:
        since = self.situation.serving_since
        was = self._warm
        self._warm = since is not None and since <= at < since + self.rules.warm_up_seconds
        if was and not self._warm:
            for name, trigger in self._make().items():
                if name not in HARD and not name.startswith(ALERT):  # an alert lasts until it is resolved
                    self._triggers[name] = trigger
            self._index()

    def _feed(self, o: Observation, reading: MetricsReading | None) -> None:
        if self.situation.phase == Phase.ON_SQLITE and o.probe in OF_POSTGRES:
            return
        if o.probe in ("application", "database"):
            sifted = self._whose.sift(o)
            for one in sifted:
                for trigger in self._by_probe.get(one.probe, ()):
                    trigger.take(Input(one))
            if not sifted:
                for trigger in self._by_probe.get(o.probe, ()):
                    trigger.forget(o.probe)
            return
        grown = None
        if reading is not None:
            grown = self._readings.take(o.at, reading)
            if grown is not None:
                self._causes.add(o.at, Slice(failures=grown.failures, causes=grown.causes))
        seen = Input(o, reading, grown)
        for trigger in self._by_probe.get(o.probe, ()):
            trigger.take(seen)

    def _listen(self, at: float) -> None:
        """Probes that have become silent, and what does not count any more."""
        for trigger in self._triggers.values():
            trigger.pass_to(at)
        for probe in self._expected():
            if probe not in self._silent and self._sight.silent(probe, at):
                self._silent.add(probe)
                for trigger in self._by_probe.get(probe, ()):
                    trigger.silence(probe)

    def _expected(self) -> list[str]:
        away = self.situation.phase == Phase.ON_SQLITE
        return [p for p in self.rules.intervals if not (away and p in OF_POSTGRES)]

    # ---- triggers --------------------------------------------------------------------------------

    def _anew(self, at: float | None) -> None:
        """Windows start anew; what was told stays told."""
        self._triggers = self._make()
        self._index()
        self._readings = Readings(self._interval("metrics"))
        self._causes = Window(self.rules.error_rate.window_seconds)
        self._silent: set[str] = set()
        self._held.clear()
        self._whose = Whose(self._sight)
        self._look_at = self._blind_at = 0.0
        if at is not None:
            self._sight.begin(at)

    def _interval(self, probe: str) -> float:
        return self.rules.intervals.get(probe, DEFAULT_INTERVAL_SECONDS)

    def _make(self) -> dict[str, Trigger]:
        r = self.rules
        made: list[tuple[Trigger, bool]] = [
            (Health("database-health", r.database_health, ("database", "server")), r.database_health.enabled),
            (
                Health("application-health", r.application_health, ("application",)),
                r.application_health.enabled,
            ),
            (NeverHealthyTrigger(r.never_healthy), r.never_healthy.enabled),
            (CrashLoopTrigger(r.crash_loop), r.crash_loop.enabled),
            (
                ErrorRateTrigger(r.error_rate, r.recover_share, r.critical_endpoints),
                r.error_rate.enabled,
            ),
            (LatencyTrigger(r.latency, r.recover_share, self.baseline), r.latency.enabled),
            (PoolTrigger(r.pool), r.pool.enabled),
            (LogErrorsTrigger(r.log_errors, r.recover_share, self._interval("log")), r.log_errors.enabled),
        ]
        made += [(AlertTrigger(ALERT + name, name), True) for name in r.alerts]
        for trigger, enabled in made:
            needs = ("application",) if trigger.name == "never-healthy" else trigger.fed_by
            if not enabled:
                trigger.off = "switched off in the configuration"
            elif r.intervals and "alert" not in needs and not any(p in r.intervals for p in needs):
                trigger.off = f"no probe of it is configured: {' or '.join(needs)}"
        return {trigger.name: trigger for trigger, _ in made}

    def _index(self) -> None:
        self._by_probe: dict[str, list[Trigger]] = {}
        for trigger in self._triggers.values():
            if trigger.off is None:
                for probe in trigger.fed_by:
                    self._by_probe.setdefault(probe, []).append(trigger)

    @property
    def _never(self) -> NeverHealthyTrigger:
        found = self._triggers["never-healthy"]
        assert isinstance(found, NeverHealthyTrigger)
        return found

    # ---- decisions -------------------------------------------------------------------------------

    def _decide(self, o: Observation) -> Decision | None:
        at, utc = o.at, o.utc
        if self.situation.phase not in _DECIDES:
            return None
        firing = [t for t in self._triggers.values() if t.firing and not (self._warm and t.name not in HARD)]
        for name in [n for n in self._graded if not self._triggers[n].firing]:
            del self._graded[name]
            self._held.discard(name)
        fired = [one for one in (self._fired(t, at) for t in firing) if one is not None]
        if not fired:
            return self._resolve(at, utc) or self._look(at, utc)
        if self._run_is_due(at):
            return self._look(at, utc)
        one, ready = chosen(fired, self.rules), self.readiness
        what, why_not = self._action(one, ready)
        if what is Action.ROLLBACK and not self._shown(one, o.probe):
            fired = [f for f in fired if self._shown(f, o.probe)]
            if not fired:
                return self._look(at, utc)
            one = chosen(fired, self.rules)
            what, why_not = self._action(one, ready)
        key = (what, one.graded.severity)
        if key == self._told.get(one.trigger) and what is not Action.ROLLBACK:
            return self._resolve(at, utc) or self._look(at, utc)
        self._told[one.trigger] = key
        self._open[one.trigger] = one.graded
        if what is not Action.OBSERVE:
            self._heard.add(one.trigger)
        if what is Action.ROLLBACK:
            self._taken, self._taken_at, self._run_seen = True, at, False
        verdict = self._triggers[one.trigger].verdict()
        return self._decision(
            at, utc, what, one, reason(verdict, one, what, why_not, ready, at, utc), why_not, ready
        )

    def _action(self, one: Fired, ready: Readiness) -> tuple[Action, str | None]:
        if self.situation.phase == Phase.ON_SQLITE:
            quiet = mode_of(self.rules, one.graded.severity) == "observe"
            return Action.OBSERVE if quiet else Action.PAGE, None
        return action(self.rules, one, ready, latched=self.latched)

    def _shown(self, one: Fired, probe: str) -> bool:
        """Whether this very observation shows the breach. One that only made the way back ready does not: the
        breach may be over by now, or nobody sees it. An alert lasts until it is resolved.
        """
        found = self._triggers[one.trigger]
        return one.trigger.startswith(ALERT) or (probe in found.fed_by and found.acute)

    def _run_is_due(self, at: float) -> bool:
        """A rollback was decided on, and its run has not begun: until then there is nothing to add."""
        late = self.situation.latched and at - self._taken_at >= RUN_BEGINS_SECONDS
        return self._taken and not self._run_seen and not late

    def _fired(self, trigger: Trigger, at: float) -> Fired | None:
        """None: it was held back and is not any more. Then it has to last anew: what failed until now failed
        for another cause.
        """
        name = trigger.name
        database = self._triggers["database-health"]
        ok = database.outcome if database.off is None and not database.firing else Outcome.NO_DATA
        held = held_back(name, ok, self._causes, self.rules, self._sight, at)
        if held is not None:
            self._held.add(name)
        elif name in self._held:
            self._held.discard(name)
            trigger.again()
            return None
        if isinstance(trigger, ErrorRateTrigger):
            graded = of_errors(self.rules, trigger.window)
        else:
            graded = of_trigger(self.rules, name)
        # The worst so far: a share that goes up and down around a line is told once.
        known = self._graded.get(name)
        if known is None or worse(graded.severity, known.severity):
            self._graded[name] = graded
        else:
            graded = known
        return Fired(name, graded, held)

    def _resolve(self, at: float, utc: datetime) -> Decision | None:
        """What was told is over: seen to be ok, not only unseen since the windows began anew."""
        for name, graded in list(self._open.items()):
            trigger = self._triggers.get(name)
            away = self.situation.phase == Phase.ON_SQLITE
            blind = trigger is not None and away and all(p in OF_POSTGRES for p in trigger.fed_by)
            over = trigger is None or (trigger.outcome is Outcome.OK and not trigger.firing)
            if trigger is None or trigger.off or blind or over:
                del self._open[name]
                self._told.pop(name, None)
                if name not in self._heard:
                    continue
                self._heard.discard(name)
                sentence = trigger.verdict().sentence if trigger is not None else ""
                one = Fired(name, graded)
                return self._decision(
                    at, utc, Action.RESOLVED, one, f"{name} is over: {sentence}", None, self.readiness
                )
        return None

    def _look(self, at: float, utc: datetime) -> Decision | None:
        """Probes that the guard does not see through any more, or does again."""
        if at < self._blind_at:
            return None
        self._blind_at = at + self._look_every
        found = self._blindness.look(self._sight, self._expected(), at)
        if found is None:
            return None
        one = Fired(PROBE + found.probe, Graded("high" if found.probe in _SEEING else "medium"))
        what = Action.PAGE if found.blind else Action.RESOLVED
        return self._decision(at, utc, what, one, found.sentence, None, self.readiness)

    def _decision(
        self,
        at: float,
        utc: datetime,
        what: Action,
        one: Fired,
        told: str,
        why_not: str | None,
        ready: Readiness,
    ) -> Decision:
        of_probe = one.trigger.startswith(PROBE)
        line = self.rules.severities[one.graded.severity]
        return Decision(
            at=at,
            utc=utc.isoformat(),
            action=what,
            trigger=one.trigger,
            severity=one.graded.severity,
            emergency=line.emergency and not of_probe,
            objective_seconds=None if of_probe else line.objective_seconds,
            reason=told,
            held_back=why_not,
            affected_share=one.graded.share,
            affected_of=one.graded.of,
            verdicts=self.verdicts,
            readiness=ready,
            samples=self.samples(one.trigger),
            baseline=self.baseline.to_json() if self.baseline is not None else None,
        )


def replay(rules: Rules, baseline: Baseline | None, observations: Iterable[Observation]) -> list[Decision]:
    """The decisions that these observations lead to, by the same code."""
    watch = Watch(rules, baseline)
    decided = (watch.take(o) for o in observations)
    return [d for d in decided if d is not None]
