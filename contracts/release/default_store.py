"""The store that is meant where none is named, and how it comes by the bundled release."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from contracts.errors import Conflict, NotFound
from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.files import DOCUMENT_LIMIT
from contracts.release.manifest import manifest_key
from contracts.release.published import MODEL_NAME, stored_manifest, versions
from contracts.release.signing import signature_problem, signing_key
from contracts.release.strict_json import load_json
from contracts.release.transfer import fetch, publish, write_signed
from contracts.settings import Home
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store

STORE_VARIABLE = "STARS_STORE"
BUNDLED = "the bundled release"
"""Who moved a channel, when nobody did but the project itself."""


def default_store(home: Home) -> ObjectStore:
    """The store that is meant where none is named: $STARS_STORE, else the one in the state folder.

    The latter is given the bundled release, signed where there is a key. It stays its production, from one bundled
    release to the next, until somebody promotes another.
    """
    if chosen := os.environ.get(STORE_VARIABLE):
        return open_store(chosen)
    store = FileStore(home.create().store)
    with suppress(NotFound):
        add_bundled(bundled_store(), store)
    return store


def add_bundled(bundled: FileStore, store: ObjectStore) -> None:
    """Put the bundled release into a store, and into production there unless somebody has promoted another."""
    version = channels.read(bundled, MODEL_NAME, channels.PRODUCTION)[0].version
    if version not in versions(store):
        with TemporaryDirectory(prefix="stars-") as folder, suppress(Conflict):  # one with another key was faster
            release = fetch(bundled, MODEL_NAME, version, Path(folder))
            publish(store, release.folder, release.manifest)
    if key := signing_key():
        stored = store.read(manifest_key(MODEL_NAME, version), limit=DOCUMENT_LIMIT)
        if signature_problem(load_json(stored.data), key):  # added before there was this key
            document = load_json(stored_manifest(bundled, MODEL_NAME, version)[1].data)
            with suppress(Conflict):
                write_signed(store, MODEL_NAME, version, document, stored.etag, key)
    etag = None
    with suppress(NotFound):
        production, etag = channels.read(store, MODEL_NAME, channels.PRODUCTION)
        if production.by != BUNDLED:
            return
    with suppress(Conflict):
        channels.move(store, MODEL_NAME, channels.PRODUCTION, version, BUNDLED, etag)
