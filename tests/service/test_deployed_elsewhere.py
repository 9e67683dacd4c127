"""A back end that holds what it was deployed with, as a SageMaker endpoint does: the gateway can load nothing there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.errors import BackendUnavailable
from contracts.release import channels
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.review import Review
from contracts.store.file_store import FileStore
from contracts.wire import Predictions
from service import app
from service.backend.protocol import Backend, LoadingBackend
from service.settings import Settings

from .in_process import InProcess

NAME = "review-stars"


class Endpoint:
    """A `Backend` that answers with one version, and cannot be told to load or unload."""

    def __init__(self) -> None:
        self.inside = InProcess()

    async def deploy(self, release: Release) -> None:
        """As somebody does it who is not the gateway."""
        self.inside.models.clear()
        await self.inside.load(release, 30)

    async def predict(self, version: str, reviews: Sequence[Review], seconds: float | None = None) -> Predictions:
        return await self.inside.predict(version, reviews, seconds)

    async def loaded(self) -> dict[str, bool]:
        if not self.inside.models:
            raise BackendUnavailable("the endpoint is being deployed")
        return await self.inside.loaded()

    async def close(self) -> None:
        await self.inside.close()


@pytest.fixture(scope="module")
def builds(build_release: Callable[..., Release]) -> dict[str, Release]:
    return {name: build_release(version=name, seed=number) for number, name in enumerate(("red", "green"))}


@pytest.fixture
def store(builds: dict[str, Release], tmp_path: Path) -> FileStore:
    """Two releases, red in production."""
    made = FileStore(tmp_path / "store")
    for release in builds.values():
        publish(made, release.folder, release.manifest)
    promote(made, "red")
    return made


def promote(store: FileStore, version: str) -> None:
    seen = channels.seen(store, NAME, channels.PRODUCTION)
    channels.move(store, NAME, channels.PRODUCTION, version, "somebody", seen)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (outcome := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return outcome


def test_a_gateway_over_an_endpoint(
    store: FileStore,
    builds: dict[str, Release],
    settings: Callable[..., Settings],
    running: Callable[[Settings], AbstractContextManager[httpx.Client]],
    admin: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = Endpoint()
    backend: Backend = endpoint
    assert not isinstance(backend, LoadingBackend)
    monkeypatch.setattr(app, "open_backend", lambda _settings: backend)
    with running(settings(follow_seconds=0.05, ready_seconds=0)) as client:

        def said() -> str:
            return str(client.get("/readyz").text)

        wait_for(lambda: "is being deployed" in said())
        asyncio.run(endpoint.deploy(builds["green"]))
        wait_for(lambda: "deployed with green: deploy red" in said())
        asyncio.run(endpoint.deploy(builds["red"]))
        wait_for(lambda: client.get("/readyz").status_code == 200)
        answer = client.post("/predict", json={"reviews": [{"text": "Works."}, {"text": ""}]}).json()
        assert answer["version"] == "red"
        assert [set(item) == {"error"} for item in answer["predictions"]] == [False, True]

        refused = client.post("/admin/models/green/promote", headers=admin)
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "not_ready")
        assert client.post("/predict", json={"text": "Works."}).json()["version"] == "red"
        assert channels.read(store, NAME, channels.PRODUCTION)[0].version == "red"

        asyncio.run(endpoint.deploy(builds["green"]))
        promote(store, "green")
        wait_for(lambda: client.get("/models").json()["serving"] == "green")
        assert client.post("/predict", json={"text": "Works."}).json()["version"] == "green"
        assert not (tmp_models := settings().model_folder).exists(), f"no model folder is written: {tmp_models}"
