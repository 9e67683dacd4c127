"""A folder as an object store."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from contracts.errors import ConfigError, NotFound, StoreError
from contracts.store.disk import explained, write_atomically
from contracts.store.protocol import READ_LIMIT, Stored, changed, check_key, check_size, is_key, taken

LOCK_SECONDS = 30.0


class FileStore:
    """A folder as an object store. Made on the first write, so that reading never changes anything.

    Each write goes to a temporary file first and is renamed into place; the check of a condition and the rename happen
    under one lock, so conditional writes hold between processes of one machine. Etags are sha256 of the data.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        if self._root.exists() and not self._root.is_dir():
            raise ConfigError(f"{self._root} is not a folder: give the store a folder of its own")

    @property
    def folder(self) -> Path:
        """Where the objects lie."""
        return self._root

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def read(self, key: str, *, limit: int = READ_LIMIT) -> Stored:
        with explained(key), self._open(key, limit) as source:
            data = source.read()
        return Stored(data, hashlib.sha256(data).hexdigest())

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self._put(key, lambda target: target.write(data), if_absent, if_match)
        return hashlib.sha256(data).hexdigest()

    def upload(self, path: Path, key: str, *, if_absent: bool = False) -> None:
        with explained(path), path.open("rb") as source:
            self._put(key, lambda target: shutil.copyfileobj(source, target), if_absent)

    def download(self, key: str, path: Path, *, limit: int | None = None) -> None:
        with explained(path), self._open(key, limit) as source:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda target: shutil.copyfileobj(source, target))

    def check_writable(self) -> None:
        with explained(self.url):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root):
                pass

    def list(self, prefix: str) -> list[str]:
        start = prefix.rpartition("/")[0]
        if start:
            check_key(start)
        keys = []
        for folder, folders, files in os.walk(self._root / start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            keys += [Path(folder, name).relative_to(self._root).as_posix() for name in files]
        # What is no object of ours, such as a link or an oddly named file, cannot be read and so isn't listed.
        return sorted(k for k in keys if k.startswith(prefix) and is_key(k) and not (self._root / k).is_symlink())

    def delete(self, key: str) -> None:
        path = self._path(key)
        if path.exists():  # no lock file in a folder that nothing was ever written to
            with explained(key), self._locked():
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _open(self, key: str, limit: int | None) -> BinaryIO:
        path = self._path(key)
        if not path.is_file():
            raise NotFound(f"no {key} in {self.url}")
        if path.resolve() != self._root.resolve() / key:
            raise StoreError(f"{key} in {self.url} is a symbolic link: put the file itself there")
        source = path.open("rb")
        try:
            check_size(key, os.fstat(source.fileno()).st_size, limit)
        except StoreError:
            source.close()
            raise
        return source

    def _put(
        self, key: str, fill: Callable[[BinaryIO], object], if_absent: bool = False, if_match: str | None = None
    ) -> None:
        path = self._path(key)

        def check() -> None:
            if if_absent and path.exists():
                raise taken(key)
            if if_match is not None and (not path.exists() or self.read(key).etag != if_match):
                raise changed(key)

        check()  # before the work, and once more under the lock
        with explained(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, fill, self._locked(check))

    @contextmanager
    def _locked(self, check: Callable[[], None] | None = None) -> Iterator[None]:
        try:
            with FileLock(self._root / ".lock", timeout=LOCK_SECONDS):
                if check:
                    check()
                yield
        except Timeout as error:
            raise StoreError(f"{self.url} has been locked for {LOCK_SECONDS:.0f} s: is a writer hanging?") from error
