"""What assess has to say, all at once.

A finding names table, column, how many values and up to five keys, and what would settle it: the exact
lines for turnback.toml. `carries` is information; `choice` must be settled by the user (exit status 3);
`refused` cannot be carried by this version at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["carries", "choice", "refused"]

MAX_KEYS = 5


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
