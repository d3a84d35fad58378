"""The web application: /healthz for anyone; /metrics, /status and /alerts with the token."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from turnback.adapters import telemetry
from turnback.entrypoints.web import alertmanager
from turnback.errors import TurnbackError

MAX_BODY_BYTES = 1024 * 1024
OPEN_PATH = "/healthz"

GetStatus = Callable[[], Mapping[str, Any]]
TakeAlerts = Callable[[Sequence[Mapping[str, str]]], str | None]


class TokenNeeded:
    """Everything but /healthz asks for the bearer token, before a path is looked up or a body is read."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == OPEN_PATH or self._right(Headers(scope=scope)):
            await self._app(scope, receive, send)
        else:
            answer = PlainTextResponse("a token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)

    def _right(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, self._wanted)


def application(
    token: str, status: GetStatus, take_alerts: TakeAlerts, known: frozenset[str] | None
) -> ASGIApp:
    """`status` and `take_alerts` have to return at once: they run in the loop that serves everyone.

    `known` are the names of the alerts that are a trigger; others are accepted and left out. What
    `take_alerts` returns is why it took none, and becomes a 409: Alertmanager sends what fires at its next
    group_interval then. A TurnbackError becomes a 503: it sends the same again, at once.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        return Response(telemetry.render(status()), media_type=telemetry.CONTENT_TYPE)

    async def show_status(_: Request) -> Response:
        return Response(json.dumps(_finite(status()), indent=2) + "\n", media_type="application/json")

    async def alerts(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse(f"the body is over {MAX_BODY_BYTES:,} bytes\n", 413)
        try:
            delivery = alertmanager.parse(body)
        except ValueError as e:
            return PlainTextResponse(f"{e}\n", 400)
        taken, ignored = alertmanager.known_only(delivery.alerts, known)
        try:
            refused = take_alerts(taken) if taken else None
        except TurnbackError as e:
            return PlainTextResponse(f"{e}\n", 503)
        if refused is not None:
            return PlainTextResponse(f"not taken, send it again: {refused}\n", 409)
        answer = {"taken": len(taken), "ignored": ignored, "truncated": delivery.truncated}
        return Response(json.dumps(answer) + "\n", media_type="application/json")

    routes = [
        Route(OPEN_PATH, healthz),
        Route("/metrics", metrics),
        Route("/status", show_status),
        Route("/alerts", alerts, methods=["POST"]),
    ]
    return TokenNeeded(Starlette(routes=routes), token)


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become strings ("inf"), which float() reads."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
    return value


async def _body(request: Request) -> bytes | None:
    """None: too long, whether it says so beforehand or not. A client that goes away leaves what it sent."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        pass  # nobody is there to read the answer; what is cut off is not whole JSON
    return bytes(body)
