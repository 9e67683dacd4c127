"""A web server with one file, which breaks off, changes its mind or refuses, as servers do."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Web:
    """What it serves, whatever path is asked for."""

    url: str
    body: bytes = b""
    etag: str = '"one"'
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers break off."""
    statuses: list[int] = field(default_factory=list)
    """What the next answers are instead."""
    stalls: list[int] = field(default_factory=list)
    """After how many bytes the next answers stop, and the connection stays."""
    location: str = ""
    """Where everybody is sent."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request, in small letters."""
    sent: int = 0


@contextmanager
def served(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server on this machine, over https with a context."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.asked.append(headers)
            if web.location or web.statuses:
                self.send_response(302 if web.location else web.statuses.pop(0))
                self.send_header("location", web.location)
                self.send_header("retry-after", "0")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            if web.etag and headers.get("if-none-match") == web.etag:
                self.send_response(304)
                self.end_headers()
                return
            start = 0
            if web.ranges and "range" in headers and headers.get("if-range") == web.etag:
                start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("content-range", f"bytes {start}-{len(web.body) - 1}/{len(web.body)}")
            if web.etag:
                self.send_header("etag", web.etag)
            if web.length:
                self.send_header("content-length", str(len(web.body) - start))
            self.end_headers()
            part = web.body[start:]
            part = part[: web.cuts.pop(0)] if web.cuts else part
            stall = web.stalls.pop(0) if web.stalls else None
            part = part[:stall]
            web.sent += len(part)
            with suppress(OSError):
                self.wfile.write(part)
                if stall is not None:
                    self.rfile.read(1)  # until the other side is gone
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        web = Web(f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/reviews.tsv")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield web
        server.shutdown()
