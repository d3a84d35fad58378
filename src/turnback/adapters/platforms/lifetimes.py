"""Which processes belong to a launch, across our own death: session, marker in the environment, birth.

A process id alone is no identity: it is given out again. While a session has members its number is not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

MARKER = "TURNBACK_LAUNCH"


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of the application. The leader's pid is also its group's and its session's number."""

    pid: int
    birth: str  # of the leader
    marker: str  # in the environment, so inherited even by daemons that left the session

    def entry(self) -> bytes:
        return f"{MARKER}={self.marker}".encode()


def birth(pid: int) -> str | None:
    """What tells this process from any other that has or had its number; None where it is gone.

    On Linux boot id and start in clock ticks since then: unlike a time of day it does not move when the
    clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _birth_elsewhere(pid)
    # The command's name, in parentheses, may hold anything; what follows the last one is fields 3 on.
    return f"{stat.rpartition(b')')[2].split()[19].decode()}@{boot}"


def _birth_elsewhere(pid: int) -> str | None:
    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int) -> bool:
    """Exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def leader_alive(launch: Launch) -> bool:
    return birth(launch.pid) == launch.birth and is_alive(launch.pid)


def members(launch: Launch) -> frozenset[int]:
    """Every live process of the launch: carrying its marker, or of its session.

    With the leader gone the session's number alone proves nothing: all of ours may be gone too, and the
    number given to another's session. Then it counts only where the environment, which would settle it,
    cannot be read or was overwritten (as programs do that set their title).
    """
    leader = birth(launch.pid)
    found = set()
    for pid in psutil.pids():
        environment = _environment(pid)
        if environment is not None and launch.entry() in environment:
            belongs = True
        elif _session(pid) != launch.pid:
            belongs = False
        else:
            belongs = leader == launch.birth or (leader is None and environment is None)
        if belongs and is_alive(pid):
            found.add(pid)
    return frozenset(found)


def in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _environment(pid: int) -> list[bytes] | None:
    """The process's environment; None where it is another user's, was overwritten, or has no /proc."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return entries if any(e.startswith((b"PATH=", MARKER.encode())) for e in entries) else None
