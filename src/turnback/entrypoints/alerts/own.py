"""The guard's own alerts: on what it says of itself and of the way back (names: adapters/telemetry.py).

Where the guard is gone its series are gone too: TurnbackDown says so, the others say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from turnback.core.watch.observation import DEPENDENCY
from turnback.entrypoints.alerts import way_back
from turnback.entrypoints.alerts.cases import Scrapes, lasting_cases, series
from turnback.entrypoints.alerts.guard_series import GuardSeries
from turnback.entrypoints.alerts.promql import Subjects, duration, labels, number, one_of, spelled
from turnback.entrypoints.alerts.rule import Alert, Case, Fired, label, lasting
from turnback.entrypoints.config import Config
from turnback.entrypoints.rules import rules

TOLD_SECONDS = 3600.0  # how long a rollback is told after it
SWITCHING = "TurnbackSwitching"  # inhibits; nobody is told
SAMPLED = ("error-rate", "latency")  # without data in a quiet hour: not blind


def own_alerts(config: Config, who: Subjects) -> Iterator[Alert]:
    guard = GuardSeries(who, Scrapes(config.alerts.scrape_seconds))
    yield _down(config, guard)
    yield _stalled(config, guard)
    yield way_back.not_ready(config, guard)
    yield way_back.lag(config, guard)
    yield way_back.retention(config, guard)
    yield way_back.divergence(guard)
    yield from _firing(config, guard)
    yield _blind(config, guard)
    yield way_back.certificate(config, guard)
    yield way_back.drill(config, guard)
    yield _held(guard)
    yield _rolled_back(guard)
    yield _switching(guard)


def _down(config: Config, guard: GuardSeries) -> Alert:
    chosen, lasts = labels(guard.who.guard), config.alerts.down_seconds
    up = series("up", guard.labels())
    end = guard.scrapes.after(lasts)
    fired = Fired(0, guard.who.guard)
    gone = Case(
        "its job is gone", {"unrelated": guard.scrapes.constant(1, end)}, end, (Fired(1, guard.who.guard),)
    )
    return Alert(
        "TurnbackDown",
        "turnback",
        "critical",
        f"max by (job) (up{{{chosen}}}) == 0 or absent(up{{{chosen}}})",
        lasts,
        "The guard does not answer",
        f"Nobody watches, nobody keeps the fallback current, nobody rolls back: no answer{lasting(lasts)}.",
        "Start it again (`turnback guard`): it goes on where it was. Its log says why it ended.",
        (*lasting_cases(guard.scrapes, lasts, {up: 0}, {up: 1}, (fired,), "down"), gone),
    )


def _stalled(config: Config, guard: GuardSeries) -> Alert:
    """It answers, and no longer looks: by the change of its own clock, which need not be Prometheus'.

    Not in a run, of which one step may take longer than that.
    """
    lasts = config.alerts.down_seconds
    looked, over = "status_timestamp_seconds", max(lasts, guard.scrapes.at(4))
    at, run, rolling = (
        guard.series(looked),
        guard.series("suspended"),
        guard.series("phase", phase="rolling_back"),
    )
    end = guard.scrapes.after(lasts)
    still, moves = guard.scrapes.constant(0, end), guard.scrapes.growing(guard.scrapes.seconds, end)
    no, yes = guard.scrapes.constant(0, end), guard.scrapes.constant(1, end)
    fired = Fired(0, guard.labels())
    switching = "phase=~" + one_of(("cutting_over", "rolling_back"))
    return Alert(
        "TurnbackStalled",
        "turnback",
        "critical",
        f"changes({guard.ask(looked)}[{duration(over)}]) == 0\n"
        f"unless on (job, instance) {guard.ask('suspended')} == 1\n"
        f"unless on (job, instance) {guard.ask('phase', switching)} == 1",
        lasts,
        "The guard answers, and looks at nothing",
        f"Nobody watches, nobody rolls back: no round of it has ended{lasting(lasts)}, and no run goes on.",
        "`turnback status` has its pid. End it and start it again: it goes on where it was.",
        (
            Case("it stands still", {at: still, run: no, rolling: no}, end, (fired,)),
            Case("not for long enough", {at: still, run: no}, guard.scrapes.before(lasts)),
            Case("it goes round", {at: moves, run: no}, end),
            Case("a run is under way", {at: still, run: yes}, end),
            Case("a rollback was taken up again", {at: still, run: no, rolling: yes}, end),
        ),
    )


def _firing(config: Config, guard: GuardSeries) -> Iterator[Alert]:
    """Two rules of one name: a trigger that is worth a night's sleep, and one that is not."""
    chosen = rules(config)
    known = dict(chosen.trigger_severity) | {f"alert:{n}": s for n, s in chosen.alerts.items()}
    minor = [name for name, severity in known.items() if severity in ("medium", "low")]
    minor_asked = one_of(minor)
    for asked, severity, example in (
        (f"trigger!~{minor_asked}", "critical", "error-rate"),
        (f"trigger=~{minor_asked}", "warning", minor[0] if minor else None),
    ):
        if example is None:
            continue
        firing = guard.series("trigger_firing", trigger=example)
        yield Alert(
            "TurnbackTriggerFiring",
            "turnback",
            "critical" if severity == "critical" else "warning",
            f"{guard.ask('trigger_firing', asked)} == 1",
            0,
            f"Trigger {label('trigger')} fires",
            f"The breach of {label('trigger')} has lasted as its rule demands. What the guard does with it is"
            f" its mode's and the decision matrix's ({config.guard.mode}).",
            "`turnback status` has the numbers and the decision; in mode recommend: `turnback rollback`.",
            lasting_cases(
                guard.scrapes,
                0,
                {firing: 1},
                {firing: 0},
                (Fired(1, guard.labels(trigger=example)),),
                f"{example} fires",
            ),
        )


