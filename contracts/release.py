"""Contract 3, the operations: verify, publish and fetch a release, and find the one that is meant.

A release is a folder of plain files. Its manifest is written last and never overwritten, so what can be read is
complete; every file is hashed against it before anything opens the file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from contracts import channels
from contracts.bundled import bundled_store, key_for_folder, key_for_store
from contracts.errors import ConfigError, Conflict, MachineError, NotFound, ReleaseError, StoreError
from contracts.inspection import inspect
from contracts.manifest import (
    DOCUMENT_LIMIT,
    MANIFEST,
    RELEASE_FILES,
    Calibration,
    DatasetFacts,
    EngineHints,
    FileEntry,
    Golden,
    GoldenCase,
    Manifest,
    checked_name,
    document_bytes,
    load_json,
    manifest_key,
)
from contracts.settings import Home
from contracts.signing import KEY_VARIABLE, signature_problem, signed, signing_key
from contracts.store import FULL, FileStore, ObjectStore, Stored, open_store, write_atomically
from contracts.tokens import ReviewEncoder

__all__ = [
    "MANIFEST",
    "RELEASE_FILES",
    "Calibration",
    "DatasetFacts",
    "EngineHints",
    "FileEntry",
    "Golden",
    "GoldenCase",
    "Manifest",
    "Release",
    "bundled_store",
    "default_store",
    "fetch",
    "file_entries",
    "find",
    "publish",
    "read_manifest",
    "resolve",
    "sign",
    "verify",
    "versions",
    "write_manifest",
]

MODEL_NAME = "review-stars"
STORE_VARIABLE = "STARS_STORE"
BUNDLED = "the bundled release"
"""Who moved a channel, when nobody did but the project itself."""


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release on this machine. Make one with `Release.open`, `fetch` or `find`."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Release:
        """Verify everything. Raises ReleaseError whose `problems` are `verify`'s lines."""
        return cls._open(folder, key_for_folder(folder))

    @classmethod
    def _open(cls, folder: Path, key: bytes | None) -> Release:
        manifest, problems = inspect(folder, key)
        if manifest is None or problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ReleaseError(f"{folder} is not a sound release: {problems[0]}{more}", problems)
        return cls(folder, manifest)

    def golden(self) -> Golden:
        """The cases that a loaded model must answer before it gets traffic."""
        return Golden.model_validate(load_json((self.folder / "golden.json").read_bytes()))

    def encoder(self) -> ReviewEncoder:
        """The tokenizer with the release's token limit and truncation policy."""
        return ReviewEncoder(self.folder / "tokenizer.json", self.manifest.token_limit, self.manifest.truncation)


def verify(folder: Path) -> list[str]:
    """One line for each thing that is wrong with a release folder; none means that it may be loaded."""
    return inspect(folder, key_for_folder(folder))[1]


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Hashes and sizes of the release files in a folder, for a new manifest. Raises ReleaseError for a missing file."""
    try:
        return {name: FileEntry.of(folder / name) for name in RELEASE_FILES}
    except OSError as error:
        raise ReleaseError(f"{error.filename} cannot be read: a release needs {', '.join(RELEASE_FILES)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write manifest.json into a release folder, signed when $STARS_SIGNING_KEY is set; returns what was written."""
    data = manifest.to_json(signing_key())
    with _explained(folder):
        write_atomically(folder / MANIFEST, lambda target: target.write(data))
    return Manifest.parse(data)


def publish(store: ObjectStore, folder: Path, manifest: Manifest) -> Release:
    """Write the manifest into the release folder, verify it and put it into the store, the manifest last.

    Nothing in the store is overwritten or deleted. What lies there already, from an interrupted publish or from another
    publisher of the same version, must have the same content: the first file that differs is a Conflict. So of several
    publishers at once only those of one content come through, and an interrupted publish can be repeated.
    Raises ReleaseError for a folder that does not verify.
    """
    write_manifest(folder, manifest)
    release = Release.open(folder)
    prefix = _prefix(manifest.name, manifest.version)
    for name in (*RELEASE_FILES, MANIFEST):
        try:
            store.upload(folder / name, prefix + name, if_absent=True)
        except Conflict:
            if not _is_same(store, prefix + name, folder / name):
                raise Conflict(
                    f"{prefix}{name} in {store.url} has another content, and nothing is ever overwritten: "
                    "choose another version"
                ) from None
    return release


def sign(store: ObjectStore, name: str, version: str) -> None:
    """Sign a published release with $STARS_SIGNING_KEY, after all of it was verified but for a signature.

    Raises ReleaseError for one that is damaged, Conflict when somebody else changes its manifest at the same time.
    """
    if not (key := signing_key()):
        raise ConfigError(f"there is no key to sign with: set {KEY_VARIABLE}")
    stored = _read_manifest(store, name, version)[1]
    with TemporaryDirectory(prefix="stars-") as folder:
        _download(store, stored, Path(folder), key=None)
    _write_signed(store, name, version, load_json(stored.data), stored.etag, key)


