from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import Conflict, NotFound, StoreError
from contracts.release import channels
from contracts.release.manifest import Manifest
from contracts.release.transfer import publish
from contracts.store.file_store import FileStore

NAME = "review-stars"


@pytest.fixture
def published(store: FileStore, build: Callable[..., tuple[Path, Manifest]]) -> FileStore:
    for version in ("v1", "v2"):
        publish(store, *build(version))
    return store


def move(store: FileStore, version: str, by: str = "ann", expect: str | None = None) -> tuple[channels.Channel, str]:
    channels.move(store, NAME, channels.PRODUCTION, version, by, expect)
    return channels.read(store, NAME, channels.PRODUCTION)


def test_promote_and_roll_back(published: FileStore) -> None:
    assert channels.seen(published, NAME, channels.PRODUCTION) is None
    with pytest.raises(NotFound, match="points nowhere"):
        channels.read(published, NAME, channels.PRODUCTION)
    first, etag = move(published, "v1")
    assert (first.version, first.previous, first.by) == ("v1", None, "ann")
    second, etag = move(published, "v2", "bob", etag)
    assert (second.version, second.previous) == ("v2", "v1")
    assert channels.seen(published, NAME, channels.PRODUCTION) == etag
    back, _ = move(published, second.previous or "", "ann", etag)
    assert (back.version, back.previous) == ("v1", "v2")
    with pytest.raises(NotFound):
        channels.read(published, NAME, channels.CANDIDATE)


def test_the_slower_of_two_loses_and_is_told_to_whom(published: FileStore) -> None:
    """Fault 10."""
    _, etag = move(published, "v1")
    for expect in (None, "another"):
        with pytest.raises(Conflict, match="moved by somebody else meanwhile, to v1 by ann"):
            move(published, "v2", "bob", expect)
    move(published, "v2", "bob", etag)
    move(published, "v2", "ann", etag)  # what she wants is so already
    stays = channels.read(published, NAME, "production")
    with pytest.raises(Conflict, match="to v2 by bob"):
        move(published, "v1", "ann", etag)
    assert channels.read(published, NAME, "production") == stays


def test_pointing_at_the_same_version_keeps_the_way_back(published: FileStore) -> None:
    _, etag = move(published, "v1")
    second, etag = move(published, "v2", "ann", etag)
    assert move(published, "v2", "ann", etag) == (second, etag)
    assert second.previous == "v1"


class Meddled(FileStore):
    """Each time before a channel is written somebody else writes it, so many times."""

    def __init__(self, store: FileStore, times: int) -> None:
        super().__init__(store.folder)
        self._store = store
        self.left = times

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if self.left:
            self.left -= 1
            _, name, channel = key.removesuffix(".json").split("/")
            version = "v1" if self.left % 2 else "v2"
            channels.move(self._store, name, channel, version, "other", channels.seen(self._store, name, channel))
        return super().write(key, data, if_absent=if_absent, if_match=if_match)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_the_candidate_is_that_of_whoever_finished_last(
    published: FileStore, build: Callable[..., tuple[Path, Manifest]], times: int
) -> None:
    """Fault 17: the second of two trainings that end together must not fail over a file."""
    publish(published, *build("v3"))
    meddled = Meddled(published, times)
    channels.move_as_last(meddled, NAME, channels.CANDIDATE, "v3", "worker")
    assert meddled.left == 0
    found = channels.read(published, NAME, channels.CANDIDATE)[0]
    assert (found.version, found.previous, found.by) == ("v3", "v2", "worker")


def test_production_is_never_moved_against_what_was_seen(published: FileStore) -> None:
    with pytest.raises(Conflict):
        channels.move(Meddled(published, 1), NAME, channels.PRODUCTION, "v1", "ann", None)
    assert channels.read(published, NAME, channels.PRODUCTION)[0].by == "other"


def test_of_many_movers_at_once_one_wins(published: FileStore) -> None:
    _, etag = move(published, "v1")

    def promote(number: int) -> bool:
        try:
            channels.move(published, NAME, channels.PRODUCTION, f"w{number}", str(number), etag)
        except Conflict:
            return False
        return True

    for number in range(6):  # as cheap as a version can be: only its manifest is looked for
        published.write(f"releases/{NAME}/w{number}/manifest.json", b"{}")
    with ThreadPoolExecutor(6) as pool:
        won = [number for number, result in enumerate(pool.map(promote, range(6))) if result]
    assert len(won) == 1
    found = channels.read(published, NAME, channels.PRODUCTION)[0]
    assert (found.version, found.previous) == (f"w{won[0]}", "v1")


@pytest.mark.parametrize("version", ["v3", "", "../v1", "V1", "v1/../v2", "v1\n", "v" * 65])
def test_only_published_versions(published: FileStore, version: str) -> None:
    with pytest.raises(NotFound):
        move(published, version)
    assert published.list("channels/") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"version": "../x", "by": "", "at": "2026-01-01T00:00:00Z"}', b"[" * 50_000],
)
def test_a_damaged_channel(published: FileStore, content: bytes) -> None:
    published.write("channels/review-stars/production.json", content)
    with pytest.raises(StoreError, match="damaged"):
        channels.read(published, NAME, "production")
