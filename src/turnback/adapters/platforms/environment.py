"""What the application's commands are given: environment, working directory, log."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import conninfo

from turnback.errors import PlatformError
from turnback.ports import Side

OTHER: dict[Side, Side] = {"sqlite": "postgres", "postgres": "sqlite"}
ENGINE: dict[Side, str] = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the application's commands run. `postgres_url` is asked when needed: an embedded server's
    address is known only once it runs. `withheld` are variables of ours that the application must not
    inherit (the administrator's address).
    """

    sqlite_path: Path
    postgres_url: Callable[[], str] = field(repr=False)
    url_env: str
    working_directory: Path
    log: Path
    withheld: frozenset[str] = frozenset()

    def environment(self, side: Side, configured: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a command of that side.

        The PostgreSQL address stands in it on the postgres side only: an application that chooses its
        engine by that variable must not find it on SQLite, even where it stands in our own environment.
        """
        own = {k: v for k, v in os.environ.items() if k != self.url_env and k not in self.withheld}
        return own | self.configured(side, configured)

    def configured(self, side: Side, configured: Mapping[str, str]) -> dict[str, str]:
        """Only what the configuration adds for that side, placeholders filled."""
        filled = {name: self._filled(value, side) for name, value in configured.items()}
        return {self.url_env: self.postgres_url()} | filled if side == "postgres" else filled

    def command(self, text: str) -> str:
        """A command with {sqlite_path} filled in. Never an address: arguments can be read by every user."""
        return text.replace("{sqlite_path}", str(self.sqlite_path))

    def secrets(self, side: Side) -> tuple[str, ...]:
        """What must not stand in a message about a command of that side."""
        if side == "sqlite":
            return ()
        dsn = self.postgres_url()
        try:
            password = conninfo.conninfo_to_dict(dsn).get("password")
        except psycopg.Error:
            return (dsn,)
        return (dsn, str(password)) if password else (dsn,)

    def _filled(self, text: str, side: Side) -> str:
        text = self.command(text)
        if side == "postgres" and "{postgres_url}" in text:
            text = text.replace("{postgres_url}", self.postgres_url())
        return text


def still_runs(side: Side, pids: str = "") -> PlatformError:
    """What a start on the other side is refused with: both at once would write to both databases."""
    return PlatformError(
        f"the application still runs on {ENGINE[side]}{pids}",
        hint="it must be stopped before it is started on the other side",
    )


def open_log(path: Path) -> int:
    """A descriptor that appends to the log, made with mode 0600. Raises PlatformError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as e:
        raise PlatformError(
            f"{path}: the log cannot be opened: {e.strerror}", hint="check owner and mode of the state folder"
        ) from e
