"""Opening a SQLite file, and saying in turnback's words what went wrong.

A process that has a database open through apsw never opens that file in any other way, not even to hash
it: any close of any descriptor drops the process's POSIX locks (SQLite documentation: How To Corrupt,
section 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import apsw

from turnback.core.sqltext import identifier
from turnback.errors import DiskFull, SourceError, TurnbackError

DEFAULT_BUSY_SECONDS = 10.0
HEADER = b"SQLite format 3\0"

Access = Literal["read", "write", "create"]

_FLAGS = {
    "read": apsw.SQLITE_OPEN_READONLY,
    "write": apsw.SQLITE_OPEN_READWRITE,
    "create": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}


def open_database(
    path: Path,
    access: Access = "read",
    *,
    busy_seconds: float = DEFAULT_BUSY_SECONDS,
    extensions: Sequence[str] = (),
) -> apsw.Connection:
    """A connection to the file, already known to be a readable database, with these extensions loaded
    (HAZARDS F44): whatever reads or writes rows needs those that the schema uses.

    Raises SourceError: missing, not a database, corrupt, locked for longer than `busy_seconds` (seconds),
    unreadable.
    """
    if access != "create":
        if not path.exists():
            raise SourceError(f"{path}: no such file", hint="check [sqlite] path in turnback.toml")
        if not path.is_file():
            raise SourceError(f"{path}: not a file", hint="check [sqlite] path in turnback.toml")
        if path.stat().st_size == 0:
            raise SourceError(
                f"{path}: empty, not a SQLite database", hint="check [sqlite] path in turnback.toml"
            )
    with translated(path):
        connection = apsw.Connection(os.fspath(path), flags=_FLAGS[access])
        connection.set_busy_timeout(int(busy_seconds * 1000))
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            _load(connection, extensions)
        except BaseException:
            connection.close()
            raise
        return connection


def _load(connection: apsw.Connection, extensions: Sequence[str]) -> None:
    """Loading is allowed for just these, and not for SQL."""
    if not extensions:
        return
    connection.enable_load_extension(True)
    try:
        for name in extensions:
            try:
                connection.load_extension(name)
            except apsw.ExtensionLoadingError as e:
                raise SourceError(
                    f"the SQLite extension {name} cannot be loaded: {e}",
                    hint="check [sqlite] extensions in turnback.toml: paths of shared libraries",
                ) from e
    finally:
        connection.enable_load_extension(False)


def run_script(connection: apsw.Connection, sql: str) -> None:
    """Runs every statement to its end. apsw's execute is lazy: what follows a row does not run until read."""
    for _ in connection.execute(sql):
        pass


def pragma(connection: apsw.Connection, name: str) -> str | int:
    """The value of a PRAGMA that gives one."""
    value = connection.pragma(name)
    assert isinstance(value, str | int), f"PRAGMA {name} gave {value!r}"
    return value


@contextmanager
def atomic(connection: apsw.Connection) -> Iterator[None]:
    """One write transaction, taken at once (BEGIN IMMEDIATE): commits at the end, undone on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """apsw's errors as turnback's, with the file's name and what to do."""
    try:
        yield
    except apsw.Error as e:
        raise translate(e, path) from e


def translate(error: apsw.Error, path: Path) -> TurnbackError:
    """The turnback error for one of apsw's."""
    match error:
        case apsw.NotADBError():
            return SourceError(
                f"{path}: not a SQLite database (or an encrypted one)",
                hint="check [sqlite] path in turnback.toml; one that SQLCipher encrypted must be decrypted "
                "first (sqlcipher_export)",
            )
        case apsw.CorruptError():
            return SourceError(
                f"{path}: the database is corrupt: {error}",
                hint="`sqlite3 FILE .recover` makes a new file of what is readable; check it first",
            )
        case apsw.BusyError() | apsw.LockedError():
            return SourceError(
                f"{path}: locked by another process for longer than the timeout",
                hint="`fuser -v FILE` shows who holds it; end the long transaction, then try again",
            )
        case apsw.FullError():
            return DiskFull(
                f"{path}: no room to write", hint="make room on that disk, then run `turnback resume`"
            )
        case apsw.IOError():
            return DiskFull(
                f"{path}: the disk refused a read or write: {error}",
                hint="look at free space, file size limits and the disk's health, then run `turnback resume`",
            )
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return SourceError(
                f"{path}: cannot be opened: {error}", hint="check owner and mode of the file and its folder"
            )
        case _:
            return SourceError(f"{path}: {error}", hint="")


def quoted(name: str) -> str:
    """Short for `identifier`, in SQL built by this package."""
    return identifier(name)
