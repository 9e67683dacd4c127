"""Channels: which version `production` and `candidate` mean. `move` is the only way to point one elsewhere."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contracts.errors import Conflict, NotFound, StoreError
from contracts.release.manifest import Name, checked_name, manifest_key
from contracts.release.strict_json import document_bytes, load_json
from contracts.store.protocol import ObjectStore

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
    """The channel and its etag, which `move` takes. Raises NotFound when it was never pointed at anything."""
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


def seen(store: ObjectStore, name: str, channel: str) -> str | None:
    """What a mover sees when it begins, for `move`: the channel's etag, None for one that was never pointed."""
    with suppress(NotFound):
        return read(store, name, channel)[1]
    return None


def move(store: ObjectStore, name: str, channel: str, version: str, by: str, expect: str | None) -> Channel:
    """Point the channel at a published version, unless somebody has moved it since `expect` was `seen`.

    Raises Conflict then, and NotFound when the version was never published. A channel that points at the version
    already, whoever moved it there, stays as it is.
    """
    store.read(manifest_key(name, version))  # only what was published can be pointed at
    current, etag, previous = None, None, None
    with suppress(NotFound):
        current, etag = read(store, name, channel)
        previous = current.version
    if current and current.version == version:
        return current
    if etag != expect:
        whom = f", to {current.version} by {current.by}" if current else ""
        raise Conflict(f"{channel} of {name} was moved by somebody else meanwhile{whom}: look at it, then decide again")
    moved = Channel(version=version, previous=previous, by=by, at=datetime.now(UTC))
    data = document_bytes(moved.model_dump(mode="json"))
    try:
        store.write(_key(name, channel), data, if_absent=expect is None, if_match=expect)
    except Conflict:
        return move(store, name, channel, version, by, expect)  # and see who was faster
    return moved


def move_as_last(store: ObjectStore, name: str, channel: str, version: str, by: str) -> Channel:
    """Point the channel at a published version, whoever else moves it at the same time: the last one stays."""
    while True:  # another try means that another mover was done
        with suppress(Conflict):
            return move(store, name, channel, version, by, seen(store, name, channel))


def _key(name: str, channel: str) -> str:
    return f"channels/{checked_name(name)}/{checked_name(channel)}.json"
