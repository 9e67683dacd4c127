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

from filelock import FileLock

from contracts import channels
from contracts.errors import Conflict, MachineError, NotFound, ReleaseError, StoreError
from contracts.inspection import inspect, verify
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
    load_json,
    manifest_key,
    signing_key,
)
from contracts.settings import Home
from contracts.store import FULL, FileStore, ObjectStore, open_store, write_atomically
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
        manifest, problems = inspect(folder)
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


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Hashes and sizes of the release files in a folder, for a new manifest. Raises ReleaseError for a missing file."""
    try:
        return {name: FileEntry.of(folder / name) for name in RELEASE_FILES}
    except OSError as error:
        raise ReleaseError(f"{error.filename} cannot be read: a release needs {', '.join(RELEASE_FILES)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write manifest.json into a release folder, signed when $STARS_SIGNING_KEY is set; returns what was written."""
    signed = manifest.signed(signing_key())
    with _explained(folder):
        write_atomically(folder / MANIFEST, lambda target: target.write(signed.to_json()))
    return signed


def publish(store: ObjectStore, folder: Path, manifest: Manifest) -> Release:
    """Write the manifest into the release folder, verify it and put it into the store, the manifest last.

    Raises ReleaseError for a folder that does not verify, Conflict when the version exists already. What an
    interrupted publish left behind has no manifest, so nobody reads it, and the next one overwrites it.
    """
    key = manifest_key(manifest.name, manifest.version)
    if store.list(key):
        raise Conflict(f"{key} exists in {store.url} and is never overwritten: choose another version")
    manifest = write_manifest(folder, manifest)
    release = Release.open(folder)
    prefix = key.removesuffix(MANIFEST)
    sent: list[str] = []
    try:
        for name in RELEASE_FILES:
            store.upload(folder / name, prefix + name)
            sent.append(prefix + name)
        store.upload(folder / MANIFEST, key, if_absent=True)
    except Conflict:
        raise  # the files now belong to the one who was faster
    except BaseException:
        for each in sent:
            store.delete(each)
        raise
    return release


def fetch(store: ObjectStore, name: str, version: str, into: Path) -> Release:
    """The release as a verified folder `into/<name>/<version>`, downloaded unless it is there already.

    Raises NotFound for an unknown version and ReleaseError for a damaged one, which leaves nothing behind.
    """
    manifest = read_manifest(store, name, version)
    target = into / name / version
    scratch = into / f".{name}-{version}"
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f"{scratch.name}.lock"):
            with suppress(ReleaseError):
                release = Release.open(target)
                if release.manifest == manifest:
                    return release
            try:
                _download(store, manifest, scratch)
                Release.open(scratch)
                shutil.rmtree(target, ignore_errors=True)
                scratch.rename(target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return Release(target, manifest)


def read_manifest(store: ObjectStore, name: str, version: str) -> Manifest:
    """A published release's manifest. Raises NotFound naming what there is, ReleaseError when it cannot be used."""
    try:
        manifest = Manifest.parse(store.read(manifest_key(name, version), limit=DOCUMENT_LIMIT).data)
    except NotFound:
        known = ", ".join(versions(store, name)) or "nothing"
        raise NotFound(f"no version {version!r} of {name!r} in {store.url}, which holds {known}") from None
    if (manifest.name, manifest.version) != (name, version):
        raise ReleaseError(f"the manifest of {name} {version} belongs to {manifest.name} {manifest.version}")
    return manifest


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


def bundled_store() -> FileStore:
    """releases/ of a checkout: the store whose production is the release that comes with the project. Never written to.

    Raises NotFound for an installation without one.
    """
    folder = Path(__file__).resolve().parent.parent / "releases"
    if not folder.is_dir():
        raise NotFound(f"no release comes with this installation: name a store with --store or {STORE_VARIABLE}")
    return FileStore(folder)


def default_store(home: Home) -> ObjectStore:
    """The store that is meant where none is named: $STARS_STORE, else the one in the home folder.

    The latter is given the bundled release, which stays its production, from one bundled release to the next, until
    somebody promotes another.
    """
    if chosen := os.environ.get(STORE_VARIABLE):
        return open_store(chosen)
    store = FileStore(home.create().store)
    with suppress(NotFound):
        _add_bundled(bundled_store(), store)
    return store


def _add_bundled(bundled: ObjectStore, store: ObjectStore) -> None:
    version = resolve(bundled, channels.PRODUCTION)
    if version not in versions(store):
        with TemporaryDirectory(prefix="stars-") as folder, suppress(Conflict):  # another process was faster
            release = fetch(bundled, MODEL_NAME, version, Path(folder))
            publish(store, release.folder, release.manifest)
    etag = None
    with suppress(NotFound):
        production, etag = channels.read(store, MODEL_NAME, channels.PRODUCTION)
        if production.by != BUNDLED:
            return
    with suppress(Conflict):
        channels.point(store, MODEL_NAME, channels.PRODUCTION, version, BUNDLED, etag)


def _download(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    prefix = manifest_key(manifest.name, manifest.version).removesuffix(MANIFEST)
    for name, entry in manifest.files.items():
        try:
            store.download(prefix + name, folder / name, limit=entry.size)
        except NotFound as error:
            raise ReleaseError(f"{name} of {manifest.name} {manifest.version} is missing in {store.url}") from error
    (folder / MANIFEST).write_bytes(manifest.to_json())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(f"no space left while writing {path}: free some disk space and run it again") from error
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
