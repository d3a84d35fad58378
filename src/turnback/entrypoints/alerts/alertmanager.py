"""What Alertmanager is told: who hears what, and what is not worth saying beside something worse."""

from __future__ import annotations

import re
from typing import Any

from turnback.entrypoints.alerts.own import SWITCHING
from turnback.entrypoints.alerts.promql import duration, one_of, quoted
from turnback.entrypoints.config import Config
from turnback.errors import ConfigError

PEOPLE, GUARD, NOBODY = "people", "turnback", "nobody"
RECEIVER_KEY = "[alerts] receiver_webhook"
# Made from the guard's own verdicts: as one of its triggers it would go in a circle.
CIRCULAR = re.compile(r"Turnback.*|DatabaseConnectionFailed")


def alertmanager(config: Config, guard: str, token_file: str, webhook_file: str | None) -> dict[str, Any]:
    """The whole alertmanager.yml.

    `guard` is the guard's address (scheme, host, port) as Alertmanager reaches it; the files are where
    Alertmanager finds the guard's token and the address of the people's webhook.
    """
    triggers = _triggers(config)
    repeat = duration(config.guard.notify.repeat_seconds)  # to people
    routes: list[dict[str, Any]] = []
    if triggers:
        routes.append(
            {
                "receiver": GUARD,
                "matchers": [f"alertname=~{one_of(triggers)}"],
                "group_wait": "0s",
                "group_interval": "5s",
                "repeat_interval": "1m",  # what is not said again for ALERT_LASTS_SECONDS does not count
                "continue": True,
            }
        )
    routes += [
        {"receiver": NOBODY, "matchers": ['severity="info"']},
        {
            "receiver": PEOPLE,
            "matchers": ['severity=~"critical|high"'],
            "group_wait": "1s",
            "group_interval": "10s",
            "repeat_interval": repeat,
        },
        {"receiver": PEOPLE},  # all else; without it the route with `continue` would be an alert's only one
    ]
    application = f"application={quoted(config.alerts.name)}"
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": PEOPLE,
            "group_by": ["alertname", "application"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "4h",
            "routes": routes,
        },
        "receivers": [
            {"name": PEOPLE, **_people(webhook_file)},
            {"name": NOBODY},
            *([{"name": GUARD, **_guard(guard, token_file)}] if triggers else []),
        ],
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="ApplicationDown"', application],
                "target_matchers": ['severity="warning"', 'component=~"application|database|performance"'],
                "equal": ["application"],
            },
            {
                "source_matchers": [f'alertname="{SWITCHING}"', application],
                "target_matchers": ['severity="warning"'],
                "equal": ["application"],
            },
        ],
    }


def _triggers(config: Config) -> list[str]:
    for name in config.guard.alerts:
        if CIRCULAR.fullmatch(name):
            raise ConfigError(
                f"{config.file.name}: [guard.alerts] {name}: is made from the guard's own verdicts",
                hint="as a trigger it would go in a circle: leave it out",
            )
    return sorted(config.guard.alerts)


def _people(webhook_file: str | None) -> dict[str, Any]:
    if webhook_file is None:
        return {}
    return {"webhook_configs": [{"url_file": webhook_file, "send_resolved": True}]}


def _guard(guard: str, token_file: str) -> dict[str, Any]:
    return {
        "webhook_configs": [
            {
                "url": f"{guard}/alerts",
                "send_resolved": True,
                "http_config": {"authorization": {"type": "Bearer", "credentials_file": token_file}},
            }
        ]
    }


def webhook_path(config: Config) -> str | None:
    """Where the address of the people's webhook stands. Raises ConfigError for `env:`."""
    webhook = config.alerts.receiver_webhook
    if webhook is None:
        return None
    scheme, _, rest = webhook.partition(":")
    if scheme != "file":
        raise ConfigError(
            f"{config.file.name}: {RECEIVER_KEY}: Alertmanager reads no environment variables",
            hint='write the address into a file of mode 0600 and name it: "file:PATH"',
        )
    return str((config.folder / rest).absolute())
