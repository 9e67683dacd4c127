"""Releases between stores: what is damaged is refused, what was interrupted goes on, and of two writers one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Conflict, ReleaseError, StoreError
from contracts.release import channels, transfer
from contracts.release.files import MANIFEST
from contracts.release.manifest import Manifest
from contracts.release.published import read_manifest
from contracts.release.release import verify
from contracts.release.transfer import fetch, publish
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store

from .proxy import proxied

Build = Callable[..., tuple[Path, Manifest]]
NAME = "review-stars"
PREFIX = f"releases/{NAME}/v1/"


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return open_store(str(request.getfixturevalue("bucket")))
    return FileStore(tmp_path / "store")


class Counting:
    """A store that counts what is moved, and may fail over one file."""

    def __init__(self, store: ObjectStore, fails: str | None = None) -> None:
        self.inner = store
        self.fails = fails
        self.downloads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def download(self, key: str, path: Path, *, limit: int | None = None) -> None:
        self.downloads.append(key.removeprefix(PREFIX))
        if key.endswith(self.fails or "?"):
            raise StoreError("the line is cut")
        self.inner.download(key, path, limit=limit)


def test_a_download_goes_on_with_the_files_that_are_missing(store: ObjectStore, build: Build, tmp_path: Path) -> None:
    publish(store, *build())
    failing = Counting(store, fails="golden.json")
    with pytest.raises(StoreError, match="cut"):
        fetch(failing, NAME, "v1", tmp_path / "into")
    [kept] = [path for path in (tmp_path / "into").iterdir() if path.is_dir() and path.name.startswith(".")]
    (kept / "config.json").write_text("{}")  # damaged meanwhile
    (kept / ".tmp-0").write_bytes(b"")  # as kill -9 leaves it
    again = Counting(store)
    assert verify(fetch(again, NAME, "v1", tmp_path / "into").folder) == []
    assert again.downloads == ["config.json", "golden.json", "calibration.json", "MODEL_CARD.md", "DATA_CARD.md"]
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["half", "another", "longer", "empty", "missing"])
def test_a_store_that_returns_something_else(store: ObjectStore, build: Build, tmp_path: Path, damage: str) -> None:
    folder, manifest = build()
    publish(store, folder, manifest)
    key, content = PREFIX + "model.safetensors", (folder / "model.safetensors").read_bytes()
    store.delete(key)
    changed = {"half": content[: len(content) // 2], "another": content[::-1], "longer": content * 2, "empty": b""}
    if damage != "missing":
        store.write(key, changed[damage])
    with pytest.raises(ReleaseError if damage != "longer" else StoreError, match=r"model\.safetensors"):
        fetch(store, NAME, "v1", tmp_path / "into")
    assert not (tmp_path / "into" / NAME / "v1").exists()
    if damage != "missing":
        with pytest.raises(Conflict, match="another content"):
            publish(store, folder, manifest)


def test_an_interrupted_publish_goes_on(store: ObjectStore, build: Build) -> None:
    folder, manifest = build()
    for name in ("config.json", "model.safetensors"):
        store.upload(folder / name, PREFIX + name)
    publish(store, folder, manifest)
    assert read_manifest(store, NAME, "v1") == manifest


def test_a_copy_is_the_same_and_leaves_channels(store: ObjectStore, build: Build, tmp_path: Path) -> None:
    source = FileStore(tmp_path / "source")
    publish(source, *build())
    channels.move(source, NAME, "production", "v1", "ann", None)
    for _ in range(2):
        transfer.copy(source, store, NAME, "v1")
    keys = [key for key in source.list("") if key.startswith("releases/")]
    assert store.list("") == keys
    assert all(store.read(key).data == source.read(key).data for key in keys)
    back = FileStore(tmp_path / "back")
    transfer.copy(store, back, NAME, "v1")
    assert back.read(PREFIX + MANIFEST) == source.read(PREFIX + MANIFEST)


def test_of_two_promotes_at_once_one_wins(store: ObjectStore, build: Build) -> None:
    for version in ("v1", "v2", "v3"):
        publish(store, *build(version))
    channels.move(store, NAME, "production", "v1", "ann", None)
    seen, results, start = channels.seen(store, NAME, "production"), [], threading.Barrier(2)

    def promote(version: str) -> None:
        start.wait()
        try:
            results.append(channels.move(store, NAME, "production", version, version, seen).version)
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=promote, args=(version,)) for version in ("v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [each for each in results if isinstance(each, str)]
    [loser] = [each for each in results if isinstance(each, Conflict)]
    assert f"to {winner} by {winner}" in str(loser)
    found = channels.read(store, NAME, "production")[0]
    assert (found.version, found.previous) == (winner, "v1")


def test_a_promote_whose_answer_is_lost_has_happened(
    bucket: str, build: Build, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("v1", "v2"):
        publish(open_store(bucket), *build(version))
    channels.move(open_store(bucket), NAME, "production", "v1", "ann", None)
    with proxied(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store = open_store(bucket)
        seen = channels.seen(store, NAME, "production")

        def write(*given: Any, **more: Any) -> str:
            proxy.cuts = [30]  # of the next connection
            return open_store(bucket).write(*given, **more)

        monkeypatch.setattr(store, "write", write)
        assert channels.move(store, NAME, "production", "v2", "bob", seen).previous == "v1"
        assert channels.read(open_store(bucket), NAME, "production")[0].by == "bob"
