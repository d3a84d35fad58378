"""The guard's own alerts on the way back: whether it is ready, how far behind, proven and rehearsed when."""

from __future__ import annotations

from turnback.core.fuse import WARN_SHARE
from turnback.entrypoints.alerts.cases import lasting_cases
from turnback.entrypoints.alerts.guard_series import GuardSeries
from turnback.entrypoints.alerts.promql import number, one_of
from turnback.entrypoints.alerts.rule import SHORT, WHOLE, Alert, Case, Fired, lasting
from turnback.entrypoints.config import Config

DAY = 86400.0


def not_ready(config: Config, guard: GuardSeries) -> Alert:
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


def lag(config: Config, guard: GuardSeries) -> Alert:
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


def retention(config: Config, guard: GuardSeries) -> Alert:
    """Over half of the room that the server gives the slot is used, or of what the guard's fuse allows."""
    lasts, most = config.alerts.down_seconds, round(config.postgres.max_retained_wal_bytes * WARN_SHARE)
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
    expr += f"\nor {guard.ask('slot_retained_bytes')} > {most}"
    much = Case(
        "over half of [postgres] max_retained_wal_bytes",
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
        "See that the guard runs and capture moves, and end transactions that are open for long: else the"
        " slot is given up at [postgres] max_retained_wal_bytes. Where it is lost: `fallback rebuild`.",
        (*cases, gone),
    )


def divergence(guard: GuardSeries) -> Alert:
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


def certificate(config: Config, guard: GuardSeries) -> Alert:
    return _age(
        guard,
        "last_verification_timestamp_seconds",
        config.alerts.certificate_days,
        "TurnbackCertificateOld",
        "The last comparison is old",
        "PostgreSQL and the fallback have not been compared for too long",
        "`turnback verify` compares both sides, while the application serves.",
    )


def drill(config: Config, guard: GuardSeries) -> Alert:
    return _age(
        guard,
        "last_drill_timestamp_seconds",
        config.alerts.drill_days,
        "TurnbackDrillOld",
        "The last drill is old",
        "A rollback has not been rehearsed for too long",
        "Rehearse it: there and back on copies. A way back that nobody has gone lately is a hope.",
    )


def _age(
    guard: GuardSeries, metric: str, days: float, name: str, summary: str, what: str, action: str
) -> Alert:
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
