"""Health of the application, asked from outside over HTTP."""

from __future__ import annotations

import ssl
import time
from urllib.parse import urlsplit

import httpx

from turnback.ports import Health, HealthProbe

MAX_BODY_BYTES = 65536


class HttpProbe(HealthProbe):
    """A GET on the health address: ok is a 2xx within `timeout_seconds`, in all.

    A redirect is followed only where it stays on the same host and port: a login page elsewhere, or
    another instance, says nothing about this application. Never raises for what the application does.
    """

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        self._url = url
        self._shown = _without_user(url)
        self._timeout = timeout_seconds
        # Built once (tens of ms); plain HTTP never uses it, a redirect to another scheme is not followed.
        self._tls = ssl.create_default_context() if url.startswith("https:") else False

    def check(self) -> Health:
        began = time.monotonic()
        try:
            ok, answer = self._ask(began + self._timeout)
        except httpx.HTTPError as e:
            ok, answer = False, f"no answer ({type(e).__name__})"
        except httpx.InvalidURL:
            ok, answer = False, "not a URL"
        return Health(ok, f"GET {self._shown}: {answer}", time.monotonic() - began)

    def _ask(self, deadline: float) -> tuple[bool, str]:
        # No proxy of our environment, no connection kept: each check meets what listens now.
        with httpx.Client(trust_env=False, verify=self._tls, timeout=self._timeout) as client:
            url = httpx.URL(self._url)
            for _ in range(3):
                with client.stream("GET", url) as response:
                    size = 0
                    for chunk in response.iter_raw():  # the headers alone are no answer
                        size += len(chunk)
                        if time.monotonic() > deadline:
                            return False, f"no whole answer within {self._timeout:g} s"
                        if size > MAX_BODY_BYTES:
                            break
                    if not response.is_redirect:
                        return response.is_success, f"{response.status_code} {response.reason_phrase}".strip()
                    following = response.next_request
                    if following is None:
                        return False, f"{response.status_code}, a redirect to nowhere"
                    if _place(following.url) != _place(url):
                        return False, f"{response.status_code}, a redirect to elsewhere"
                    url = following.url
            return False, "too many redirects"


def _place(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