def _blind(config: Config, guard: GuardSeries) -> Alert:
    """A probe that errs, or gives nothing; too few requests for a verdict is a quiet hour."""
    chosen = rules(config)
    of_triggers = ("application", "database", "server", "synthetic", "metrics", "log", "process")
    intervals = [s for p, s in chosen.intervals.items() if p in of_triggers or p.startswith(DEPENDENCY)]
    lasts = config.guard.blind_after * max(intervals, default=config.alerts.scrape_seconds)

    def verdict(outcome: str, trigger: str) -> str:
        return guard.series("trigger_verdict", trigger=trigger, verdict=outcome)

    def off(trigger: str) -> str:
        return guard.series("trigger_off", trigger=trigger)

    end = guard.scrapes.after(lasts)
    error, nothing = verdict("error", "error-rate"), verdict("no_data", "database-health")
    quiet, unused = verdict("no_data", "error-rate"), verdict("no_data", "latency")
    sampled = "trigger!~" + one_of(SAMPLED)
    cases = lasting_cases(
        guard.scrapes,
        lasts,
        {error: 1, off("error-rate"): 0},
        {error: 0, off("error-rate"): 0},
        (Fired(1, guard.labels(trigger="error-rate", verdict="error")),),
        "a probe errs",
    )
    return Alert(
        "TurnbackTriggerBlind",
        "turnback",
        "warning",
        f"(\n  {guard.ask('trigger_verdict', verdict='error')} == 1\n"
        f"  or {guard.ask('trigger_verdict', sampled, verdict='no_data')} == 1\n"
        f")\nunless on (job, instance, trigger) {guard.ask('trigger_off')} == 1",
        lasts,
        f"Trigger {label('trigger')} cannot be judged",
        f"Its verdict is {label('verdict')}{lasting(lasts)}: nothing is decided on it.",
        "`turnback status` says what its probe met. No data is neither health nor a reason to roll back.",
        (
            *cases,
            Case(
                "a probe gives nothing",
                {
                    nothing: guard.scrapes.constant(1, end),
                    off("database-health"): guard.scrapes.constant(0, end),
                },
                end,
                (Fired(1, guard.labels(trigger="database-health", verdict="no_data")),),
            ),
            Case("too few requests for a verdict", {quiet: guard.scrapes.constant(1, end)}, end),
            Case(
                "the trigger is off",
                {
                    verdict("error", "latency"): guard.scrapes.constant(1, end),
                    unused: guard.scrapes.constant(0, end),
                    off("latency"): guard.scrapes.constant(1, end),
                },
                end,
            ),
        ),
    )


