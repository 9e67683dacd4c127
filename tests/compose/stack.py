"""One running project of docker compose, its containers, and clients that keep asking it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = ("Five minutes in and it broke.", "Exactly what my niece wanted!", "It does what it says, no more and no less.")
DOCUMENTED = {429, 503, 504}
"""What a gateway may answer while something behind it is gone: docs/api.md."""

Figure = Callable[[str, object], None]
"""Notes a measured figure under a name."""

Answers = dict[str, float]
"""Expected stars of each of TEXTS, by version."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wheels(otherwise: Path) -> Path:
    """The first folder in which pip's settings look for wheels: where PyTorch is taken from if there is one."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        folder = Path(value.strip("'").split()[0]) if name.endswith("find-links") and value.strip("'") else None
        if folder and folder.is_dir():
            return folder
    return otherwise


class Stack:
    """A project of docker compose. `settings` are what .env would say."""

    ours = ("gateway", "torchserve", "worker", "store", "database", "balancer", "prometheus")
    """The services whose images are made here."""

    def __init__(self, settings: Mapping[str, str], secrets: Path) -> None:
        self.settings = dict(settings)
        self.secrets = secrets
        self.project = settings["STARS_PROJECT"]
        self.key = (secrets / "admin_key").read_text().strip()

    def compose(self, *arguments: str, timeout: float = 120, check: bool = True, **settings: str) -> str:
        """What `docker compose` says on stdout and stderr. Raises CalledProcessError with it."""
        done = subprocess.run(
            ["docker", "compose", "--progress", "quiet", *arguments],
            cwd=ROOT,
            env=os.environ | self.settings | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, done.args, f"\n{done.stdout[-4000:]}")
        return done.stdout

    def show_logs(self) -> None:
        sys.stderr.write(self.compose("--profile", "*", "logs", "--tail", "40", check=False))
        sys.stderr.write(self.compose("--profile", "*", "ps", "-a", check=False))

    def forget_images(self) -> None:
        """Their layers stay with the builder, so the next run builds them in seconds."""
        names = [f"review-stars/{name}:{self.settings['STARS_TAG']}" for name in self.image_names()]
        subprocess.run(["docker", "image", "rm", *names], capture_output=True)

    def image_names(self) -> list[str]:
        return ["training" if name == "worker" else name for name in self.ours]

    def services(self) -> list[str]:
        """Those that run."""
        return self.compose("--profile", "*", "ps", "--services", "--status", "running").split()

    def container(self, service: str) -> dict[str, Any]:
        """What `docker inspect` says of it."""
        name = self.compose("--profile", "*", "ps", "-a", "-q", service).split()[0]
        said = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout
        found: dict[str, Any] = json.loads(said)[0]
        return found

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        return self.compose("--profile", "*", "exec", "-T", service, *command, check=check)

    def kill(self, service: str) -> int:
        """kill -9 on this machine, so that the restart policy acts as after a crash; returns whom."""
        pid: int = self.container(service)["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_healthy(self, service: str, killed: int = 0) -> bool:
        """Whether it runs and is well, and is not the process that was killed, of which Docker hears a moment later."""
        state = self.container(service)["State"]
        if not state["Running"] or state["Pid"] in {0, killed}:
            return False
        return bool(state.get("Health", {}).get("Status", "healthy") == "healthy")

    def url(self, port: str = "STARS_PORT") -> str:
        return f"http://127.0.0.1:{self.settings[port]}"

    def admin(self, method: str, path: str, **content: Any) -> httpx.Response:
        return httpx.request(
            method,
            self.url() + path,
            timeout=180,
            trust_env=False,
            **{"headers": {"authorization": f"Bearer {self.key}"} | content.pop("headers", {}), **content},
        )

    def predict(self, text: str, port: str = "STARS_PORT") -> httpx.Response:
        return httpx.post(f"{self.url(port)}/predict", json={"text": text}, timeout=30, trust_env=False)

    def version_inside(self, service: str) -> str:
        """Which release a gateway predicts with that has no port of its own."""
        code = (
            "import httpx; print(httpx.post('http://127.0.0.1:8000/predict', json={'text': 'Broke.'}, timeout=30)"
            ".json()['version'])"
        )
        return self.inside(service, "python", "-c", code, check=False).strip()

    def retrain(self, key: str, *, seed: int) -> str:
        """Queue a training on the examples; returns its id."""
        body = {
            "data": "examples/reviews.tsv",
            "preset": "tiny",
            "overrides": {"train": {"epochs": 1, "seed": seed}},
        }
        answer = self.admin("POST", "/admin/retrain", headers={"idempotency-key": key}, json=body)
        assert answer.status_code in {200, 202}, answer.text
        job: str = answer.json()["id"]
        return job

    def job(self, job: str) -> dict[str, Any]:
        answer = self.admin("GET", f"/admin/jobs/{job}")
        found: dict[str, Any] = answer.json()
        return found

    def wait_job(self, job: str, seconds: float, *states: str) -> dict[str, Any]:
        """The job, once it is in one of the states. What ends it otherwise is an error."""
        found: dict[str, Any] = {}

        def there() -> bool:
            nonlocal found
            try:
                found = self.job(job)
            except httpx.TransportError:
                return False
            assert found.get("state") not in {"failed", "cancelled", "succeeded"} - set(states), found
            return found.get("state") in states

        until(there, seconds, f"job {job} {'/'.join(states)}")
        return found


def until(true: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for it; returns the seconds that it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() < started + seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.25)
    return time.monotonic() - started


@dataclass
class Told:
    """What clients were answered."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)

    def note(self, response: httpx.Response, text: str, right: Mapping[str, Answers]) -> None:
        if response.status_code == 200:
            answer = response.json()
            expected = right.get(answer["version"], {}).get(text)
            if expected is None or abs(answer["expected_stars"] - expected) > 0.01:
                self.wrong.append(f"{text}: {response.text}")
            else:
                self.right += 1
            return
        self.errors[str(response.status_code)] += 1
        try:
            known = response.status_code in DOCUMENTED and response.json()["error"]["request_id"]
        except (ValueError, LookupError):
            known = False
        if not known:
            self.undocumented.append(f"{response.status_code} {response.text[:200]}")

    def __str__(self) -> str:
        errors = ", ".join(f"{count} x {name}" for name, count in sorted(self.errors.items())) or "none"
        return f"{self.right} right, {len(self.wrong)} wrong, errors: {errors}"


@contextmanager
def load(url: str, right: Mapping[str, Answers], clients: int = 2) -> Iterator[Told]:
    """Clients that ask ten times a second each until the block ends, and check every answer."""
    told, stop, lock = Told(), threading.Event(), threading.Lock()

    def ask(number: int) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not stop.wait(0.1):
                text = TEXTS[number % len(TEXTS)]
                number += 1
                try:
                    response = client.post(f"{url}/predict", json={"text": text})
                except httpx.TransportError as error:
                    with lock:
                        told.errors[type(error).__name__] += 1
                    continue
                with lock:
                    told.note(response, text, right)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join()
