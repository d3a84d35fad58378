"""The page of an assessment: what a person would send to a colleague before the move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnback import __version__
from turnback.app.assess import Assessment
from turnback.core.findings import HEADINGS, Finding, alike, grouped
from turnback.core.plan import ColumnPlan, TablePlan
from turnback.core.profile import ColumnProfile, TableProfile
from turnback.core.schema import SqliteColumn, SqliteTable
from turnback.entrypoints.pages import number, render

_TONES = {"refused": "bad", "choice": "warn", "carries": "good"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    declared: str
    there: tuple[str, ...]  # phrases
    becomes: str
    codec: str
    options: str
    why: str
    generated: bool
    findings: tuple[Finding, ...]


def assessment_page(assessment: Assessment, *, path: str, at: datetime) -> str:
    """HTML, whole in itself. `path` of the SQLite file, `at` in UTC.

    No value of any row but the keys that findings name, the range of integers, and counts and lengths.
    """
    groups = [
        {
            "severity": severity,
            "heading": HEADINGS[severity],
            "tone": _TONES[severity],
            "findings": [{"wheres": wheres, "finding": finding} for wheres, finding in alike(found)],
            "count": len(found),
        }
        for severity, found in grouped(assessment.findings)
    ]
    counts = {g["severity"]: g["count"] for g in groups}
    mapped = {t.sqlite: t for t in assessment.draft.tables}
    tables = [_table(assessment, mapped[name]) for name in mapped]
    tables += [
        _waiting(assessment, t)
        for t in assessment.schema.tables
        if t.name in assessment.profiles and t.name not in mapped
    ]
    return render(
        "assessment.html",
        path=path,
        at=at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        version=__version__,
        ready=assessment.plan is not None,
        refused=counts.get("refused", 0),
        choices=counts.get("choice", 0),
        carried=counts.get("carries", 0),
        plan=assessment.draft,
        digest=assessment.plan.digest() if assessment.plan is not None else "",
        tables=tables,
        rows=sum(p.rows for p in assessment.profiles.values()),
        columns=sum(len(t["columns"]) for t in tables),
        groups=groups,
        tones=_TONES,
    )


def _table(assessment: Assessment, plan: TablePlan) -> dict[str, Any]:
    source = next((t for t in assessment.schema.tables if t.name == plan.sqlite), None)
    declared = {c.name: c for c in source.columns} if source is not None else {}
    profile = assessment.profiles.get(plan.sqlite, TableProfile(0))
    columns = [*plan.columns, *(g.column for g in plan.generated)]
    generated = {g.column.sqlite for g in plan.generated}
    found = [f for f in assessment.findings if f.table == plan.sqlite]
    return {
        "name": plan.sqlite,
        "postgres": plan.postgres,
        "rows": profile.rows,
        "key": ", ".join(plan.key) or "none: the whole row identifies a row",
        "columns": [
            _column(c, declared.get(c.sqlite), profile, found, c.sqlite in generated) for c in columns
        ],
        "findings": [f for f in found if f.column is None],
        "waits": False,
    }


def _waiting(assessment: Assessment, table: SqliteTable) -> dict[str, Any]:
    """A table that cannot be mapped yet: what is in it, and what stands against it."""
    profile = assessment.profiles[table.name]
    found = [f for f in assessment.findings if f.table == table.name]
    unknown = [(c, ColumnPlan(c.name, c.name, "", "")) for c in table.columns]
    return {
        "name": table.name,
        "postgres": table.name,
        "rows": profile.rows,
        "key": ", ".join(table.primary_key),
        "columns": [_column(plan, c, profile, found, bool(c.generated)) for c, plan in unknown],
        "findings": [f for f in found if f.column is None],
        "waits": True,
    }


def _column(
    plan: ColumnPlan,
    declared: SqliteColumn | None,
    profile: TableProfile,
    found: list[Finding],
    generated: bool,
) -> _Column:
    facts = profile.columns.get(plan.sqlite)
    return _Column(
        name=plan.sqlite,
        declared=declared.declared_type if declared is not None else "",
        there=tuple(_there(facts)) if facts is not None else (),
        becomes=plan.pg_type,
        codec=plan.codec,
        options=", ".join(_option(k, v) for k, v in plan.options.items() if v is not False and v != ""),
        why=plan.why,
        generated=generated,
        findings=tuple(f for f in found if f.column == plan.sqlite),
    )


def _option(name: str, value: str | int | bool) -> str:
    return name if value is True else f"{name} {value!r}"


def _there(facts: ColumnProfile) -> Iterator[str]:
    """What the column holds, in phrases; classes that are not there are left out."""
    if facts.integers:
        yield f"{number(facts.integers)} integers, {number(facts.min_integer)} to {number(facts.max_integer)}"
    if facts.reals:
        yield f"{number(facts.reals)} reals"
    if facts.texts:
        yield f"{number(facts.texts)} texts, up to {number(facts.max_characters)} characters"
    if facts.nul_texts:
        yield f"{number(facts.nul_texts)} texts with a NUL character"
    if facts.invalid_texts:
        yield f"{number(facts.invalid_texts)} texts that are not valid"
    if facts.blobs:
        yield (
            f"{number(facts.blobs)} blobs, {number(facts.min_blob_bytes)} to "
            f"{number(facts.max_blob_bytes)} bytes"
        )
    if facts.nulls:
        yield f"{number(facts.nulls)} NULLs"
    if not facts.values and not facts.nulls:
        yield "nothing"
