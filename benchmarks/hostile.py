"""Requests that nobody means well. Each says in a word how it ended, and `KINDS` says which ends are right."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import chain, repeat
from typing import NamedTuple

from benchmarks.running import read_answer, request

DUE_SECONDS = 30.0
"""An answer, or the end of the connection, is due within three deadlines."""

HEADER_SECONDS = 60.0
"""Nor must a header be waited for much longer than that."""

ENDLESS = 256
"""Pieces of 64 KiB in what has no end."""

PIECE = 65536
SLOW_PAUSE = 0.5
HELD = 20
"""Connections that one client holds without a word."""

HEAD = b"POST /predict HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
FINE = b'{"text": "fine"}'
BAD_BODIES = (
    b"", b"{", b'{"text": "a"', b"[]", b"null", b'"text"', b'{"text": NaN}', b'{"text": 1e999}', b'{"text": null}',
    b'{"text": "\xff\xfe"}', b'{"text": "\\ud800"}', b'{"text": ["a"]}', b'{"reviews": {}}', b'{"reviews": [1, null]}',
    b'{"text": "a", "texts": "b"}', b"[" * 100_000, b'{"a":' * 50_000, b'{"text": ' + b"9" * 5000 + b"}",
    b"\x00" * 1000, b"<xml/>", b'{"text": ""}', b'{"text": " \\t\\u00a0"}', b'{"text": "a"} {"text": "b"}',
)  # fmt: skip


async def malformed(port: int, draw: random.Random) -> str:
    """What is no JSON, or no review."""
    return await _exchange(port, [request(draw.choice(BAD_BODIES))])


async def oversized(port: int, draw: random.Random) -> str:
    """Too many reviews, too long a text, too large a body, with and without a declared length."""
    many = request(json.dumps({"reviews": [{"text": "fine"}] * 65}).encode())
    long = request(json.dumps({"text": "a" * 20_001}).encode())
    large = request(b'{"text": "' + b"a" * 2_000_000 + b'"}')
    endless = chain([CHUNKED], repeat(b"10000\r\n" + b"a" * PIECE + b"\r\n", ENDLESS))
    return await _exchange(port, draw.choice([[many], [long], [large], endless]))


async def wrong_method(port: int, draw: random.Random) -> str:
    method = draw.choice(["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
    return await _exchange(port, [request(FINE, method)])


async def wrong_address(port: int, draw: random.Random) -> str:
    path = draw.choice(["/predict/", "//predict", "/predict%00", "/../../etc/passwd", "/admin%2fjobs", "/a" * 2000])
    return await _exchange(port, [request(FINE, path=path)])


async def no_http(port: int, draw: random.Random) -> str:
    """A TLS greeting, HTTP/2, noise, a chunk without a size, and requests that two servers would read in two ways."""
    sent = draw.choice(
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(500),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            draw.randbytes(2000) + b"\r\n\r\n",
            CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
            request(FINE, more="transfer-encoding: chunked\r\n"),
            request(FINE, more="content-length: 3\r\n"),
        ]
    )
    return await _exchange(port, [sent])


async def endless_header(port: int, draw: random.Random) -> str:
    """One header without an end, headers without an end, trailers, or the extension of a chunk."""
    start, piece = draw.choice(
        [
            (HEAD + b"x-a: ", b"a" * PIECE),
            (HEAD, b"x-a: b\r\n" * (PIECE // 8)),
            (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x-a: b\r\n" * (PIECE // 8)),
            (CHUNKED + b"2;", b"a" * PIECE),
        ]
    )
    return await _exchange(port, chain([start], repeat(piece, ENDLESS)))


async def slow_header(port: int, _draw: random.Random) -> str:
    return await _exchange(port, chain([HEAD + b"x-a: "], repeat(b"a")), HEADER_SECONDS, SLOW_PAUSE)


async def slow_body(port: int, _draw: random.Random) -> str:
    start = HEAD + b'content-length: 9999\r\n\r\n{"text": "'
    return await _exchange(port, chain([start], repeat(b"a")), DUE_SECONDS, SLOW_PAUSE)


async def early_leaver(port: int, draw: random.Random) -> str:
    """Asks about a batch, or sends a part of one, and leaves before the answer, with a farewell or without."""
    body = json.dumps({"reviews": [{"text": "Broke after two days. " * 20}] * 16}).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    if draw.random() < 0.5:
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.write(request(body)[: draw.choice([50, 500, None])])
    await asyncio.sleep(draw.random() * 0.3)
    writer.close()
    return "left"


async def half_open(port: int, draw: random.Random) -> str:
    """Connections without a word, and one that is closed for writing before it has its answer."""
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(HELD)]
    try:
        return await _exchange(port, [request(FINE), b""])
    finally:
        await asyncio.sleep(draw.random() * 5)
        for _, writer in silent:
            writer.transport.abort()


async def _exchange(port: int, parts: Iterable[bytes], seconds: float = DUE_SECONDS, pause: float = 0.0) -> str:
    """Send all parts, as far as they are taken; an empty one closes the connection for writing.

    Returns the status of the answer, "closed" without one, or "no end" where neither came in time.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "not let in"

    async def write() -> None:
        with suppress(OSError):  # closed by the server, perhaps after an answer
            for part in parts:
                if not part:
                    writer.write_eof()
                    return
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(seconds):
            return str((await read_answer(reader)).status)
    except TimeoutError:
        return "no end"
    except (OSError, EOFError):
        return "closed"
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        writer.transport.abort()


class Kind(NamedTuple):
    """One kind of hostile request, and the ends that it may come to."""

    send: Callable[[int, random.Random], Awaitable[str]]
    allowed: frozenset[str]


REFUSED = frozenset({"400", "404", "405", "408", "413", "414", "415", "422", "431", "501"})
KINDS = {
    "malformed JSON": Kind(malformed, REFUSED),
    "oversized": Kind(oversized, REFUSED | {"closed"}),
    "wrong method": Kind(wrong_method, REFUSED),
    "wrong address": Kind(wrong_address, REFUSED),
    "no HTTP": Kind(no_http, REFUSED | {"closed"}),
    "endless header": Kind(endless_header, REFUSED | {"closed"}),
    "slow header": Kind(slow_header, REFUSED | {"closed"}),
    "slow body": Kind(slow_body, REFUSED | {"closed"}),
    "early leaver": Kind(early_leaver, frozenset({"left"})),
    "half-open": Kind(half_open, frozenset({"200", "429", "closed"})),
}
