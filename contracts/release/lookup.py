"""Which release a name means: a version, a channel, a folder, or the bundled one."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import NotFound
from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.default_store import default_store
from contracts.release.published import MODEL_NAME, read_manifest, versions
from contracts.release.release import Release
from contracts.release.transfer import fetch
from contracts.settings import Home
from contracts.store.protocol import ObjectStore


def resolve(store: ObjectStore, reference: str, name: str = MODEL_NAME) -> str:
    """The version that is meant by "production", "candidate", "latest" (the youngest) or by itself.

    Raises NotFound when a channel points nowhere or the version is not in the store.
    """
    if reference in {channels.PRODUCTION, channels.CANDIDATE}:
        return channels.read(store, name, reference)[0].version
    if reference == "latest":
        manifests = [read_manifest(store, name, version) for version in versions(store, name)]
        if not manifests:
            raise NotFound(
                f"no release of {name} in {store.url}: train one with `stars pipeline run --store {store.url}`"
            )
        return max(manifests, key=lambda manifest: manifest.created).version
    return read_manifest(store, name, reference).version


def find(reference: str, store: ObjectStore | None, into: Path, name: str = MODEL_NAME) -> Release:
    """The release that a `--release` flag means: a folder's path, "bundled", or anything that `resolve` takes.

    Fetched under `into` where it is not a folder already. Without a store, versions and channels are the default one's.
    """
    if "/" in reference or Path(reference).is_dir():
        return Release.open(Path(reference).absolute())
    if reference == "bundled":
        store, reference = bundled_store(), channels.PRODUCTION
    store = store or default_store(Home.default())
    return fetch(store, name, resolve(store, reference, name), into)
