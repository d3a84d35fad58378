"""One HTTP request, with its status and text: for checks that ask for a certain answer."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass

import httpx

from turnback.core.validation import Answer, Endpoint

MAX_BODY_BYTES = 1_048_576  # a marker behind that is not found


@dataclass(frozen=True, slots=True)
class Asker:
    """A GET, answered within `timeout_seconds` in all. A redirect is an answer, and not followed: it is not
    the page that was asked for. Never raises for what the application does.
    """

    timeout_seconds: float = 5.0

    def __call__(self, endpoint: Endpoint) -> Answer:
        began = time.monotonic()
        try:
            status, text, detail = self._ask(endpoint.url, began + self.timeout_seconds)
        except httpx.HTTPError as e:
            status, text, detail = None, "", f"no answer ({type(e).__name__})"
        except httpx.InvalidURL:
            status, text, detail = None, "", "not a URL"
        return Answer(status, text, detail, time.monotonic() - began)

    def _ask(self, url: str, deadline: float) -> tuple[int | None, str, str]:
        tls = ssl.create_default_context() if url.startswith("https:") else False
        # No proxy of our environment, no connection kept: what listens now has to answer.
        with httpx.Client(trust_env=False, verify=tls, timeout=self.timeout_seconds) as client:
            with client.stream("GET", url) as response:
                body = b""
                for chunk in response.iter_bytes():  # the headers alone are no answer
                    body += chunk[: MAX_BODY_BYTES - len(body)]
                    if time.monotonic() > deadline:
                        return None, "", f"no whole answer within {self.timeout_seconds:g} s"
                    if len(body) >= MAX_BODY_BYTES:
                        break
                text = body.decode(response.encoding or "utf-8", errors="replace")
                return response.status_code, text, ""
