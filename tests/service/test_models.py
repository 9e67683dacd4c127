"""Fault 29: what anybody may learn from GET /models, and what it costs. No model server is needed for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from contracts.errors import StoreError
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store
from service.releases.listing import KEEP_SECONDS, Listing


@pytest.fixture
def client(gateway: Callable[..., httpx.Client], tiny_release: Release, tmp_path: Path) -> httpx.Client:
    """A gateway on a store with one sound release and two that cannot be read."""
    publish(open_store(str(tmp_path / "store")), tiny_release.folder, tiny_release.manifest)
    folder = tmp_path / "store/releases/review-stars"
    for name in ("damaged", "linked"):
        (folder / name).mkdir()
    (folder / "damaged/manifest.json").write_text("{}")
    (folder / "linked/manifest.json").symlink_to(folder / "tiny-1/manifest.json")
    return gateway()


def test_a_version_that_is_not_there_tells_nothing_else(client: httpx.Client, tmp_path: Path) -> None:
    answer = client.get("/models/nope")
    assert answer.status_code == 404
    for word in ("nope", "tiny-1", "damaged", str(tmp_path), "file:"):
        assert word not in answer.json()["error"]["message"]
    assert {each["version"] for each in client.get("/models").json()["versions"]} == {"damaged", "tiny-1"}
    assert client.get("/models/tiny-1").json()["licence"] == "Apache-2.0"


@pytest.mark.parametrize(("version", "status"), [("damaged", 422), ("linked", 503)])
def test_only_the_keys_holder_reads_what_is_wrong_with_the_store(
    version: str, status: int, client: httpx.Client, admin: dict[str, str]
) -> None:
    public = client.get(f"/models/{version}", headers={"authorization": "Bearer not-the-admin-key"})
    private = client.get(f"/models/{version}", headers=admin)
    assert public.status_code == private.status_code == status
    said, told = (each.json()["error"]["message"] for each in (public, private))
    assert said != told and "manifest" in told
    assert "file:" not in said and "manifest" not in said


def test_however_many_ask_the_store_is_walked_once() -> None:
    walks: list[int] = []
    now = 0.0
    go_on = threading.Event()

    def walk() -> list[str]:
        go_on.wait(20)
        walks.append(1)
        if len(walks) == 3:
            raise StoreError("down")
        return [f"v{len(walks)}"]

    async def ask() -> None:
        nonlocal now
        listing = Listing(walk, clock=lambda: now)
        asking = [asyncio.create_task(listing.versions()) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()  # whoever leaves does not end it for the others
        go_on.set()
        assert await asyncio.gather(*asking[1:]) == [["v1"]] * 49
        assert await listing.versions() == ["v1"]
        now += KEEP_SECONDS
        assert await listing.versions() == ["v2"]
        now += KEEP_SECONDS
        for _ in range(3):
            with pytest.raises(StoreError):
                await listing.versions()
        now += KEEP_SECONDS
        assert await listing.versions() == ["v4"]

    asyncio.run(ask())
    assert len(walks) == 4


def test_a_flood_of_questions_walks_no_store(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(*given: object) -> list[str]:
        raise AssertionError("the store was walked for a version that is not there")

    monkeypatch.setattr("contracts.store.file_store.FileStore.list", walk)
    with ThreadPoolExecutor(4) as pool:
        statuses = pool.map(lambda n: client.get(f"/models/nope-{n}").status_code, range(20))
    assert set(statuses) == {404}


def test_why_production_is_not_served_is_told_in_full_to_the_keys_holder_only(
    client: httpx.Client, admin: dict[str, str], tmp_path: Path
) -> None:
    """The sister that came with following the channel: its reason named the store."""
    channel = tmp_path / "store/channels/review-stars/production.json"
    channel.parent.mkdir(parents=True)
    channel.write_text("{")

    def problem(headers: dict[str, str] | None = None) -> str:
        return client.get("/models", headers=headers).json()["problem"] or ""

    until = time.monotonic() + 60
    while not problem():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "damaged" in problem(admin) and "file:" in problem(admin)
    assert "cannot be read" in problem() and "file:" not in problem() and str(tmp_path) not in problem()
