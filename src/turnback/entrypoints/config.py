"""turnback.toml: read, checked as a whole, and frozen.

Every problem is named at once, each with its line and key. A secret never stands in the file: url and
admin_url are `env:NAME` or `file:PATH`, and what they resolve to is kept out of str() and repr().
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import psycopg
import pydantic
from psycopg import conninfo
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Strict

from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.entrypoints.toml_lines import key_lines, line_of
from turnback.errors import ConfigError

FILE_NAME = "turnback.toml"
PLAN_NAME = "turnback.plan.json"

Loc = tuple[str, ...]
Strings = Annotated[tuple[str, ...], Strict(False)]
Codec = Literal[
    "integer",
    "real",
    "number",
    "boolean",
    "text",
    "blob",
    "timestamp_text",
    "date_text",
    "epoch",
    "json_text",
    "uuid_text",
    "uuid_blob",
]
_DURATION = re.compile(r"(\d+)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Section(BaseModel):
    """One table of the file: no unknown keys, no coercion ("10" is not 10), frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SqliteSection(Section):
    path: str
    busy_seconds: PositiveFloat = 10
    leave_behind: Strings = ()


class PostgresSection(Section):
    url: str | None = None  # none: the embedded server
    admin_url: str | None = None
    schema_name: str = Field("public", alias="schema", min_length=1)
    mode: Literal["create", "existing"] = "create"
    slot: str = Field("turnback", pattern=r"^[a-z0-9_]{1,63}$")
    publication: str = Field("turnback", min_length=1, max_length=63)
    lock_timeout_seconds: PositiveFloat = 10
    slot_timeout_seconds: PositiveFloat = 30
    max_retained_wal_bytes: PositiveInt | None = None


class StateSection(Section):
    folder: str | None = None
    allow_any_filesystem: bool = False


class SideSection(Section):
    command: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] | None = None
    start: str | None = None
    stop: str | None = None
    available: str | None = None
    prepare: str | None = None
    env: dict[str, str] = {}
    env_file: str | None = None


class PostgresSideSection(SideSection):
    schema_command: str | None = Field(None, alias="schema")


class MaintenanceSection(Section):
    on: str
    off: str


class AppSection(Section):
    platform: Literal["process", "command", "manual"] = "manual"
    health: str | None = Field(None, pattern=r"^https?://[^\s]+$")
    health_timeout_seconds: PositiveFloat = 60
    stop_seconds: NonNegativeFloat = 10
    working_directory: str = "."
    url_env: str = Field("DATABASE_URL", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    sqlite: SideSection = SideSection()
    postgres: PostgresSideSection = PostgresSideSection()  # type: ignore[call-arg]
    maintenance: MaintenanceSection | None = None


class RollbackSection(Section):
    rpo_objective_seconds: NonNegativeFloat = 0
    rto_objective_seconds: PositiveFloat = 300
    drain_timeout_seconds: PositiveFloat = 60


class FallbackSection(Section):
    keep: str = "14d"

    @property
    def keep_seconds(self) -> int:
        match = _DURATION.fullmatch(self.keep)
        assert match, "checked when the file was read"
        return int(match[1]) * _SECONDS[match[2]]


class GuardSection(Section):
    listen: str | None = Field(None, pattern=r"^[^\s:]*:\d{1,5}$")
    mode: Literal["recommend", "enforce"] = "recommend"


class ColumnSection(Section):
    codec: Codec | None = None
    pg_type: str | None = None
    respell: bool = False
    postgres: str | None = None
    unit: Literal["s", "ms", "us"] | None = None


class TableSection(Section):
    exclude: bool = False
    postgres: str | None = None
    replica_identity: Literal["full"] | None = None
    columns: dict[str, ColumnSection] = {}


@dataclass(frozen=True)
class PostgresUrls:
    """The connection strings, resolved. Secret: neither str() nor repr() shows them."""

    app_dsn: str = field(repr=False)
    admin_dsn: str = field(repr=False)


class Config(Section):
    """The whole file. Paths in it are relative to its folder; the properties below are absolute."""

    sqlite: SqliteSection
    postgres: PostgresSection = PostgresSection()  # type: ignore[call-arg]
    state: StateSection = StateSection()
    app: AppSection = AppSection()  # type: ignore[call-arg]
    rollback: RollbackSection = RollbackSection()
    fallback: FallbackSection = FallbackSection()
    guard: GuardSection = GuardSection()  # type: ignore[call-arg]
    tables: dict[str, TableSection] = {}

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
                )
                for name, table in self.tables.items()
            },
            leave_behind=self.sqlite.leave_behind,
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
        if not _is_dsn(dsn):
            raise self._url_error(
                key,
                f"{origin} holds no connection string that PostgreSQL's libpq accepts",
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, without parameters of a framework's own",
            )
        return dsn

    def _url_error(self, key: str, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self._file.name}: [postgres] {key}: {what}", hint=hint)


