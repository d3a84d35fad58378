"""The whole of turnback.toml, as frozen values.

A secret never stands in the file: url and admin_url are `env:NAME` or `file:PATH`, and what they resolve to
is kept out of str() and repr().
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pydantic
from psycopg import conninfo
from pydantic import Field

from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.entrypoints.config_guard import AlertsSection, GuardSection, ValidateSection
from turnback.entrypoints.config_section import Section
from turnback.entrypoints.config_sections import (
    AppSection,
    FallbackSection,
    PostgresSection,
    RollbackSection,
    SqliteSection,
    StateSection,
    TableSection,
)
from turnback.errors import ConfigError

FILE_NAME = "turnback.toml"
PLAN_NAME = "turnback.plan.json"

Loc = tuple[str, ...]


@dataclass(frozen=True)
class PostgresUrls:
    """The connection strings, resolved. Secret: neither str() nor repr() shows them."""

    app_dsn: str = field(repr=False)
    admin_dsn: str = field(repr=False)


class Config(Section):
    """The whole file. Paths in it are relative to its folder; the properties below are absolute."""

    sqlite: SqliteSection = Field(description="The SQLite file.")
    postgres: PostgresSection = Field(
        default=PostgresSection(),
        description="The PostgreSQL side.",
    )
    state: StateSection = Field(default=StateSection(), description="Where turnback keeps its journal.")
    app: AppSection = Field(
        default=AppSection(),
        description="The application, and how it is started and stopped.",
    )
    rollback: RollbackSection = Field(
        default=RollbackSection(), description="What a rollback may take and lose."
    )
    fallback: FallbackSection = Field(default=FallbackSection(), description="The file that is kept current.")
    guard: GuardSection = Field(default=GuardSection(), description="The guard.")
    validate_: ValidateSection = Field(
        default=ValidateSection(), alias="validate", description="What has to hold after a rollback."
    )
    alerts: AlertsSection = Field(default=AlertsSection(), description="What `alerts export` writes.")
    tables: dict[str, TableSection] = Field(
        default={}, description="Choices for tables, by their SQLite name."
    )

    _file: Path = pydantic.PrivateAttr(default=Path(FILE_NAME))

    @property
    def file(self) -> Path:
        return self._file

    @property
    def folder(self) -> Path:
        return self._file.parent

    @property
    def sqlite_path(self) -> Path:
        return self.folder / self.sqlite.path

    @property
    def sqlite_extensions(self) -> tuple[str, ...]:
        """Paths made absolute; a bare name that is no file here is left to the loader's own search."""
        here = [(name, self.folder / name) for name in self.sqlite.extensions]
        return tuple(str(p.absolute()) if "/" in name or p.exists() else name for name, p in here)

    @property
    def state_folder(self) -> Path:
        if self.state.folder is not None:
            return self.folder / self.state.folder
        return self.sqlite_path.with_name(self.sqlite_path.name + ".turnback")

    @property
    def plan_path(self) -> Path:
        return self.folder / PLAN_NAME

    @property
    def working_directory(self) -> Path:
        return self.folder / self.app.working_directory

    def choices(self) -> Choices:
        """What the user chose for tables and columns, as the mapping takes it."""
        return Choices(
            tables={
                name: TableChoice(
                    exclude=table.exclude,
                    postgres=table.postgres,
                    full=table.replica_identity == "full",
                    columns={c: ColumnChoice(**column.model_dump()) for c, column in table.columns.items()},
                    constants=table.constants,
                    rebuild=table.rebuild,
                )
                for name, table in self.tables.items()
            },
            leave_behind=self.sqlite.leave_behind,
            zone=self.sqlite.zone,
            clear_seed_rows=self.postgres.clear_seed_rows,
            sequences=self.postgres.sequences,
        )

    def resolve_urls(self, environment: Mapping[str, str] = os.environ) -> PostgresUrls | None:
        """The connection strings behind url and admin_url; None where PostgreSQL is the embedded one.

        Raises ConfigError: variable not set, file not readable, not a connection string.
        """
        if self.postgres.url is None:
            return None
        app_dsn = self._resolve("url", self.postgres.url, environment)
        admin = self.postgres.admin_url
        return PostgresUrls(
            app_dsn, app_dsn if admin is None else self._resolve("admin_url", admin, environment)
        )

    def _resolve(self, key: str, value: str, environment: Mapping[str, str]) -> str:
        scheme, _, rest = value.partition(":")
        if scheme == "env":
            dsn = environment.get(rest, "").strip()
            origin = f"the environment variable {rest}"
            if not dsn:
                raise self._url_error(key, f"{origin} is not set", f"set {rest} to PostgreSQL's address")
        elif scheme == "file":
            origin = f"the file {rest}"
            try:
                dsn = (self.folder / rest).read_text().strip()
            except (OSError, UnicodeDecodeError) as e:
                reason = e.strerror if isinstance(e, OSError) else "not text"
                raise self._url_error(key, f"{origin}: {reason}", "check its path and mode") from None
            if not dsn:
                raise self._url_error(key, f"{origin} is empty", "write PostgreSQL's address into it")
        else:
            return value  # checked when the file was read
        if not is_dsn(dsn):
            raise self._url_error(
                key,
                f"{origin} holds no connection string that PostgreSQL's libpq accepts",
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, without parameters of a framework's own",
            )
        return dsn

    def _url_error(self, key: str, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self._file.name}: [postgres] {key}: {what}", hint=hint)


def is_dsn(text: str) -> bool:
    try:
        return bool(conninfo.conninfo_to_dict(text))
    except psycopg.Error:  # its text may quote the password
        return False
