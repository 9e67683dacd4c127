"""Gateways on one bucket: they follow its channel, fetch beside answering, and go on whatever happens to the store."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.errors import StoreError
from contracts.release import channels
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.review import Review
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store
from service.predict.service import Predictor

from ..contracts.proxy import proxied
from .test_following import NAME, production, promote, run, until
from .test_following import builds as builds
from .test_following import world as world
from .test_stopping import Gateway


@pytest.fixture
def store(bucket: str, builds: dict[str, Release]) -> ObjectStore:
    """Three releases in a bucket, red in production."""
    found = open_store(bucket)
    for each in builds.values():
        publish(found, each.folder, each.manifest)
    promote(found, "red")
    return found


def test_gateways_follow_the_bucket(store: ObjectStore, world: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with world(2, store=store.url, follow_seconds=0.2) as (one, other):
            promote(store, "green")
            await until(lambda: one.settled("green") and other.settled("green"))
            await one.releases.promote("blue", "admin")
            await until(lambda: other.settled("blue"))
            assert production(store) == ("blue", "green")
            await other.releases.rollback("admin")
            await until(lambda: one.serves("green"))

    run(scenario)


def test_what_is_fetched_slowly_stalls_no_answer(
    store: ObjectStore,
    world: Callable[..., Any],
    settings: Callable[..., Any],
    s3_server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with world(1, store=store.url, follow_seconds=0.2) as [gateway]:
            predictor = Predictor(gateway.backend, gateway.releases, settings().limits, gateway.metrics)
            await predictor.predict([Review("Works.")])
            proxy.rate = 3e6
            promote(store, "green")
            slowest, answers = 0.0, 0
            while not gateway.serves("green"):
                start = time.monotonic()
                await predictor.predict([Review("Works.")])
                slowest, answers = max(slowest, time.monotonic() - start), answers + 1
                await asyncio.sleep(0.01)
            assert answers > 50 and slowest < 0.5

    with proxied(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        run(scenario)


def test_a_store_that_goes_away_and_comes_back(
    store: ObjectStore, world: Callable[..., Any], s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with world(1, store=store.url, follow_seconds=0.2) as [gateway]:
            proxy.down = True
            await until(lambda: gateway.releases.behind is not None, 60)
            assert "cannot be read" in gateway.releases.behind.what and gateway.serves("red")
            await gateway.releases.check()
            with pytest.raises(StoreError, match="cannot be reached"):
                await gateway.releases.promote("green", "admin")
            assert gateway.serves("red")
            promote(store, "green")
            proxy.down = False
            await until(lambda: gateway.serves("green"))

    with proxied(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        run(scenario)


def test_sighup_looks_at_once(tmp_path: Path, builds: dict[str, Release]) -> None:
    store = FileStore(tmp_path / "store")
    for version in ("red", "green"):
        publish(store, builds[version].folder, builds[version].manifest)
    promote(store, "red")
    gateway = Gateway(tmp_path, {"STARS_FOLLOW_SECONDS": "3600"})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=30, trust_env=False) as client:
            _until_production(client, "red")
            promote(store, "green")
            assert client.get("/models").json()["production"] == "red"
            gateway.process.send_signal(signal.SIGHUP)
            _until_production(client, "green")
    finally:
        gateway.process.kill()
        gateway.process.wait()


def test_stopping_waits_for_no_store(tmp_path: Path, bucket: str, s3_server: Any) -> None:
    with proxied(s3_server.endpoint) as proxy:
        proxy.rate = 1e-3
        gateway = Gateway(tmp_path, {"STARS_STORE": bucket, "AWS_ENDPOINT_URL": proxy.endpoint})
        try:
            deadline = time.monotonic() + 30
            while not proxy.connections:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            gateway.stop()
            gateway.process.wait(8)
        finally:
            gateway.process.kill()
            gateway.process.wait()


def _until_production(client: httpx.Client, version: str) -> None:
    until = time.monotonic() + 30
    while client.get("/models").json()["production"] != version:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_not_kept_is_removed_from_this_machine(
    store: ObjectStore, world: Callable[..., Any], tmp_path: Path
) -> None:
    def fetched() -> set[str]:
        return {path.name for path in (tmp_path / "home-0" / "releases" / NAME).iterdir()}

    async def scenario() -> None:
        async with world(1, store=store.url, follow_seconds=0.2) as [gateway]:
            model_store = tmp_path / "home-0" / "model-store"
            for name, version in ((NAME, "old"), (NAME, "red"), ("another", "old")):
                folder = model_store / f"{name}-{version}" / "MAR-INF"
                folder.mkdir(parents=True)
                document = f'{{"model": {{"modelName": "{name}", "modelVersion": "{version}"}}}}'
                (folder / "MANIFEST.json").write_text(document)
            await gateway.releases.promote("green", "admin")
            assert fetched() == {"red", "green"}
            assert {path.name for path in model_store.iterdir()} == {f"{NAME}-red", "another-old"}
            channels.move(store, NAME, channels.CANDIDATE, "red", "training", None)
            await gateway.releases.promote("blue", "admin")
            assert fetched() == {"red", "green", "blue"}, "red is the candidate"
            await gateway.releases.promote("green", "admin")
            channels.move(store, NAME, channels.CANDIDATE, "green", "training", channels.seen(store, NAME, "candidate"))
            await gateway.releases.promote("blue", "admin")
            assert fetched() == {"green", "blue"}

    run(scenario)
