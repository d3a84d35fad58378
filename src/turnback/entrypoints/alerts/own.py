"""The guard's own alerts: on what it says of itself and of the way back (names: adapters/telemetry.py).

Where the guard is gone its series are gone too: TurnbackDown says so, the others say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from turnback.core.watch.observation import DEPENDENCY
from turnback.entrypoints.alerts.application import GUARD_INSTANCE
from turnback.entrypoints.alerts.cases import Scrapes, lasting_cases, series
from turnback.entrypoints.alerts.promql import Subjects, labels, number, one_of, spelled
from turnback.entrypoints.alerts.rule import SHORT, WHOLE, Alert, Case, Fired, label, lasting
from turnback.entrypoints.config import Config
from turnback.entrypoints.rules import rules

PREFIX = "turnback_"
DAY = 86400.0
TOLD_SECONDS = 3600.0  # how long a rollback is told after it
SWITCHING = "TurnbackSwitching"  # inhibits; nobody is told
SAMPLED = ("error-rate", "latency")  # without data in a quiet hour: not blind


@dataclass(frozen=True, slots=True)
class _Guard:
    """The series of the guard's /metrics, in an expression and in a test."""

    who: Subjects
    scrapes: Scrapes

    def ask(self, metric: str, more: str = "", **pairs: str) -> str:
        chosen = labels({**self.who.guard, **pairs})
        return f"{PREFIX}{metric}{{{chosen}{',' if more else ''}{more}}}"

    def series(self, metric: str, **pairs: str) -> str:
        return series(PREFIX + metric, self.labels(**pairs))

    def labels(self, **pairs: str) -> dict[str, str]:
        return {**self.who.guard, **GUARD_INSTANCE, **pairs}


def own_alerts(config: Config, who: Subjects) -> Iterator[Alert]:
    guard = _Guard(who, Scrapes(config.alerts.scrape_seconds))
    yield _down(config, guard)
    yield _not_ready(config, guard)
    yield _lag(config, guard)
    yield _retention(config, guard)
    yield _divergence(guard)
    yield from _firing(config, guard)
    yield _blind(config, guard)
    yield _certificate(config, guard)
    yield _drill(config, guard)
    yield _held(guard)
    yield _rolled_back(guard)
    yield _switching(guard)


def _down(config: Config, guard: _Guard) -> Alert:
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


def _not_ready(config: Config, guard: _Guard) -> Alert:
    lasts = config.alerts.down_seconds
    ready, serving = guard.series("ready"), guard.series("phase", phase="on_postgres")
    end = guard.scrapes.after(lasts)
    before = Case(
        "not ready, and not on PostgreSQL",
        {ready: guard.scrapes.constant(0, end), serving: guard.scrapes.constant(0, end)},
        end,
    )
    return Alert(
        "TurnbackNotReady",
        "turnback",
        "critical",
        f"{guard.ask('ready')} == 0\nand on (job, instance) {guard.ask('phase', phase='on_postgres')} == 1",
        lasts,
        "The way back is not ready",
        f"A rollback would be held: not ready{lasting(lasts)}.",
        "`turnback status` says which part is missing (also: turnback_ready_part == 0), and what opens it.",
        (
            *lasting_cases(
                guard.scrapes,
                lasts,
                {ready: 0, serving: 1},
                {ready: 1, serving: 1},
                (Fired(0, guard.labels()),),
                "not ready",
            ),
            before,
        ),
    )


def _lag(config: Config, guard: _Guard) -> Alert:
    lasts, limit = config.alerts.down_seconds, config.guard.max_lag_seconds
    lag = guard.series("lag_seconds")
    return Alert(
        "TurnbackLag",
        "turnback",
        "warning",
        f"{guard.ask('lag_seconds')} > {number(limit)}",
        lasts,
        "The fallback is behind PostgreSQL",
        f"It is {SHORT} s behind (limit {number(limit)} s){lasting(lasts)}.",
        "A rollback would wait for it. Look for a very large transaction, or a disk that is too slow.",
        lasting_cases(
            guard.scrapes,
            lasts,
            {lag: limit * 2},
            {lag: limit},
            (Fired(limit * 2, guard.labels()),),
            "too far behind",
        ),
    )


