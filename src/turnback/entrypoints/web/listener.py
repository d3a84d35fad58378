"""The guard's listener: uvicorn in one thread, so that no client can hold the guard."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection
from threading import Thread
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnback.entrypoints.web.app import GetStatus, TakeAlerts, application
from turnback.errors import ConfigError, PlatformError

MAX_CONNECTIONS = 32
CONNECTION_SECONDS = 5.0  # from the connection to its end: one request, read and answered
HEADER_BYTES = 16 * 1024
BACKLOG = 64
START_SECONDS = 10.0
STOP_SECONDS = 3.0

# Errors of our own code go to standard error (the guard's log); what clients do is said nowhere.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
}


class _Connection(H11Protocol):
    """Ends when its time is over, whatever its client does. Where there are too many the oldest goes, so
    that clients which only hold connections do not keep out those that ask something.
    """

    _since = 0.0
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # TCP and Unix sockets only give a Transport, and `connections` holds what uvicorn made of this class.
        super().connection_made(transport)
        self._since = self.loop.time()
        self._end = self.loop.call_later(CONNECTION_SECONDS, transport.abort)
        if len(self.connections) > MAX_CONNECTIONS:
            oldest = min(cast("set[_Connection]", self.connections), key=lambda c: c._since)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)


class Listener:
    """Serves from `start` to `stop`. `known`: the names of the alerts that are a trigger (None: all).

    `status` and `take_alerts` are called in the listener's thread and have to return at once.
    """

    def __init__(
        self,
        address: str,
        token: str,
        status: GetStatus,
        take_alerts: TakeAlerts,
        known: Collection[str] | None = None,
    ) -> None:
        if not token:
            raise ConfigError("the guard's token is empty", hint="see [guard] token in turnback.toml")
        self._address = address
        app = application(token, status, take_alerts, None if known is None else frozenset(known))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=_LOGGING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[
                    ("Connection", "close"),  # one request each: a connection's time is a request's
                    ("Cache-Control", "no-store"),
                    ("X-Content-Type-Options", "nosniff"),
                ],
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_graceful_shutdown=1,
                backlog=BACKLOG,
            )
        )
        self._thread: Thread | None = None

    def start(self) -> int:
        """Returns the port. Raises ConfigError when the address cannot be had; nothing runs then."""
        bound = self._bind()
        port = int(bound.getsockname()[1])
        self._thread = Thread(target=self._server.run, args=([bound],), name="web", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                bound.close()
                raise PlatformError(
                    f"{self._address}: the listener did not start", hint="see the guard's log"
                )
            time.sleep(0.005)
        return port

    def stop(self) -> None:
        """Ends within some seconds; may be repeated."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _bind(self) -> socket.socket:
        host, _, port = self._address.rpartition(":")
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, int(port)))
            bound.listen(BACKLOG)
        except (OSError, OverflowError) as e:
            bound.close()
            reason = (e.strerror if isinstance(e, OSError) else None) or "no such address"
            raise ConfigError(
                f"[guard] listen: {self._address}: {reason}",
                hint="end what listens there (another guard?), or choose another address in turnback.toml",
            ) from e
        return bound
