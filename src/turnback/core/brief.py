"""The one page for who decides: go or not, why, what it costs, how long the way back is open.

Pure: made of the journal's state, the plan, what the guard reported last and file sizes. What was not
measured is said so; nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from turnback.core.incident import Around, Episode
from turnback.core.incident_account import duration
from turnback.core.incident_measured import downtime_seconds, outcome, rpo, rto
from turnback.core.phases import Intent, Phase
from turnback.core.plan import Plan
from turnback.core.state import Run, State

NOT_MEASURED = "not measured yet"
SHOWN = 10  # findings and excluded tables that are named


@dataclass(frozen=True, slots=True)
class Facts:
    """What a brief is made of. Sizes in bytes, None where the file is not there; times in seconds."""

    now: datetime
    state: State
    next_command: str
    findings: Mapping[str, Any] | None = None  # the journal's last record `findings`
    plan: Plan | None = None
    episodes: Sequence[Episode] = ()
    baseline: Mapping[str, Any] | None = None  # the journal's last record `baseline`
    way_back_open: bool | None = None  # None: the phase has none
    reasons: Sequence[str] = ()  # why it is not open
    warnings: Sequence[str] = ()
    rpo_seconds: float | None = None  # what a loss of PostgreSQL would cost now
    guard_runs: bool = False
    reported: Mapping[str, Any] = field(default_factory=dict)  # status.json
    rto_objective_seconds: float = 300.0
    rpo_objective_seconds: float = 0.0
    keep_seconds: float = 0.0
    database_bytes: int | None = None
    fallback_bytes: int | None = None
    original_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """`go`: to the next step of the move; None where there is nothing to decide (PostgreSQL serves)."""

    at: datetime
    verdict: str
    go: bool | None
    why: tuple[str, ...]
    parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # heading -> (name, value)
    next_command: str

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "verdict": self.verdict,
            "go": self.go,
            "why": list(self.why),
            "parts": {heading: dict(lines) for heading, lines in self.parts},
            "next_command": self.next_command,
        }


def brief(facts: Facts) -> Brief:
    """Everything in its place; a part without a line is left out."""
    verdict, go, why = _verdict(facts)
    parts = (
        ("Where it stands", tuple(_standing(facts))),
        ("What it costs", tuple(_costs(facts))),
        ("What does not go along", tuple(_refused(facts))),
        ("The way back", tuple(_way_back(facts))),
        ("Incidents so far", tuple(_incidents(facts))),
    )
    return Brief(
        facts.now,
        verdict,
        go,
        tuple(why),
        tuple((h, lines) for h, lines in parts if lines),
        facts.next_command,
    )


def markdown(of: Brief) -> str:
    """For a mail or a ticket."""
    lines = [f"# {_plain(of.verdict)}"]
    lines += ["", *(f"- {_plain(w)}" for w in of.why)] if of.why else []
    for heading, facts in of.parts:
        lines += ["", f"## {heading}", ""]
        lines += [f"- **{_plain(name)}:** {_plain(value)}" for name, value in facts]
    made = of.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines += ["", f"Next: {_plain(of.next_command)}", "", f"_Made {made} from turnback's journal._", ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """As text: what a person wrote is no markup."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#~" else c for c in text)
    return " ".join(escaped.split())


# ---- go or not -----------------------------------------------------------------------------------


def _verdict(f: Facts) -> tuple[str, bool | None, list[str]]:
    state = f.state
    run = state.open_run
    if run is not None:
        failed = [f"{run.failure['step']}: {run.failure['error']}"] if run.failure is not None else []
        return f"No go: a {run.intent.command} is under way or was interrupted", False, failed
    match state.phase:
        case Phase.NEW | Phase.PLANNED:
            return _before_migrate(f)
        case Phase.MIGRATED:
            proof = _proof(state)
            if proof is None:
                return "No go: the copy is not proven", False, ["migrate left no proof"]
            if not proof["equal"]:
                return "No go: the copy differs", False, [str(proof.get("reason") or "see the certificate")]
            told = f"all {_rows(state)} rows were compared, and are equal on both sides"
            return "Go: ready for the cutover", True, [told, *_rolled_back_before(state)]
        case Phase.ON_POSTGRES:
            if f.way_back_open:
                return "PostgreSQL serves, and the way back is open", None, list(f.warnings)
            return "PostgreSQL serves, and the way back is NOT open", None, [*f.reasons, *f.warnings]
        case Phase.ON_SQLITE:
            last = state.last(Intent.ROLLBACK)
            reason = last.options.get("reason") if last is not None else None
            why = [f"it was rolled back: {reason or 'no reason was given'}"]
            return "No go: SQLite serves again after a rollback", False, [*why, *f.reasons]
        case Phase.ACCEPTED:
            return "PostgreSQL serves, and the way back was given up on purpose", None, []
        case _:
            return f"No go: the phase is {state.phase.value}", False, list(f.reasons)