def fetch(store: ObjectStore, name: str, version: str, into: Path) -> Release:
    """The release as a verified folder `into/<name>/<version>`, downloaded unless it is there already.

    Raises NotFound for an unknown version and ReleaseError for a damaged one, which leaves nothing behind.
    """
    stored = _read_manifest(store, name, version)[1]
    key = key_for_store(store)
    target = into / name / version
    scratch = into / f".{name}-{version}"
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f"{scratch.name}.lock"):
            with suppress(ReleaseError):
                release = Release._open(target, key)
                if (target / MANIFEST).read_bytes() == stored.data:
                    return release
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                scratch.mkdir()
                release = _download(store, stored, scratch, key)
                shutil.rmtree(target, ignore_errors=True)
                scratch.rename(target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return Release(target, release.manifest)


def read_manifest(store: ObjectStore, name: str, version: str) -> Manifest:
    """A published release's manifest. Raises NotFound naming what there is, ReleaseError when it cannot be used."""
    return _read_manifest(store, name, version)[0]


def _read_manifest(store: ObjectStore, name: str, version: str) -> tuple[Manifest, Stored]:
    try:
        stored = store.read(manifest_key(name, version), limit=DOCUMENT_LIMIT)
    except NotFound:
        known = ", ".join(versions(store, name)) or "nothing"
        raise NotFound(f"no version {version!r} of {name!r} in {store.url}, which holds {known}") from None
    manifest = Manifest.parse(stored.data)
    if (manifest.name, manifest.version) != (name, version):
        raise ReleaseError(f"the manifest of {name} {version} belongs to {manifest.name} {manifest.version}")
    return manifest, stored


def versions(store: ObjectStore, name: str = MODEL_NAME) -> list[str]:
    """The published versions, in the order of their names."""
    keys = store.list(f"releases/{checked_name(name)}/")
    return [key.split("/")[2] for key in keys if key.endswith(f"/{MANIFEST}") and key.count("/") == 3]


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
        return max(manifests, key=lambda each: each.created).version
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


def default_store(home: Home) -> ObjectStore:
    """The store that is meant where none is named: $STARS_STORE, else the one in the home folder.

    The latter is given the bundled release, signed where there is a key. It stays its production, from one bundled
    release to the next, until somebody promotes another.
    """
    if chosen := os.environ.get(STORE_VARIABLE):
        return open_store(chosen)
    store = FileStore(home.create().store)
    with suppress(NotFound):
        _add_bundled(bundled_store(), store)
    return store


def _add_bundled(bundled: FileStore, store: ObjectStore) -> None:
    version = resolve(bundled, channels.PRODUCTION)
    if version not in versions(store):
        with TemporaryDirectory(prefix="stars-") as folder, suppress(Conflict):  # one with another key was faster
            release = fetch(bundled, MODEL_NAME, version, Path(folder))
            publish(store, release.folder, release.manifest)
    if key := signing_key():
        stored = store.read(manifest_key(MODEL_NAME, version), limit=DOCUMENT_LIMIT)
        if signature_problem(load_json(stored.data), key):  # added before there was this key
            document = load_json(_read_manifest(bundled, MODEL_NAME, version)[1].data)
            with suppress(Conflict):
                _write_signed(store, MODEL_NAME, version, document, stored.etag, key)
    etag = None
    with suppress(NotFound):
        production, etag = channels.read(store, MODEL_NAME, channels.PRODUCTION)
        if production.by != BUNDLED:
            return
    with suppress(Conflict):
        channels.move(store, MODEL_NAME, channels.PRODUCTION, version, BUNDLED, etag)


def _write_signed(store: ObjectStore, name: str, version: str, document: dict[str, Any], etag: str, key: bytes) -> None:
    store.write(manifest_key(name, version), document_bytes(signed(document, key)), if_match=etag)


def _prefix(name: str, version: str) -> str:
    return manifest_key(name, version).removesuffix(MANIFEST)


def _is_same(store: ObjectStore, key: str, path: Path) -> bool:
    """Whether the object has the file's content."""
    with TemporaryDirectory(prefix="stars-") as folder:
        found = Path(folder) / path.name
        store.download(key, found)
        return FileEntry.of(found) == FileEntry.of(path)


def _download(store: ObjectStore, stored: Stored, folder: Path, key: bytes | None) -> Release:
    """A release's files into an empty folder, its manifest as it is stored, and all of it verified."""
    manifest = Manifest.parse(stored.data)
    prefix = _prefix(manifest.name, manifest.version)
    for name, entry in manifest.files.items():
        try:
            store.download(prefix + name, folder / name, limit=entry.size)
        except NotFound as error:
            raise ReleaseError(f"{name} of {manifest.name} {manifest.version} is missing in {store.url}") from error
    (folder / MANIFEST).write_bytes(stored.data)
    return Release._open(folder, key)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(f"no space left while writing {path}: free some disk space and run it again") from error
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
