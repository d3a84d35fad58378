"""A copy of a SQLite file that is in use, as of one moment."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import apsw

from turnback.adapters.sqlite.database import open_database, pragma, run_script, translated
from turnback.errors import DiskFull, SourceError
from turnback.ports import Progress

_COMPANIONS = ("-wal", "-shm", "-journal")


def backup(source: Path, target: Path, progress: Progress) -> None:
    """Copies `source` to `target` by SQLite's online backup, all pages in one step.

    One step, because a page-wise backup starts again at every write of the application and never ends
    (REPLICATION: Forward). The copy has journal_mode DELETE, so that it is one file with nothing beside it;
    its mode is 0600. It appears at `target` whole or not at all, and replaces what was there.

    Raises SourceError (source unreadable or locked), DiskFull.
    """
    part = target.with_name(target.name + ".part")
    try:
        _remove(part)
        _copy(source, part, progress)
        _sync(part)
        for suffix in _COMPANIONS:  # of an older file at the target: they would be replayed into the new one
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        part.replace(target)
        _sync(target.parent)
    except OSError as e:
        _remove(part)
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _full(target, "no room for the copy") from e
        raise SourceError(
            f"{target}: cannot be written: {e.strerror}", hint="check owner and mode of the folder"
        ) from e
    except BaseException:
        _remove(part)
        raise


def _copy(source: Path, part: Path, progress: Progress) -> None:
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    origin = open_database(source, "read")
    try:
        pages = int(pragma(origin, "page_count"))
        needed = pages * int(pragma(origin, "page_size"))
        free = shutil.disk_usage(part.parent).free
        if needed > free:
            raise _full(part, f"the copy needs {needed} bytes, {free} are free")
        progress.begin(f"snapshot of {source.name}", pages)
        _copy_pages(origin, source, part)
        progress.advance(pages)
        progress.end()
    finally:
        origin.close()


def _copy_pages(origin: apsw.Connection, source: Path, part: Path) -> None:
    copy = open_database(part, "create")
    try:
        with translated(source):  # what fails in a step is mostly a lock on the source
            with copy.backup("main", origin, "main") as step:
                while not step.done:
                    step.step(-1)
        with translated(part):
            run_script(copy, "PRAGMA journal_mode = DELETE")
    finally:
        copy.close()


def _full(path: Path, what: str) -> DiskFull:
    return DiskFull(f"{path}: {what}", hint="make room on that disk, then run `turnback resume`")


def _remove(part: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """fsync of a file or a folder. No connection of this process has it open any more."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
