"""Sources from elsewhere onto this disk: cut anywhere, by the network or by kill -9, a download goes on from there."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import ConfigError, DataError, MachineError
from contracts.installation import how_to_install
from training.ingest.remote.address import is_url, read_address
from training.ingest.remote.file import Broken, RemoteBytes, RemoteFile
from training.ingest.remote.https import HttpsFile
from training.ingest.remote.origin import Origin, read_origin
from training.running.fingerprint import file_sha256
from training.running.reporting import Reporter

ATTEMPTS = 6
"""How often in a row nothing may come."""
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
LARGEST_BYTES = 200 << 30
"""The largest files of reviews that are published have a tenth of this."""
FREE_BYTES = 512 << 20
"""What a download leaves of the disk."""
_PARTIAL = "partial"
_LOOKED_AFTER = 64 << 20
"""Bytes between two looks at the disk."""


def remote_files(url: str) -> list[RemoteFile]:
    """The files that a URL names: one, or for s3:// those of a folder or a pattern too. Raises DataError."""
    address = read_address(url)
    if address.parts.scheme in ("https", "http"):
        return [HttpsFile(address)]
    if address.parts.scheme == "s3":
        try:
            from training.ingest.remote.s3 import s3_files
        except ModuleNotFoundError as error:
            missing = f"s3:// needs {error.name}, which is not installed"
            raise ConfigError(f"{missing}: {how_to_install('aws')}") from error
        return [*s3_files(address)]
    raise DataError(f"{address.shown} cannot be read: name a file, a folder, https:// or s3://")


def bring_here(
    data: Sequence[str | Path], folder: Path, report: Reporter, known: Callable[[RemoteFile], bool] = lambda _: False
) -> list[str | Path]:
    """The same sources, on this machine: what is a URL is downloaded into `folder`, unless `known` says no.

    Raises DataError for what cannot be downloaded, MachineError for want of disk.
    """
    here = [each for each in data if not is_url(str(each))]
    files = [file for each in data if is_url(str(each)) for file in remote_files(str(each))]
    wanted = [file for file in files if not known(file)]
    for number, file in enumerate(wanted):
        here.append(download(file, folder, _Speed(file, number, len(wanted), report).told, report.log))
    return here


def download(
    file: RemoteFile, downloads: Path, told: Callable[[int, int | None], None], log: Callable[[str], None]
) -> Path:
    """A file's path on this machine, downloaded unless it is there unchanged. `told` hears how many bytes of how many.

    Raises DataError for a file that cannot be had or has another sha256, MachineError for want of disk.
    """
    folder = downloads / hashlib.sha256(file.url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = _size(folder / _PARTIAL)
        try:
            _receive(file, folder, told)
        except Broken as error:
            failures = 1 if _size(folder / _PARTIAL) > before else failures + 1
            if failures == ATTEMPTS:
                raise DataError(
                    f"{file.url} cannot be downloaded ({error}): look at the network, then run it again: it goes on "
                    "where it was cut"
                ) from error
            wait = error.wait or random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**failures))  # noqa: S311
            log(f"{file.name}: {error}; it goes on in {wait:.0f} s")
            time.sleep(wait)
        else:
            return folder / file.name


def forget(downloads: Path) -> None:
    """Delete what has been downloaded."""
    shutil.rmtree(downloads, ignore_errors=True)


def _receive(file: RemoteFile, folder: Path, told: Callable[[int, int | None], None]) -> None:
    origin, whole, partial = read_origin(folder), folder / file.name, folder / _PARTIAL
    here = whole.is_file() and origin is not None and origin.file == file.name
    validator = origin.validator if origin else ""
    start = _size(partial) if validator and not here else 0
    if origin is None or origin.size is None or start > origin.size:
        start = 0
    if origin is None or not start or start != origin.size:
        with file.open(start, validator if here or start else "") as answer:
            if answer is None:
                _check_sha256(file, whole)
                return
            origin = Origin(file.url, file.name, answer.validator, answer.size)
            whole.unlink(missing_ok=True)
            if answer.start == 0:
                partial.unlink(missing_ok=True)
            origin.write(folder)
            _write(answer, file.url, partial, told)
    _check_sha256(file, partial)
    origin = replace(origin, downloaded=datetime.now(UTC).isoformat(timespec="seconds"))
    partial.replace(whole)
    origin.write(folder)


def _check_sha256(file: RemoteFile, here: Path) -> None:
    """Raises DataError, and deletes what was downloaded, when it is not what whoever named it says."""
    if file.sha256 and file_sha256(here) != file.sha256:
        shutil.rmtree(here.parent)
        raise DataError(
            f"{file.url} has another sha256 than you named: it was changed, or the sha256 is another file's"
        )


def _write(answer: RemoteBytes, url: str, partial: Path, told: Callable[[int, int | None], None]) -> None:
    _check_room(url, (answer.size or answer.start) - answer.start, answer.size or 0, partial.parent)
    at, looked = answer.start, answer.start
    with partial.open("ab") as target:
        for chunk in answer.chunks:
            target.write(chunk)
            at += len(chunk)
            told(at, answer.size)
            if at - looked > _LOOKED_AFTER:
                looked = at
                _check_room(url, 0, at, partial.parent)
    if answer.size is not None and at < answer.size:
        raise Broken(f"it ends after {at:,} of {answer.size:,} bytes")
    if answer.size is not None and at > answer.size:
        partial.unlink()
        raise DataError(f"{url} is longer than it says: download it yourself")


def _check_room(url: str, more: int, whole: int, folder: Path) -> None:
    if whole > LARGEST_BYTES:
        raise DataError(f"{url} has more than {LARGEST_BYTES >> 30} GB: download it yourself if you trust it")
    free = shutil.disk_usage(folder).free
    if free - more < FREE_BYTES:
        raise MachineError(
            f"{url} does not fit: {folder} has {free / 1e9:.1f} GB free and it needs {more / 1e9:.1f} more. Free some "
            "space, then run it again: it goes on where it was"
        )


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


class _Speed:
    """What a person is told of a download, once a second."""

    def __init__(self, file: RemoteFile, number: int, count: int, report: Reporter) -> None:
        self._what = file.name + (f" ({number + 1} of {count})" if count > 1 else "")
        self._number, self._count, self._report = number, count, report
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def told(self, done: int, size: int | None) -> None:
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if now < self._told + 1:
            return
        self._told = now
        speed = max(done - self._first, 1) / (now - self._began)
        left = f", {(size - done) / speed:,.0f} s left" if size else ""
        share = f" of {size / 1e6:,.0f}" if size else ""
        self._report.progress(
            (self._number + (done / size if size else 0)) / self._count,
            f"{self._what}: {done / 1e6:,.0f}{share} MB, {speed / 1e6:.1f} MB/s{left}",
        )
