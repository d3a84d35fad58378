"""What stands at the database's path while PostgreSQL is primary (HAZARDS O9, REPLICATION: Fencing SQLite).

The path is never absent, and never holds a usable old database: a job would read stale data, a restore at
boot would bring the old file back. Every function may be repeated after a crash at any point.
"""

from __future__ import annotations

import os
from pathlib import Path

from turnback.adapters.sqlite.fence import is_fenced
from turnback.adapters.sqlite.files import demand_no_sidecars, file_errors, same_file, sync_file, sync_folder
from turnback.errors import ProofFailed, SourceError

# A database is a multiple of its page size (512 or more), so this size alone says that a file is none: only
# then is it opened to be read. SQLite takes a file of 0 or 1 byte for an empty database.
TOMBSTONE_BYTES = 1000
TOMBSTONE_TITLE = b"This is not a database: it was moved to PostgreSQL by turnback.\n"


def is_tombstone(path: Path) -> bool:
    """Whether turnback's tombstone stands there. A database is never opened to find out."""
    with file_errors(path):
        if not path.is_file() or path.stat().st_size != TOMBSTONE_BYTES:
            return False
        return path.read_bytes().startswith(TOMBSTONE_TITLE)


def place_tombstone(path: Path, kept: Path) -> None:
    """The fenced original gets the name `kept`; a text that no SQLite opens takes its place (HAZARDS O9).

    Raises ProofFailed where the original is not fenced, SourceError where `kept` is another file already.
    """
    path = path.resolve()
    if is_tombstone(path):
        if not kept.exists():
            raise SourceError(
                f"{kept}: the original is gone, and {path} holds a tombstone",
                hint="put it back from your backup of that file",
            )
        return
    if not is_fenced(path):
        raise ProofFailed(f"{path}: not fenced", hint="run `turnback resume`: it fences first")
    demand_no_sidecars(path)
    if kept.exists() and not same_file(path, kept):
        raise SourceError(f"{kept}: exists already", hint="an earlier original: move it to another name")
    with file_errors(path):
        if not kept.exists():
            kept.hardlink_to(path)
            sync_folder(kept.parent)
    put_tombstone(path, kept)


def remove_tombstone(path: Path, kept: Path) -> None:
    """The original stands at `path` again, still fenced, and the name `kept` is gone."""
    path = path.resolve()
    if is_tombstone(path):
        if not kept.exists():
            raise SourceError(
                f"{kept}: the original is gone, {path} holds a tombstone",
                hint="put it back from your backup of that file",
            )
        demand_no_sidecars(kept)
        demand_no_sidecars(path)
        with file_errors(path):
            new = path.with_name(path.name + ".original")
            new.unlink(missing_ok=True)
            new.hardlink_to(kept)
            new.replace(path)
            sync_folder(path.parent)
    if same_file(path, kept):  # two names of one database: its journal would stand beside one of them only
        with file_errors(kept):
            kept.unlink()
            sync_folder(kept.parent)


def put_tombstone(path: Path, kept: Path) -> None:
    """The swap itself, by rename: the path is never absent. What stood there must have another name."""
    with file_errors(path):
        owner = path.stat()
        new = path.with_name(path.name + ".tombstone")
        new.unlink(missing_ok=True)
        new.write_bytes(_epitaph(kept))
        os.chown(new, owner.st_uid, owner.st_gid)
        new.chmod(0o444)
        sync_file(new)
        new.replace(path)
        sync_folder(path.parent)


def _epitaph(kept: Path) -> bytes:
    text = TOMBSTONE_TITLE + (
        "\nThe application's database is in PostgreSQL now; nothing may be read or written here.\n"
        "The state before the move is kept, fenced, beside this file as\n"
        f"  {kept.name}\n"
        "`turnback status` shows the state of the move, `turnback rollback` brings the data back here.\n"
    ).encode(errors="replace")
    return text[: TOMBSTONE_BYTES - 1].ljust(TOMBSTONE_BYTES - 1) + b"\n"
