"""The fence of the SQLite file (REPLICATION: Fencing SQLite).

Triggers that abort stop every connection, also one that is open already and statements OR IGNORE, OR REPLACE
and upserts; the file's mode stops new ones. Neither stops DDL nor a client with triggers disabled: the
application is stopped before.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apsw

from turnback.adapters.sqlite.database import atomic, open_database, pragma, quoted, run_script, translated
from turnback.adapters.sqlite.files import file_errors, leave_wal, sidecars
from turnback.adapters.sqlite.holders import holders
from turnback.adapters.sqlite.witness import PREFIX, Witness, fence_triggers, fenceable_tables, unfenced
from turnback.errors import ProofFailed, SourceError

FENCED_MODE = 0o444


@dataclass(frozen=True, slots=True)
class FenceState:
    """What the fence changes, as it was before. The caller journals it before `raise_`."""

    journal_mode: str  # "wal" or "delete": the only ones that the file itself carries
    mode: int  # permission bits
    uid: int
    gid: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FenceState:
        return cls(**raw)


class SqliteFence:
    """Of one file: writes refused, and proven to be. `raise_` and `lift` may be repeated; `lift` needs the
    state that `former_state` gave.
    """

    def __init__(self, path: Path, *, busy_seconds: float, extensions: Sequence[str] = ()) -> None:
        self._path = path.resolve()  # SQLite puts the sidecars beside the file itself, not beside a link
        self._busy_seconds = busy_seconds
        self._extensions = extensions

    def former_state(self) -> FenceState:
        """The state to come back to. Raises SourceError on a fenced file, which no longer shows it."""
        with self._connection() as connection:
            if fence_objects(connection):
                raise SourceError(
                    f"{self._path}: already fenced",
                    hint="its former state stands in the journal: run `turnback resume`",
                )
            journal_mode = "wal" if pragma(connection, "journal_mode") == "wal" else "delete"
        now = self._path.stat()
        return FenceState(journal_mode, stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)

    def raise_(self) -> None:
        """Fences, and proves it in another process. Repeatable: a crash anywhere inside is repaired by it.

        Raises SourceError (locked, still held in WAL mode: the holders are named), ProofFailed.
        """
        self._make_writable()
        with self._connection() as connection:
            witness = Witness(self._path, busy_seconds=self._busy_seconds, extensions=self._extensions)
            try:
                with atomic(connection):
                    for table in fenceable_tables(connection):
                        _set_triggers(connection, table)
                self._demand(witness.unfenced(), "a session opened before the fence")
            finally:
                witness.close()  # in WAL mode it would hold the file itself
            leave_wal(connection, self._busy_seconds)
        if left := sidecars(self._path):
            raise SourceError(f"{left[0]}: still there after the journal was emptied", hint=self._who_holds())
        with file_errors(self._path):
            self._path.chmod(FENCED_MODE)

    def prove(self) -> None:
        """Raises ProofFailed unless every table refuses a write, here and in another process."""
        with self._connection() as connection:
            self._demand(unfenced(connection), "a new session")
        witness = Witness(self._path, busy_seconds=self._busy_seconds, extensions=self._extensions)
        try:
            self._demand(witness.unfenced(), "a session of another process")
        finally:
            witness.close()

    def lift(self, former: FenceState) -> None:
        """Writes are possible again; journal mode and permissions are as they were. Repeatable."""
        self._make_writable()
        with self._connection() as connection:
            with atomic(connection):
                drop_fence(connection)
            if former.journal_mode == "wal" and connection.pragma("journal_mode", "wal") != "wal":
                raise SourceError(f"{self._path}: cannot be set to WAL again", hint=self._who_holds())
        with file_errors(self._path):
            self._path.chmod(former.mode)

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        """Always for writing: a read-only connection leaves -wal and -shm behind on a WAL file."""
        connection = open_database(
            self._path, "write", busy_seconds=self._busy_seconds, extensions=self._extensions
        )
        try:
            with translated(self._path):
                yield connection
        except SourceError as e:
            if isinstance(e.__cause__, apsw.BusyError | apsw.LockedError):
                raise SourceError(str(e), hint=self._who_holds()) from e
            raise
        finally:
            connection.close()

    def _make_writable(self) -> None:
        """A fence that is set or lifted anew finds the mode that it left."""
        with file_errors(self._path):
            if self._path.is_file():
                self._path.chmod(stat.S_IMODE(self._path.stat().st_mode) | stat.S_IWUSR)

    def _demand(self, wrong: list[str], who: str) -> None:
        if wrong:
            raise ProofFailed(
                f"{self._path}: the fence does not hold for {who}: {'; '.join(wrong[:3])}",
                hint="run the same command again: it sets the fence anew",
            )

    def _who_holds(self) -> str:
        found = holders(self._path)
        named = ", ".join(f"pid {h.pid} ({h.command}, user {h.user})" for h in found)
        return (
            f"it is held by {named}: stop that, then try again"
            if found
            else "no holder can be seen from here: look in other containers and on the host"
        )


def fence_objects(connection: apsw.Connection) -> list[str]:
    """Names of the fence's triggers in the file."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ? ORDER BY name",
        (PREFIX + "*",),
    )
    return [str(name) for (name,) in rows]


def drop_fence(connection: apsw.Connection) -> None:
    """Drops the fence's triggers, in the caller's transaction."""
    for name in fence_objects(connection):
        run_script(connection, f"DROP TRIGGER {quoted(name)}")


def is_fenced(path: Path) -> bool:
    """Every table of the file has its fence. Raises SourceError where there is no database."""
    connection = open_database(path, "write")
    try:
        with translated(path):
            present = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
            wanted = [fence_triggers(table) for table in fenceable_tables(connection)]
    finally:
        connection.close()
    return bool(wanted) and all(present.get(name) == sql for table in wanted for name, sql in table.items())


def _set_triggers(connection: apsw.Connection, table: str) -> None:
    """The three triggers of one table, made anew where their text is not the fence's."""
    for name, sql in fence_triggers(table).items():
        row = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", (name,)
        ).fetchone()
        if row is not None and row[0] != sql:
            run_script(connection, f"DROP TRIGGER {quoted(name)}")
            row = None
        if row is None:
            run_script(connection, sql)