def _before_migrate(f: Facts) -> tuple[str, bool | None, list[str]]:
    counts = (f.findings or {}).get("counts", {})
    refused, choices = counts.get("refused", 0), counts.get("choice", 0)
    if refused or choices:
        why = []
        if refused:
            why.append(f"{_count(refused, 'finding')} cannot be carried as things are")
        if choices:
            why.append(f"{_count(choices, 'finding')} to settle in turnback.toml")
        return "No go: not everything can be carried yet", False, why
    if f.state.phase is Phase.NEW or f.plan is None:
        return (
            "No go: nothing was assessed yet",
            False,
            ["nobody knows yet whether every value can be carried"],
        )
    why = [f"every value of {_count(len(f.plan.tables), 'table')} can be carried there and back"]
    return "Go: ready to migrate", True, [*why, *_rolled_back_before(f.state)]


def _rolled_back_before(state: State) -> Iterator[str]:
    """Who decides on another attempt knows why the last one ended."""
    last = state.last(Intent.ROLLBACK)
    if last is not None:
        reason = last.options.get("reason") or "no reason was given"
        yield f"it was rolled back before, on {_moment(last.started_at)}: {reason}"


def _proof(state: State) -> Mapping[str, Any] | None:
    run = state.last(Intent.MIGRATE)
    proof = run.done.get("prove_copy", {}).get("proof") if run is not None else None
    return proof if isinstance(proof, Mapping) else None


def _rows(state: State) -> str:
    run = state.last(Intent.MIGRATE)
    rows = run.done.get("copy_rows", {}).get("rows") if run is not None else None
    return "" if rows is None else f"{rows:,}"


# ---- the parts -----------------------------------------------------------------------------------


def _standing(f: Facts) -> Iterator[tuple[str, str]]:
    last = f.state.runs[-1] if f.state.runs else None
    since = f", since {_moment(last.ended_at)}" if last is not None and last.ended_at is not None else ""
    yield "phase", f.state.phase.value + since
    if f.state.phase in (Phase.ON_POSTGRES, Phase.ON_SQLITE):
        mode = f.reported.get("mode")
        runs = f"runs, mode {mode}" if mode else "runs"
        alone = ": nothing rolls back by itself" if f.state.phase is Phase.ON_POSTGRES else ""
        yield "guard", runs if f.guard_runs else f"does not run{alone}"
    proof = _proof(f.state)
    if proof is not None:
        yield "data proven", f"{_rows(f.state)} rows compared at migrate: {_equal(proof.get('equal'))}"
    verified = f.reported.get("last_verification")
    if verified:
        at = datetime.fromisoformat(str(verified["at"]).replace("Z", "+00:00"))
        yield "last comparison", f"{_equal(verified['equal'])}, {_moment(at)}"
    if f.baseline is not None:
        yield (
            "baseline on SQLite",
            f"p95 {duration(f.baseline['p95_seconds'])}, {f.baseline['requests']:,} requests",
        )


def _costs(f: Facts) -> Iterator[tuple[str, str]]:
    cutover, rollback = f.state.last(Intent.CUTOVER), f.state.last(Intent.ROLLBACK)
    yield "application away at the last cutover", _or_not(_cutover_downtime(cutover))
    yield "application away at the last rollback", _or_not(downtime_seconds(rollback))
    if f.database_bytes is not None and f.fallback_bytes is None:
        yield "the SQLite file", f"{_bytes(f.database_bytes)}; a fallback is a second one of about that size"
    if f.fallback_bytes is not None:
        yield "disk for the fallback", _bytes(f.fallback_bytes)
    if f.original_bytes is not None:
        yield "disk for the kept original", _bytes(f.original_bytes)
    if f.free_bytes is not None:
        yield "disk free there", _bytes(f.free_bytes)
    retained = (f.reported.get("slot") or {}).get("retained_bytes")
    if f.state.phase is Phase.ON_POSTGRES:
        yield "WAL that PostgreSQL keeps for it", _bytes(retained) if retained is not None else NOT_MEASURED


