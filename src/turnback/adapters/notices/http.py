"""One HTTP request whose every failure is a NoticeError that shows no address."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from turnback.errors import NoticeError

MAX_ANSWER_BYTES = 4 * 1024 * 1024


def ask(
    what: str,
    method: str,
    url: str,
    timeout_seconds: float,
    *,
    body: Any = None,
    params: Mapping[str, list[str]] | None = None,
    outwards: bool = False,
) -> bytes:
    """The body of a 2xx answer, whole within about `timeout_seconds`. Redirects are not followed.

    `what` names the other end in errors, the URL (which may be a secret) never does. `outwards`: through the
    proxy of our environment. Raises NoticeError.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        tls = ssl.create_default_context() if url.startswith("https:") else False
        with (
            httpx.Client(trust_env=outwards, verify=tls, timeout=timeout_seconds) as client,
            client.stream(method, url, json=body, params=params) as response,
        ):
            answer = bytearray()
            for chunk in response.iter_bytes():
                answer += chunk
                if time.monotonic() > deadline:
                    raise NoticeError(f"{what}: no whole answer within {timeout_seconds:g} s")
                if len(answer) > MAX_ANSWER_BYTES:
                    raise NoticeError(f"{what}: the answer is over {MAX_ANSWER_BYTES:,} bytes")
            if not response.is_success:
                status = f"{response.status_code} {response.reason_phrase}".strip()
                raise NoticeError(f"{what} answered {status}", hint="check its address")
            return bytes(answer)
    except httpx.TimeoutException:
        raise NoticeError(f"{what}: no answer within {timeout_seconds:g} s") from None
    except httpx.HTTPError as e:  # its text may have the address
        if "CERTIFICATE_VERIFY_FAILED" in str(e):
            raise NoticeError(
                f"{what}: its certificate is not trusted",
                hint="check its name and its end; a CA of your own: SSL_CERT_FILE in turnback's environment",
            ) from None
        raise NoticeError(f"{what}: no answer ({type(e).__name__})", hint="check its address") from None
    except (httpx.InvalidURL, ValueError, OSError):  # also a proxy variable that is none, a CA file not there
        raise NoticeError(
            f"{what}: its address or our proxy's cannot be used", hint="http://HOST:PORT/PATH"
        ) from None
