"""The journal (an SQLite file of its own, append-only) and the lease (who may act), in the state folder.

Both survive `kill -9`: a record is durable when `append` returns (synchronous=FULL), and the lease is a
lock of the kernel's, which ends with its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import psutil

from turnback.core.state import Fold, State
from turnback.errors import ConfigError, DiskFull, LeaseHeld, SourceError
from turnback.ports import Journal, Record

APPLICATION_ID = 0x7475726E  # "turn"
FORMAT = 1
BUSY_SECONDS = 10.0

_SCHEMA = f"""
CREATE TABLE record (
  sequence INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  run TEXT,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX record_kind ON record (kind, sequence);
CREATE TRIGGER record_no_update BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER record_no_delete BEFORE DELETE ON record
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER record_no_replace BEFORE INSERT ON record
WHEN EXISTS (SELECT 1 FROM record WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""

_COLUMNS = "sequence, at, kind, run, body"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteJournal(Journal):
    """The journal in one SQLite file (WAL, synchronous=FULL, mode 0600), made when it is not there.

    May be used from several threads, and opened by several processes at once. Raises SourceError when the
    file is not a journal of this turnback, DiskFull when a record cannot be written.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _utc_now) -> None:
        self.path = path
        self._now = now
        self._lock = threading.RLock()
        self._fold = Fold()
        self._folded = 0  # the sequence of its last record
        _create_private(path)
        with self._translated():
            self._connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
            try:
                self._prepare_patiently()
            except BaseException:
                self._connection.close()
                raise

    def _prepare_patiently(self) -> None:
        """Two processes that open a new journal at once both want to make it WAL. SQLite says busy to one of
        them at once, without its busy timeout, since waiting for each other would never end.
        """
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._prepare()
                return
            except apsw.BusyError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    def _prepare(self) -> None:
        connection = self._connection
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        with self._write():
            version = connection.pragma("user_version")
            if version == 0 and connection.pragma("schema_version") == 0:
                for _ in connection.execute(_SCHEMA):
                    pass
                return
            if connection.pragma("application_id") != APPLICATION_ID:
                raise SourceError(
                    f"{self.path}: not a turnback journal", hint="check [state] folder in turnback.toml"
                )
            if version != FORMAT:
                raise SourceError(
                    f"{self.path}: journal format {version}, this turnback knows {FORMAT}",
                    hint="use the turnback that wrote it",
                )

    def append(self, kind: str, body: Mapping[str, Any], *, run: str | None = None) -> Record:
        """Writes one record and returns it once it is durable. `body` must be JSON values: TypeError."""
        text = json.dumps(dict(body), allow_nan=False)  # \u escapes keep a path's undecodable bytes
        with self._lock, self._translated(), self._write():
            # The moment is taken inside the write transaction: sequence and time rise together.
            at = self._now()
            self._connection.execute(
                "INSERT INTO record (at, kind, run, body) VALUES (?, ?, ?, ?)",
                (at.astimezone(UTC).isoformat(timespec="microseconds"), kind, run, text),
            )
            sequence = self._connection.last_insert_rowid()
        return Record(sequence, at.astimezone(UTC), kind, run, json.loads(text))

    def records(self, *, after: int = 0, kind: str | None = None, run: str | None = None) -> list[Record]:
        """The records behind sequence `after`, in order, of that kind and run where they are given."""
        where = ["sequence > ?"]
        bound: list[int | str] = [after]
        if kind is not None:
            where.append("kind = ?")
            bound.append(kind)
        if run is not None:
            where.append("run = ?")
            bound.append(run)
        sql = f"SELECT {_COLUMNS} FROM record WHERE {' AND '.join(where)} ORDER BY sequence"
        with self._lock, self._translated():
            return [_record(row) for row in self._connection.execute(sql, tuple(bound))]

    def last(self, kind: str) -> Record | None:
        """The newest record of that kind."""
        sql = f"SELECT {_COLUMNS} FROM record WHERE kind = ? ORDER BY sequence DESC LIMIT 1"
        with self._lock, self._translated():
            row = self._connection.execute(sql, (kind,)).fetchone()
        return None if row is None else _record(row)

    def state(self) -> State:
        """All that has happened, folded. What was folded before is kept: only what has come since is read."""
        with self._lock:
            for record in self.records(after=self._folded):
                self._fold.take(record)
                self._folded = record.sequence
            return self._fold.state.copy()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except apsw.NotADBError as e:
            raise SourceError(
                f"{self.path}: not a turnback journal", hint="check [state] folder in turnback.toml"
            ) from e
        except (apsw.FullError, apsw.IOError) as e:
            raise DiskFull(
                f"{self.path}: the journal cannot be written: {e}",
                hint="make room on that disk, then run `turnback resume`",
            ) from e
        except apsw.BusyError as e:
            raise SourceError(
                f"{self.path}: the journal is locked by another process for {BUSY_SECONDS:.0f} s",
                hint="`fuser -v FILE` shows who holds it",
            ) from e
        except apsw.Error as e:
            raise SourceError(
                f"{self.path}: the journal cannot be used: {e}",
                hint="check owner and mode of the state folder, and the disk",
            ) from e


def _record(row: tuple[Any, ...]) -> Record:
    sequence, at, kind, run, body = row
    return Record(sequence, datetime.fromisoformat(at), kind, run, json.loads(body))


def _create_private(path: Path) -> None:
    """Makes the file with mode 0600 before SQLite can make it with another.

    Only where it does not exist: closing a descriptor of a database that is in use drops its locks.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as e:
        raise SourceError(
            f"{path}: cannot be made: {e.strerror}", hint="check owner and mode of the state folder"
        ) from e


NAME_READS = 25


class Lease:
    """Only one turnback acts on an application: an exclusive flock on a file of its own (HAZARDS O6).

    Released by `close` or by the death of the process, never by time. Python's descriptors are
    close-on-exec, so no child keeps the lease alive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, command: str) -> None:
        """Takes the lease for `command` (as a user would type it). Raises LeaseHeld, naming the holder."""
        if self._fd is not None:
            return
        for attempt in range(10):
            if attempt:
                time.sleep(0.02)  # `holder` of another process takes the lock for a moment to look
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_current(fd):  # the file was removed and made again meanwhile
                    os.close(fd)
                    continue
                _write_holder(fd, command)
            except BlockingIOError:
                os.close(fd)
                continue
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
            return
        raise LeaseHeld(
            f"another turnback acts on this application: {self._sentence()}",
            hint="wait for it, or end that process; `turnback status` shows what it does",
        )

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lease now (pid, command, host, since; "?" where it does not say), or None."""
        if self._fd is not None:
            return _read_holder(self._fd)
        for _ in range(NAME_READS):
            try:
                fd = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if holder := _read_holder(fd):
                    return holder
            else:
                return None
            finally:
                os.close(fd)
            time.sleep(0.02)  # it has the lock and is about to write its name
        return dict.fromkeys(("pid", "command", "host", "since"), "?")

    def close(self) -> None:
        """Gives the lease back. May be repeated."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.ftruncate(fd, 0)
            os.close(fd)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as e:
            raise SourceError(
                f"{self.path}: the lease cannot be opened: {e.strerror}",
                hint="check owner and mode of the state folder",
            ) from e

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False

    def _sentence(self) -> str:
        holder = self.holder()
        if not holder:
            return "its name could not be read"
        return (
            f"held by pid {holder['pid']} (`{holder['command']}`, since {holder['since']})"
            f" on host {holder['host']}"
        )


def _write_holder(fd: int, command: str) -> None:
    content = {
        "pid": os.getpid(),
        "command": command,
        "host": socket.gethostname(),
        "since": _utc_now().isoformat(timespec="seconds"),
    }
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(content).encode(), 0)
    os.fsync(fd)


def _read_holder(fd: int) -> dict[str, Any]:
    """What the holder wrote; {} in the moment between its lock and its writing."""
    try:
        content = json.loads(os.pread(fd, 65536, 0))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


# What loses files with the container or the machine, or has no locks to rely on.
_REFUSED = {
    "overlay": "it goes with the container",
    "overlayfs": "it goes with the container",
    "aufs": "it goes with the container",
    "tmpfs": "it goes with the machine's memory",
    "ramfs": "it goes with the machine's memory",
    "nfs": "its locks cannot be relied on",
    "nfs4": "its locks cannot be relied on",
    "cifs": "its locks cannot be relied on",
    "smb3": "its locks cannot be relied on",
    "smbfs": "its locks cannot be relied on",
    "fuse.sshfs": "its locks cannot be relied on",
}


def refuse_filesystem(path: Path, *, allow: bool = False) -> None:
    """Raises ConfigError where the state would not be safe; `allow` is [state] allow_any_filesystem."""
    kind = filesystem(path)
    if not allow and kind in _REFUSED:
        raise ConfigError(
            f"{path}: a {kind} file system cannot hold turnback's state: {_REFUSED[kind]}",
            hint="set [state] folder to a lasting local disk or volume"
            " (or, for a trial only, [state] allow_any_filesystem = true)",
        )


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, or would (its nearest parent that exists)."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    place = place.resolve()
    mounts = [
        (len(Path(p.mountpoint).parts), position, p.fstype)
        for position, p in enumerate(psutil.disk_partitions(all=True))
        if place.is_relative_to(p.mountpoint)
    ]
    return max(mounts)[2] if mounts else ""  # of two mounts on one point the later is seen
