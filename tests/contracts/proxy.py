"""A TCP proxy that breaks the connections to a server as networks do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """What happens to each new connection: so many bytes of answers pass, so many a second either way."""

    endpoint: str
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of answers the next connections break off; the ones after them do not."""
    rate: float | None = None
    down: bool = False
    connections: int = 0


@contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the server at the endpoint."""
    target = urlsplit(endpoint)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    proxy.connections += 1
                    if proxy.down:
                        client.close()
                        continue
                    cut = proxy.cuts.pop(0) if proxy.cuts else None
                    server = socket.create_connection((target.hostname, target.port))
                    threading.Thread(target=_copy, args=(proxy, client, server), daemon=True).start()
                    threading.Thread(target=_copy, args=(proxy, server, client, cut), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def _copy(proxy: Proxy, source: socket.socket, target: socket.socket, limit: int | None = None) -> None:
    with suppress(OSError):
        while (data := source.recv(4096)) and not proxy.down:
            if proxy.rate is not None:
                time.sleep(len(data) / proxy.rate)
            target.sendall(data if limit is None else data[:limit])
            if limit is not None:
                limit -= len(data)
                if limit <= 0:
                    break
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
