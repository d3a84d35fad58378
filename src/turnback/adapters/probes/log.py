"""The application's log: counts the lines that look like errors, and keeps the newest of them."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from turnback.core.log_excerpt import masked
from turnback.errors import ProbeError
from turnback.ports import Probe

CHUNK_BYTES = 1 << 16  # between two looks at the time
MOST_BYTES = 64 << 20  # at one reading; the rest is the next one's
MATCHED_BYTES = 4096  # the beginning of a line, which is what the pattern sees
BEFORE_BYTES = 64
KEPT_LINES = 20
KEPT_CHARACTERS = 500


@dataclass(slots=True)
class LogErrors(Probe):
    """log: follows the file from the end that it has at the first reading, through rotation and truncation.

    A line counts once its end is there; of one that is longer only its first 4,096 bytes count. A file
    that was moved away is read to its end where it still lies in the same folder.
    """

    path: Path
    pattern: re.Pattern[str]
    interval_seconds: float
    timeout_seconds: float = 5.0
    name: str = "log"
    _file: tuple[int, int] | None = None  # device and inode
    _offset: int = 0
    _begun: bool = False
    _before: bytes = b""  # the last bytes in front of the offset: whether it is still the same file
    _partial: bytes = b""  # the beginning of a line whose end has not come
    _errors: int = 0
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def observe(self) -> Mapping[str, Any]:
        """Raises ProbeError: missing, or not readable. What appears later is read from its start."""
        deadline = time.monotonic() + self.timeout_seconds
        try:
            with self.path.open("rb", buffering=0) as file:
                self._follow(file, deadline)
        except OSError as e:
            raise ProbeError(
                f"{self.path}: {e.strerror or e}", hint="check [guard.log] path, and the file's mode"
            ) from None
        finally:
            self._begun = True
        return {"errors": self._errors, "lines": [masked(line)[:KEPT_CHARACTERS] for line in self._lines]}

    def close(self) -> None:
        """Nothing is kept open."""

    def _follow(self, file: BinaryIO, deadline: float) -> None:
        now = os.fstat(file.fileno())
        identity = (now.st_dev, now.st_ino)
        if not self._begun:
            self._file, self._offset = identity, now.st_size
            self._before = _before(file, now.st_size)
        elif identity != self._file:
            self._finish_rotated(deadline)
            self._file = identity
            self._start_over()
        elif _before(file, self._offset) != self._before:
            self._start_over()  # cut off, or made anew and given the number of the one that was deleted
        self._read(file, deadline)

    def _start_over(self) -> None:
        self._offset, self._partial, self._before = 0, b"", b""

    def _finish_rotated(self, deadline: float) -> None:
        """The rest of the file that was followed so far, under the name that it has now."""
        for path in self.path.parent.iterdir() if self._file is not None else ():
            if not path.name.startswith(self.path.name):
                continue
            with path.open("rb", buffering=0) as file:
                found = os.fstat(file.fileno())
                same = (found.st_dev, found.st_ino) == self._file
                if same and _before(file, self._offset) == self._before:
                    self._read(file, deadline)

    def _read(self, file: BinaryIO, deadline: float) -> None:
        file.seek(self._offset)
        end = self._offset + MOST_BYTES
        while self._offset < end and time.monotonic() < deadline:
            chunk = file.read(CHUNK_BYTES)
            if not chunk:
                return
            self._offset += len(chunk)
            self._before = (self._before + chunk)[-BEFORE_BYTES:]
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                self._take((self._partial + line)[:MATCHED_BYTES])
                self._partial = b""
            self._partial = (self._partial + rest)[:MATCHED_BYTES]

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="backslashreplace").strip()
        if self.pattern.search(text):
            self._errors += 1
            self._lines.append(text)


def _before(file: BinaryIO, offset: int) -> bytes:
    length = min(BEFORE_BYTES, offset)
    file.seek(offset - length)
    return file.read(length)
