"""Gateways that follow their store's production channel, and go on answering whatever happens to it. Fault 10."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.errors import Conflict, StarsError, StoreError
from contracts.release import channels
from contracts.release.files import MANIFEST
from contracts.release.manifest import Manifest
from contracts.release.release import Release
from contracts.release.transfer import file_entries, publish
from contracts.review import Review
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore, Stored
from service.metrics import Metrics
from service.predict.service import Predictor
from service.releases import keeping
from service.releases.service import Releases
from service.settings import Settings

from .in_process import InProcess

NAME = "review-stars"
CHANNEL = f"channels/{NAME}/production.json"


class Gateway:
    """What a gateway knows of releases, with a model server of its own."""

    def __init__(self, settings: Settings) -> None:
        self.backend = InProcess()
        self.metrics = Metrics()
        self.releases = Releases(self.backend, settings, self.metrics)

    def serves(self, version: str) -> bool:
        try:
            return self.releases.serving().version == version
        except StarsError:
            return False

    def settled(self, version: str) -> bool:
        """It serves, and what came with the change is done too."""
        return self.serves(version) and not self.releases._changes.under_way


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def builds(build_release: Callable[..., Release]) -> dict[str, Release]:
    return {name: build_release(version=name, seed=n) for n, name in enumerate(("red", "green", "blue"))}


@pytest.fixture(scope="module")
def published(builds: dict[str, Release], tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """Three releases, red in production."""
    found = FileStore(tmp_path_factory.mktemp("published"))
    for each in builds.values():
        publish(found, each.folder, each.manifest)
    promote(found, "red")
    return found


@pytest.fixture
def store(published: FileStore, tmp_path: Path) -> FileStore:
    """The same, to be changed."""
    shutil.copytree(published.folder, tmp_path / "store")
    return FileStore(tmp_path / "store")


@pytest.fixture
def world(settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Any]:
    """`async with world(2) as gateways`: so many gateways on the store, all serving."""

    @asynccontextmanager
    async def start(count: int = 1, **given: Any) -> AsyncIterator[list[Gateway]]:
        chosen = {"follow_seconds": 0.02} | given
        gateways = [Gateway(settings(home=tmp_path / f"home-{n}", **chosen)) for n in range(count)]
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(each.releases.watch()) for each in gateways]
            for each in gateways:
                await until(lambda each=each: each.releases.current is not None and each.settled(each.releases.current))
            yield gateways
            for task in watching:
                task.cancel()

    return start


def promote(store: ObjectStore, version: str) -> None:
    """As somebody else does it."""
    channels.move(store, NAME, channels.PRODUCTION, version, "somebody", channels.seen(store, NAME, "production"))


def production(store: ObjectStore) -> tuple[str, str | None]:
    found = channels.read(store, NAME, channels.PRODUCTION)[0]
    return found.version, found.previous


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_gateways_follow_whoever_moves_the_channel(store: FileStore, world: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with world(2) as (one, other):
            promote(store, "green")
            await until(lambda: one.serves("green") and other.serves("green"))
            await until(lambda: set(one.backend.models) == {"green", "red"})
            promote(store, "blue")
            await until(lambda: one.serves("blue") and other.serves("blue"))
            await until(lambda: set(one.backend.models) == {"blue", "green"} and one.settled("blue"))
            assert one.releases.previous == "green" and one.releases.behind is None
            await one.releases.rollback("admin")
            assert one.serves("green") and production(store) == ("green", "blue")
            await until(lambda: other.serves("green"))
            assert one.backend.loads.count("green") == 2, "taken over from what is loaded; the second is its check"

    run(scenario)


def test_of_two_promotions_at_once_one_wins_and_both_serve_it(
    store: FileStore, world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, expected, real = threading.Barrier(2), {"ann", "bob"}, channels.move

    def move(*given: Any) -> channels.Channel:
        if given[4] in expected:
            expected.discard(given[4])
            both.wait(30)  # each has seen red, and loaded its own
        return real(*given)

    monkeypatch.setattr(channels, "move", move)

    async def scenario() -> None:
        async with world(2) as gateways:
            asked = [
                gateway.releases.promote(version, by)
                for gateway, version, by in zip(gateways, ("green", "blue"), ("ann", "bob"), strict=True)
            ]
            results = await asyncio.gather(*asked, return_exceptions=True)
            [winner] = [each.version for each in results if isinstance(each, Manifest)]
            [loser] = [each for each in results if isinstance(each, Conflict)]
            assert f"moved by somebody else meanwhile, to {winner} by" in str(loser)
            assert production(store) == (winner, "red")
            for each in gateways:
                await until(  # at one moment: the other gateway's rollback below may still be on its way here
                    lambda each=each: (
                        each.settled(winner)
                        and each.releases.previous == "red"
                        and set(each.backend.models) == {winner, "red"}
                    )
                )
                assert (await each.releases.rollback("admin")).version == "red"
                await each.releases.promote(winner, "admin")

    run(scenario)


def test_the_way_back_is_the_channels_not_the_gateways(store: FileStore, world: Callable[..., Any]) -> None:
    """Somebody moved the channel, and this gateway has not looked yet when it is told to promote another."""

    async def scenario() -> None:
        async with world(1, follow_seconds=3600) as [gateway]:
            promote(store, "green")
            await gateway.releases.promote("blue", "admin")
            assert production(store) == ("blue", "green")
            assert gateway.releases.previous == "green"
            assert (await gateway.releases.rollback("admin")).version == "green"
            assert gateway.serves("green")

    run(scenario)


def test_who_waits_for_a_turn_is_answered_by_what_serves_then(
    store: FileStore, world: Callable[..., Any], settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What served when it came may be unloaded by then."""
    loaded, go_on, real = threading.Event(), threading.Event(), channels.move

    def move(*given: Any) -> channels.Channel:
        if given[4] == "admin":
            loaded.set()
            go_on.wait(60)
        return real(*given)

    async def scenario() -> None:
        async with world(1, follow_seconds=3600) as [gateway]:
            limits = settings(limits={"reviews": 1, "model_reviews": 1, "queue_reviews": 2}).limits
            predictor = Predictor(gateway.backend, gateway.releases, limits, gateway.metrics)
            await predictor.predict([Review("Works.")])
            promote(store, "green")  # which makes it the way back, so that red is unloaded
            monkeypatch.setattr(channels, "move", move)
            promoting = asyncio.create_task(gateway.releases.promote("blue", "admin"))
            await until(loaded.is_set)
            gateway.backend.free.clear()
            asked = [asyncio.create_task(predictor.predict([Review("Works.")])) for _ in range(2)]
            await until(lambda: predictor.queue.admitted == 2)
            go_on.set()
            await until(lambda: gateway.serves("blue"))
            gateway.backend.free.set()
            await promoting
            assert [(await each).version for each in asked] == ["red", "blue"]
            assert set(gateway.backend.models) == {"blue"}

    run(scenario)


