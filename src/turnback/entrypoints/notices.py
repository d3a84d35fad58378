"""Whom the guard tells, and the token that those who ask the guard have to show."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from turnback.adapters.notices.alertmanager import AlertmanagerNotifier
from turnback.adapters.notices.command import CommandNotifier
from turnback.adapters.notices.webhook import WebhookNotifier
from turnback.entrypoints.config import Config
from turnback.entrypoints.config_guard import URL
from turnback.entrypoints.wiring import Setup
from turnback.errors import ConfigError, SourceError
from turnback.ports import Notifier

TOKEN_FILE = "guard.token"
TOKEN_BYTES = 32


def notifiers(setup: Setup) -> list[Notifier]:
    """Those of [guard.notify]. Raises ConfigError when a secret cannot be read."""
    config = setup.config
    notify = config.guard.notify
    made: list[Notifier] = []
    if notify.alertmanager is not None:
        made.append(
            AlertmanagerNotifier(
                notify.alertmanager,
                notify.timeout_seconds,
                application=config.alerts.name,
                repeat_seconds=notify.repeat_seconds,
            )
        )
    if notify.webhook is not None:
        url = secret(config, "guard.notify", "webhook", notify.webhook)
        if not re.fullmatch(URL, url):
            raise ConfigError(
                f"{config.file.name}: [guard.notify] webhook: what {notify.webhook} holds is no http address",
                hint="it must be one line: https://HOST/PATH",
            )
        made.append(WebhookNotifier(url, notify.timeout_seconds))
    if notify.command is not None:
        made.append(
            CommandNotifier(
                notify.command,
                notify.timeout_seconds,
                folder=config.folder,
                withheld=_variables(config.postgres.admin_url, config.guard.token),
            )
        )
    return made


def guard_token(setup: Setup) -> str:
    """The bearer token: what [guard] token names, else that in the state folder, made where there is none.

    Raises ConfigError: it cannot be read, or is no token (RFC 6750, section 2.1); SourceError: not written.
    """
    config = setup.config
    if config.guard.token is not None:
        origin = config.guard.token
        token = secret(config, "guard", "token", origin)
    else:
        path = setup.state_folder / TOKEN_FILE
        origin = path.name
        token = _kept_token(path)
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
        raise ConfigError(
            f"[guard] token: what {origin} holds is no bearer token",
            hint="letters, digits and -._~+/ in one line; without the file a new one is made",
        )
    return token


def secret(
    config: Config, table: str, key: str, value: str, environment: Mapping[str, str] = os.environ
) -> str:
    """What `env:NAME` or `file:PATH` holds. Raises ConfigError, which never shows it."""
    scheme, _, rest = value.partition(":")
    where = f"{config.file.name}: [{table}] {key}"
    if scheme == "env":
        found = environment.get(rest, "").strip()
        if not found:
            raise ConfigError(f"{where}: the environment variable {rest} is not set", hint=f"set {rest}")
        return found
    try:
        found = (config.folder / rest).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not text"
        raise ConfigError(f"{where}: the file {rest}: {reason}", hint="check its path and mode") from None
    if not found:
        raise ConfigError(f"{where}: the file {rest} is empty", hint="write the value into it, in one line")
    return found


def _kept_token(path: Path) -> str:
    """Made once, whole or not there: two that start at once end with the same."""
    try:
        if not path.exists():
            descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            try:
                path.hardlink_to(part)
            except FileExistsError:
                pass  # another was faster; its token counts
            finally:
                Path(part).unlink()
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not text"
        raise SourceError(f"{path}: {reason}", hint="check owner, mode and room; a new one is made") from e


def _variables(*values: str | None) -> frozenset[str]:
    return frozenset(v.removeprefix("env:") for v in values if v is not None and v.startswith("env:"))
