"""Notices as alerts of an Alertmanager (API v2): one alert per key and event.

Alertmanager knows an alert by its labels, and keeps what is not sent again only until `endsAt`. So what goes
on is sent with an end some repeats away, and whatever else is open under the same key is ended in the same
request: also what a guard before this one has left there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from turnback.adapters.notices.http import ask
from turnback.errors import NoticeError
from turnback.ports import Notice, Notifier

SOURCE = "turnback"
MISSED_REPEATS = 3  # so many repeats may be missed before the alert ends
SHORTEST_SECONDS = 900.0
WHAT = "Alertmanager"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AlertmanagerNotifier(Notifier):
    """Labels: alertname (Turnback + the event), severity, application, key, source. `resolved` and the event
    `normal` end what is open under the key.
    """

    name = "alertmanager"

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        *,
        application: str,
        repeat_seconds: float,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._timeout = timeout_seconds
        self._application = application
        self._lasts = timedelta(seconds=max(SHORTEST_SECONDS, MISSED_REPEATS * repeat_seconds))
        self._now = now

    def send(self, notice: Notice) -> None:
        now = self._now()
        labels = self._labels(notice)
        ends = notice.resolved or notice.event in ("resolved", "normal")
        alerts = [
            _alert(open_["labels"], notice, _moment(open_), max(now, _moment(open_)))
            for open_ in self._open(notice.key)
            if ends or open_["labels"] != labels
        ]
        if not ends:
            alerts.append(_alert(labels, notice, min(notice.utc, now), now + self._lasts))
        if alerts:
            ask(WHAT, "POST", self._url, self._timeout, body=alerts)

    def close(self) -> None:
        pass  # each request has a connection of its own, which ends by its timeout

    def _labels(self, notice: Notice) -> dict[str, str]:
        return {
            "alertname": "Turnback" + "".join(word.capitalize() for word in notice.event.split("_")),
            "severity": notice.severity,
            "application": self._application,
            "key": notice.key,
            "source": SOURCE,
        }

    def _open(self, key: str) -> list[Any]:
        """Our alerts of that key that have not ended there. Raises NoticeError."""
        wanted = {"source": SOURCE, "application": self._application, "key": key}
        matchers = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in wanted.items()]
        body = ask(WHAT, "GET", self._url, self._timeout, params={"filter": matchers})
        try:
            found = json.loads(body)
            if not isinstance(found, list):
                raise ValueError
            for alert in found:
                _moment(alert)
                if alert["labels"]["key"] != key:
                    raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NoticeError(
                f"{WHAT}: the answer is not that of its API v2", hint="check [guard.notify] alertmanager"
            ) from None
        return found


def _alert(labels: Mapping[str, str], notice: Notice, begins: datetime, ends: datetime) -> dict[str, Any]:
    about = {re.sub(r"[^a-zA-Z0-9_]", "_", f"turnback_{key}"): v for key, v in notice.fields.items()}
    return {
        "labels": dict(labels),
        "annotations": {"summary": notice.title, "description": notice.text, **about},
        "startsAt": begins.isoformat(),
        "endsAt": ends.isoformat(),
    }


def _moment(alert: Mapping[str, Any]) -> datetime:
    moment = datetime.fromisoformat(alert["startsAt"])
    if moment.tzinfo is None:
        raise ValueError("a moment without an offset")
    return moment
