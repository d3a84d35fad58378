"""Memory and processor time of the application's processes."""

from __future__ import annotations

import time

import psutil

from turnback.core.validation import Usage
from turnback.errors import PlatformError


def usage(pids: frozenset[int], seconds: float) -> Usage | None:
    """Of these processes and their children, over `seconds`; None where no process is known or alive.

    A process that ends meanwhile does not count. Processor time and memory can be read of every user's
    processes (/proc/PID/stat); where they cannot, PlatformError.
    """
    try:
        return _usage(pids, seconds)
    except psutil.AccessDenied as e:
        raise PlatformError(
            f"the application's process {e.pid} may not be looked at",
            hint="run turnback as its user or as root",
        ) from e


def _usage(pids: frozenset[int], seconds: float) -> Usage | None:
    began = time.monotonic()
    before = {p: _cpu_seconds(p) for p in _family(pids)}
    if not before:
        return None
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    alive, memory, spent = 0, 0, 0.0
    for process, former in before.items():
        try:
            memory += process.memory_info().rss
            spent += _cpu_seconds(process) - former
        except psutil.NoSuchProcess:
            continue
        alive += 1
    return Usage(alive, memory, 100 * max(spent, 0.0) / elapsed) if alive else None


def _family(pids: frozenset[int]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue  # it ended between the list and the look
    return {p for p in found if p.is_running() and _is_no_zombie(p)}


def _is_no_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
