"""What a guard says of itself: status.json for `turnback status`, /status and /metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from turnback.app.capture import CaptureStatus
from turnback.core import lsn
from turnback.core.phases import Phase
from turnback.core.state import State
from turnback.errors import DiskFull
from turnback.ports import Clock


@dataclass(slots=True)
class Reporting:
    """`contact` and `contact_monotonic` are the last moment with lag 0, from a former guard at first; the
    second only where that one lived in the same boot. `notices` gives {"to", "sent", "failed", "last_error"}.
    """

    file: Path
    clock: Clock
    boot: str
    version: str
    notices: Callable[[], Mapping[str, Any]]
    contact: datetime | None = None
    contact_monotonic: float | None = None
    last: Mapping[str, Any] = field(default_factory=dict)  # replaced as a whole: any thread may read it
    started_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = self.clock.now()

    def write(self, state: State, capture: CaptureStatus | None, watching: Mapping[str, Any]) -> None:
        """Raises DiskFull; what others ask of `last` is fresh then all the same."""
        if capture is not None and capture.last_contact_at is not None:
            self.contact, self.contact_monotonic = capture.last_contact_at, capture.contact_monotonic
        self.last = {
            "at": self.clock.now().isoformat(),
            "phase": state.phase.value,
            "boot": self.boot,
            "version": self.version,
            "started_at": self.started_at.isoformat(),
            "capture": self._capture(capture) if capture is not None else None,
            "rpo_seconds": self._rpo(state, capture),
            "notices": dict(self.notices()),
            **watching,
        }
        part = self.file.with_suffix(".part")
        try:
            part.touch(mode=0o600)
            part.write_text(json.dumps(self.last))
            part.replace(self.file)
        except OSError as e:
            raise DiskFull(
                f"{self.file}: the status cannot be written: {e.strerror}",
                hint="make room on that disk; `turnback status` shows an old one meanwhile",
            ) from e

    def _capture(self, s: CaptureStatus) -> dict[str, Any]:
        return {
            "state": s.state,
            "applied_lsn": lsn.text(s.applied_lsn),
            "lag_bytes": s.lag_bytes,
            "lag_seconds": s.lag_seconds,
            "last_contact_at": self.contact.isoformat() if self.contact else None,
            "last_contact_monotonic": self.contact_monotonic,
            "transactions": s.transactions,
            "lost": s.lost,
            "warning": s.warning,
            "error": s.error,
            "hint": s.hint,
        }

    def _rpo(self, state: State, s: CaptureStatus | None) -> float | None:
        """What a loss of PostgreSQL would cost now, in seconds; None: not known, or nothing to lose."""
        if state.phase is not Phase.ON_POSTGRES or s is None:
            return None
        if s.state == "streaming" and s.error is None and s.lag_bytes == 0:
            return 0.0
        if self.contact_monotonic is None:
            return None
        return max(0.0, self.clock.monotonic() - self.contact_monotonic)
