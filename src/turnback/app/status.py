"""What `turnback status` says: phase, whether the way back is open and why, lag, RPO now, what is next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from turnback.core.phases import Intent, Phase, next_command
from turnback.core.state import Run, State
from turnback.core.watch.rates import NO_BASELINE

STALE_SECONDS = 5.0
HANGS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Status:
    phase: str
    next_command: str
    guard: Mapping[str, Any] | None  # who holds the lease
    open_run: str | None
    step: str | None  # of it, the last that was begun
    failed: bool  # that step has: the run stands still
    ready: bool | None  # whether the way back is open; None where the phase has none
    reasons: tuple[str, ...]  # why not
    warnings: tuple[str, ...]  # what may close it
    applied_lsn: str | None
    lag_bytes: int | None
    lag_seconds: float | None
    rpo_seconds: float | None  # what a loss of PostgreSQL would cost now
    last_rollback: Mapping[str, Any] | None  # when, by, trigger, reason, and what was measured
    not_fenced: bool  # after a rollback without the server
    mode: str | None = None  # of the guard that watches; None: none does
    latched: bool = False
    verdicts: tuple[Mapping[str, Any], ...] = ()  # those that are not ok
    triggers: tuple[Mapping[str, Any], ...] = ()  # every verdict
    lasting: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # of breaches that may fire
    missing: tuple[Mapping[str, Any], ...] = ()  # parts of readiness that are not ok
    decision: Mapping[str, Any] | None = None  # the guard's last

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def assemble(
    state: State,
    holder: Mapping[str, Any] | None,
    live: Mapping[str, Any] | None,
    now: datetime,
    edited: datetime | None = None,
) -> Status:
    """From the journal's state, the lease's holder and the guard's status file.

    `edited`: when the configuration was changed last.
    """
    reasons: list[str] = []
    warnings: list[str] = []
    lost = False
    capture: Mapping[str, Any] = {}
    ready: bool | None = None
    rpo: float | None = None
    if state.phase is Phase.ON_POSTGRES:
        fresh = live is not None and _is_fresh(live, now)
        if holder is None:
            reasons.append("no guard is running: the fallback falls behind; start `turnback guard`")
        elif not fresh:
            reasons.append(_silent(holder, live, now, state))
        capture = (live or {}).get("capture") or {}
        rebuild = state.open_run is not None and state.open_run.intent is Intent.REBUILD
        given_up = state.way_back_lost
        lost = given_up is not None or bool(capture.get("lost"))
        if rebuild:
            reasons.append("no way back: the fallback is being made anew")
        elif lost:
            reasons.append(f"no way back: {given_up['why'] if given_up else capture['error']}")
        elif capture.get("error"):
            reasons.append(f"capture stopped: {capture['error']}")
        elif fresh and capture.get("state") != "streaming":
            reasons.append(f"capture is {capture.get('state', 'not started')}")
        if fresh and capture.get("warning"):
            warnings.append(str(capture["warning"]))
        fuse = (live or {}).get("fuse") or {}
        if fresh and fuse.get("warning"):
            warnings.append(f"the WAL fuse: {fuse['warning']}")
        if capture.get("last_contact_at"):
            rpo = max(0.0, (now - datetime.fromisoformat(capture["last_contact_at"])).total_seconds())
            if fresh and live is not None and live.get("rpo_seconds") is not None:
                rpo = live["rpo_seconds"]  # by a clock that nobody sets
            elif not capture.get("error") and fresh and capture.get("lag_bytes") == 0:
                rpo = 0.0
        ready = not reasons
    rollback = state.last(Intent.ROLLBACK)
    if state.not_fenced:
        reasons.append(
            "PostgreSQL was unreachable at the rollback and is not fenced: no client must write there"
        )
    watched = _watched(state, holder, live, now)
    if holder is not None and live is not None and _is_fresh(live, now):
        warnings += _untold(live)
        warnings += _outdated(live, edited)
    open_run = state.open_run
    if open_run is not None and open_run.failure is not None:
        reasons.append(f"{open_run.failure['step']}: {open_run.failure['error']}")
    return Status(
        phase=state.phase.value,
        next_command=_next(state, lost, holder is not None, watched),
        guard=holder,
        open_run=open_run.intent.command if open_run else None,
        step=open_run.started[-1] if open_run and open_run.started else None,
        failed=open_run is not None and open_run.failure is not None,
        ready=ready,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
        applied_lsn=capture.get("applied_lsn"),
        lag_bytes=capture.get("lag_bytes"),
        lag_seconds=capture.get("lag_seconds"),
        rpo_seconds=rpo,
        last_rollback=_last(rollback) if rollback else None,
        not_fenced=state.not_fenced,
        **watched,
    )


def _watched(
    state: State, holder: Mapping[str, Any] | None, live: Mapping[str, Any] | None, now: datetime
) -> dict[str, Any]:
    """What the guard sees, where one reports."""
    if holder is None or live is None or not _is_fresh(live, now) or not live.get("watch"):
        return {}
    watch = live["watch"]
    parts = watch["readiness"]["parts"] if state.phase is Phase.ON_POSTGRES else ()  # else it is no way back
    decision, rollback = live.get("decision"), state.last(Intent.ROLLBACK)
    if decision and rollback and datetime.fromisoformat(decision["utc"]) < rollback.started_at:
        decision = None  # that rollback has answered it
    return {
        "mode": live["mode"],
        "latched": watch["latched"] and state.phase is Phase.ON_POSTGRES,
        "verdicts": tuple(v for v in watch["verdicts"] if _is_told(v, state.phase)),
        "triggers": tuple(watch["verdicts"]),
        "lasting": watch.get("lasting", {}),
        "missing": tuple(p for p in parts if p["ok"] is False),
        "decision": decision,
    }


def _last(rollback: Run) -> dict[str, Any]:
    options = rollback.options
    return {
        "at": rollback.started_at.isoformat(),
        "by": "the guard" if options.get("automatic") else options.get("by"),
        "trigger": options.get("trigger"),
        "reason": options.get("reason"),
        **rollback.done.get("validate", {}),
    }


def _untold(live: Mapping[str, Any]) -> list[str]:
    """Of notices that reach nobody."""
    notices = live.get("notices") or {}
    if live.get("mode") not in (None, "observe") and notices.get("to") == []:
        return ["nobody is told what the guard sees: [guard.notify] in turnback.toml names no address"]
    if notices.get("last_error"):
        return [f"the guard's notices do not arrive: {notices['last_error']}"]
    return []


def _outdated(live: Mapping[str, Any], edited: datetime | None) -> list[str]:
    started = live.get("started_at")
    if edited is None or started is None or edited <= datetime.fromisoformat(started):
        return []
    return ["turnback.toml was changed after the guard started, which acts by the old one: start it again"]


def _is_told(verdict: Mapping[str, Any], phase: Phase) -> bool:
    """Not what is ok, nor what is switched off or has no sample: that is in --json and at /status."""
    return (
        bool(verdict["firing"])
        or verdict["outcome"] in ("breach", "error")
        or (verdict.get("off") == NO_BASELINE and phase is Phase.ON_POSTGRES)
    )


def _is_fresh(live: Mapping[str, Any], now: datetime) -> bool:
    return _age(live, now) < STALE_SECONDS


def _age(live: Mapping[str, Any], now: datetime) -> float:
    return (now - datetime.fromisoformat(live["at"])).total_seconds()


def _silent(holder: Mapping[str, Any], live: Mapping[str, Any] | None, now: datetime, state: State) -> str:
    """A restart of the server may hold it for some seconds, and a run for longer: that is no hang."""
    told = f"the guard (pid {holder['pid']}) has not reported"
    if live is None:
        return f"{told} yet"
    age = _age(live, now)
    told += f" for {age:.0f} s"
    if age < HANGS_SECONDS or state.open_run is not None:
        return told
    return f"{told}: `kill -9 {holder['pid']}`, then `turnback guard` goes on where it was"


def _next(state: State, lost: bool, guarded: bool, watched: Mapping[str, Any]) -> str:
    if state.open_run is not None:
        if guarded and state.open_run.failure is None:
            return "nothing for you: the run goes on; turnback status --watch shows it"
        return "turnback resume"
    if lost:
        return f"turnback {Intent.REBUILD.command}"
    if state.phase is not Phase.ON_POSTGRES:
        return next_command(state.phase)
    if not guarded:
        return "turnback guard: nobody keeps the fallback current"
    if not any(v["firing"] for v in watched.get("verdicts", ())):
        return next_command(state.phase)
    if watched["latched"]:
        return "turnback rollback: the guard has had its one automatic rollback, the next is yours"
    if watched["missing"]:
        return "mend what is not ready, or decide yourself: turnback rollback"
    held_back = (watched["decision"] or {}).get("held_back")
    if held_back:
        return "mend the cause; turnback rollback where you know better"
    return (
        "turnback rollback, if you agree" if watched["mode"] != "enforce" else "the guard decides by itself"
    )
