"""The fallback: made from the fenced file, and put in its place by a rollback (REPLICATION: Promote).

Every function may be repeated after a crash at any point.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import apsw

from turnback.adapters.sqlite.database import (
    DEFAULT_BUSY_SECONDS,
    atomic,
    open_database,
    pragma,
    quoted,
    run_script,
    translated,
)
from turnback.adapters.sqlite.fence import FenceState, drop_fence
from turnback.adapters.sqlite.files import (
    demand_no_sidecars,
    file_errors,
    leave_wal,
    same_file,
    sidecars,
    sync_file,
    sync_folder,
)
from turnback.adapters.sqlite.tombstone import is_tombstone, place_tombstone, put_tombstone, remove_tombstone
from turnback.core.schema import FileSettings
from turnback.errors import ProofFailed, SourceError
from turnback.ports import Progress

__all__ = [
    "build_fallback",
    "demote",
    "is_tombstone",
    "place_tombstone",
    "promote",
    "remove_tombstone",
    "remove_turnback_objects",
    "replace_fallback",
    "set_sqlite_sequence",
]

BACKUP_PAGES = 5_000  # per step: nobody writes to a fenced file, so the backup need not be one step
CARRIED_SETTINGS = ("page_size", "encoding", "auto_vacuum", "user_version", "application_id")


# ---- the fallback --------------------------------------------------------------------------------


def build_fallback(fenced: Path, fallback: Path, former: FenceState, progress: Progress) -> None:
    """A copy of the fenced file without its fence: equal schema, settings, owner and mode.

    Raises SourceError where `fallback` is already one that capture has written to, ProofFailed where the
    schema or a setting of the copy differs (HAZARDS F43).
    """
    fenced = fenced.resolve()
    _remove_unfinished(fallback)
    part = fallback.with_name(fallback.name + ".part")
    _remove(part)
    with file_errors(part):
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    source = open_database(fenced, "read")
    try:
        target = open_database(part, "create")
        try:
            _copy(source, target, part, progress)
            with translated(part), atomic(target):
                drop_fence(target)
            with translated(part):
                _demand_equal(source, target, part)
        finally:
            target.close()
    finally:
        source.close()
    demand_no_sidecars(part)
    with file_errors(fallback):
        _own(part, former)
        sync_file(part)
        part.replace(fallback)
        sync_folder(fallback.parent)


def replace_fallback(made: Path, fallback: Path, former: FenceState) -> None:
    """A fallback made anew takes the old one's place, whatever that is by now: one rename.

    Nobody has either of them open. Raises SourceError, ProofFailed: then the old one stands.
    """
    connection = open_database(made, "write")
    try:
        with translated(made):
            leave_wal(connection, DEFAULT_BUSY_SECONDS)
    finally:
        connection.close()
    demand_no_sidecars(made)
    with file_errors(fallback):
        _own(made, former)
        sync_file(made)
        for beside in sidecars(fallback):  # the old one's: SQLite would take its pages into the new one
            beside.unlink()
        sync_folder(fallback.parent)
        made.replace(fallback)
        sync_folder(fallback.parent)


def _copy(source: apsw.Connection, target: apsw.Connection, part: Path, progress: Progress) -> None:
    with translated(part), target.backup("main", source, "main") as backup:
        done = 0
        backup.step(0)
        progress.begin("fallback", backup.page_count)
        while not backup.done:
            backup.step(BACKUP_PAGES)
            progress.advance(backup.page_count - backup.remaining - done)
            done = backup.page_count - backup.remaining
        progress.end()


def _demand_equal(source: apsw.Connection, target: apsw.Connection, part: Path) -> None:
    """Every object in its order, the fence left out; and the settings that live in the file's header."""
    if _schema(source) != _schema(target):
        raise ProofFailed(
            f"{part}: its schema differs from the original's",
            hint="nothing was put in place; run the same command again",
        )
    for name in CARRIED_SETTINGS:
        if pragma(source, name) != pragma(target, name):
            raise ProofFailed(
                f"{part}: {name} is {pragma(target, name)}, the original's is {pragma(source, name)}",
                hint="nothing was put in place; run the same command again",
            )


def _schema(connection: apsw.Connection) -> list[tuple[object, ...]]:
    return list(
        connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema"
            " WHERE name NOT GLOB '_turnback*' ORDER BY rowid"
        )
    )


def _remove_unfinished(fallback: Path) -> None:
    """A fallback that a crash left before capture was set up in it is made anew; any other is kept."""
    if fallback.exists():
        connection = open_database(fallback, "write")
        try:
            with translated(fallback):
                used = connection.execute(
                    "SELECT count(*) FROM sqlite_schema WHERE name = '_turnback_position'"
                ).fetchone()
        finally:
            connection.close()
        if used is not None and used[0]:
            raise SourceError(
                f"{fallback}: already a fallback that capture has written to",
                hint="`turnback status` shows its state; `turnback resume` goes on with it",
            )
    _remove(fallback)


def _remove(path: Path) -> None:
    """The file and then its sidecars: one left behind would be taken for the next file's own."""
    with file_errors(path):
        path.unlink(missing_ok=True)
        for beside in sidecars(path):
            beside.unlink()


# ---- promote -------------------------------------------------------------------------------------


