"""The last lines of the application's log, and where it ended at a certain moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnback.errors import SourceError

MAX_BYTES = 4 * 1024 * 1024  # read from the end


@dataclass(frozen=True, slots=True)
class LogFile:
    """See app.checks.Log. Rotation by rename gives a new inode, by truncation a shorter file: in both what
    is there now was written after the mark.
    """

    path: Path

    def mark(self) -> Mapping[str, Any]:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return {"inode": None, "offset": 0}
        except OSError as e:
            raise self._unreadable(e) from e
        return {"inode": now.st_ino, "offset": now.st_size}

    def tail(self, since: Mapping[str, Any] | None, lines: int) -> list[str]:
        try:
            with self.path.open("rb") as file:
                now = os.fstat(file.fileno())
                start = 0
                if since is not None and since["inode"] == now.st_ino and since["offset"] <= now.st_size:
                    start = int(since["offset"])
                cut = max(start, now.st_size - MAX_BYTES)
                file.seek(cut)
                text = file.read(MAX_BYTES).decode(errors="replace")
        except OSError as e:
            raise self._unreadable(e) from e
        found = text.splitlines()
        return found[1 if cut > start else 0 :][-lines:]

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(
            f"{self.path}: the application's log cannot be read: {error.strerror}",
            hint="check [guard.log] path in turnback.toml, and the file's mode",
        )
