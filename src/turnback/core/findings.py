"""What assess has to say, all at once.

A finding names table, column, how many values and up to five keys, and what would settle it: the exact
lines for turnback.toml. `carries` is information; `choice` must be settled by the user (exit status 3);
`refused` cannot be carried by this version at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

Severity = Literal["carries", "choice", "refused"]

MAX_KEYS = 5
MAX_JOURNALLED = 50


@dataclass(frozen=True, slots=True)
class Finding:
    code: str  # the hazard's number where there is one ("F8"), else a short name ("rights.replication")
    severity: Severity
    message: str  # one line
    table: str | None = None
    column: str | None = None
    count: int | None = None
    keys: tuple[str, ...] = ()  # up to MAX_KEYS, as text
    settle: str = ""  # the exact lines of turnback.toml, or a sentence of what to do

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def blocking(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that stop migrate."""
    return tuple(f for f in findings if f.severity != "carries")


def counted(findings: Sequence[Finding]) -> dict[str, Any]:
    """For the journal: how many of each severity, and what stops the move. No keys: those are data."""
    stopping = [f for _, group in grouped(findings) for f in group if f.severity != "carries"]
    return {
        "counts": {s: sum(1 for f in findings if f.severity == s) for s in HEADINGS},
        "stopping": [
            {
                "severity": f.severity,
                "code": f.code,
                "where": ".".join(p for p in (f.table, f.column) if p),
                "message": f.message,
            }
            for f in stopping[:MAX_JOURNALLED]
        ],
    }


HEADINGS: Final[dict[Severity, str]] = {
    "refused": "Cannot be carried",
    "choice": "To settle",
    "carries": "Good to know",
}


def grouped(findings: Sequence[Finding]) -> Iterator[tuple[Severity, list[Finding]]]:
    """What stops the move first; within a severity in the order found, which is that of the tables."""
    for severity in HEADINGS:
        group = [f for f in findings if f.severity == severity]
        if group:
            yield severity, group


def leave_behind(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The names that settle findings by `[sqlite] leave_behind` alone: a TOML file has that list once."""
    names: dict[str, None] = {}
    for finding in findings:
        try:
            chosen = tomllib.loads(finding.settle) if finding.severity == "choice" else {}
        except tomllib.TOMLDecodeError:
            continue  # a sentence, or several ways
        if chosen.keys() == {"sqlite"} and chosen["sqlite"].keys() == {"leave_behind"}:
            names |= dict.fromkeys(chosen["sqlite"]["leave_behind"])
    return tuple(names)


def alike(findings: Sequence[Finding]) -> Iterator[tuple[list[str], Finding]]:
    """Findings that say the same of several places, together: the places, and one of them."""
    found: dict[Finding, list[str]] = {}
    for finding in findings:
        # What settles it names the place: only where nothing has to be written do places share a finding.
        bare = finding if finding.settle else replace(finding, table=None, column=None)
        where = ".".join(p for p in (finding.table, finding.column) if p)
        found.setdefault(bare, []).append(where)
    for finding, wheres in found.items():
        yield [w for w in wheres if w], finding
