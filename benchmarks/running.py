"""What the benchmarks of the whole service share: a `stars up` of their own, its processes, and reviews to ask."""

from __future__ import annotations

import asyncio
import csv
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

EXAMPLES = Path(__file__).parent.parent / "examples" / "reviews.tsv"
READY_SECONDS = 180
PROGRAMS = {"-m service": "gateway", "ModelServer": "TorchServe's Java", "model_service_worker": "TorchServe's worker"}


class Service(NamedTuple):
    """A running `stars up`, the release that it serves, and the seconds from its start to its first answer."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    version: str
    seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """The processes below it, named, each program's in the order of their start."""
        found = []
        for each in psutil.Process(self.process.pid).children(recursive=True):
            line = " ".join(each.cmdline())
            found += [(name, each) for word, name in PROGRAMS.items() if word in line]
        return sorted(found, key=lambda each: (list(PROGRAMS.values()).index(each[0]), each[1].create_time()))

    def torchserve(self) -> tuple[str, dict[str, str]]:
        """The address of the release at TorchServe itself, and the headers that it asks for."""
        endpoints = json.loads((self.home / "torchserve" / "endpoints.json").read_text())
        headers = authorization(endpoints, "inference")
        return f"{endpoints['inference']}/predictions/review-stars/{self.version}", headers


def authorization(endpoints: dict[str, Any], api: str) -> dict[str, str]:
    """The headers with the key that a TorchServe asks for at "inference" or "management"."""
    return {"authorization": f"Bearer {json.loads(Path(endpoints['keys']).read_text())[api]['key']}"}


@contextmanager
def stars_up(store: str | None = None) -> Iterator[Service]:
    """`stars up` without a worker on a store, the bundled one by default, in a folder that is deleted afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        words = ["up", "--no-worker", "--home", folder, "--port", str(port)]
        words += ["--store", store] if store else []
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "contracts.cli", *words], stdout=subprocess.DEVNULL)
        try:
            version = _first_answer(process, f"http://127.0.0.1:{port}")
            yield Service(process, Path(folder), port, version, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait()


def _first_answer(process: subprocess.Popen[bytes], url: str) -> str:
    """The version that serves, as soon as it has answered."""
    until = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=30, trust_env=False) as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                answer = client.post(f"{url}/predict", json={"text": "Works."})
                if answer.status_code == 200:
                    return str(answer.json()["version"])
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    sys.exit("stars up did not start: run it by itself to see why")


def examples() -> list[str]:
    """The texts of the reviews in examples/, as long as the gateway takes them."""
    with EXAMPLES.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [text[:20_000] for row in rows if (text := row.get("review_body") or "").strip()]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(body: bytes, method: str = "POST", path: str = "/predict", more: str = "") -> bytes:
    """A whole HTTP request, so that asking costs the machine little."""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n{more}\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader, bodiless: bool = False) -> Answer:
    """One answer from a connection. Raises IncompleteReadError where the server has closed it instead."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = b"" if bodiless else await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split()[1]), headers, body)
