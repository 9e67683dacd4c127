"""Fault 3: what a client may do to a socket before it is a request, on a gateway with the production server."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn

from service.http.door import Door
from service.http.protocol import Protocol
from service.server import OTHER_FILES, _allow_connections
from service.settings import Limits

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
LAST = GET + b"connection: close\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
MB = 1024 * 1024


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def _connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20)


def _answers(connection: socket.socket) -> list[Answer]:
    """All that comes until the gateway closes, or says that it will."""
    found: list[Answer] = []
    with connection.makefile("rb") as received:
        while line := received.readline():
            status = int(line.split()[1])
            fields = iter(lambda: received.readline().decode().strip(), "")
            headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
            body = received.read(int(headers["content-length"]))
            found.append(Answer(status, headers, json.loads(body)))
            if headers.get("connection") == "close":
                break
    return found


def _ask(client: httpx.Client, *parts: bytes) -> list[Answer]:
    with _connect(client) as connection:
        for part in parts:
            connection.sendall(part)
        return _answers(connection)


def _is_refused(answer: Answer, status: int, kind: str) -> None:
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    error = answer.body["error"]
    assert error["type"] == kind and error["docs"] == f"/errors#{kind}" and error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


ENDLESS = {
    "address": (b"GET /", b"a"),
    "query": (b"GET /healthz?", b"a&"),
    "header": (GET + b"x-a: ", b"a"),
    "name of a header": (GET, b"a"),
    "many headers": (GET, b"x-a: b\r\n"),
    "many empty lines": (b"", b"\r\n"),
    "extension of a chunk": (CHUNKED + b"1;", b"a"),
    "trailer": (CHUNKED + b"0\r\nx-a: ", b"a"),
    "many trailers": (CHUNKED + b"0\r\n", b"x-a: b\r\n"),
}


@pytest.mark.parametrize(("start", "more"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_around_a_body_is_refused_early(start: bytes, more: bytes, client: httpx.Client) -> None:
    sent = 0
    with _connect(client) as connection:
        connection.sendall(start)
        connection.settimeout(0)
        while sent < 64 * MB:
            try:
                sent += connection.send(more * (65_536 // len(more)))
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                break
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                continue
        connection.settimeout(20)
        (answer,) = _answers(connection)
    _is_refused(answer, 431, "head_too_large")
    assert sent < 64 * MB


def test_a_head_within_the_limits_passes_and_one_beyond_does_not(client: httpx.Client) -> None:
    for size, count, status in ((30_000, 0, 200), (33_000, 0, 431), (0, 97, 200), (0, 100, 431)):
        head = GET + b"connection: close\r\nx-size: " + b"a" * size + b"\r\n" + b"x-a: b\r\n" * count
        (answer,) = _ask(client, head + b"\r\n")
        assert answer.status == status, (size, count)


def test_tiny_chunks_are_honest(client: httpx.Client) -> None:
    body = json.dumps({"text": "a" * 19_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    assert len(chunks) > 3 * 32_768
    (answer,) = _ask(client, POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")
    assert (answer.status, answer.body["error"]["type"]) == (503, "not_ready")


def test_trailers_are_no_headers(client: httpx.Client, admin: dict[str, str]) -> None:
    key = f"authorization: {admin['authorization']}\r\n".encode()
    head = b"POST /admin/models/rollback HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    (answer,) = _ask(client, head + b"0\r\n" + key + b"\r\n")
    assert answer.status == 401


@pytest.fixture(scope="module")
def hasty(
    running: Callable[..., Any], make_settings: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A gateway with little patience and few places."""
    settings = make_settings(tmp_path_factory.mktemp("hasty"), limits={"head_seconds": 0.4, "connections": 40})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.server.KEEP_ALIVE_SECONDS", 2)
        patch.setattr("service.http.protocol.SEND_SECONDS", 0.4)
        with running(settings) as found:
            yield found


def _connections(client: httpx.Client) -> int:
    return int(float(re.findall(r"^stars_connections (\S+)$", client.get("/metrics").text, re.MULTILINE)[0]))