def load(path: Path) -> Config:
    """The configuration in the file. Raises ConfigError that names every problem with its line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="`turnback init` writes one") from None
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="check its mode and encoding") from e
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        where = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(e))
        place, what = (f", line {where[2]}", where[1]) if where else ("", str(e))
        raise ConfigError(
            f"{path.name}{place}: {what[:1].lower()}{what[1:]}", hint="TOML: strings stand in quotes"
        ) from None
    problems: list[tuple[Loc, str]]
    try:
        config = Config.model_validate(raw)
    except pydantic.ValidationError as e:
        problems = [_problem(error) for error in e.errors(include_input=False, include_url=False)]
    else:
        config._file = path.absolute()
        problems = list(_contradictions(config))
        if not problems:
            return config
    lines = key_lines(text)
    ordered = sorted(problems, key=lambda p: line_of(lines, p[0]) or 0)
    raise ConfigError(
        "\n".join(_sentence(path.name, lines, loc, what) for loc, what in ordered),
        hint=f"edit {path.name}; every key is in docs/reference",
    )


def _sentence(file: str, lines: dict[Loc, int], loc: Loc, what: str) -> str:
    line = line_of(lines, loc)
    table = f"[{'.'.join(loc[:-1])}] " if len(loc) > 1 else ""
    return f"{file}{f', line {line}' if line else ''}: {table}{loc[-1]}: {what}"


def _problem(error: typing.Any) -> tuple[Loc, str]:
    loc = tuple(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(loc[-1], _keys(loc[:-1]), n=1)
            return loc, "unknown key" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return loc, "is needed"
        case "string_pattern_mismatch":
            return loc, f"does not have the form {error['ctx']['pattern']}"
        case "literal_error":
            return loc, f"must be {error['ctx']['expected']}"
        case "tuple_type":
            return loc, 'must be a list of strings: ["one", "two"]'
        case _:
            return loc, error["msg"].replace("Input should be", "must be").replace(
                "valid dictionary", "table"
            )


def _keys(loc: Loc) -> list[str]:
    """The keys that the table at `loc` may have."""
    at: typing.Any = Config  # a Section, or dict[NAME, Section]
    for part in loc:
        if typing.get_origin(at) is dict:
            at = typing.get_args(at)[1]
            continue
        annotation = {f.alias or n: f.annotation for n, f in at.model_fields.items()}.get(part)
        choices = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        at = next((c for c in choices if _is_section(c) or typing.get_origin(c) is dict), None)
        if at is None:
            return []
    return [f.alias or n for n, f in at.model_fields.items()] if _is_section(at) else []


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _contradictions(config: Config) -> Iterator[tuple[Loc, str]]:
    """What no single key can show: what does not fit together, and secrets in the open."""
    postgres, app = config.postgres, config.app
    if not config.sqlite.path:
        yield ("sqlite", "path"), "is empty"
    for key, value in (("url", postgres.url), ("admin_url", postgres.admin_url)):
        if value is not None and (problem := _url_problem(value)):
            yield ("postgres", key), problem
    if postgres.admin_url is not None and postgres.url is None:
        yield ("postgres", "admin_url"), "needs url too: without url turnback runs an embedded server"
    if not _DURATION.fullmatch(config.fallback.keep):
        yield ("fallback", "keep"), 'must be a number with s, m, h, d or w, for example "14d"'
    sides: tuple[tuple[str, SideSection], ...] = (("sqlite", app.sqlite), ("postgres", app.postgres))
    for name, side in sides:
        yield from _side_problems(name, side, app)
    for key in ("on", "off") if app.maintenance is not None else ():
        yield from _command_problems(("app", "maintenance", key), getattr(app.maintenance, key), app)


_FITS = {
    "process": {"needed": ("command",), "refused": ("start", "stop", "env_file")},
    "command": {"needed": ("start", "stop"), "refused": ("command",)},
    "manual": {"needed": (), "refused": ("command", "start", "stop", "env_file")},
}


def _side_problems(name: str, side: SideSection, app: AppSection) -> Iterator[tuple[Loc, str]]:
    fits = _FITS[app.platform]
    for key in fits["needed"]:
        if getattr(side, key) is None:
            yield ("app", name, key), f'is needed with [app] platform = "{app.platform}"'
    for key in fits["refused"]:
        if getattr(side, key) is not None:
            other = "process" if key == "command" else "command"
            yield ("app", name, key), f'does not fit [app] platform = "{app.platform}", but "{other}"'
    for key in ("command", "start", "stop", "available", "prepare", "schema_command"):
        value = getattr(side, key, None)
        if value is None:
            continue
        text = " ".join(value) if isinstance(value, tuple) else value
        yield from _command_problems(("app", name, key.removesuffix("_command")), text, app)
    for variable, value in side.env.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or "\0" in value:
            yield ("app", name, "env", variable), "is not an environment variable"
        if name == "sqlite" and "{postgres_url}" in value:
            yield ("app", name, "env", variable), "{postgres_url} is for [app.postgres]"


def _command_problems(loc: Loc, text: str, app: AppSection) -> Iterator[tuple[Loc, str]]:
    if not text.strip():
        yield loc, "is empty"
    if "{postgres_url}" in text:  # every user of the machine can read a process's arguments
        yield loc, f"{{postgres_url}} would show the password: use ${app.url_env}"


def _url_problem(value: str) -> str | None:
    scheme, _, rest = value.partition(":")
    if scheme == "env":
        return None if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest) else "env: needs a variable's name"
    if scheme == "file":
        return None if rest else "file: needs a path"
    if not _is_dsn(value):
        return "must be env:NAME, file:PATH, or a connection string without a password"
    if conninfo.conninfo_to_dict(value).keys() & {"password", "sslpassword"}:
        return "holds a password: write env:NAME or file:PATH instead"
    return None


def _is_dsn(text: str) -> bool:
    try:
        return bool(conninfo.conninfo_to_dict(text))
    except psycopg.Error:  # its text may quote the password
        return False
