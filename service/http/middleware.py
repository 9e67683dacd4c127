"""What surrounds every request: an id, a log line, metrics, timing headers, a last resort for mistakes of ours; and
addresses that have one spelling."""

from __future__ import annotations

import asyncio
import re
import uuid
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import places
from service.errors import ClientLeft, NotServing, error_response, problem_of, refuse
from service.metrics import Metrics

CLIENT_LEFT = 499
"""The status in logs and metrics of a request whose client did not wait (nginx's word for it)."""

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their good answers are counted, but not logged."""

_OUTER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN_PATH = re.compile(rb"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger()


class RequestLog:
    """ASGI middleware, the outermost one.

    It leaves `request_id`, `timing` (milliseconds by name, for Server-Timing) and `error` in the request's state. The
    log names the route, never the address: an address can hold anything.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        outer_id = Headers(scope=scope).get("x-request-id", "")
        request_id = outer_id if _OUTER_ID.fullmatch(outer_id) else uuid.uuid4().hex
        timing: dict[str, float] = {}
        state = scope.setdefault("state", {})
        state |= {"request_id": request_id, "timing": timing, "error": None}
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                timing["total"] = (perf_counter() - started) * 1000
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["Server-Timing"] = ", ".join(f"{name};dur={ms:.2f}" for name, ms in timing.items())
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_headers)
            except (ClientLeft, ClientDisconnect):
                status = CLIENT_LEFT
            except asyncio.CancelledError:  # the server stops, and this request has had its time
                stopping = NotServing("the gateway is being stopped: send the request again")
                state["error"] = problem_of(stopping).kind
                if status is None:
                    await error_response(stopping, request_id)(scope, receive, send_with_headers)
            except Exception as error:
                state["error"] = problem_of(error).kind
                log.error("request_failed", exception=type(error).__name__, places=places(error))
                if status is None:
                    await error_response(error, request_id)(scope, receive, send_with_headers)
            self._record(scope, status or CLIENT_LEFT, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unmatched")
        self.metrics.requested(method, route, status, seconds)
        if route in PROBES and status < 500:
            return
        log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
            error=scope["state"]["error"],
        )


class PlainAddresses:
    """ASGI middleware: lets no other spelling of an address reach the router, and HEAD wherever GET may go.

    None of our addresses needs percent-encoding, so one that has any is nobody's: `/admin%2fjobs` would pass a proxy's
    rule for `/admin/`. The answer to HEAD loses its body in the server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif not _PLAIN_PATH.fullmatch(scope["raw_path"]):
            scope["state"]["refusal"] = HTTPException(404)
            await refuse(scope, receive, send)
        elif scope["method"] == "HEAD":
            inner = {**scope, "method": "GET"}
            scope["state"]["head_only"] = True  # for an answer that would not end by itself
            await self.app(inner, receive, send)
            scope["route"] = inner.get("route")
        else:
            await self.app(scope, receive, send)
