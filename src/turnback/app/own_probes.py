"""The probes of what turnback itself knows: capture, the fallback's integrity, the last comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from turnback.app.capture import CaptureStatus
from turnback.errors import ProbeError, TurnbackError
from turnback.ports import Clock, Journal, Probe

TIMEOUT_SECONDS = 5.0  # nothing here waits

# Steps that end only where both sides were compared and are equal.
PROOFS = {"prove_copy": "migrate", "last_proof": "cutover", "correct_rows": "fallback rebuild"}


@dataclass(slots=True)
class CaptureProbe(Probe):
    """capture: `status` gives None where it does not run.

    The age of the last contact counts by the clock that never jumps. `former_contact` is what a guard before
    this one reported last: its age is taken once, at this guard's start, and then grows by that clock.
    """

    status: Callable[[], CaptureStatus | None]
    clock: Clock
    former_contact: Callable[[], datetime | None]
    interval_seconds: float
    timeout_seconds: float = TIMEOUT_SECONDS
    name: str = "capture"
    _former: float | None = field(init=False)

    def __post_init__(self) -> None:
        former = self.former_contact()
        age = None if former is None else (self.clock.now() - former).total_seconds()
        # A contact in the future: the clock was set, and says nothing about its age.
        self._former = None if age is None or age < 0 else self.clock.monotonic() - age

    def observe(self) -> Mapping[str, Any]:
        status = self.status()
        if status is None:
            raise ProbeError("capture does not run", hint="`turnback status` says what is next")
        contact = self._former if status.contact_monotonic is None else status.contact_monotonic
        return {
            "state": status.state,
            "lag_bytes": status.lag_bytes,
            "lag_seconds": status.lag_seconds,
            "contact_age_seconds": None if contact is None else max(0.0, self.clock.monotonic() - contact),
            "lost": status.lost,
            "warning": status.warning or None,
            "error": status.error,
        }

    def close(self) -> None:
        """Capture is its owner's."""


@dataclass(slots=True)
class IntegrityProbe(Probe):
    """integrity: the last check of the whole fallback file, which capture makes (HAZARDS R13)."""

    status: Callable[[], CaptureStatus | None]
    clock: Clock
    interval_seconds: float
    timeout_seconds: float = TIMEOUT_SECONDS
    name: str = "integrity"

    def observe(self) -> Mapping[str, Any]:
        """Raises ProbeError: not checked yet (capture's first check comes a minute after its start)."""
        status = self.status()
        if status is not None and status.lost:
            return {"ok": False, "detail": status.error or "the fallback is lost", "age_seconds": 0.0}
        if status is None or status.checked_at is None:
            raise ProbeError("the fallback file has not been checked yet since the guard's start")
        age = max(0.0, self.clock.monotonic() - status.checked_at)
        return {"ok": True, "detail": "quick_check found nothing", "age_seconds": age}

    def close(self) -> None:
        """Capture is its owner's."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A comparison of both sides: when it ended, what found it, and whether they were equal."""

    at: datetime
    what: str
    equal: bool


@dataclass(slots=True)
class VerificationProbe(Probe):
    """verification: the newest comparison, of a run (journal) or of `turnback verify` (its certificate).

    Its age is of two wall clocks, days being what matters; one in the future counts as now.
    """

    journal: Journal
    clock: Clock
    certified: Callable[[], Proof | None]  # the newest certificate of `turnback verify`
    interval_seconds: float
    timeout_seconds: float = TIMEOUT_SECONDS
    name: str = "verification"
    _seen: int = 0
    _run: Proof | None = None

    def observe(self) -> Mapping[str, Any]:
        """Raises ProbeError: nothing was compared yet, or a certificate that cannot be trusted."""
        try:
            for record in self.journal.records(after=self._seen, kind="step_done"):
                self._seen = record.sequence
                if record.body["step"] in PROOFS:
                    self._run = Proof(record.at, PROOFS[record.body["step"]], True)
            proofs = [p for p in (self._run, self.certified()) if p is not None]
        except TurnbackError as e:
            raise ProbeError(str(e), hint=e.hint) from None
        if not proofs:
            raise ProbeError("nothing was compared yet", hint="`turnback verify --full` compares everything")
        newest = max(proofs, key=lambda p: p.at)
        age = (self.clock.now() - newest.at).total_seconds()
        return {"equal": newest.equal, "age_seconds": max(0.0, age), "what": newest.what}

    def close(self) -> None:
        """The journal is its owner's."""
