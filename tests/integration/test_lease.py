"""The lease: one holder, named; given back by close or death, never by a child's life (HAZARDS O6)."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from turnback.adapters.journal import Lease
from turnback.errors import LeaseHeld, SourceError

HOLDER = """
import subprocess, sys
from pathlib import Path
from turnback.adapters.journal import Lease
lease = Lease(Path(sys.argv[1]))
lease.acquire("turnback guard")
child = subprocess.Popen(["sleep", "60"], close_fds=False)  # inherits whatever is inheritable
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "state/lease"
    with Lease(path) as lease:
        lease.acquire("turnback rollback --emergency")
        with pytest.raises(LeaseHeld) as caught:
            Lease(path).acquire("turnback guard")
        message = str(caught.value)
        assert f"held by pid {os.getpid()} (`turnback rollback --emergency`, since 20" in message
        assert message.endswith(f"on host {socket.gethostname()}")
        holder = Lease(path).holder()
        assert holder is not None and holder["pid"] == os.getpid()
        assert holder == lease.holder()
        lease.acquire("again")  # its own: nothing to do
        assert path.stat().st_mode & 0o777 == 0o600
    assert Lease(path).holder() is None
    with Lease(path) as next_one:
        next_one.acquire("turnback guard")


def test_nobody_holds_what_was_never_taken(tmp_path: Path) -> None:
    assert Lease(tmp_path / "lease").holder() is None
    assert not (tmp_path / "lease").exists()


def test_death_gives_it_back_though_a_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(LeaseHeld, match=f"held by pid {process.pid} "):
                Lease(path).acquire("turnback rollback")
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.kill(child, 0)  # the child is alive
            assert Lease(path).holder() is None
            with Lease(path) as lease:
                lease.acquire("turnback rollback")
        finally:
            os.kill(child, signal.SIGKILL)


def test_looking_at_it_never_keeps_another_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            Lease(path).holder()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(200):
            with Lease(path) as lease:
                lease.acquire("turnback status")
    finally:
        done.set()
        watcher.join()


def test_whoever_looks_waits_until_the_holder_has_written_its_name(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.touch()
    with path.open("r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writes = threading.Timer(0.1, lambda: file.write(b'{"pid": 7, "command": "guard"}'))
        writes.start()
        try:
            assert Lease(path).holder() == {"pid": 7, "command": "guard"}
        finally:
            writes.join()


def test_a_holder_that_never_says_who_it_is_is_still_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = Lease(path).holder()
        assert holder is not None and holder["pid"] == holder["command"] == "?"


def test_a_file_that_was_replaced_does_not_make_two_holders(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    opened = Lease(path)
    original_open = opened._open
    replaced: list[int] = []

    def open_then_replace() -> int:
        fd = original_open()
        if not replaced:  # someone removes the file between our open and our lock, and takes a new one
            path.unlink()
            other.acquire("turnback guard")
            replaced.append(fd)
        return fd

    with Lease(path) as other:
        opened._open = open_then_replace  # type: ignore[method-assign]
        with pytest.raises(LeaseHeld, match="turnback guard"):
            opened.acquire("turnback rollback")
        assert replaced


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="the lease cannot be opened"):
        Lease(tmp_path / "file/lease").acquire("turnback guard")
