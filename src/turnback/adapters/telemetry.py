"""The guard's metrics in Prometheus' text format, made from the guard's status and nothing else.

METRICS is the one table: the page and docs/reference.md are made from it. What the status does not hold is
absent from the page, never 0. Names and units follow Prometheus' naming practice (base units, `_total`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from turnback.core.phases import Phase
from turnback.core.watch.verdict import Outcome

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MODES = ("observe", "recommend", "enforce")
WAL_STATUSES = ("reserved", "extended", "unreserved", "lost")  # pg_replication_slots.wal_status

Status = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]  # label values, value
Reader = Callable[[Status], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    help: str
    read: Reader
    labels: tuple[str, ...] = ()
    type: Literal["gauge", "counter"] = "gauge"


def render(status: Status) -> bytes:
    """The page. `status` is Guard.status(): what status.json holds; any part of it may be missing."""
    registry = CollectorRegistry()
    registry.register(_OfStatus(status))
    return generate_latest(registry)


class _OfStatus(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        for metric in METRICS:
            kind = GaugeMetricFamily if metric.type == "gauge" else CounterMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in dict(metric.read(self._status)).items():
                family.add_metric(labels, value)
            if family.samples:
                yield family


# ---- readers ----


def _part(body: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(key)
    return body


def _number(*path: str) -> Reader:
    """A number or a truth value; None and absent give nothing."""

    def read(status: Status) -> Iterator[Sample]:
        value = _part(status, *path)
        if value is not None:
            yield (), float(value)

    return read


def _moment(*path: str) -> Reader:
    """ISO 8601, as seconds since 1970."""

    def read(status: Status) -> Iterator[Sample]:
        value = _part(status, *path)
        if value is not None:
            yield (), datetime.fromisoformat(value).timestamp()

    return read


def _one_of(choices: Iterable[str], *path: str) -> Reader:
    """One series for each choice, 1 for the one that it is."""
    known = tuple(choices)

    def read(status: Status) -> Iterator[Sample]:
        value = _part(status, *path)
        if value is not None:
            for choice in known:
                yield (choice,), float(choice == value)

    return read


def _wal_status(status: Status) -> Iterator[Sample]:
    if _part(status, "slot") is not None:
        value = _part(status, "slot", "wal_status")
        for choice in WAL_STATUSES:
            yield (choice,), float(choice == value)


def _triggers(key: str) -> Reader:
    def read(status: Status) -> Iterator[Sample]:
        for verdict in _part(status, "watch", "verdicts") or ():
            if verdict.get(key) is not None:
                yield (verdict["trigger"],), float(verdict[key])

    return read


def _verdicts(status: Status) -> Iterator[Sample]:
    for verdict in _part(status, "watch", "verdicts") or ():
        for outcome in Outcome:
            yield (verdict["trigger"], outcome.value), float(verdict["outcome"] == outcome.value)


def _off(status: Status) -> Iterator[Sample]:
    for verdict in _part(status, "watch", "verdicts") or ():
        yield (verdict["trigger"],), float(verdict.get("off") is not None)


def _ready_parts(status: Status) -> Iterator[Sample]:
    for part in _part(status, "watch", "readiness", "parts") or ():
        if part["ok"] is not None:
            yield (part["name"],), float(part["ok"])


def _probe_errors(status: Status) -> Iterator[Sample]:
    for name, probe in (_part(status, "watch", "probes") or {}).items():
        yield (name,), float(probe.get("error") is not None)


def _trace_error(status: Status) -> Iterator[Sample]:
    trace = _part(status, "trace")
    if trace is not None:
        yield (), float(trace.get("error") is not None)


def _severity_modes(status: Status) -> Iterator[Sample]:
    for severity, chosen in (_part(status, "modes") or {}).items():
        for mode in MODES if chosen is not None else ():
            yield (severity, mode), float(mode == chosen)


def _last_decision(status: Status) -> Iterator[Sample]:
    decision = _part(status, "decision")
    if decision is not None:
        labels = (str(decision["action"]), str(decision["trigger"]), str(decision["severity"]))
        yield labels, datetime.fromisoformat(decision["utc"]).timestamp()


def _capture_state(status: Status) -> Iterator[Sample]:
    state = _part(status, "capture", "state")
    if state is not None:
        yield (), float(state == "streaming")


def _version(status: Status) -> Iterator[Sample]:
    version = _part(status, "version")
    if version is not None:
        yield (str(version),), 1.0


METRICS: tuple[Metric, ...] = (
    Metric("turnback_up", "1: this guard answers.", lambda status: [((), 1.0)]),
    Metric("turnback_build_info", "Always 1; the label has the version.", _version, ("version",)),
    Metric("turnback_started_timestamp_seconds", "When this guard started.", _moment("started_at")),
    Metric(
        "turnback_status_timestamp_seconds",
        "When the guard last looked at everything; all else on this page is of that moment.",
        _moment("at"),
    ),
    Metric(
        "turnback_phase",
        "1 for the phase of the move, 0 for the others.",
        _one_of([p.value for p in Phase], "phase"),
        ("phase",),
    ),
    Metric("turnback_mode", "1 for the guard's mode, 0 for the others.", _one_of(MODES, "mode"), ("mode",)),
    Metric(
        "turnback_severity_mode",
        "1 for the mode that holds at this severity, 0 for the others.",
        _severity_modes,
        ("severity", "mode"),
    ),
    Metric(
        "turnback_trigger_value",
        "What the trigger measures now, in its own unit (share, seconds, checks, connections, lines).",
        _triggers("value"),
        ("trigger",),
    ),
    Metric(
        "turnback_trigger_limit",
        "The limit of that value, in the same unit.",
        _triggers("limit"),
        ("trigger",),
    ),
    Metric(
        "turnback_trigger_firing",
        "1: the breach has lasted as the rule demands and has not recovered.",
        _triggers("firing"),
        ("trigger",),
    ),
    Metric(
        "turnback_trigger_verdict",
        "1 for the last verdict (ok, breach, no_data, error), 0 for the others.",
        _verdicts,
        ("trigger", "verdict"),
    ),
    Metric(
        "turnback_trigger_off",
        "1: the trigger cannot be judged (no baseline, not configured).",
        _off,
        ("trigger",),
    ),
    Metric(
        "turnback_suspended",
        "1: the triggers are suspended while a run is under way.",
        _number("watch", "suspended"),
    ),
    Metric(
        "turnback_latched",
        "1: the one automatic rollback of this cutover was taken.",
        _number("watch", "latched"),
    ),
    Metric(
        "turnback_baseline", "1: there is a baseline to judge the latency by.", _number("watch", "baseline")
    ),
    Metric(
        "turnback_last_decision_timestamp_seconds",
        "When the guard last decided something, and what.",
        _last_decision,
        ("action", "trigger", "severity"),
    ),
    Metric(
        "turnback_ready",
        "1: a rollback now would lose nothing (or, without the server, no more than the RPO).",
        _number("watch", "readiness", "ready"),
    ),
    Metric(
        "turnback_ready_lossy",
        "1: ready only inside the RPO, PostgreSQL is unreachable.",
        _number("watch", "readiness", "lossy"),
    ),
    Metric(
        "turnback_ready_part",
        "1: this part of readiness is fine, 0: it is not; absent: not known.",
        _ready_parts,
        ("part",),
    ),
    Metric("turnback_capture_streaming", "1: the fallback is being kept current now.", _capture_state),
    Metric(
        "turnback_capture_lost",
        "1: there is no way back until the fallback is made anew.",
        _number("capture", "lost"),
    ),
    Metric(
        "turnback_lag_bytes", "WAL that the fallback is behind PostgreSQL.", _number("capture", "lag_bytes")
    ),
    Metric(
        "turnback_lag_seconds",
        "Age of the oldest commit that the fallback lacks.",
        _number("capture", "lag_seconds"),
    ),
    Metric(
        "turnback_last_contact_timestamp_seconds",
        "When the fallback last held everything.",
        _moment("capture", "last_contact_at"),
    ),
    Metric("turnback_rpo_seconds", "What a loss of PostgreSQL would cost now.", _number("rpo_seconds")),
    Metric(
        "turnback_slot_wal_status",
        "1 for the replication slot's wal_status, 0 for the others; all 0: there is no slot.",
        _wal_status,
        ("status",),
    ),
    Metric(
        "turnback_slot_safe_wal_bytes",
        "WAL that may still be written before the slot is lost (safe_wal_size); absent: no bound.",
        _number("slot", "safe_wal_size"),
    ),
    Metric(
        "turnback_slot_retained_bytes",
        "WAL that the slot holds back on the server's disk.",
        _number("slot", "retained_bytes"),
    ),
    Metric(
        "turnback_wal_fuse_limit_bytes",
        "At so much WAL the guard gives the way back up ([postgres] max_retained_wal_bytes).",
        _number("fuse", "limit_bytes"),
    ),
    Metric(
        "turnback_wal_fuse_left_seconds",
        "When that is reached, at the rate of the last minutes; absent: it does not grow.",
        _number("fuse", "seconds_left"),
    ),
    Metric(
        "turnback_postgres_connections",
        "Connections of the server that are taken.",
        _number("postgres", "connections"),
    ),
    Metric(
        "turnback_postgres_max_connections",
        "Connections that the server allows.",
        _number("postgres", "max_connections"),
    ),
    Metric(
        "turnback_postgres_waiting_sessions", "Sessions that wait for a lock.", _number("postgres", "waiting")
    ),
    Metric(
        "turnback_postgres_oldest_transaction_seconds",
        "Age of the oldest open transaction.",
        _number("postgres", "oldest_transaction_seconds"),
    ),
    Metric(
        "turnback_disk_free_bytes",
        "Room where the fallback and the state lie.",
        _number("disk", "free_bytes"),
    ),
    Metric(
        "turnback_disk_needed_bytes", "Room that a rollback needs there.", _number("disk", "needed_bytes")
    ),
    Metric(
        "turnback_last_verification_timestamp_seconds",
        "When both sides were last compared.",
        _moment("last_verification", "at"),
    ),
    Metric(
        "turnback_last_verification_equal",
        "1: they were equal, 0: they were not.",
        _number("last_verification", "equal"),
    ),
    Metric(
        "turnback_last_drill_timestamp_seconds",
        "When a way there and back was last rehearsed.",
        _moment("last_drill", "at"),
    ),
    Metric(
        "turnback_probe_error",
        "1: the probe's last reading failed, so it says nothing; 0: it read something.",
        _probe_errors,
        ("probe",),
    ),
    Metric("turnback_trace_bytes", "Size of the recorded observations.", _number("trace", "bytes")),
    Metric("turnback_trace_error", "1: observations cannot be recorded now (no room).", _trace_error),
    Metric(
        "turnback_notices_waiting",
        "Notices on their way: not tried so far, or to be tried again.",
        _number("notices", "waiting"),
    ),
    Metric(
        "turnback_notices_sent_total",
        "Notices that have reached one of those they were for.",
        _number("notices", "sent"),
        type="counter",
    ),
    Metric(
        "turnback_notices_failed_total",
        "Notices that were given up after all attempts.",
        _number("notices", "failed"),
        type="counter",
    ),
)
