"""Whatever is sent and whatever goes wrong with it: none of it may be found in the logs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store

pytestmark = pytest.mark.slow
CANARY = "zanzibar"

# The gateway as `python -m service` runs it, with a mistake in one address whose exception quotes the request.
GATEWAY = """
from service import app, logs
from service.server import make_server
from service.settings import load_settings
logs.configure()
gateway = app.create_app(load_settings())
@gateway.get("/mistake/{text}")
async def mistake(text: str) -> None:
    raise ValueError(text)
make_server(gateway, port=PORT).run()
"""


@pytest.fixture
def logged(torchserve: Any, tiny_release: Release, tmp_path: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """A client of a gateway with a process of its own, and the file of its logs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    publish(open_store(str(tmp_path / "store")), tiny_release.folder, tiny_release.manifest)
    environment = os.environ | {
        "STARS_HOME": str(tmp_path / "home"),
        "STARS_STORE": str(tmp_path / "store"),
        "STARS_ADMIN_KEY": "an-admin-key-for-tests",
        "STARS_INFERENCE_URL": torchserve.inference,
        "STARS_MANAGEMENT_URL": torchserve.management,
        "STARS_MODEL_SERVER_KEYS": torchserve.keys,
        "STARS_MODEL_STORE": str(torchserve.model_store),
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        code = GATEWAY.replace("PORT", str(port))
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield client, log
    finally:
        process.terminate()
        process.wait(30)


def events_until(log: Path, request_id: str) -> list[dict[str, Any]]:
    """The log up to the line of this request, which is written after its answer has been sent."""
    until = time.monotonic() + 60
    while True:
        events = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if any((event["event"], event.get("request_id")) == ("request", request_id) for event in events):
            return events
        assert time.monotonic() < until, events
        time.sleep(0.05)


def test_review_text_is_never_logged(
    logged: tuple[httpx.Client, Path],
    wait_ready: Callable[[httpx.Client], str],
    torchserve: Any,
    admin: dict[str, str],
) -> None:
    client, log = logged
    json_type = {"content-type": "application/json"}
    wait_ready(client)
    review = {"text": f"{CANARY} works.", "title": CANARY, "category": CANARY}
    statuses = [
        client.post("/predict", json=review),
        client.post("/predict", json={"reviews": [review, {"text": 5, CANARY: CANARY}]}),
        client.post("/predict", json={"text": f"<br>\u0007{CANARY}" * 1_000}),
        client.post("/predict", content=f'{{"text": "{CANARY}'.encode(), headers=json_type),
        client.post("/predict", content=f'{{"text": {CANARY}}}'.encode(), headers=json_type),
        client.post("/predict", content=f'["{CANARY}"]'.encode(), headers=json_type),
        client.post("/predict", json={CANARY: CANARY}),
        client.post("/predict", json={"text": [CANARY]}),
        client.post("/predict", json={"reviews": [{"text": "", CANARY: 1}, CANARY]}),
        client.post("/predict", json={"text": CANARY * 5_000}),
        client.post("/predict", content=CANARY.encode() * 200_000, headers=json_type),
        client.post("/predict", content=CANARY.encode(), headers={"content-type": f"text/{CANARY}"}),
        client.get(f"/{CANARY}?text={CANARY}"),
        client.get(f"/models/{CANARY.upper()}?{CANARY}"),
        client.request(CANARY.upper(), "/predict"),
        client.post("/admin/retrain", json={"data": CANARY, CANARY: CANARY}, headers=admin | {"idempotency-key": "a"}),
        client.get(f"/mistake/{CANARY}"),
    ]
    assert [each.status_code for each in statuses] == [
        *(200, 200, 200),
        *(400, 400, 400),
        *(422, 422, 422, 422),
        *(413, 415),
        *(404, 422),
        *(statuses[14].status_code, 422, 500),
    ]
    assert statuses[14].status_code in {400, 405}
    for answer in statuses[3:]:
        assert CANARY not in answer.text.lower()
    line, header = b"GET /healthz HTTP/1.1\r\n", f"x-{CANARY}: {CANARY}\r\n".encode()
    for sent, status in (
        (line + header * 101 + b"\r\n", b"431"),
        (line + header + b" x\r\n\r\n", b"400"),
        (CANARY.encode() + b"\r\n\r\n", b"400"),
    ):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
            connection.sendall(sent)
            refused = connection.recv(65_536).lower()
            assert refused.startswith(b"http/1.1 " + status) and CANARY.encode() not in refused
    mistake = statuses[-1].json()["error"]
    assert mistake["type"] == "internal"

    events = events_until(log, mistake["request_id"])
    assert CANARY not in log.read_text().lower()
    assert CANARY not in torchserve.log.read_text().lower()
    failed = next(event for event in events if event["event"] == "request_failed")
    assert (failed["exception"], failed["request_id"]) == ("ValueError", mistake["request_id"])
    assert any(place.endswith("mistake") for place in failed["places"])
    requests = [event for event in events if event["event"] == "request"]
    assert {event["route"] for event in requests} >= {"/predict", "unmatched", "/models/{version}", "/admin/retrain"}
    assert {event["error"] for event in requests} >= {None, "malformed_json", "body_too_large", "internal"}