def _refused(f: Facts) -> Iterator[tuple[str, str]]:
    stopping = (f.findings or {}).get("stopping", ())
    for finding in stopping[:SHOWN]:
        where = f" {finding['where']}" if finding.get("where") else ""
        yield f"{finding['severity']} {finding['code']}{where}", str(finding["message"])
    total = sum(n for s, n in (f.findings or {}).get("counts", {}).items() if s != "carries")
    if total > len(stopping[:SHOWN]):
        yield "and more", f"{_count(total - len(stopping[:SHOWN]), 'finding')}: turnback assess names all"
    excluded = f.plan.excluded if f.plan is not None else ()
    for left in excluded[:SHOWN]:
        yield f"left behind: {left.side} {left.name}", left.why or "excluded"
    if len(excluded) > SHOWN:
        yield "left behind too", f"{len(excluded) - SHOWN} more: turnback plan names all"
    if f.plan is not None and not stopping and not excluded:
        yield "nothing", "every table and column of the file is in the plan"


def _way_back(f: Facts) -> Iterator[tuple[str, str]]:
    yield "time objective (RTO)", f"{duration(f.rto_objective_seconds)} for a rollback by hand"
    yield "loss objective (RPO)", duration(f.rpo_objective_seconds)
    if f.state.phase is not Phase.ON_POSTGRES:
        return
    cutover = f.state.last(Intent.CUTOVER)
    if cutover is not None and cutover.ended_at is not None:
        until = cutover.ended_at + timedelta(seconds=f.keep_seconds)
        late = ", which is over" if f.now > until else ""
        yield (
            "open until",
            f"{_moment(until)} ([fallback] keep{late}); it is not ended by itself",
        )
    yield "a loss of PostgreSQL now would cost", _or_not(f.rpo_seconds, "not known")
    readiness = (f.reported.get("watch") or {}).get("readiness") or {}
    for part in readiness.get("parts", ()):
        if part["ok"] is False:
            yield f"not ready: {part['name']}", part["detail"]


def _incidents(f: Facts) -> Iterator[tuple[str, str]]:
    rollbacks = [e for e in f.episodes if e.run is not None]
    done = [e for e in rollbacks if e.run is not None and e.run.outcome == "done"]
    by_guard = sum(1 for e in rollbacks if e.run is not None and e.run.options.get("automatic"))
    said = f"{len(rollbacks)} ({by_guard} by the guard itself, {len(rollbacks) - len(done)} undone or open)"
    yield "rollbacks", said if rollbacks else "none"
    others = len(f.episodes) - len(rollbacks)
    if others:
        yield "decisions without a rollback", str(others)
    around = Around(f.now, f.rto_objective_seconds, f.rpo_objective_seconds)
    yield "RTO measured", _measured(done, around, rto)
    yield "RPO measured", _measured(done, around, rpo)
    if f.episodes:
        last = f.episodes[-1]
        yield "the last one", f"{_moment(last.begun_at)}: {outcome(last)}: turnback report {last.id}"


def _measured(done: Sequence[Episode], around: Around, of: Any) -> str:
    if not done:
        return NOT_MEASURED
    last = of(done[-1], around)
    if last.seconds is None:
        return NOT_MEASURED
    met = {True: "met", False: "missed", None: "no objective"}[last.met]
    return f"{duration(last.seconds)} (objective {duration(last.objective_seconds)}: {met})"


# ---- words ---------------------------------------------------------------------------------------


def _cutover_downtime(run: Run | None) -> float | None:
    """From the stop of the application until it was healthy on PostgreSQL."""
    if run is None:
        return None
    begun = run.step_times.get("stop_application", (None, None))[0]
    ended = run.step_times.get("await_healthy", (None, None))[1]
    return None if begun is None or ended is None else (ended - begun).total_seconds()


def _or_not(seconds: float | None, otherwise: str = NOT_MEASURED) -> str:
    return otherwise if seconds is None else duration(seconds)


def _equal(equal: object) -> str:
    return "equal" if equal else "NOT EQUAL"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