def test_what_was_read_before_a_promotion_does_not_undo_it(
    store: FileStore, world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with world() as [gateway]:
            with slow_channel(monkeypatch, after=True) as (reading, go_on):  # red is read, and not yet known
                await until(reading.is_set)
                promoting = asyncio.create_task(gateway.releases.promote("green", "admin"))
                await until(lambda: production(store)[0] == "green")
                go_on.set()
                await promoting
            loads = list(gateway.backend.loads)
            before = gateway.releases.production
            await asyncio.sleep(0.2)  # some polls
            assert (before, gateway.backend.loads) == ("green", loads)
            assert gateway.serves("green")

    run(scenario)


def test_a_release_that_fails_its_checks_leaves_the_old_one_and_is_told(
    store: FileStore, builds: dict[str, Release], world: Callable[..., Any], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(builds["blue"].folder, wrong)
    golden = json.loads((wrong / "golden.json").read_text())
    golden["cases"][1]["logits"] = [logit - 0.5 for logit in golden["cases"][1]["logits"]]
    (wrong / "golden.json").write_text(json.dumps(golden))
    manifest = Manifest.parse((wrong / MANIFEST).read_bytes())
    publish(store, wrong, manifest.model_copy(update={"version": "wrong", "files": file_entries(wrong)}))

    async def scenario() -> None:
        async with world() as [gateway]:
            with capture_logs() as logs:
                promote(store, "wrong")
                await until(lambda: gateway.releases.behind is not None)
                await asyncio.sleep(0.3)  # some polls
                assert gateway.serves("red")
                assert gateway.releases.behind.what.startswith("production points at wrong")
                assert "golden prediction 1" in str(gateway.releases.behind.error)
                assert (gateway.releases.production, gateway.releases.previous) == ("wrong", "red")
                assert gateway.backend.loads.count("wrong") == 1, "not at every poll"
                assert b"stars_release_behind 1.0" in gateway.metrics.render()
                assert [each["version"] for each in logs if each["event"] == "release_not_followed"] == ["wrong"]
            assert set(gateway.backend.models) == {"red"}
            promote(store, "green")
            await until(lambda: gateway.serves("green"))
            assert gateway.releases.behind is None
            assert b"stars_release_behind 0.0" in gateway.metrics.render()

    run(scenario)


def test_a_store_that_hangs_stops_no_answer(
    store: FileStore, world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither polling it, nor a model server that must be given its release again."""
    monkeypatch.setattr(keeping, "LOOK_SECONDS", 0.02)

    async def scenario() -> None:
        async with world() as [gateway]:
            with slow_channel(monkeypatch) as (reading, _):
                await until(reading.is_set)
                monkeypatch.setattr(FileStore, "read", unavailable)
                assert gateway.serves("red")
                gateway.backend.models.clear()
                gateway.releases.look_again()
                await until(lambda: gateway.backend.loads == ["red", "red"])
                await until(lambda: gateway.serves("red"))
                await gateway.releases.check()

    run(scenario)


def test_a_store_that_is_down_is_told_and_stops_no_answer(
    store: FileStore, world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with world() as [gateway]:
            real = FileStore.read
            monkeypatch.setattr(FileStore, "read", unavailable)
            await until(lambda: gateway.releases.behind is not None)
            assert "cannot be read" in gateway.releases.behind.what and gateway.serves("red")
            monkeypatch.setattr(FileStore, "read", real)
            await until(lambda: gateway.releases.behind is None)
            (store.folder / CHANNEL).write_text("damaged")
            await until(lambda: "damaged" in str(gateway.releases.behind))
            (store.folder / CHANNEL).unlink()
            await until(lambda: gateway.releases.behind is None)
            assert gateway.serves("red")

    run(scenario)


def unavailable(_self: FileStore, key: str, *, limit: int = 0) -> Stored:
    raise StoreError(f"{key}: Input/output error")


@contextmanager
def slow_channel(
    monkeypatch: pytest.MonkeyPatch, after: bool = False
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The next read of a channel waits, before it reads or after; all others go through."""
    reading, go_on, real = threading.Event(), threading.Event(), channels.read

    def read(*given: Any) -> tuple[channels.Channel, str]:
        if reading.is_set():
            return real(*given)
        reading.set()
        found = real(*given) if after else None
        go_on.wait(60)
        return found or real(*given)

    monkeypatch.setattr(channels, "read", read)
    try:
        yield reading, go_on
    finally:
        go_on.set()
        monkeypatch.setattr(channels, "read", real)
