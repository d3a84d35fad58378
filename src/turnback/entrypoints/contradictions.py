"""What of turnback.toml no single key can show: what does not fit together, and secrets in the open."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psycopg import conninfo

from turnback.entrypoints import guard_contradictions
from turnback.entrypoints.config import Config, Loc, is_dsn
from turnback.entrypoints.config_sections import DURATION, AppSection, SideSection


def contradictions(config: Config) -> Iterator[tuple[Loc, str]]:
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
    yield from guard_contradictions.contradictions(config)


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
    if not is_dsn(value):
        return "must be env:NAME, file:PATH, or a connection string without a password"
    if conninfo.conninfo_to_dict(value).keys() & {"password", "sslpassword"}:
        return "holds a password: write env:NAME or file:PATH instead"
    return None
