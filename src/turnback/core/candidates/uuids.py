"""Candidates for UUIDs as text (HAZARDS F35)."""

from __future__ import annotations

from turnback.core.candidates.case import Case, with_options
from turnback.core.plan import ColumnPlan


def uuids(case: Case, type_name: str, why: str) -> list[ColumnPlan]:
    """One candidate for each spelling, most common first; with `respell` that one alone."""
    facts = case.facts
    spellings = [(f.upper and not f.lower, f.hyphens) for f in facts.uuids]
    if not spellings:
        samples = [s for s in (facts.min_text, facts.max_text) if s] or ["-"]
        spellings = [(s != s.lower(), "-" in s) for s in samples]
    found = [
        case.plan(type_name, "uuid_text", why, upper=upper, hyphens=hyphens)
        for upper, hyphens in dict.fromkeys(spellings)
    ]
    return [with_options(found[0], respell=True)] if case.choice.respell else found