def _wait_alone(client: httpx.Client) -> None:
    until = time.monotonic() + 20
    while _connections(client) > 1:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_headers_that_trickle_are_given_up_and_so_is_silence(hasty: httpx.Client) -> None:
    trickling = [_connect(hasty) for _ in range(30)]
    for connection in trickling:
        connection.sendall(GET + b"x-a: ")
    silent = _connect(hasty)
    started = time.monotonic()
    closed: set[int] = set()
    while len(closed) < len(trickling):
        assert time.monotonic() - started < 20
        for number, connection in enumerate(trickling):
            if number not in closed:
                try:
                    connection.sendall(b"a")
                    if answer := connection.recv(65_536, socket.MSG_DONTWAIT):
                        assert answer.startswith(b"HTTP/1.1 408")
                        closed.add(number)
                except BlockingIOError:
                    continue
                except OSError:
                    closed.add(number)
        time.sleep(0.05)
    silent.settimeout(20)
    assert silent.recv(1) == b"", "nothing was asked, so nothing is answered"
    for connection in [*trickling, silent]:
        connection.close()
    _wait_alone(hasty)


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"], ids=["first", "second"])
def test_a_head_that_stops_in_the_middle_is_408(before: bytes, hasty: httpx.Client) -> None:
    answers = _ask(hasty, before + GET)
    assert len(answers) == (2 if before else 1)
    _is_refused(answers[-1], 408, "head_too_slow")


def test_an_answered_client_that_goes_on_sending_does_not_stay(hasty: httpx.Client) -> None:
    """Empty lines, and the rest of a body that nobody reads, are no sign of life."""
    endless = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n"
    with _connect(hasty) as idle, _connect(hasty) as busy:
        idle.sendall(GET + b"\r\n")
        busy.sendall(endless)
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
        assert busy.recv(65_536).startswith(b"HTTP/1.1 415")
        until = time.monotonic() + 30
        for connection in (idle, busy):
            with suppress(OSError):  # a reset connection is closed too
                # What comes may be the rest of the answer; nothing at all is the end.
                while not select.select([connection], [], [], 0.05)[0] or connection.recv(65_536):
                    connection.sendall(b"\r\n")
                    assert time.monotonic() < until


def test_a_connection_too_many_is_answered_so(hasty: httpx.Client) -> None:
    _wait_alone(hasty)
    kept = [_connect(hasty) for _ in range(39)]  # and the client's own
    try:
        for connection in kept:
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        (answer,) = _ask(hasty, GET + b"\r\n")
        _is_refused(answer, 429, "overloaded")
        assert answer.headers["retry-after"] == "1"
        kept[0].sendall(GET + b"\r\n")
        assert kept[0].recv(65_536).startswith(b"HTTP/1.1 200"), "whoever is in stays in"
    finally:
        for connection in kept:
            connection.close()
    _wait_alone(hasty)


UNREADABLE = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
    "length and chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and something else": POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "no number as length": POST + b"content-length: five\r\n\r\n",
    "a chunk without length": CHUNKED + b"x\r\n",
    "a folded header": GET + b"x-a: b\r\n c\r\n\r\n",
    "a space before the colon": GET + b"x-a : b\r\n\r\n",
    "bytes that are not ASCII in the address": b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a proxy's request": b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", UNREADABLE.values(), ids=UNREADABLE)
def test_what_the_parser_cannot_read_has_the_one_shape_and_is_counted(
    request_bytes: bytes, client: httpx.Client
) -> None:
    counted = 'stars_requests_total{method="OTHER",route="unmatched",status="400"}'

    def count() -> float:
        return sum(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if counted in line)

    before = count()
    (answer,) = _ask(client, request_bytes)
    _is_refused(answer, 400, "malformed_request")
    assert count() == before + 1


def test_requests_in_a_row_are_answered_in_their_order(client: httpx.Client) -> None:
    wrong = POST + b"content-length: 2\r\n\r\n{}"
    answers = _ask(client, GET + b"\r\n" + wrong + LAST)
    assert [answer.status for answer in answers] == [200, 422, 200]
    answers = _ask(client, GET + b"\r\n" + wrong + b"noise\r\n\r\n")
    assert [answer.status for answer in answers] == [200, 422, 400]
    _is_refused(answers[-1], 400, "malformed_request")


