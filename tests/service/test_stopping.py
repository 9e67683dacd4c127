"""Fault 13: SIGTERM under load loses no answer, on the gateway's own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
CLIENTS = 16


class Gateway:
    """`python -m service` without a model server."""

    def __init__(self, home: Path, given: dict[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STARS_")}
        environment |= {"STARS_HOME": str(home), "STARS_STORE": str(home / "store"), "STARS_PORT": str(self.port)}
        environment |= given or {}
        self.log = home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + 60
        while True:
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            with suppress(OSError):
                self.connect().close()
                return
            time.sleep(0.05)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    found = Gateway(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()


def _answer(connection: socket.socket) -> HTTPResponse:
    """One answer, read to its end."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


class Client:
    """Asks on kept connections as fast as it gets answers, until nobody listens any more."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.answered = 0
        self.lost = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                connection = self.gateway.connect()
            except OSError:
                return
            with connection:
                first = True
                while True:
                    try:
                        connection.sendall(GET)
                        answer = _answer(connection)
                    except OSError:
                        # A new connection may be one that was never accepted. A kept one was ours.
                        self.lost += not first
                        break
                    assert answer.status == 200
                    self.answered += 1
                    first = False
                    if answer.getheader("connection") == "close":
                        break


def test_no_request_on_a_kept_connection_is_lost(gateway: Gateway) -> None:
    clients = [Client(gateway) for _ in range(CLIENTS)]
    until = time.monotonic() + 60
    while min(client.answered for client in clients) < 50:
        assert time.monotonic() < until
        time.sleep(0.05)
    gateway.stop()
    for client in clients:
        client.thread.join(60)
    assert sum(client.lost for client in clients) == 0
    assert gateway.process.wait(30) == -signal.SIGTERM


def test_idle_connections_may_ask_once_more_and_are_told_to_go(gateway: Gateway) -> None:
    kept, slow, silent = (gateway.connect() for _ in range(3))
    with kept, slow, silent:
        for connection in (kept, slow):
            connection.sendall(GET)
            assert _answer(connection).getheader("connection") is None
        slow.sendall(GET[:20])
        gateway.stop()
        while b"Shutting down" not in gateway.log.read_bytes():
            time.sleep(0.01)
        slow.sendall(GET[20:])
        kept.sendall(GET.replace(b"/healthz", b"/readyz"))
        for connection, status in ((slow, 200), (kept, 503)):
            answer = _answer(connection)
            assert (answer.status, answer.getheader("connection")) == (status, "close")
        assert silent.recv(1) == b"", "closed after its grace"
    refused = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    with pytest.raises(OSError):
        refused.request("GET", "/healthz")
    assert gateway.process.wait(30) == -signal.SIGTERM


def test_what_is_being_answered_is_finished(gateway: Gateway) -> None:
    """A body that is still on its way, and a request behind it."""
    body = b'{"text": 5}'
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    with gateway.connect() as connection:
        connection.sendall(GET)
        assert _answer(connection).status == 200
        connection.sendall(head % len(body) + body[:5])
        gateway.stop()
        while b"Shutting down" not in gateway.log.read_bytes():
            time.sleep(0.01)
        connection.sendall(body[5:] + GET)
        received = b""
        while data := connection.recv(65_536):
            received += data
    assert received.count(b"HTTP/1.1 422") == 1
    assert received.count(b"HTTP/1.1 200") == 1, "it was sent before the answer that would have said close"
    assert received.count(b"connection: close") == 1
    assert gateway.process.wait(30) == -signal.SIGTERM
