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

import psycopg
import pydantic
from psycopg import conninfo
from pydantic import Field

from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.entrypoints.config_guard import AlertsSection, GuardSection, ValidateSection
from turnback.entrypoints.config_section import Section
from turnback.entrypoints.config_sections import (
    DURATION,
    AppSection,
    FallbackSection,
    PostgresSection,
    RollbackSection,
    SideSection,
    SqliteSection,
    StateSection,
    TableSection,
)
from turnback.entrypoints.guard_contradictions import contradictions
from turnback.entrypoints.toml_lines import key_lines, line_of
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
    if not DURATION.fullmatch(config.fallback.keep):
        yield ("fallback", "keep"), 'must be a number with s, m, h, d or w, for example "14d"'
    sides: tuple[tuple[str, SideSection], ...] = (("sqlite", app.sqlite), ("postgres", app.postgres))
    for name, side in sides:
        yield from _side_problems(name, side, app)
    for key in ("on", "off") if app.maintenance is not None else ():
        yield from _command_problems(("app", "maintenance", key), getattr(app.maintenance, key), app)
    yield from contradictions(config)


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