def _protocol(app: Any) -> Protocol:
    config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, ws="none")
    config.load()
    return Protocol(config, uvicorn.Server(config).server_state, {}, door=Door(Limits(), app))


def test_whoever_leaves_is_noticed_by_the_request_that_runs_whatever_waits_behind_it() -> None:
    """uvicorn tells only the last one that came."""
    told: list[str] = []
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            asked.set()
            told.append(f"{scope['path']} {(await receive())['type']}")

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _protocol(app), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET /first HTTP/1.1\r\nhost: x\r\n\r\nGET /second HTTP/1.1\r\nhost: x\r\n\r\n")
        await asked.wait()
        writer.close()
        async with asyncio.timeout(20):
            while not told:
                await asyncio.sleep(0.01)
        server.close()

    asyncio.run(run())
    assert told == ["/first http.disconnect"]


def test_the_process_may_open_as_many_files_as_the_connections_need() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        _allow_connections(Limits(connections=100))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2 * 100 + OTHER_FILES, hard)
        _allow_connections(Limits(connections=10))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2 * 100 + OTHER_FILES, hard), "never lowered"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_requests_in_a_row_are_not_kept(client: httpx.Client) -> None:
    answers = _ask(client, (GET + b"\r\n") * 5_000)
    assert {answer.status for answer in answers[:-1]} == {200}
    assert len(answers) < 30
    _is_refused(answers[-1], 429, "overloaded")


@pytest.mark.parametrize("wanted", [b"h2c", b"websocket"])
def test_another_protocol_is_not_spoken_and_the_body_is_read(wanted: bytes, client: httpx.Client) -> None:
    """As Java's HTTP client asks. The parser would take the body for the next request."""
    body = b'{"text": 5}'
    head = POST + b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEA\r\nupgrade: " + wanted
    asked = head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for parts in ((asked + LAST,), (asked, LAST), tuple(bytes([byte]) for byte in asked + LAST)):
        first, second = _ask(client, *parts)
        assert (first.status, "text: must be a text" in first.body["error"]["message"]) == (422, True)
        assert second.body == {"status": "ok"}


def test_asking_for_another_protocol_is_no_way_around_the_limits(client: httpx.Client) -> None:
    wanted = GET + b"connection: upgrade\r\nupgrade: h2c\r\n"
    for more in (b"x-a: b\r\n" * 100, b"x-a: " + b"a" * 33_000 + b"\r\n"):
        (answer,) = _ask(client, wanted + more + b"\r\n")
        _is_refused(answer, 431, "head_too_large")
    answers = _ask(client, (wanted + b"\r\n") * 3_000)
    _is_refused(answers[-1], 429, "overloaded")


def test_what_waits_for_a_client_when_its_connection_closes_does_not_wait_for_ever() -> None:
    """The transport says that it can take more when little is left, and a client may stop reading just then."""

    class Closing(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

    async def run() -> None:
        protocol = _protocol(None)
        protocol.connection_made(Closing())
        protocol.pause_writing()
        first = protocol.send_timer
        protocol.resume_writing()
        assert first is not None and first.cancelled()
        assert protocol.send_timer is not None and not protocol.send_timer.cancelled()
        protocol.connection_lost(OSError())
        assert protocol.send_timer is None

    asyncio.run(run())


def test_old_and_long_ways_of_asking_are_answered(client: httpx.Client) -> None:
    for asked in (
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET http://example.com/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"\r\n\r\n" + LAST,
    ):
        (answer,) = _ask(client, asked)
        assert (answer.status, answer.body) == (200, {"status": "ok"})


def test_a_client_that_never_reads_its_answers_does_not_stay(hasty: httpx.Client) -> None:
    _wait_alone(hasty)
    big = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n"
    with _connect(hasty) as deaf:
        deaf.sendall(big * 12)
        while _connections(hasty) < 2:
            time.sleep(0.01)
        _wait_alone(hasty)