def promote(fallback: Path, path: Path, former: FenceState, settings: FileSettings) -> None:
    """The fallback becomes the application's database: one rename over the tombstone.

    Nobody else may have the fallback open; capture is retired before. Journal mode, owner and permissions
    come from `former`, what stands in the file's header from `settings`. Raises SourceError, ProofFailed:
    then the path is as it was.
    """
    path = path.resolve()
    if not fallback.exists():
        _demand_promoted(path, fallback)
        return
    if path.exists() and not is_tombstone(path):
        raise ProofFailed(
            f"{path}: holds something else than turnback's tombstone",
            hint="somebody put a file there since the cutover: move it away, then run `turnback resume`",
        )
    demand_no_sidecars(path)
    _make_plain(fallback, former, settings)
    demand_no_sidecars(fallback)
    with file_errors(path):
        _own(fallback, former)
        sync_file(fallback)
        fallback.replace(path)
        sync_folder(path.parent)
        sync_folder(fallback.parent)


def demote(path: Path, fallback: Path, kept: Path) -> None:
    """Undoes a promote, before the application's first start: the file is the fallback again.

    A tombstone that names `kept` stands at `path`. The caller sets up the position anew, from the journal.
    """
    path = path.resolve()
    if is_tombstone(path):
        if not fallback.exists():
            raise SourceError(
                f"{fallback}: no such file, and {path} holds no database",
                hint="put the fallback file back under that name",
            )
        return
    if fallback.exists() and not same_file(path, fallback):
        raise SourceError(f"{fallback}: exists already", hint="move it to another name, then resume")
    demand_no_sidecars(path)
    demand_no_sidecars(fallback)
    with file_errors(path):
        if not fallback.exists():
            fallback.hardlink_to(path)
            sync_folder(fallback.parent)
    put_tombstone(path, kept)


def remove_turnback_objects(connection: apsw.Connection) -> None:
    """Drops everything named _turnback*: triggers, views, tables with their indexes."""
    with connection:  # a savepoint, should the caller be in a transaction
        for kind in ("trigger", "view", "table", "index"):
            rows = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = ? AND name GLOB '_turnback*'", (kind,)
            ).fetchall()
            for (name,) in rows:
                run_script(connection, f"DROP {kind} {quoted(str(name))}")


def set_sqlite_sequence(connection: apsw.Connection, values: Mapping[str, int]) -> None:
    """Raises sqlite_sequence to `values` (table -> highest id handed out), never lowers it (HAZARDS R16)."""
    with connection:
        for table, highest in values.items():
            found = connection.execute(
                "SELECT sql LIKE '%autoincrement%' FROM sqlite_schema WHERE type = 'table' AND name = ?",
                (table,),
            ).fetchone()
            if found is None or not found[0]:
                raise SourceError(
                    f"table {table} has no AUTOINCREMENT, its ids cannot be raised",
                    hint="run `turnback plan` to compare the plan with the file",
                )
            connection.execute(
                "UPDATE sqlite_sequence SET seq = max(coalesce(seq, 0), ?) WHERE name = ?", (highest, table)
            )
            if (
                not connection.changes() and highest > 0
            ):  # 0: no id was ever handed out, and SQLite has no row
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, highest))


def _make_plain(fallback: Path, former: FenceState, settings: FileSettings) -> None:
    """No trace of turnback in the file, and its header as the original's (HAZARDS F43)."""
    connection = open_database(fallback, "write")
    try:
        with translated(fallback):
            remove_turnback_objects(connection)
            leave_wal(connection, DEFAULT_BUSY_SECONDS)  # the proof that nobody else has it open
            for name in ("user_version", "application_id"):
                if pragma(connection, name) != getattr(settings, name):
                    connection.pragma(name, getattr(settings, name))
            for name in CARRIED_SETTINGS:
                if pragma(connection, name) != getattr(settings, name):
                    raise ProofFailed(
                        f"{fallback}: {name} is {pragma(connection, name)}, "
                        f"the original's is {getattr(settings, name)}",
                        hint="something else changed the fallback: put its newest state back",
                    )
            if former.journal_mode == "wal":
                connection.pragma("journal_mode", "wal")
    finally:
        connection.close()


def _demand_promoted(path: Path, fallback: Path) -> None:
    """After a crash behind the rename: the fallback's name is gone, the path holds a clean database."""
    if not path.exists() or is_tombstone(path):
        raise SourceError(
            f"{fallback}: no such file, and {path} holds no database",
            hint="put the fallback file back under that name",
        )
    connection = open_database(path, "write")
    try:
        with translated(path):
            left = connection.execute(
                "SELECT name FROM sqlite_schema WHERE name GLOB '_turnback*' LIMIT 1"
            ).fetchone()
    finally:
        connection.close()
    if left is not None:
        raise ProofFailed(
            f"{path}: is not the promoted fallback: it still has {left[0]}",
            hint="nothing was changed; look at the file before anything writes to it",
        )
    with file_errors(path):
        sync_folder(path.parent)


def _own(path: Path, former: FenceState) -> None:
    """Owner and permissions as before: the application must be able to write what a root-run tool made."""
    now = path.stat()
    if (now.st_uid, now.st_gid) != (former.uid, former.gid):
        os.chown(path, former.uid, former.gid)
    path.chmod(former.mode)
