"""Contract 3, the operations: publish a release, sign it, fetch it.

A release's manifest is written last and never overwritten, so what can be read is complete; every file is hashed
against it before anything opens the file.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from contracts.errors import ConfigError, Conflict, NotFound, ReleaseError
from contracts.release.bundled import key_for_store
from contracts.release.files import FILES, MANIFEST, REQUIRED
from contracts.release.manifest import FileEntry, Manifest, manifest_key
from contracts.release.published import stored_manifest
from contracts.release.release import Release
from contracts.release.signing import KEY_VARIABLE, signed, signing_key
from contracts.release.strict_json import document_bytes, load_json
from contracts.store.disk import explained, write_atomically
from contracts.store.protocol import ObjectStore, Stored


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Hashes and sizes of the release files in a folder, for a new manifest. Raises ReleaseError for a missing file."""
    try:
        return {name: FileEntry.of(folder / name) for name in FILES if name in REQUIRED or (folder / name).exists()}
    except OSError as error:
        raise ReleaseError(f"{error.filename} cannot be read: a release needs {', '.join(REQUIRED)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write manifest.json into a release folder, signed when $STARS_SIGNING_KEY is set; returns what was written.

    One that is there already and says the same stays as it is but for its signature, so that a release which an older
    version of the project has made is passed on in the words of that version.
    """
    path, key = folder / MANIFEST, signing_key()
    data = manifest.to_json(key)
    with explained(folder):
        present = path.read_bytes() if path.is_file() else b""
        with suppress(ReleaseError):
            if Manifest.parse(present).says_the_same(manifest):
                data = document_bytes(signed(load_json(present), key))
        if data != present:
            write_atomically(path, lambda target: target.write(data))
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
    for name in (*manifest.files, MANIFEST):
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
    stored = stored_manifest(store, name, version)[1]
    with TemporaryDirectory(prefix="stars-") as folder:
        _download(store, stored, Path(folder), key=None)
    write_signed(store, name, version, load_json(stored.data), stored.etag, key)


def fetch(store: ObjectStore, name: str, version: str, into: Path) -> Release:
    """The release as a verified folder `into/<name>/<version>`, downloaded unless it is there already.

    Raises NotFound for an unknown version and ReleaseError for a damaged one, which leaves nothing behind.
    """
    stored = stored_manifest(store, name, version)[1]
    key = key_for_store(store)
    target = into / name / version
    scratch = into / f".{name}-{version}"
    with explained(target):
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


def write_signed(store: ObjectStore, name: str, version: str, document: dict[str, Any], etag: str, key: bytes) -> None:
    store.write(manifest_key(name, version), document_bytes(signed(document, key)), if_match=etag)


def _prefix(name: str, version: str) -> str:
    return manifest_key(name, version).removesuffix(MANIFEST)


def _is_same(store: ObjectStore, key: str, path: Path) -> bool:
    """Whether the object has the file's content."""
    with TemporaryDirectory(prefix="stars-") as folder:
        stored = Path(folder) / path.name
        store.download(key, stored)
        return FileEntry.of(stored) == FileEntry.of(path)


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
