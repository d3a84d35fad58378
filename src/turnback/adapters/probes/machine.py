"""What this machine tells: room on the disk, the application's processes, whether it could be started."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnback.errors import PlatformError, ProbeError, TurnbackError
from turnback.ports import Journal, Probe

SPARE_BYTES = 64 * 1024 * 1024
DETAIL_LENGTH = 300  # characters

STARTED, EXITED = "process_started", "process_exited"
OVER = frozenset({EXITED, "process_stopping", "process_stopped"})


@dataclass(slots=True)
class Disk(Probe):
    """disk: the least room of the file systems that `folders` lie on.

    Needed are 64 MiB (journal, trace, certificates, the loss manifest) and the size of each of `growing`: a
    fallback's -wal, which the switch writes into the file itself.
    """

    folders: Sequence[Path]
    growing: Sequence[Path]
    interval_seconds: float
    timeout_seconds: float = 5.0
    name: str = "disk"

    def observe(self) -> Mapping[str, Any]:
        try:
            free = min(shutil.disk_usage(folder).free for folder in self.folders)
            needed = SPARE_BYTES + sum(map(_size, self.growing))
        except OSError as e:
            raise ProbeError(f"{e.filename}: {e.strerror}", hint="check the state folder") from None
        return {"free_bytes": free, "needed_bytes": needed}

    def close(self) -> None:
        """Nothing is kept open."""


@dataclass(slots=True)
class Processes(Probe):
    """process: the application's starts and exits of its own, as the platform `process` journals them."""

    journal: Journal
    interval_seconds: float
    timeout_seconds: float = 5.0
    name: str = "process"
    _seen: int = 0
    _starts: int = 0
    _exits: int = 0
    _started: bool = False

    def observe(self) -> Mapping[str, Any]:
        try:
            for record in self.journal.records(after=self._seen):
                self._seen = record.sequence
                if record.kind == STARTED:
                    self._starts += 1
                    self._started = True
                elif record.kind in OVER:
                    self._exits += record.kind == EXITED
                    self._started = False
        except TurnbackError as e:
            raise ProbeError(str(e), hint=e.hint) from None
        return {"starts": self._starts, "exits": self._exits, "started": self._started}

    def close(self) -> None:
        """The journal is its owner's."""


@dataclass(slots=True)
class Available(Probe):
    """platform: [app.sqlite] available, which `run` runs. It raises PlatformError where that fails."""

    run: Callable[[], None]
    interval_seconds: float
    timeout_seconds: float
    name: str = "platform"

    def observe(self) -> Mapping[str, Any]:
        try:
            self.run()
        except PlatformError as e:
            return {"ok": False, "detail": str(e)[:DETAIL_LENGTH]}
        return {"ok": True, "detail": "the application could be started on SQLite now"}

    def close(self) -> None:
        """Nothing is kept open."""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
