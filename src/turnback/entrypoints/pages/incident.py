"""The page of an incident: what goes into the file, to the team and on the wall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from turnback import __version__
from turnback.core.incident import stamp
from turnback.core.incident_account import Incident, duration
from turnback.core.incident_measured import StepTime
from turnback.entrypoints import pages
from turnback.entrypoints.pages.chart import chart

TEMPLATE = "incident.html"
_TONES = {
    "rolled back": "good",
    "rolled back with loss": "bad",
    "failed": "bad",
    "under way": "warn",
    "undone": "warn",
    "not carried out": "bad",
    "resolved": "good",
    "held": "warn",
    "recommended": "warn",
    "observed": "warn",
}
_STEP_TONES = {"done": "", "failed": "bad", "undone": "warn", "under way": "warn", "not reached": "soft"}
_WORDS = {True: ("good", "ok"), False: ("bad", "failed"), None: ("warn", "not known")}


def incident_page(found: Incident, *, printed_at: str) -> str:
    """HTML, whole in itself. `printed_at` in ISO 8601, UTC."""
    objective = found.rto.objective_seconds
    checks = (found.validation or {}).get("checks", ())
    return pages.render(
        TEMPLATE,
        i=found,
        tone=_TONES[found.outcome],
        chart=chart(found.samples),
        duration=duration,
        words=_WORDS,
        steps=[_step(s, objective) for s in found.steps],
        firing=[v for v in (found.decision or {}).get("verdicts", ()) if not v.get("off")],
        off=[v for v in (found.decision or {}).get("verdicts", ()) if v.get("off")],
        decided=_moment((found.decision or {}).get("utc")),
        checks=list(_asked(checks)),
        unasked=[c for c in checks if c["ok"] is None],
        readiness=(found.decision or {}).get("readiness"),
        clock=lambda at: at.strftime("%H:%M:%S.%f")[:-3],
        printed_at=printed_at,
        version=__version__,
    )


def _moment(utc: str | None) -> str:
    return stamp(datetime.fromisoformat(utc)) or "" if utc else ""


def _asked(checks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What was asked for; tables that could be read share a line, or they would fill the page."""
    tables = [c for c in checks if c["ok"] and c.get("group") == "rows"]
    alike = {id(c) for c in tables} if len(tables) > 1 else set()
    yield from (c for c in checks if c["ok"] is not None and id(c) not in alike)
    if alike:
        seen = ", ".join(f"{c['name']} {c['seen']}" for c in tables)
        yield {
            "name": f"{len(tables)} counts",
            "ok": True,
            "expected": "can be read to the end",
            "seen": seen,
        }


def _step(s: StepTime, objective: float | None) -> dict[str, Any]:
    share = s.away_seconds / objective if objective and s.away_seconds is not None else None
    return {
        "name": s.step.replace("_", " "),
        "outcome": s.outcome,
        "began": s.started_at,
        "tone": _STEP_TONES[s.outcome],
        "took": "" if s.seconds is None else duration(s.seconds),
        "after": "" if s.end_seconds is None else duration(s.end_seconds),
        "share": None if share is None else f"{share * 100:.1f} %",
        "late": share is not None and share > 1,
        "serving": s.end_seconds is not None and s.away_seconds is None,
        "error": s.error,
    }
