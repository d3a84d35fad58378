"""The recorded observations: JSON lines in two segments of bounded size, for a restart and for replay.

A head line stands before the observations of each guard: {"turnback_trace": 1, "version", "boot", "rules",
"baseline"}. Every other line is an Observation. Written without fsync: a crash of the machine may lose the
last second, the death of the guard loses nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Rules
from turnback.errors import DiskFull, SourceError, UsageError
from turnback.ports import Trace

FORMAT = 1
MARK = "turnback_trace"
BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
BLOCK = 1 << 20
ALERT = b'"probe":"alert"'

Line = Mapping[str, Any]


def boot_id() -> str:
    """Names this boot of the machine: the clock that `Observation.at` counts by begins anew with each."""
    try:
        return BOOT_FILE.read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


class FileTrace(Trace):
    """`path` and `path` with `.1` before its suffix, at most `limit` bytes together, mode 0600.

    One writer at a time (it holds the lease). `monotonic` is the clock of Observation.at.
    """

    def __init__(
        self, path: Path, limit: int, *, boot: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._older = _older(path)
        self._half = limit // 2
        self._boot = boot
        self._monotonic = monotonic
        self._head: bytes | None = None
        self._situation: Observation | None = None  # the newest; each segment begins with it
        self._begun = False  # whether the head stands in the current segment
        self._fd: int | None = None
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of both segments."""
        return sum(p.stat().st_size for p in (self._older, self.path) if p.exists())

    def begin(self, version: str, rules: Rules, baseline: Baseline | None) -> None:
        """What decides from here on; written before the next observation."""
        head = {
            MARK: FORMAT,
            "version": version,
            "boot": self._boot,
            "rules": rules.to_json(),
            "baseline": baseline.to_json() if baseline is not None else None,
        }
        self._head, self._begun = _encoded(head), False

    def append(self, observation: Observation) -> None:
        line = _encoded(observation.to_json())
        try:
            fd = self._opened()
            if self._size + len(line) > self._half and self._size:
                fd = self._turned_over()
            if not self._begun and self._head is not None:
                new = not self._size
                self._write(fd, self._head)
                self._begun = True
                if new and self._situation is not None:
                    again = replace(self._situation, at=observation.at, utc=observation.utc)
                    self._write(fd, _encoded(again.to_json()))
            self._write(fd, line)
            if observation.probe == "situation":
                self._situation = observation
        except OSError as e:
            self.close()
            raise DiskFull(
                f"{self.path}: the trace cannot be written: {e.strerror}",
                hint="make room on that disk; the guard decides on what it sees meanwhile",
            ) from e

    def recent(self, seconds: float) -> list[Observation]:
        """Of this boot and the last `seconds`, in order; before them the newest situation that is older.

        Raises SourceError where the file cannot be read.
        """
        since = self._monotonic() - seconds
        found: list[Observation] = []
        situation: Observation | None = None
        boot = ""
        for path in (self._older, self.path):
            for _, line in _lines(path):
                if MARK in line:
                    boot = str(line.get("boot")) if line[MARK] == FORMAT else ""
                    continue
                if boot != self._boot:
                    continue
                observation = _read(line)
                if observation is None:
                    continue
                if observation.at >= since:
                    found.append(observation)
                elif observation.probe == "situation":
                    situation = observation
        return found if situation is None else [situation, *found]

    def alerts(self) -> list[Observation]:
        """Raises SourceError where the file cannot be read."""
        lines = (line for path in (self._older, self.path) for _, line in _lines(path, holding=ALERT))
        return [o for o in map(_read, lines) if o is not None and o.probe == "alert"]

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._begun = False
            self._size = _drop_torn_line(self._fd)
        return self._fd

    def _turned_over(self) -> int:
        self.close()
        self.path.replace(self._older)
        return self._opened()

    def _write(self, fd: int, line: bytes) -> None:
        """The whole line or nothing of it."""
        try:
            written = os.write(fd, line)
            if written < len(line):
                raise OSError(28, os.strerror(28))  # ENOSPC is what cuts a write off
        except OSError:
            os.ftruncate(fd, self._size)
            raise
        self._size += len(line)


def read_trace(path: Path) -> tuple[Rules, Baseline | None, list[Observation]]:
    """A recorded trace, for replay; with the older segment where it lies beside. The newest head counts.

    `at` goes on over a restart of the machine by the time that passed on the wall. Raises UsageError: no such
    file, another format, or a line that is no observation, with its number. A last line that was torn off is
    left out.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file", hint="a guard records `trace.jsonl` in the state folder")
    rules, baseline, observations = Rules(), None, list[Observation]()
    boot, offset = "", 0.0
    for part in (_older(path), path):
        for number, line in _lines(part, strict=True):
            try:
                if MARK in line:
                    _check_format(part, line[MARK])
                    rules = Rules.from_json(line["rules"])
                    baseline = Baseline.from_json(line["baseline"]) if line["baseline"] else None
                    fresh, boot = boot not in ("", line["boot"]), line["boot"]
                    if fresh:
                        offset = float("nan")  # known with the first observation of that boot
                    continue
                observation = Observation.from_json(line)
            except (KeyError, TypeError, ValueError, AttributeError) as e:
                raise _no_observation(part, number) from e
            if offset != offset:
                offset = _after(observations, observation)
            observations.append(_moved(observation, offset))
    if not observations:
        raise UsageError(f"{path}: there is no observation in it", hint="give a trace that a guard recorded")
    return rules, baseline, observations


def _after(before: list[Observation], first: Observation) -> float:
    """What to add to `at` of another boot: as much later as the wall clock says, never earlier."""
    if not before:
        return 0.0
    gap = max(0.0, (first.utc - before[-1].utc).total_seconds())
    return before[-1].at + gap - first.at


def _moved(observation: Observation, offset: float) -> Observation:
    if not offset:
        return observation
    value = observation.value
    if observation.probe == "situation" and value is not None and value.get("serving_since") is not None:
        value = {**value, "serving_since": value["serving_since"] + offset}
    return replace(observation, at=observation.at + offset, value=value)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")


def _encoded(body: Line) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def _read(line: Line) -> Observation | None:
    try:
        return Observation.from_json(line)
    except (KeyError, TypeError, ValueError):
        return None  # a guard that restarts goes on with what can be read; replay is strict


def _lines(path: Path, *, strict: bool = False, holding: bytes = b"") -> Iterator[tuple[int, Line]]:
    """(number, object) of every line that holds `holding`; what is none raises UsageError, if `strict`."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as e:
        raise SourceError(f"{path}: {e.strerror}", hint="check owner and mode of the trace") from e
    with file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return  # torn off by a crash, or being written now
            if holding not in raw:
                continue
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield number, line
            elif strict:
                raise _no_observation(path, number)


def _check_format(path: Path, found: object) -> None:
    if found != FORMAT:
        raise UsageError(
            f"{path}: a trace of format {found}, this turnback reads format {FORMAT}",
            hint="replay it with the turnback that recorded it (`version` in its head line)",
        )


def _no_observation(path: Path, number: int) -> UsageError:
    return UsageError(
        f"{path}, line {number}: not an observation", hint="give a trace that a guard recorded, unchanged"
    )


def _drop_torn_line(fd: int) -> int:
    """Cuts off what stands behind the last line end, and returns the size."""
    size = os.fstat(fd).st_size
    end = size
    while end > 0:
        begin = max(0, end - BLOCK)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(fd, end)
    return end
