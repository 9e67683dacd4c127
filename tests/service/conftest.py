"""A gateway on a real socket. Tests that need a model take the fixtures of tests/conftest.py as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.server import make_server
from service.settings import Settings, load_settings

KEY = "an-admin-key-for-tests"
NOBODY = "http://127.0.0.1:1"
"""An address where nothing listens."""


@contextmanager
def _running(settings: Settings) -> Iterator[httpx.Client]:
    server = make_server(create_app(settings), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the gateway did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def running() -> Callable[[Settings], AbstractContextManager[httpx.Client]]:
    """A gateway in a thread of this process, and a client for it."""
    return _running


@pytest.fixture(scope="session")
def admin() -> dict[str, str]:
    """The headers of an administrator."""
    return {"authorization": f"Bearer {KEY}"}


def _settings(folder: Path, **given: Any) -> Settings:
    defaults = {
        "home": folder / "home",
        "store": str(folder / "store"),
        "admin_key": KEY,
        "data_roots": (folder / "data",),
        "inference_url": NOBODY,
        "management_url": NOBODY,
    }
    return load_settings(**(defaults | given))


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """`make_settings(folder, **given)`: as `settings`, for fixtures that live longer than a test."""
    return _settings


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a gateway with a home of its own and no model server, unless a test says otherwise."""
    return lambda **given: _settings(tmp_path, **given)


@pytest.fixture
def gateway(settings: Callable[..., Settings]) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a gateway with the settings that a test gives; stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(_running(settings(**given)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway without a model server, for the tests of a whole file."""
    with _running(_settings(tmp_path_factory.mktemp("gateway"))) as found:
        yield found


@pytest.fixture(scope="session")
def wait_ready() -> Callable[[httpx.Client], str]:
    """Wait until a gateway serves a release; its version."""

    def wait(client: httpx.Client, seconds: float = 120) -> str:
        until = time.monotonic() + seconds
        while (answer := client.get("/readyz")).status_code != 200:
            assert time.monotonic() < until, answer.text
            time.sleep(0.1)
        return str(answer.json()["version"])

    return wait
