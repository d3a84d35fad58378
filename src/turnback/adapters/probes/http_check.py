"""Health of the application, asked from outside over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from turnback.adapters.probes.fetch import Fetcher, NotAsked, shown
from turnback.errors import ProbeError
from turnback.ports import Health, HealthProbe, Probe

MAX_BODY_BYTES = 65536  # a longer answer is an answer too: the rest is not read
NOBODY_BEHIND = (502, 504)  # of a proxy: what it asked gave no (whole) answer (RFC 9110, 15.6.3 and 15.6.5)


class HttpProbe(HealthProbe):
    """A GET on the health address: ok is a 2xx within `timeout_seconds`, in all.

    A redirect is followed only where it stays on the same host and port: a login page elsewhere, or
    another instance, says nothing about this application. Never raises for what the application does.
    """

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        self._url = url
        self._fetcher = Fetcher.to(url, timeout_seconds, MAX_BODY_BYTES)
        self._timeout = timeout_seconds

    def check(self) -> Health:
        began = time.monotonic()
        try:
            return self.asked()[0]
        except NotAsked as e:
            return Health(False, f"GET {shown(self._url)}: {e}", time.monotonic() - began)

    def asked(self) -> tuple[Health, bool]:
        """The check, and whether the application answered: a proxy before it may speak in its place.
        Raises NotAsked.
        """
        began = time.monotonic()
        try:
            ok, answer, answered = self._ask(began + self._timeout)
        except NotAsked:
            raise
        except ProbeError as e:
            ok, answer, answered = False, str(e), False
        return Health(ok, f"GET {shown(self._url)}: {answer}", time.monotonic() - began), answered

    def _ask(self, deadline: float) -> tuple[bool, str, bool]:
        url: httpx.URL | None = None
        for _ in range(3):
            answer = self._fetcher.fetch(url=url, deadline=deadline)
            if answer.status not in (301, 302, 303, 307, 308):
                return 200 <= answer.status < 300, str(answer), answer.status not in NOBODY_BEHIND
            here = url or httpx.URL(self._url)
            if not answer.headers.get("location"):
                return False, f"{answer.status}, a redirect to nowhere", True
            try:
                url = here.join(answer.headers["location"])
            except httpx.InvalidURL:
                return False, f"{answer.status}, a redirect to nowhere", True
            if _place(url) != _place(here):
                return False, f"{answer.status}, a redirect to elsewhere", True
            if here.userinfo and not url.userinfo:
                url = url.copy_with(userinfo=here.userinfo)
        return False, "too many redirects", True


@dataclass(slots=True)
class HttpCheck(Probe):
    """application, database, dependency:NAME: HttpProbe as an observation."""

    name: str
    url: str
    interval_seconds: float
    timeout_seconds: float
    _check: HttpProbe = field(init=False)

    def __post_init__(self) -> None:
        self._check = HttpProbe(self.url, self.timeout_seconds)

    def observe(self) -> Mapping[str, Any]:
        try:
            health, answered = self._check.asked()
        except NotAsked as e:  # no failure of the application's
            raise ProbeError(f"GET {shown(self.url)}: {e}") from None
        return checked(health) | ({} if answered else {"answered": False})

    def close(self) -> None:
        """Nothing is kept open."""


@dataclass(slots=True)
class Synthetic(Probe):
    """synthetic: one request with a method, perhaps a body; ok is the one status that is expected."""

    url: str
    method: str
    body: str | None
    expect: int
    interval_seconds: float
    timeout_seconds: float
    name: str = "synthetic"
    _fetcher: Fetcher = field(init=False)

    def __post_init__(self) -> None:
        self._fetcher = Fetcher.to(self.url, self.timeout_seconds, MAX_BODY_BYTES)

    def observe(self) -> Mapping[str, Any]:
        body = (self.body or "").encode()
        headers = {"Content-Type": "application/json" if _is_json(self.body) else "text/plain; charset=utf-8"}
        began = time.monotonic()
        try:
            answer = self._fetcher.fetch(self.method, headers=headers if body else None, body=body)
            ok, said = answer.status == self.expect, str(answer)
            if not ok:
                said += f", {self.expect} was expected"
        except NotAsked as e:
            raise ProbeError(f"{self.method} {shown(self.url)}: {e}") from None
        except ProbeError as e:
            ok, said = False, str(e)
        return checked(Health(ok, f"{self.method} {shown(self.url)}: {said}", time.monotonic() - began))

    def close(self) -> None:
        """Nothing is kept open."""


def checked(health: Health) -> dict[str, Any]:
    """The value of an observation of a check."""
    return {"ok": health.ok, "detail": health.detail, "seconds": round(health.seconds, 4)}


def _is_json(body: str | None) -> bool:
    try:
        json.loads(body or "")
    except ValueError:
        return False
    return True


def _place(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
