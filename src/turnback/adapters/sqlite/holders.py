"""Who has the file open: named with process and user before anything is done to it (HAZARDS O3, O11)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from turnback.adapters.sqlite.files import SIDECARS


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    command: str  # the command line without its arguments' secrets: program and first argument
    user: str


def holders(path: Path) -> tuple[Holder, ...]:
    """The processes that have the file, or its -wal or -shm, open; this process left out.

    Compared by inode, so that another name, a renamed file or another container's mount of the same
    volume are found too. Nothing is opened for it.
    """
    path = path.resolve()
    wanted = set()
    for name in (path, *(path.with_name(path.name + suffix) for suffix in SIDECARS)):
        try:
            found = name.stat()
        except FileNotFoundError:
            continue
        wanted.add((found.st_dev, found.st_ino))
    return tuple(
        described
        for pid in psutil.pids()
        if pid != os.getpid() and _has_open(pid, wanted) and (described := _describe(pid))
    )


def _has_open(pid: int, wanted: set[tuple[int, int]]) -> bool:
    try:
        descriptors = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:  # ended meanwhile, or another user's
        return False
    for descriptor in descriptors:
        try:
            found = descriptor.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in wanted:
            return True
    return False


def _describe(pid: int) -> Holder | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            words = process.cmdline()[:2] or [process.name()]
            return Holder(pid, " ".join(words), process.username())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return Holder(pid, "?", "?")