def _held(guard: GuardSeries) -> Alert:
    """By the guard's last decision, which stays until another one; a rollback by hand ends it as well."""
    decided, end = {"trigger": "application-health", "severity": "critical"}, guard.scrapes.at(2)

    serving = guard.series("phase", phase="on_postgres")

    def last(action: str, on_postgres: bool = True) -> dict[str, str]:
        name = guard.series("last_decision_timestamp_seconds", action=action, **decided)
        return {name: guard.scrapes.constant(1, end), serving: guard.scrapes.constant(on_postgres, end)}

    held = Fired(1, guard.labels(action="hold", **decided))
    return Alert(
        "TurnbackHeld",
        "turnback",
        "critical",
        f"{guard.ask('last_decision_timestamp_seconds', action='hold')} > 0\n"
        f"and on (job, instance) {guard.ask('phase', phase='on_postgres')} == 1",
        0,
        "The guard would roll back, and holds",
        f"Trigger {label('trigger')} fires in mode enforce, and the way back is not ready, or the one"
        " automatic rollback of this cutover is used.",
        "A person decides now: `turnback status` says what is missing; `turnback rollback` does it by hand.",
        (
            Case("the last decision is to hold", last("hold"), end, (held,)),
            Case("it was to hold, and is on SQLite again", last("hold", on_postgres=False), end),
            *(
                Case(f"the last decision is {a}", last(a), end)
                for a in ("observe", "recommend", "rollback", "resolved")
            ),
        ),
    )


def _rolled_back(guard: GuardSeries) -> Alert:
    sqlite, postgres = guard.series("phase", phase="on_sqlite"), guard.series("phase", phase="on_postgres")
    went = guard.scrapes.at(3)
    lately = f"max_over_time({guard.ask('phase', phase='on_postgres')}[{number(TOLD_SECONDS)}s])"
    return Alert(
        "TurnbackRolledBack",
        "turnback",
        "warning",
        f"{guard.ask('phase', phase='on_sqlite')} == 1\nand on (job, instance) {lately} == 1",
        0,
        "The application is on SQLite again",
        f"It was on PostgreSQL within the last {spelled(TOLD_SECONDS)}: a rollback has ended.",
        "`turnback status` has its result. Find the cause before the next cutover.",
        (
            Case(
                "after a rollback",
                {sqlite: "0 0 1+0x6", postgres: "1 1 0+0x6"},
                went,
                (Fired(1, guard.labels(phase="on_sqlite")),),
            ),
            Case("still on PostgreSQL", {sqlite: "0+0x8", postgres: "1+0x8"}, went),
            Case("on SQLite for long", {sqlite: "1+0x8", postgres: "0+0x8"}, went),
        ),
    )


def _switching(guard: GuardSeries) -> Alert:
    """Told to nobody: while it fires, warnings about an application that is stopped on purpose wait."""
    rolling, serving = guard.series("phase", phase="rolling_back"), guard.series("phase", phase="on_postgres")
    return Alert(
        SWITCHING,
        "turnback",
        "info",
        f"{guard.ask('phase', 'phase=~' + one_of(('cutting_over', 'rolling_back')))} == 1",
        0,
        "A cutover or a rollback is under way",
        f"The phase is {label('phase')}.",
        "`turnback status` shows its step.",
        lasting_cases(
            guard.scrapes,
            0,
            {rolling: 1, serving: 0},
            {rolling: 0, serving: 1},
            (Fired(1, guard.labels(phase="rolling_back")),),
            "rolling back",
        ),
    )
