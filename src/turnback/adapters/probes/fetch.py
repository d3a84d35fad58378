"""One HTTP request, bounded in time and size as a whole.

The timeouts of an HTTP library hold for one read each: a server that sends a byte now and then is waited for
without end. So every read and write here gets what is left of one deadline. No proxy of our environment is
asked, no connection is kept, nothing is followed, and nothing compressed is taken apart.
"""

from __future__ import annotations

import base64
import errno
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from turnback.errors import ProbeError

_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    UnicodeError,  # a host name that cannot be one
)


class NotAsked(ProbeError):
    """The request was not sent, for a reason at our end: it says nothing of who was to be asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` has at most `max_bytes`; `whole` says whether that is all of it."""

    status: int
    reason: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    whole: bool

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".strip()


@dataclass(frozen=True, slots=True)
class Fetcher:
    """For one address. Built once: reading the machine's certificates takes tens of ms."""

    url: str
    timeout_seconds: float
    max_bytes: int
    tls: ssl.SSLContext | None = None

    @staticmethod
    def to(url: str, timeout_seconds: float, max_bytes: int) -> Fetcher:
        tls = ssl.create_default_context() if url.lower().startswith("https:") else None
        return Fetcher(url, timeout_seconds, max_bytes, tls)

    def fetch(
        self,
        method: str = "GET",
        *,
        url: httpx.URL | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        deadline: float | None = None,
    ) -> Answer:
        """Raises ProbeError with what went wrong and nothing of the address: the caller names it. NotAsked:
        the certificate is not trusted, no descriptor is left, no name server answers.

        `deadline` (monotonic) is of several requests together; without it this one has `timeout_seconds`.
        """
        deadline = time.monotonic() + self.timeout_seconds if deadline is None else deadline
        try:
            return self._ask(method, url or httpx.URL(self.url), dict(headers or {}), body, deadline)
        except httpx.InvalidURL:
            raise ProbeError("not a URL") from None
        except _FAILURES as e:  # their texts may quote what they were sent
            raise ProbeError(f"no answer ({type(e).__name__})") from None

    def _ask(
        self, method: str, url: httpx.URL, headers: dict[str, str], body: bytes, deadline: float
    ) -> Answer:
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        given = {"Host": url.netloc.decode("ascii"), "User-Agent": "turnback", "Accept-Encoding": "identity"}
        if url.userinfo:
            user = f"{url.username}:{url.password}".encode()
            given["Authorization"] = f"Basic {base64.b64encode(user).decode()}"
        if body or method != "GET":
            given["Content-Length"] = str(len(body))
        with httpcore.ConnectionPool(ssl_context=self.tls, network_backend=_Bounded(deadline)) as pool:
            sent: list[tuple[bytes | str, bytes | str]] = [*(given | headers).items()]
            with pool.stream(method, target, headers=sent, content=body or None) as response:
                parts: list[bytes] = []
                size, whole = 0, True
                try:
                    for chunk in response.iter_stream():
                        parts.append(chunk)
                        size += len(chunk)
                        if size > self.max_bytes:
                            whole = False
                            break
                except httpcore.ReadTimeout:  # the headers alone are no answer
                    raise ProbeError(f"no whole answer within {self.timeout_seconds:g} s") from None
                return Answer(
                    response.status,
                    response.extensions.get("reason_phrase", b"").decode("latin-1"),
                    {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers},
                    b"".join(parts)[: self.max_bytes],
                    whole,
                )


def shown(url: str) -> str:
    """The address for messages: without user, password, and what may be a secret in its query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class _Bounded(httpcore.SyncBackend):
    """The library's own sockets, each operation with what is left until the deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        try:
            stream = super().connect_tcp(host, port, left, local_address, socket_options)
        except httpcore.ConnectError as e:
            if isinstance(e.__cause__, OSError) and _is_ours(e.__cause__):
                raise NotAsked(f"not asked: {e.__cause__.strerror}") from None
            raise
        return _BoundedStream(stream, self._deadline)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            left = _left(self._deadline, httpcore.ConnectTimeout)
            stream = self._stream.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectTimeout:
            self.close()  # where no time was left, nobody else does
            raise
        except httpcore.ConnectError as e:
            if isinstance(e.__cause__, ssl.SSLCertVerificationError):
                raise NotAsked(
                    f"the certificate is not trusted: {e.__cause__.verify_message.rstrip('.')} "
                    "(a CA of your own: SSL_CERT_FILE in turnback's environment)"
                ) from None
            raise
        return _BoundedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _is_ours(error: OSError) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN  # a name that is unknown is the address's fault
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def _left(deadline: float, error: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time is over")
    return left
