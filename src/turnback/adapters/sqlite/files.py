"""The database file as a thing in a folder: its sidecars, durable renames, errors of the file system.

Nothing here may touch a file that this process has open through apsw (see `database`).
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from turnback.errors import DiskFull, ProofFailed, SourceError

SIDECARS = ("-wal", "-shm", "-journal")
RETRY_SECONDS = 0.05


def sidecars(path: Path) -> list[Path]:
    """The -wal, -shm and -journal files that stand beside `path` now."""
    beside = (path.with_name(path.name + suffix) for suffix in SIDECARS)
    return [p for p in beside if p.exists()]


def sync_file(path: Path) -> None:
    """What was written to the file is on the disk. The file must not be open through apsw here."""
    _sync(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """The names in the folder are on the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def same_file(a: Path, b: Path) -> bool:
    """Two names of one inode; False where either is absent."""
    return a.exists() and b.exists() and a.samefile(b)


def demand_no_sidecars(path: Path) -> None:
    """A file that is renamed away from its -wal, or over another's, loses rows in silence (REPLICATION)."""
    if left := sidecars(path):
        raise ProofFailed(
            f"{left[0]}: stands beside {path.name}, which nobody may have open now",
            hint="`fuser -v FILE` shows who holds it; stop that; if nobody does, move it away and resume",
        )


def leave_wal(connection: apsw.Connection, busy_seconds: float) -> None:
    """Everything into the main file, and its journal deleted. In WAL mode this fails while anyone else has
    the file open (SQLite documentation: WAL, section 3.3): it proves that nobody has.

    Raises apsw.BusyError after `busy_seconds`: SQLite itself does not wait for this lock.
    """
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            # a journal that PERSIST mode left behind is removed only on leaving that mode
            if connection.pragma("journal_mode") != "wal":
                connection.pragma("journal_mode", "persist")
            connection.pragma("journal_mode", "delete")
        except (apsw.BusyError, apsw.LockedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """The file system's errors as turnback's, with the file's name and what to do."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{path}: no room to write", hint="make room on that disk, then run `turnback resume`"
            ) from e
        raise SourceError(f"{path}: {e.strerror}", hint=_HINTS.get(e.errno or 0, _ANY)) from e


def copy_private(source: Path, target: Path) -> None:
    """A copy that nobody else may read. `source` must not change meanwhile. Raises SourceError, DiskFull."""
    with file_errors(target):
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        shutil.copyfile(source, target)


_ANY = "check owner and mode of the file and its folder"
_HINTS = {
    errno.EXDEV: "the kept file and the fallback must be on the same file system as the database",
    errno.EBUSY: "a file that is itself a mount point cannot be replaced: mount its folder instead",
    errno.EROFS: "the volume is mounted read-only",
}