def _retention(config: Config, guard: _Guard) -> Alert:
    """Over half of the room that the server gives the slot is used, or a limit of the configuration's."""
    lasts, most = config.alerts.down_seconds, config.postgres.max_retained_wal_bytes
    safe, kept = guard.series("slot_safe_wal_bytes"), guard.series("slot_retained_bytes")
    lost = guard.series("slot_wal_status", status="lost")
    expr = (
        f"{guard.ask('slot_wal_status', 'status=~' + one_of(('unreserved', 'lost')))} == 1\n"
        f"or {guard.ask('slot_safe_wal_bytes')} < on (job, instance) {guard.ask('slot_retained_bytes')}"
    )
    megabyte = 1024.0**2
    cases = lasting_cases(
        guard.scrapes,
        lasts,
        {safe: megabyte, kept: 2 * megabyte, lost: 0},
        {safe: 2 * megabyte, kept: megabyte, lost: 0},
        (Fired(megabyte, guard.labels()),),
        "over half of the room used",
    )
    end = guard.scrapes.after(lasts)
    gone = Case(
        "the slot is lost",
        {lost: guard.scrapes.constant(1, end)},
        end,
        (Fired(1, guard.labels(status="lost")),),
    )
    if most is not None:
        expr += f"\nor {guard.ask('slot_retained_bytes')} > {most}"
        much = Case(
            "more than [postgres] max_retained_wal_bytes",
            {kept: guard.scrapes.constant(most * 2, end)},
            end,
            (Fired(most * 2, guard.labels()),),
        )
        cases = (*cases, much)
        if most < megabyte:  # then the healthy case above is none
            cases = tuple(c for c in cases if c.name != "not over half of the room used")
    return Alert(
        "TurnbackSlotRetention",
        "turnback",
        "critical",
        expr,
        lasts,
        "The replication slot may lose its place",
        f"PostgreSQL keeps more write-ahead log for the fallback than is safe{lasting(lasts)}: the value is"
        f" {WHOLE} (bytes, or 1 for a status of the slot).",
        "See that the guard runs and capture moves; raise max_slot_wal_keep_size. Where the slot is lost:"
        " `turnback fallback rebuild`.",
        (*cases, gone),
    )


def _divergence(guard: _Guard) -> Alert:
    equal = guard.series("last_verification_equal")
    return Alert(
        "TurnbackDivergence",
        "turnback",
        "critical",
        f"{guard.ask('last_verification_equal')} == 0",
        0,
        "The two sides are not equal",
        "The last comparison found rows that differ between PostgreSQL and the fallback.",
        "`turnback verify` names them. A rollback is held until a comparison is green.",
        lasting_cases(
            guard.scrapes, 0, {equal: 0}, {equal: 1}, (Fired(0, guard.labels()),), "the sides differ"
        ),
    )


def _firing(config: Config, guard: _Guard) -> Iterator[Alert]:
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


def _blind(config: Config, guard: _Guard) -> Alert:
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


def _age(guard: _Guard, metric: str, days: float, name: str, summary: str, what: str, action: str) -> Alert:
    """promtool's clock begins at 0: what is old has happened before it."""
    happened = guard.series(metric)
    end = guard.scrapes.at(2)
    return Alert(
        name,
        "turnback",
        "warning",
        f"time() - {guard.ask(metric)} > {number(days * DAY)}",
        0,
        summary,
        f"{what} (limit {number(days)} days): {WHOLE} s ago.",
        action,
        (
            Case(
                "too old",
                {happened: guard.scrapes.constant(-2 * days * DAY, end)},
                end,
                (Fired(2 * days * DAY + end, guard.labels()),),
            ),
            Case("young", {happened: guard.scrapes.constant(0, end)}, end),
            Case("never happened", {guard.series("up"): guard.scrapes.constant(1, end)}, end),
        ),
    )


def _certificate(config: Config, guard: _Guard) -> Alert:
    return _age(
        guard,
        "last_verification_timestamp_seconds",
        config.alerts.certificate_days,
        "TurnbackCertificateOld",
        "The last comparison is old",
        "PostgreSQL and the fallback have not been compared for too long",
        "`turnback verify` compares both sides, while the application serves.",
    )


def _drill(config: Config, guard: _Guard) -> Alert:
    return _age(
        guard,
        "last_drill_timestamp_seconds",
        config.alerts.drill_days,
        "TurnbackDrillOld",
        "The last drill is old",
        "A rollback has not been rehearsed for too long",
        "Rehearse it: there and back on copies. A way back that nobody has gone lately is a hope.",
    )


def _held(guard: _Guard) -> Alert:
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


def _rolled_back(guard: _Guard) -> Alert:
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


def _switching(guard: _Guard) -> Alert:
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
