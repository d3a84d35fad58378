"""`turnback guard --replay FILE`: what a recorded trace leads to, through the same code as live."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from turnback.adapters.trace import read_trace
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action, Decision
from turnback.core.watch.watch import Watch
from turnback.entrypoints.config import Config
from turnback.entrypoints.rules import rules as configured

Json = dict[str, Any]


def replayed(path: Path, config: Config | None) -> Json:
    """By the configuration's rules, or (None) by those of the trace. Raises UsageError: no trace.

    {"observations", "seconds", "rules", "baseline", "changes": [...], "decisions": [...], "first_rollback",
    "detection_seconds"}: of verdicts only the changes. Detection: from the first observation of the breach.
    """
    recorded, baseline, observations = read_trace(path)
    rules: Rules = recorded if config is None else configured(config)
    watch = Watch(rules, baseline)
    known: dict[str, tuple[str, bool]] = {}
    changes: list[Json] = []
    decisions: list[Decision] = []
    for o in observations:
        decision = watch.take(o)
        for verdict in watch.verdicts:
            now = (verdict.outcome.value, verdict.firing)
            if verdict.off is None and known.get(verdict.trigger, ("no_data", False)) != now:
                changes.append({"at": o.at, "utc": o.utc.isoformat(), **verdict.to_json()})
            known[verdict.trigger] = now
        if decision is not None:
            decisions.append(decision)
    first = next((d for d in decisions if d.action is Action.ROLLBACK), None)
    return {
        "observations": len(observations),
        "seconds": round(observations[-1].at - observations[0].at, 3),
        "rules": "of the trace" if config is None else str(config.file.name),
        "baseline": baseline is not None,
        "off": {v.trigger: v.off for v in watch.verdicts if v.off is not None},
        "changes": changes,
        "decisions": [{k: v for k, v in d.to_json().items() if k != "samples"} for d in decisions],
        "first_rollback": first.utc if first is not None else None,
        "detection_seconds": _detection(first),
    }


def _detection(first: Decision | None) -> float | None:
    """Seconds from the breach's first observation to the decision."""
    if first is None:
        return None
    since = [v.since for v in first.verdicts if v.trigger == first.trigger and v.since is not None]
    return round(first.at - since[0], 3) if since else None


def show(told: Json) -> None:
    """For a person, on stdout, in the order of time."""
    print(f"{told['observations']} observations over {told['seconds']:.0f} s, by the rules {told['rules']}")
    for trigger, why in told["off"].items():
        print(f"off: {trigger}: {why}")
    lines = [(c["at"], 0, _change(c)) for c in told["changes"]]
    lines += [(d["at"], 1, _decision(d)) for d in told["decisions"]]
    for _, _, line in sorted(lines, key=lambda one: one[:2]):
        print(line)
    print(f"{len(told['decisions'])} decisions")
    if told["first_rollback"] is None:
        print("no rollback")
    else:
        took = told["detection_seconds"]
        print(
            f"first rollback at {_time(told['first_rollback'])}"
            + (f", {took:.1f} s after the breach began" if took is not None else "")
        )


def _change(change: Json) -> str:
    fires = " (fires)" if change["firing"] else ""
    return f"{_time(change['utc'])}  {change['trigger']}: {change['outcome']}{fires}: {change['sentence']}"


def _decision(decision: Json) -> str:
    return f"{_time(decision['utc'])}  == {decision['action']}: {decision['reason']}"


def _time(utc: str) -> str:
    return datetime.fromisoformat(utc).strftime("%Y-%m-%d %H:%M:%S")
