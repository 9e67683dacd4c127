"""`stars up` as a user runs it: it serves, recovers, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store

pytestmark = pytest.mark.slow
STARS = [sys.executable, "-c", "from contracts.cli import main; main()"]
REVIEW = {"text": "Broke after two days."}


class Up:
    """A running `stars up --no-worker` on a store with a tiny release."""

    def __init__(self, home: Path, store: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.home = home
        self.output = home.parent / "output"
        self.words = ["up", "--no-worker", "--home", str(home), "--store", str(store), "--port", str(self.port)]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STARS_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(STARS + self.words, stdout=output, stderr=output, env=environment)

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, condition: Callable[[], Any], seconds: float = 150) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def everything(self) -> list[psutil.Process]:
        """All processes below `stars up`."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, word: str) -> psutil.Process:
        return next(each for each in self.everything() if word in " ".join(each.cmdline()))


@pytest.fixture
def up(tiny_release: Release) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="up-") as folder:
        store = Path(folder) / "store"
        publish(open_store(str(store)), tiny_release.folder, tiny_release.manifest)
        found = Up(Path(folder) / "home", store)
        try:
            yield found
        finally:
            found.client.close()
            left = found.everything() if found.process.poll() is None else []
            found.process.kill()
            found.process.wait()
            for each in left:
                if each.is_running():
                    each.kill()


def _wait_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive, [each.cmdline() for each in alive]


def test_it_serves_recovers_and_stops(up: Up) -> None:
    up.wait_for(lambda: "Ctrl-C stops it" in up.said())
    said = up.said()

    # What it printed is true.
    key_file = Path(re.search(r"the admin key is in (.+)", said)[1])  # type: ignore[index]
    key = key_file.read_text().strip()
    assert key_file.is_relative_to(up.home) and stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(key) >= 32 and key not in said
    curl = next(line for line in said.splitlines() if line.strip().startswith("curl "))
    answered = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert '"version":"tiny-1"' in answered.stdout
    assert up.client.get("/admin/jobs", headers={"authorization": f"Bearer {key}"}).json() == {"jobs": []}
    asked = [*STARS, "predict", "Works.", "--url", f"http://127.0.0.1:{up.port}"]
    assert " of 5, " in subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    # Other commands find it by its state folder, wherever it listens (fault 32).
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("STARS_")}
    elsewhere["STARS_HOME"] = str(up.home)
    status = subprocess.run([*STARS, "status"], capture_output=True, text=True, env=elsewhere)
    assert status.returncode == 0, status.stdout
    for part in ("predicts with review-stars tiny-1", "runs as process", str(key_file), f"{up.home.parent}/store"):
        assert part in status.stdout
    assert (
        " of 5, " in subprocess.run([*STARS, "predict", "Works."], capture_output=True, text=True, env=elsewhere).stdout
    )
    logged = subprocess.run([*STARS, "logs", "gateway"], capture_output=True, text=True, env=elsewhere).stdout
    assert '"event": "request"' in logged

    # What it keeps is its owner's only (fault 11).
    private = [up.home / "jobs.db", up.home / "up.lock", up.home / "up.json", *(up.home / "logs").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}

    # A second one on the same folder is refused.
    second = subprocess.run(STARS + up.words, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1 and "another `stars up` runs on" in second.stderr

    # Whoever dies comes back, and the release with it.
    up.find("org.pytorch.serve.ModelServer").kill()
    up.wait_for(lambda: not up.is_ready())
    up.wait_for(up.is_ready)
    assert up.client.post("/predict", json=REVIEW).status_code == 200
    up.find("-m service").kill()
    up.wait_for(lambda: "the gateway was ended by SIGKILL" in up.said())
    up.wait_for(up.is_ready)
    assert up.client.post("/predict", json=REVIEW).status_code == 200

    # SIGTERM ends everything, quietly.
    everything = up.everything()
    assert len(everything) >= 3
    up.process.terminate()
    assert up.process.wait(40) == 0
    _wait_gone(everything)
    with pytest.raises(httpx.ConnectError):
        up.client.get("/healthz")
    assert subprocess.run([*STARS, "status"], capture_output=True, env=elsewhere).returncode == 1
    assert not (up.home / "up.json").exists()
    for secret in (key,):
        assert not [log for log in (up.home / "logs").iterdir() if secret in log.read_text()]


def test_ctrl_c_while_it_starts_leaves_nothing_behind(up: Up) -> None:
    up.wait_for(lambda: len(up.everything()) >= 2)
    everything = up.everything()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(40) == 130
    _wait_gone(everything)


def test_children_die_with_it_even_on_kill_9(up: Up) -> None:
    up.wait_for(up.is_ready)
    everything = up.everything()
    up.process.kill()
    up.process.wait()
    _wait_gone(everything)
