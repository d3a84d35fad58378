"""One endpoint asked, with its status and text: for checks that expect a certain answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from turnback.adapters.probes.fetch import Fetcher
from turnback.adapters.probes.http_check import HttpProbe
from turnback.core.validation import Answer, Endpoint
from turnback.errors import ProbeError

MAX_BODY_BYTES = 1_048_576  # a marker behind that is not found


@dataclass(frozen=True, slots=True)
class Asker:
    """A GET, answered within `timeout_seconds` in all. A redirect is an answer, and not followed: it is not
    the page that was asked for. Without a status it is the check that a rollback waits for, redirects and
    all. Never raises for what the application does.
    """

    timeout_seconds: float = 5.0

    def __call__(self, endpoint: Endpoint) -> Answer:
        if endpoint.status is None:
            health = HttpProbe(endpoint.url, self.timeout_seconds).check()
            return Answer(None, "", health.detail, health.seconds, health.ok)
        began = time.monotonic()
        try:
            answer = Fetcher.to(endpoint.url, self.timeout_seconds, MAX_BODY_BYTES).fetch()
        except ProbeError as e:
            return Answer(None, "", str(e), time.monotonic() - began)
        text = answer.body.decode(errors="replace")
        return Answer(answer.status, text, str(answer), time.monotonic() - began)
