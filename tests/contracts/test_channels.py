from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import channels
from contracts.errors import Conflict, NotFound, StoreError
from contracts.release import Manifest, publish
from contracts.store import FileStore

NAME = "review-stars"


@pytest.fixture
def published(store: FileStore, build: Callable[..., tuple[Path, Manifest]]) -> FileStore:
    for version in ("v1", "v2"):
        publish(store, *build(version))
    return store


def test_promote_and_roll_back(published: FileStore) -> None:
    with pytest.raises(NotFound, match="points nowhere"):
        channels.read(published, NAME, channels.PRODUCTION)
    first, etag = channels.point(published, NAME, channels.PRODUCTION, "v1", "ann", None)
    assert (first.version, first.previous, first.by) == ("v1", None, "ann")
    second, etag = channels.point(published, NAME, channels.PRODUCTION, "v2", "bob", etag)
    assert (second.version, second.previous) == ("v2", "v1")
    assert channels.read(published, NAME, channels.PRODUCTION) == (second, etag)
    back, _ = channels.point(published, NAME, channels.PRODUCTION, second.previous or "", "ann", etag)
    assert (back.version, back.previous) == ("v1", "v2")
    with pytest.raises(NotFound):
        channels.read(published, NAME, channels.CANDIDATE)


def test_the_slower_of_two_loses(published: FileStore) -> None:
    _, etag = channels.point(published, NAME, "production", "v1", "ann", None)
    with pytest.raises(Conflict):
        channels.point(published, NAME, "production", "v2", "bob", None)
    channels.point(published, NAME, "production", "v2", "bob", etag)
    with pytest.raises(Conflict):
        channels.point(published, NAME, "production", "v1", "ann", etag)
    assert channels.read(published, NAME, "production")[0].version == "v2"


def test_pointing_at_the_same_version_keeps_the_way_back(published: FileStore) -> None:
    _, etag = channels.point(published, NAME, "production", "v1", "ann", None)
    second, etag = channels.point(published, NAME, "production", "v2", "ann", etag)
    assert channels.point(published, NAME, "production", "v2", "ann", etag) == (second, etag)
    assert channels.read(published, NAME, "production")[0].previous == "v1"


@pytest.mark.parametrize("version", ["v3", "", "../v1", "V1", "v1/../v2", "v1\n", "v" * 65])
def test_only_published_versions(published: FileStore, version: str) -> None:
    with pytest.raises(NotFound):
        channels.point(published, NAME, "production", version, "ann", None)
    assert published.list("channels/") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"version": "../x", "by": "", "at": "2026-01-01T00:00:00Z"}', b"[" * 50_000],
)
def test_a_damaged_channel(published: FileStore, content: bytes) -> None:
    published.write("channels/review-stars/production.json", content)
    with pytest.raises(StoreError, match="damaged"):
        channels.read(published, NAME, "production")
