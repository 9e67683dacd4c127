"""The whole path as a user walks it, on a bucket: labelled reviews in, stars over HTTP, retrain, promote, roll back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.release import channels
from contracts.store.urls import open_store
from training.pipeline.plan import plan, tidy

ROOT = Path(__file__).parents[2]
REVIEW = {"text": "Broke after two days.", "title": "Waste of money", "category": "Digital_Software"}
PATIENCE = 900.0


def stars(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "contracts.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module", autouse=True)
def bucket(s3_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What everybody on a bucket is told by the environment, and a state folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARS_HOME", str(tmp_path_factory.mktemp("whole-home")))
        for name, value in s3_server.environment(s3_server.endpoint, "writer").items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def store(bucket: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose only release was trained by the command in the README."""
    folder = tmp_path_factory.mktemp("whole")
    data, store = ROOT / "examples" / "reviews.tsv", f"s3://stars/{folder.name}-{time.time_ns()}"
    done = stars("pipeline", "run", "--data", f"{data}", "--preset", "tiny", "--store", f"{store}", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Serve it with: stars up" in " ".join(done.stderr.split())
    tidy(folder / "runs" / "tiny")
    assert max(file.stat().st_size for file in (folder / "runs" / "tiny").rglob("*")) < 2_000_000
    again = stars("pipeline", "run", "--data", f"{data}", "--preset", "tiny", "--store", f"{store}", cwd=folder)
    assert again.stderr.count("unchanged, skipped") == len(plan())
    return store


@pytest.fixture(scope="module")
def service(store: str) -> Iterator[tuple[str, dict[str, str]]]:
    """`stars up` on that store: its URL and the admin header."""
    home = Path(os.environ["STARS_HOME"])
    port = free_port()
    command = [sys.executable, "-m", "contracts.cli", "up", "--store", store, "--port", str(port)]
    environment = os.environ | {"STARS_HOME": str(home)}
    log = (home.parent / f"{home.name}.log").open("w")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait(lambda: ready(url) or process.poll() is not None, "stars up to be ready")
            assert process.poll() is None, Path(log.name).read_text()[-3000:]
            yield url, {"authorization": f"Bearer {(home / 'admin.key').read_text().strip()}"}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            log.close()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=15).status_code == 200
    except httpx.TransportError:
        return False


def wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(1)


@pytest.mark.timeout(2 * PATIENCE)
def test_reviews_in_stars_out_and_round_again(store: str, service: tuple[str, dict[str, str]]) -> None:
    url, admin = service
    first = httpx.post(f"{url}/predict", json=REVIEW, timeout=30).json()
    assert first["version"] == channels.read(open_store(store), "review-stars", "production")[0].version
    assert abs(sum(first["probabilities"].values()) - 1) < 1e-6
    assert first["stars"] in range(1, 6)

    body = {"data": "examples/reviews.tsv", "preset": "tiny", "overrides": {"train": {"seed": 11}}}
    headers = admin | {"idempotency-key": "whole-path"}
    accepted = httpx.post(f"{url}/admin/retrain", json=body, headers=headers, timeout=30)
    assert accepted.status_code == 202, accepted.text
    job = f"{url}/admin/jobs/{accepted.json()['id']}"
    stages: set[str] = set()

    def ended() -> bool:
        state = httpx.get(job, headers=admin, timeout=30).json()
        stages.add(state["stage"])
        return state["state"] not in {"queued", "running"}

    wait(ended, "the retraining job")
    state = httpx.get(job, headers=admin, timeout=30).json()
    assert state["state"] == "succeeded", json.dumps(state)[-3000:]
    assert {"train"} <= stages
    candidate = state["release"]
    assert candidate != first["version"]
    assert httpx.post(f"{url}/predict", json=REVIEW, timeout=30).json()["version"] == first["version"]

    promoted = httpx.post(f"{url}/admin/models/{candidate}/promote", headers=admin, timeout=120)
    assert promoted.status_code == 200, promoted.text
    second = httpx.post(f"{url}/predict", json=REVIEW, timeout=30).json()
    assert second["version"] == candidate
    assert second["probabilities"] != first["probabilities"]

    rolled = httpx.post(f"{url}/admin/models/rollback", headers=admin, timeout=120)
    assert rolled.status_code == 200, rolled.text
    assert httpx.post(f"{url}/predict", json=REVIEW, timeout=30).json() == first

    kept = json.loads(stars("runs", "ls", "--json").stdout)
    assert [run["release"] for run in kept] == [candidate, first["version"]], "the job's training and the command's"

    # Another machine promotes it in the bucket, and the gateway follows.
    done = stars("release", "promote", candidate, "--store", store)
    assert f"production of review-stars is {candidate}" in done.stdout, done.stderr
    wait(lambda: httpx.post(f"{url}/predict", json=REVIEW, timeout=30).json() == second, "the gateway to follow")
    listed = stars("release", "list", "--store", store).stdout
    assert re.search(rf"{candidate} .* production candidate", listed), listed
    data = str(ROOT / "examples" / "reviews.tsv")
    judged = stars("evaluate", "--release", "candidate", "--store", store, "--data", data, "--limit", "50", "--json")
    assert json.loads(judged.stdout)["version"] == candidate, judged.stderr
