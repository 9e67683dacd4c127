"""The release that comes with the project's code, and is trusted as the code is: it needs no signature."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contracts.errors import NotFound
from contracts.installation import ROOT
from contracts.release.signing import signing_key
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore


def bundled_store() -> FileStore:
    """releases/ of a checkout: the store whose production is the release that comes with the project. Never written to.

    Raises NotFound for an installation without one.
    """
    folder = ROOT / "releases"
    if not folder.is_dir():
        raise NotFound("no release comes with this installation: name a store with --store or STARS_STORE")
    return FileStore(folder)


def key_for_store(store: ObjectStore) -> bytes | None:
    """The key that a release from this store must be signed with; None where none is asked for."""
    with suppress(NotFound):
        if store.url == bundled_store().url:
            return None
    return signing_key()


def key_for_folder(folder: Path) -> bytes | None:
    """The same for a release's folder."""
    with suppress(NotFound):
        if folder.resolve().is_relative_to(bundled_store().folder):
            return None
    return signing_key()
