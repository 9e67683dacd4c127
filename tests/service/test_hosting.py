"""/ping and /invocations: as SageMaker asks, answered as /predict answers."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.errors import ReleaseError
from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.published import MODEL_NAME
from contracts.store.file_store import FileStore
from service.hosting import __main__ as hosting

REVIEWS = [
    {"text": "Broke after two days.", "title": "Waste of money", "category": "Digital_Software"},
    {"text": 'Works, "mostly".\nStill.', "title": "", "category": "Gift_Card"},
    {"text": "   "},
]


@pytest.fixture(scope="module")
def model() -> Path:
    """The bundled release's folder, as /opt/ml/model would hold it."""
    store = bundled_store()
    version = channels.read(store, MODEL_NAME, channels.PRODUCTION)[0].version
    return store.folder / "releases" / MODEL_NAME / version


@pytest.mark.slow
def test_a_container_of_sagemakers(model: Path, tmp_path: Path, short_path: Path) -> None:
    """The whole program, with a TorchServe of its own: every format gives the answers of /predict."""
    code = "import sys, pathlib; from service.hosting.__main__ import main; sys.exit(main(pathlib.Path(sys.argv[1])))"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(model)],
        env=os.environ | {"STARS_HOME": str(short_path), hosting.PORT_VARIABLE: str(port)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _until_ready(client, process, tmp_path / "log")
            _every_format(client)
            assert client.post("/invocations", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
            assert client.post("/invocations", content=b"\n", headers={"content-type": "text/csv"}).status_code == 422
            bad = client.post("/invocations", content=b"\xff", headers={"content-type": "text/csv"})
            assert bad.status_code == 400 and bad.json()["error"]["type"] == "malformed_json"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM  # uvicorn raises it again once all is answered
    finally:
        process.kill()
        process.wait()
        log.close()


def _until_ready(client: httpx.Client, process: subprocess.Popen[Any], log: Path) -> None:

    until = time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
        try:
            if client.get("/ping").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)


def _every_format(client: httpx.Client) -> None:
    expected = client.post("/predict", json={"reviews": REVIEWS}).json()["predictions"]
    assert [("stars" in each) for each in expected] == [True, True, False]
    assert client.post("/invocations", json={"reviews": REVIEWS}).json()["predictions"][:2] == expected[:2]
    assert client.post("/invocations", json=REVIEWS[0]).json() == expected[0]

    lines = "".join(json.dumps(review) + "\n" for review in REVIEWS * 30) + "{\n"
    answer = client.post("/invocations", content=lines, headers={"content-type": "application/jsonlines"})
    assert answer.headers["content-type"].startswith("application/jsonlines")
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert (
        len(answers) == 91 and [answers[0], answers[1]] == expected[:2] and answers[88]["stars"] == expected[1]["stars"]
    )
    assert answers[2]["error"]["type"] == "blank_text" and "not JSON" in answers[90]["error"]["message"]

    written = io.StringIO()
    csv.writer(written).writerows([list(review.values()) for review in REVIEWS] + [["a", "b", "c", "d"]])
    answer = client.post("/invocations", content=written.getvalue(), headers={"content-type": "text/csv"})
    rows = list(csv.reader(io.StringIO(answer.text)))
    for row, each in zip(rows, expected[:2], strict=False):
        chances = each["probabilities"].values()
        assert [float(value) for value in row] == [each["stars"], each["expected_stars"], each["confidence"], *chances]
    assert rows[2][0].startswith("error: ") and "4 columns" in rows[3][0]


def test_an_unsound_release_is_not_served(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(100_000)
        weights.write(b"x")
    with pytest.raises(ReleaseError):
        hosting.as_store(folder, FileStore(tmp_path / "store"))
