"""A release as one file that travels: model.tar.gz as SageMaker takes it, .mar as TorchServe takes it.

Both are written uncompressed inside (weights hardly shrink) and without times, owners or an order of their own, so that
the same release gives the same bytes. What is read is taken for hostile: only plain files with the names and sizes of a
release come out, whatever else the archive says.
"""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, BinaryIO

from contracts.errors import ReleaseError
from contracts.model_folder import archive_files
from contracts.release.files import DOCUMENT_LIMIT, FILES, MANIFEST
from contracts.release.release import Release
from contracts.store.disk import explained, write_atomically

CHUNK_BYTES = 256 * 1024
READ_LIMIT = 1024 * 1024
"""Bytes that an archive's own bookkeeping may want at once; our own wants a few hundred."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip archive can hold."""

_LIMITS = {name: file.limit for name, file in FILES.items()} | {MANIFEST: DOCUMENT_LIMIT}
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
)


class Format(StrEnum):
    """Of an archive; also how its file's name ends."""

    TAR = "tar.gz"
    MAR = "mar"


def pack(release: Release, path: Path, form: Format) -> None:
    """Write a verified release into an archive, which appears whole or not at all. Raises MachineError, StoreError."""
    names = (MANIFEST, *release.manifest.files)
    files = {name: release.folder / name for name in names}
    write = _write_tar if form is Format.TAR else _write_mar
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda target: write(target, release, files))


def unpack(path: Path, into: Path) -> Release:
    """The release in an archive of either kind as a verified folder `into/<name>/<version>`.

    Raises ReleaseError for anything but a sound release, which leaves nothing behind.
    """
    with explained(into):
        into.mkdir(parents=True, exist_ok=True)
    with unpacked(path, into) as release:
        target = into / release.manifest.name / release.manifest.version
        with explained(target):
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            release.folder.rename(target)
    return Release(target, release.manifest)


@contextmanager
def unpacked(path: Path, into: Path | None = None) -> Iterator[Release]:
    """The same in a temporary folder, below `into` where that is given."""
    with (
        explained(path),
        tempfile.TemporaryDirectory(prefix=".stars-", dir=into, ignore_cleanup_errors=True) as scratch,
    ):
        folder = Path(scratch) / "release"
        folder.mkdir()
        with path.open("rb") as source:
            is_zip = source.read(4) == b"PK\x03\x04"
            source.seek(0)
            try:
                (_read_mar if is_zip else _read_tar)(source, folder)
            except (*_BROKEN, RecursionError) as error:
                raise ReleaseError(f"{path} is no sound archive: {error}. Pack or copy it again") from error
        yield Release.open(folder)


def _write_tar(target: BinaryIO, _release: Release, files: dict[str, Path]) -> None:
    with (
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=target, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in files.items():
            member = tarfile.TarInfo(name)  # mode 0644, owner 0, time 0
            member.size = path.stat().st_size
            with path.open("rb") as source:
                tar.addfile(member, source)


def _write_mar(target: BinaryIO, release: Release, files: dict[str, Path]) -> None:
    with zipfile.ZipFile(target, "w") as mar:
        for place, text in archive_files(release).items():
            mar.writestr(_zip_member(place.as_posix()), text)
        for name, path in files.items():
            member = _zip_member(name)
            member.file_size = path.stat().st_size  # which tells it whether it needs the format for large files
            with path.open("rb") as source, mar.open(member, "w") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)


def _zip_member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, EPOCH)
    member.create_system = 3  # Unix, for the rights
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


def _read_tar(source: BinaryIO, folder: Path) -> None:
    with gzip.GzipFile(fileobj=source) as stream, tarfile.open(fileobj=_Careful(stream), mode="r:") as tar:
        seen: set[str] = set()
        for member in tar:
            if member.isdir() and member.name == "." and not seen:  # as `tar -C FOLDER .` begins
                continue
            is_plain = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} and not member.issparse()
            name = _checked(member.name, member.size, is_plain, seen)
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101  # only links and folders have none
            _copy(content, folder / name, member.size)


def _read_mar(source: BinaryIO, folder: Path) -> None:
    with zipfile.ZipFile(_Careful(source)) as mar:
        seen: set[str] = set()
        for member in mar.infolist():
            if member.filename.startswith("MAR-INF/") or member.filename == "model-config.yaml":
                continue  # TorchServe's; written anew where it is needed
            is_plain = stat.S_IFMT(member.external_attr >> 16) in {0, stat.S_IFREG}
            is_plain &= member.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} and not member.flag_bits & 1
            name = _checked(member.filename, member.file_size, is_plain, seen)
            with mar.open(member) as content:
                _copy(content, folder / name, member.file_size)


def _checked(name: str, size: int, is_plain: bool, seen: set[str]) -> str:
    """The name of a release's file. Raises ReleaseError for whatever else an archive may hold."""
    plain = name.removeprefix("./")
    if plain not in _LIMITS or plain in seen:
        raise ReleaseError(f"the archive holds {name[:80]!r}, {'twice' if plain in seen else 'no file of a release'}")
    if not is_plain:
        raise ReleaseError(f"{plain} in the archive is not a plain file")
    if size > _LIMITS[plain]:
        raise ReleaseError(f"{plain} in the archive has {size} bytes, over the limit of {_LIMITS[plain]}")
    seen.add(plain)
    return plain


def _copy(content: IO[bytes], path: Path, size: int) -> None:
    """Exactly so many bytes."""
    with path.open("xb") as target:
        while data := content.read(CHUNK_BYTES):
            target.write(data)
        if target.tell() != size:
            raise ReleaseError(f"the archive breaks off in {path.name}: pack or copy it again")


class _Careful(io.RawIOBase):
    """A file whose readers take little at once: the libraries read a header of any size that it names into memory."""

    def __init__(self, source: BinaryIO | gzip.GzipFile) -> None:
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size if 0 <= size <= READ_LIMIT else READ_LIMIT + 1)
        if len(data) > READ_LIMIT:
            raise ReleaseError("the archive has a header of more than a megabyte: pack the release anew")
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
