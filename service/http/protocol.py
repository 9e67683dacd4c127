"""HTTP/1.1 at the socket: uvicorn's protocol with limits in front of routing, and an end that loses no answer.

uvicorn bounds neither the size of a request's head nor the time that it takes, answers what it cannot parse in a shape
of its own, and closes idle connections at once when it stops. All that is refused here is answered by the gateway
itself, in its one error shape, counted and logged as any other request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import ClientError, Crowded, HeadTooLarge, HeadTooSlow, MalformedRequest
from service.http.door import LINGER_BYTES, Door
from service.http.upgrade import head_without_upgrade

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

CHUNK_BYTES = 16
"""What may surround a chunk of a body for free: its length in hex and two line ends. Tiny chunks are honest."""

PIPELINED = 16
"""Requests that may wait on one connection while the one before is being answered."""

SEND_SECONDS = 30.0
"""How long a client may read nothing of an answer that waits for it."""

GRACE_SECONDS = 1
"""How long an idle connection is kept when the gateway stops: a request may be on its way on it."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, door: Door, **options: Any) -> None:
        super().__init__(*args, **options)
        self.door = door
        self.limits = door.limits
        self.running: RequestResponseCycle | None = None
        self.in_head = False
        """A request has begun, and its headers are not complete yet."""
        self.in_body = False
        self.refused = False
        self.discarded = 0
        self.overhead = 0
        """Bytes since the request began that are not its body."""
        self.fed = 0
        """Bytes that the parser was given last."""
        self.head_timer: asyncio.TimerHandle | None = None
        self.send_timer: asyncio.TimerHandle | None = None
        self.told_to_close: RequestResponseCycle | None = None

    # What comes from the socket

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
            return
        self._expect_head()
        if self.door.stopping:  # accepted a moment before the listening ended
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        if self.refused:
            self.discarded += len(data)
            if self.discarded > LINGER_BYTES:
                self.transport.abort()
            return
        self.fed = len(data)
        self.overhead += self.fed
        try:
            rest = self._parse(data)
            while rest is not None:
                if self.in_head:
                    self._stay_with_http()
                rest = self._parse(rest)
        except httptools.HttpParserError as error:
            refusal = error.__context__
            unreadable = MalformedRequest("the request is not HTTP/1.1 as RFC 9112 has it: send one that is")
            self._refuse(refusal if isinstance(refusal, ClientError) else unreadable)
            return
        if self.overhead > self.limits.head_bytes:
            self._refuse(self._too_large())
        elif self.in_head and self.head_timer is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_timers()
        self._unset_keepalive_if_required()
        if self.running is not None and not self.running.response_complete:  # uvicorn tells the last request only
            self.running.disconnected = True
            self.running.message_event.set()
        self.pipeline.clear()

    def _parse(self, data: bytes) -> bytes | None:
        """Returns what is left where a request asks for another protocol than HTTP/1.1."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        return None

    def _stay_with_http(self) -> None:
        """Read the request's head again as if it had not asked, which is what RFC 9110 allows.

        The parser takes a request that asks (Java's HTTP client does) to have no body, and would read the body as the
        next request.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        method, version = self.scope["method"].encode(), self.scope["http_version"].encode()
        self.parser.feed_data(head_without_upgrade(method, self.url, version, self.headers))

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    # What the parser finds

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self.in_head = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()
            return
        limits = self.limits
        if len(self.headers) > limits.headers or max(self.overhead, self.fed) > limits.head_bytes < self._head_bytes():
            raise self._too_large()
        if self.running is None and len(self.connections) > limits.connections:
            raise Crowded(f"{limits.connections} connections are open: try again in a moment")
        if len(self.pipeline) >= PIPELINED:
            raise Crowded(f"more than {PIPELINED} requests wait on this connection: wait for answers")
        before = self.cycle
        super().on_headers_complete()
        self.in_head, self.in_body = False, True
        self.headers = []  # what follows a chunked body is not for the app
        self._unset_keepalive_if_required()
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        if self.door.stopping:
            if self.told_to_close is not None and before is self.told_to_close and not before.response_started:
                before.keep_alive = True  # the one that came after it closes
            self._close_after(self.cycle)

    def on_chunk_header(self) -> None:
        """Called by the parser."""
        self.overhead -= CHUNK_BYTES

    def on_body(self, body: bytes) -> None:
        self.overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.in_head:  # it asked for another protocol, and is read again without that
            return
        super().on_message_complete()
        self.in_body = False
        self.overhead = 0

    # What is sent

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.send_timer is not None:
            self.send_timer.cancel()
            self.send_timer = None
        if self.transport.is_closing():  # what is left still waits for the client
            self._expect_reading()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reading()

    def shutdown(self) -> None:
        """The gateway stops: what was asked is answered, with `Connection: close`; idle connections have a grace."""
        self.timeout_keep_alive = GRACE_SECONDS
        if self.running is not None and not self.cycle.response_complete:
            if not self.cycle.response_started:
                self._close_after(self.cycle)
        elif not self.in_head:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(GRACE_SECONDS, self.timeout_keep_alive_handler)

    def _close_after(self, cycle: RequestResponseCycle) -> None:
        if cycle.keep_alive:
            cycle.keep_alive = False
            self.told_to_close = cycle

    # What has lasted too long

    def _expect_head(self) -> None:
        self.head_timer = self.loop.call_later(self.limits.head_seconds, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self.head_timer = None
        if self.in_head:
            self._refuse(HeadTooSlow(f"the headers did not arrive within {self.limits.head_seconds:g} s: send again"))
        else:
            self.transport.close()  # there is no request that could be answered

    def _expect_reading(self) -> None:
        """Give the connection up unless the client reads something soon: closing waits for the client, for ever."""
        if self.send_timer is None:
            self.send_timer = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def _cancel_timers(self) -> None:
        for timer in (self.head_timer, self.send_timer):
            if timer is not None:
                timer.cancel()
        self.head_timer = self.send_timer = None

    # Refusing

    def _too_large(self) -> HeadTooLarge:
        limits = self.limits
        return HeadTooLarge(
            f"there are more than {limits.head_bytes} bytes or {limits.headers} headers around the body: send fewer"
        )

    def _refuse(self, error: ClientError) -> None:
        """Answer with `error` after what was asked before, and read nothing more.

        A request whose body is being read is answered in its place; where its own answer has begun, it is cut off.
        """
        self.refused = True
        self._cancel_timers()
        self._unset_keepalive_if_required()
        if self.in_body:
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self.transport.close()
                self._expect_reading()
                return
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                self.running = None
        HttpToolsProtocol.on_message_begin(self)
        self.scope |= {"method": "", "path": "", "raw_path": b"", "query_string": b""}
        self.scope["state"]["refusal"] = error
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        turn_away = cast("ASGI3Application", self.door.turn_away)
        if self.running is None or self.running.response_complete:
            self._start_asgi_task(self.cycle, turn_away)
        else:
            self.pipeline.appendleft((self.cycle, turn_away))
