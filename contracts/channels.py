"""Channels: which version `production` and `candidate` mean. Moved by compare-and-swap only."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contracts.errors import NotFound, StoreError
from contracts.manifest import Name, checked_name, load_json, manifest_key
from contracts.store import ObjectStore

PRODUCTION = "production"
CANDIDATE = "candidate"
SIZE_LIMIT = 64 * 1024


class Channel(BaseModel):
    """The version that a channel points at, the one before it, who moved it and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Name
    previous: Name | None = None
    by: str
    at: AwareDatetime


def read(store: ObjectStore, name: str, channel: str) -> tuple[Channel, str]:
    """The channel and its etag, which `point` takes. Raises NotFound when it was never pointed at anything."""
    key = _key(name, channel)
    try:
        stored = store.read(key, limit=SIZE_LIMIT)
    except NotFound:
        raise NotFound(
            f"the channel {channel} of {name} in {store.url} points nowhere: promote a version first"
        ) from None
    try:
        return Channel.model_validate(load_json(stored.data)), stored.etag
    except ValueError as error:
        raise StoreError(f"{key} in {store.url} is damaged: delete it and promote a version again") from error


def point(
    store: ObjectStore, name: str, channel: str, version: str, by: str, expect_etag: str | None
) -> tuple[Channel, str]:
    """Point the channel at a published version; returns it with its new etag.

    `expect_etag` is what `read` gave, None for a channel that does not exist yet. Raises Conflict when somebody else
    moved it meanwhile, NotFound when the version was never published. Pointing at the same version changes nothing.
    """
    key, previous = _key(name, channel), None
    store.read(manifest_key(name, version))  # only what was published can be pointed at
    if expect_etag is not None:
        current, etag = read(store, name, channel)
        if current.version == version and etag == expect_etag:
            return current, etag
        previous = current.version
    moved = Channel(version=version, previous=previous, by=by, at=datetime.now(UTC))
    data = moved.model_dump_json(indent=2).encode() + b"\n"
    return moved, store.write(key, data, if_absent=expect_etag is None, if_match=expect_etag)


def _key(name: str, channel: str) -> str:
    return f"channels/{checked_name(name)}/{checked_name(channel)}.json"
