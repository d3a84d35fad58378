"""What the triggers say, whether the way back is ready, and what is decided from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """NO_DATA and ERROR are never ok, never end a breach, and alone never cause a rollback."""

    OK = "ok"
    BREACH = "breach"
    NO_DATA = "no_data"
    ERROR = "error"  # the probe itself broke


@dataclass(frozen=True, slots=True)
class Verdict:
    """One trigger, now. `value` and `limit` have the trigger's own unit, which `sentence` names."""

    trigger: str
    outcome: Outcome
    value: float | None
    limit: float | None
    firing: bool  # the breach has lasted as the rule demands, and has not recovered since
    since: float | None  # `at` of the first observation of this breach
    sentence: str  # with numbers: "7.3 % of 1,240 requests failed in the last 60 s (limit 5 %)"
    off: str | None = None  # why the trigger cannot be judged at all (no baseline, not configured)

    def to_json(self) -> dict[str, Any]:
        return {
            "trigger": self.trigger,
            "outcome": self.outcome.value,
            "value": self.value,
            "limit": self.limit,
            "firing": self.firing,
            "since": self.since,
            "sentence": self.sentence,
            "off": self.off,
        }


@dataclass(frozen=True, slots=True)
class ReadinessPart:
    """ok None: not known. `age_seconds`: how old what it rests on is."""

    name: str  # server | fallback | verification | integrity | schema | slot | platform | disk
    ok: bool | None
    detail: str
    age_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail, "age_seconds": self.age_seconds}


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a rollback now would lose nothing (or, without the server, no more than the RPO)."""

    ready: bool
    parts: tuple[ReadinessPart, ...] = ()
    lossy: bool = False  # ready only inside the RPO: PostgreSQL is unreachable, the last known state counts

    @property
    def missing(self) -> tuple[ReadinessPart, ...]:
        """The parts that are not ok."""
        return tuple(p for p in self.parts if not p.ok)

    def to_json(self) -> dict[str, Any]:
        return {"ready": self.ready, "lossy": self.lossy, "parts": [p.to_json() for p in self.parts]}


class Action(StrEnum):
    OBSERVE = "observe"  # recorded only: mode observe
    RECOMMEND = "recommend"  # a page with the reason: mode recommend, or held back by discrimination
    HOLD = "hold"  # it would roll back, and may not: the way back is not ready, or the latch is set
    PAGE = "page"  # blind: a probe has no data or is broken for too long
    ROLLBACK = "rollback"
    RESOLVED = "resolved"  # what was told before is over


@dataclass(frozen=True, slots=True)
class Decision:
    """In the journal (kind `decision`) before anything is done."""

    at: float
    utc: str  # ISO 8601
    action: Action
    trigger: str  # the worst one that fires; for a person's rollback: user-report, integrity, ...
    severity: str  # critical | high | medium | low
    emergency: bool
    objective_seconds: float | None  # time objective of the severity
    reason: str  # one sentence, with numbers
    held_back: str | None = None  # why it is no rollback
    affected_share: float | None = None
    affected_of: str = "requests"  # or users, or critical endpoints
    verdicts: tuple[Verdict, ...] = ()
    readiness: Readiness = Readiness(False)
    samples: Mapping[str, Any] = field(default_factory=dict)  # for the chart of a report: see Watch.samples
    baseline: Mapping[str, Any] | None = None
    automatic: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "utc": self.utc,
            "action": self.action.value,
            "trigger": self.trigger,
            "severity": self.severity,
            "emergency": self.emergency,
            "objective_seconds": self.objective_seconds,
            "reason": self.reason,
            "held_back": self.held_back,
            "affected_share": self.affected_share,
            "affected_of": self.affected_of,
            "verdicts": [v.to_json() for v in self.verdicts],
            "readiness": self.readiness.to_json(),
            "samples": dict(self.samples),
            "baseline": dict(self.baseline) if self.baseline is not None else None,
            "automatic": self.automatic,
        }
