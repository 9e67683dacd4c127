"""What a store holds: the versions of a model, and their manifests."""

from __future__ import annotations

from contracts.errors import NotFound, ReleaseError
from contracts.release.files import DOCUMENT_LIMIT, MANIFEST
from contracts.release.manifest import Manifest, checked_name, manifest_key
from contracts.store.protocol import ObjectStore, Stored

MODEL_NAME = "review-stars"


def versions(store: ObjectStore, name: str = MODEL_NAME) -> list[str]:
    """The published versions, in the order of their names."""
    keys = store.list(f"releases/{checked_name(name)}/")
    return [key.split("/")[2] for key in keys if key.endswith(f"/{MANIFEST}") and key.count("/") == 3]


def read_manifest(store: ObjectStore, name: str, version: str) -> Manifest:
    """A published release's manifest. Raises NotFound naming what there is, ReleaseError when it cannot be used."""
    return stored_manifest(store, name, version)[0]


def stored_manifest(store: ObjectStore, name: str, version: str) -> tuple[Manifest, Stored]:
    """The same with the bytes as they are stored, and their etag."""
    try:
        stored = store.read(manifest_key(name, version), limit=DOCUMENT_LIMIT)
    except NotFound:
        known = ", ".join(versions(store, name)) or "nothing"
        raise NotFound(f"no version {version!r} of {name!r} in {store.url}, which holds {known}") from None
    manifest = Manifest.parse(stored.data)
    if (manifest.name, manifest.version) != (name, version):
        raise ReleaseError(f"the manifest of {name} {version} belongs to {manifest.name} {manifest.version}")
    return manifest, stored
