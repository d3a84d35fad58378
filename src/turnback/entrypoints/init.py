"""`turnback init`: the smallest turnback.toml from what is found in the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from turnback.entrypoints.config import FILE_NAME
from turnback.errors import ConfigError, SourceError

HEADER = b"SQLite format 3\0"
_ENDINGS = {".db", ".sqlite", ".sqlite3"}
_DEPTH = 3  # folders below the one that init runs in
_SKIPPED = {"node_modules", "venv", "__pycache__", "site-packages"}

_TEXT = """\
# turnback: from SQLite to PostgreSQL, with a way back. Every key: docs/reference.
# Without [postgres] url, turnback runs a PostgreSQL of its own beside the file.

[sqlite]
path = {path}

# [postgres]
# url = "env:DATABASE_URL"        # never a password in this file
# mode = "existing"               # the application's own migrations make the schema

# [app]
# platform = "process"            # turnback runs the application; or "command" (systemd, compose, ...)
# health = "http://127.0.0.1:3000/api/health"
#
# [app.sqlite]
# command = ["python", "app.py"]
#
# [app.postgres]
# command = ["python", "app.py"]  # gets the address in the environment, as DATABASE_URL

# [guard]
# mode = "recommend"              # observe: record only; enforce: roll back by itself
# listen = "127.0.0.1:9464"       # /metrics, /status and Alertmanager's webhook
#
# [guard.database]
# url = "http://127.0.0.1:3000/api/health/database"
#
# [guard.metrics]                 # error rate, latency and pool are judged by these
# url = "http://127.0.0.1:3000/api/metrics"
#
# [guard.notify]
# webhook = "env:SLACK_WEBHOOK"   # whom the guard tells: an address that takes Slack's JSON
#
# [validate]                      # what has to hold after a rollback, and of `turnback validate`
# page = "/"
# marker = "Welcome"              # text that the main page has to show
"""


def write_config(folder: Path, sqlite: Path | None = None) -> Path:
    """Writes turnback.toml into `folder` and returns its path.

    `sqlite` names the database; without it the folder is searched. Raises ConfigError when the file is
    there already, SourceError when no database is found, or several are.
    """
    file = folder / FILE_NAME
    if os.path.lexists(file):
        raise ConfigError(
            f"{file}: already there", hint="edit it, or remove it and run `turnback init` again"
        )
    database = _only_database(folder) if sqlite is None else _checked(sqlite)
    relative = os.path.relpath(database.resolve(), folder.resolve())
    inside = not relative.startswith("..")
    path = json.dumps(relative if inside else str(database.resolve()), ensure_ascii=False)
    try:
        with file.open("x", encoding="utf-8") as f:
            f.write(_TEXT.format(path=path))
    except OSError as e:
        raise ConfigError(f"{file}: cannot be written: {e.strerror}", hint="check the folder's mode") from e
    return file


def _checked(sqlite: Path) -> Path:
    if not sqlite.is_file():
        raise SourceError(f"{sqlite}: no such file", hint="--sqlite names the application's database file")
    if not _is_sqlite(sqlite):
        raise SourceError(
            f"{sqlite}: not a SQLite database", hint="--sqlite names the application's database file"
        )
    return sqlite


def _only_database(folder: Path) -> Path:
    found = sorted(p for p in _candidates(folder, _DEPTH) if _is_sqlite(p))
    if not found:
        raise SourceError(
            f"{folder}: no SQLite database found (*.db, *.sqlite, *.sqlite3)",
            hint="name it: `turnback init --sqlite FILE`",
        )
    if len(found) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p in found)
        raise SourceError(
            f"{folder}: several SQLite databases: {names}",
            hint=f"choose one: `turnback init --sqlite {found[0].relative_to(folder)}`",
        )
    return found[0]


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except PermissionError:  # not ours to read, so not the application's database either
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED or entry.name.endswith(".turnback"):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _candidates(path, depth - 1)
        elif path.suffix in _ENDINGS and entry.is_file():
            yield path


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return f.read(len(HEADER)) == HEADER
    except PermissionError:
        return False
