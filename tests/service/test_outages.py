"""A TorchServe that is killed, that hangs and that loses its worker, under a gateway that is asked meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store

pytestmark = pytest.mark.slow
DEADLINE = 2.0
REVIEW = {"text": "Works."}


class Server:
    """A TorchServe at fixed addresses that can be killed and started again."""

    def __init__(self, home: Path, ports: list[int]) -> None:
        self.home = home
        self.ports = ports
        self.inference, self.management = (f"http://127.0.0.1:{port}" for port in ports[:2])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        names = ("inference", "management", "metrics")
        options = [word for name, port in zip(names, self.ports, strict=True) for word in (f"--{name}-port", str(port))]
        folders = ["--model-store", str(self.home / "store"), "--work-dir", str(self.home / "work")]
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-m", "torchserve.launch", *folders, *options]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End Java and everything that it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    with tempfile.TemporaryDirectory(prefix="ts-") as home:
        found = Server(Path(home), ports)
        found.start()
        yield found
        found.kill()


@pytest.fixture(scope="module")
def client(
    server: Server,
    tiny_release: Release,
    running: Callable[..., Any],
    make_settings: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("outages")
    publish(open_store(str(folder / "store")), tiny_release.folder, tiny_release.manifest)
    settings = make_settings(
        folder,
        inference_url=server.inference,
        management_url=server.management,
        model_server_keys=server.home / "work/tmp/key_file.json",
        model_store=server.home / "store",
        ready_seconds=0,
        limits={"deadline_seconds": DEADLINE, "queue_reviews": 128, "model_reviews": 64},
    )
    with running(settings) as found:
        wait_ready(found)
        yield found


@pytest.fixture
def hanging(server: Server, client: httpx.Client, wait_ready: Callable[[httpx.Client], str]) -> Iterator[None]:
    """TorchServe takes connections but does nothing with them; it goes on after the test."""
    wait_ready(client)
    # From here on the gateway knows how fast it is; a single review would tell of the way there and back.
    assert client.post("/predict", json={"reviews": [REVIEW] * 64}).status_code == 200
    server.send(signal.SIGSTOP)
    yield
    server.send(signal.SIGCONT)
    assert wait_ready(client) == "tiny-1"
    assert client.post("/predict", json=REVIEW).status_code == 200


def _type(response: httpx.Response) -> str:
    return str(response.json()["error"]["type"])


def _reviews(client: httpx.Client, where: str) -> float:
    """Reviews with the model, or in the whole gateway ("queue")."""
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"stars_{where}_reviews"))


def test_a_server_that_hangs_costs_the_deadline_and_no_more(client: httpx.Client, hanging: None) -> None:
    started = time.monotonic()
    response = client.post("/predict", json=REVIEW)
    assert (response.status_code, _type(response)) == (504, "deadline_exceeded")
    assert time.monotonic() - started >= DEADLINE
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_a_full_queue_refuses_at_once(client: httpx.Client, hanging: None) -> None:
    batch = {"reviews": [REVIEW] * 64}
    with ThreadPoolExecutor(2) as pool:
        with_the_model = pool.submit(client.post, "/predict", json=batch)
        while _reviews(client, "model") < 64:
            time.sleep(0.02)
        waiting = pool.submit(client.post, "/predict", json=batch)
        while _reviews(client, "queue") < 128:
            time.sleep(0.02)
        refused = client.post("/predict", json=REVIEW)
        assert not with_the_model.done() and not waiting.done(), "before their deadline"
        assert (refused.status_code, _type(refused)) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert waiting.result().status_code == 429, "it never had its turn"
        assert with_the_model.result().status_code == 504


def test_what_the_model_server_has_keeps_its_place_when_its_client_leaves(
    server: Server, client: httpx.Client, hanging: None
) -> None:
    """Otherwise the next one would be sent after it, and the model server's queue had no limit but its own."""
    for sent in (64, 128):  # the second batch waits, and is given up when its client leaves
        _send_and_leave(client, {"reviews": [REVIEW] * 64}, sent)
        while _reviews(client, "queue") > 64:
            time.sleep(0.02)
        assert _reviews(client, "model") == 64
    left = 'route="/predict",status="499"'
    assert next(line for line in client.get("/metrics").text.splitlines() if left in line).endswith(" 2.0")
    server.send(signal.SIGCONT)
    while _reviews(client, "queue") > 0:
        time.sleep(0.02)


def _send_and_leave(client: httpx.Client, document: Any, until: int) -> None:
    """Ask, wait until so many reviews are in the gateway, and close the connection."""
    body = json.dumps(document).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(head.encode() + body)
        while _reviews(client, "queue") < until:
            time.sleep(0.02)


def test_a_worker_that_dies_is_replaced_without_loading_the_release_anew(
    server: Server, client: httpx.Client, wait_ready: Callable[[httpx.Client], str]
) -> None:
    """Fault 2: TorchServe starts it again in seconds, and keeps what is asked meanwhile until it is there."""
    wait_ready(client)
    (worker,) = server.workers()
    worker.kill()
    answers = [client.post("/predict", json=REVIEW)]
    while answers[-1].status_code != 200 or worker.is_running():
        answers.append(client.post("/predict", json=REVIEW))
    assert {each.status_code for each in answers} <= {200, 503, 504}
    assert not [each for each in answers if "being loaded" in each.text], "the gateway took it for gone"


def test_a_server_that_is_killed_and_comes_back_empty_gets_its_release_again(
    server: Server, client: httpx.Client, wait_ready: Callable[[httpx.Client], str]
) -> None:
    wait_ready(client)
    stop = threading.Event()
    seen: set[int] = set()

    def keep_asking() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as asking:
            while not stop.is_set():
                seen.add(asking.post("/predict", json=REVIEW).status_code)
                time.sleep(0.02)

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        server.kill()
        response = client.post("/predict", json=REVIEW)
        assert (response.status_code, _type(response)) == (503, "not_ready")
        assert client.get("/readyz").status_code == 503
        server.start()
        assert wait_ready(client) == "tiny-1"
        assert client.post("/predict", json=REVIEW).json()["version"] == "tiny-1"
    finally:
        stop.set()
        thread.join()
    assert seen <= {200, 503, 504}, "never a 500, whatever moment it was"
