"""Releases as one file: the same bytes each time, and nothing but a release comes out of whatever is unpacked."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.archive import Format, pack, unpack
from contracts.errors import MachineError, ReleaseError, StoreError
from contracts.release.files import FILES, MANIFEST
from contracts.release.manifest import Manifest
from contracts.release.release import Release, verify
from contracts.release.transfer import write_manifest

Build = Callable[..., tuple[Path, Manifest]]
GIB = 1024**3


@pytest.fixture
def release(build: Build) -> Release:
    folder, manifest = build()
    write_manifest(folder, manifest)
    return Release.open(folder)


@pytest.mark.parametrize("form", Format)
def test_there_and_back(release: Release, tmp_path: Path, form: Format) -> None:
    path = tmp_path / "packed" / f"release.{form}"
    pack(release, path, form)
    for _ in range(2):  # the second replaces the first
        found = unpack(path, tmp_path / "into")
        assert found.folder == tmp_path / "into" / "review-stars" / "v1"
        assert found.manifest == release.manifest and verify(found.folder) == []
    for name in (MANIFEST, *release.manifest.files):
        assert (found.folder / name).read_bytes() == (release.folder / name).read_bytes()
    assert [each.name for each in (tmp_path / "into").iterdir()] == ["review-stars"]


@pytest.mark.parametrize("form", Format)
def test_the_same_release_gives_the_same_bytes(
    release: Release, tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(release, tmp_path / "one", form)
    for path in release.folder.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    pack(release, tmp_path / "another-name", form)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "another-name").read_bytes()


def test_other_tools_read_them(release: Release, tmp_path: Path) -> None:
    pack(release, tmp_path / "model.tar.gz", Format.TAR)
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "model.tar.gz", "-C", tmp_path / "tar"], check=True)
    assert verify(tmp_path / "tar") == []
    pack(release, tmp_path / "model.mar", Format.MAR)
    with zipfile.ZipFile(tmp_path / "model.mar") as mar:
        assert mar.testzip() is None and "MAR-INF/MANIFEST.json" in mar.namelist()


def test_what_tar_itself_has_packed(release: Release, tmp_path: Path) -> None:
    subprocess.run(["tar", "czf", tmp_path / "theirs.tar.gz", "-C", release.folder, "."], check=True)
    assert unpack(tmp_path / "theirs.tar.gz", tmp_path / "into").manifest == release.manifest


def test_an_archive_appears_whole_or_not_at_all(release: Release, tmp_path: Path) -> None:
    code = "import resource, sys\nfrom pathlib import Path\nfrom contracts.archive import *\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    code += "try: pack(Release.open(Path(sys.argv[1])), Path(sys.argv[2]), Format.TAR)\n"
    code += f"except {MachineError.__name__} as e: sys.exit(str(e))"
    code = "from contracts.errors import MachineError\n" + code
    command = [sys.executable, "-c", code, str(release.folder), str(tmp_path / "out" / "model.tar.gz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "no space left" in done.stderr and list((tmp_path / "out").iterdir()) == []


# Hostile archives


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=form) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return path


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.size = kind, size
    for each, value in more.items():
        setattr(found, each, value)
    return found


HOSTILE = {
    "parent": member("../config.json", 1),
    "deep": member("a/../../config.json", 1),
    "absolute": member("/etc/passwd", 1),
    "other": member("handler.py", 1),
    "pickle": member("model.bin", 1),
    "folder": member("config.json", kind=tarfile.DIRTYPE),
    "link": member("config.json", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member("config.json", kind=tarfile.LNKTYPE, linkname="manifest.json"),
    "character device": member("config.json", kind=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "block device": member("config.json", kind=tarfile.BLKTYPE),
    "pipe": member("config.json", kind=tarfile.FIFOTYPE),
    "sparse": member("config.json", 1, kind=tarfile.GNUTYPE_SPARSE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_tar_with_something_else(tmp_path: Path, kind: str) -> None:
    path = tar_of(tmp_path / "a.tar.gz", [(HOSTILE[kind], b"x" * HOSTILE[kind].size)])
    refused(path, tmp_path, "no file of a release|not a plain file|no sound archive")


def test_a_tar_with_a_file_twice(release: Release, tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar.gz", [(member("config.json", 1), b"1"), (member("./config.json", 1), b"2")])
    refused(path, tmp_path, "twice")


@pytest.mark.parametrize("kind", ["link", "device", "parent", "absolute", "folder", "other", "twice", "lzma", "secret"])
def test_a_zip_with_something_else(tmp_path: Path, kind: str) -> None:
    names = {"parent": "../config.json", "absolute": "/etc/passwd", "folder": "config.json/", "other": "handler.py"}
    info = zipfile.ZipInfo(names.get(kind, "config.json"))
    info.external_attr = {"link": 0o120777, "device": 0o020666}.get(kind, 0o100644) << 16
    info.compress_type = zipfile.ZIP_LZMA if kind == "lzma" else zipfile.ZIP_STORED
    path = tmp_path / "a.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"/etc/passwd")
        if kind == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(info, b"again")
    if kind == "secret":  # both headers say that it is encrypted
        data = bytearray(path.read_bytes())
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
    refused(path, tmp_path, "no file of a release|not a plain file|twice")


def refused(path: Path, tmp_path: Path, match: str) -> None:
    """Refused, and nothing was written anywhere."""
    before = {each for each in tmp_path.rglob("*") if each.name != "into"}
    with pytest.raises(ReleaseError, match=match):
        unpack(path, tmp_path / "into")
    assert {each for each in tmp_path.rglob("*") if each.name != "into"} == before


class Zeros(io.RawIOBase):
    """So many of them, made as they are read."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


def bomb(path: Path, kind: str) -> Path:
    """An archive of ten megabytes that says it holds ten gigabytes."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("config.json", bytes(1000))
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02")
        data[at + 24 : at + 28] = (3 * GIB).to_bytes(4, "little")  # its size, as the directory has it
        path.write_bytes(data)
        return path
    with gzip.open(path, "wb", compresslevel=1) as stream:
        if kind == "tar":
            stream.write(member("config.json", 10 * GIB).tobuf(tarfile.GNU_FORMAT))
        elif kind == "header":  # which tarfile reads into memory
            stream.write(member("x", GIB, kind=tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT))
        elif kind == "long name":
            stream.write(member("x", GIB, kind=tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT))
        else:
            for _ in range(20_000):  # each is followed by the next before a member comes
                stream.write(member("x", 0, kind=tarfile.XGLTYPE).tobuf(tarfile.GNU_FORMAT))
        zeros = Zeros(GIB)
        while data := zeros.read(2**20):
            stream.write(data)
    return path


@pytest.mark.parametrize("kind", ["tar", "zip", "header", "long name", "headers"])
def test_a_bomb_takes_neither_memory_nor_disk(tmp_path: Path, kind: str) -> None:
    path = bomb(tmp_path / "bomb", kind)
    code = "import sys\nfrom pathlib import Path\nfrom contracts.archive import unpack\n"
    code += "from contracts.errors import ReleaseError\n"
    code += "try: unpack(Path(sys.argv[1]), Path(sys.argv[2]))\nexcept ReleaseError as e: print(e)\n"
    # What getrusage tells begins with the parent's.
    code += "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "into")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said, kilobytes = done.stdout.splitlines()
    assert "over the limit" in said or "header" in said or "no sound archive" in said
    assert int(kilobytes) < 200_000
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize("form", Format)
def test_a_damaged_archive(release: Release, tmp_path: Path, form: Format) -> None:
    path = tmp_path / "a"
    pack(release, path, form)
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", b"\x1f\x8b", b"noise" * 1000, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ReleaseError):
            unpack(path, tmp_path / "into")
    for at in range(0, len(whole), len(whole) // 40):
        changed = bytearray(whole)
        changed[at] ^= 255
        path.write_bytes(changed)
        try:
            assert unpack(path, tmp_path / "into").manifest == release.manifest  # a byte that nobody reads
        except ReleaseError:
            assert list((tmp_path / "into").iterdir()) in ([], [tmp_path / "into" / "review-stars"])
    with pytest.raises(StoreError, match="No such file"):
        unpack(tmp_path / "absent", tmp_path / "into")


def test_the_limits_are_those_of_the_files(tmp_path: Path) -> None:
    size = FILES["config.json"].limit + 1
    path = tar_of(tmp_path / "a.tar.gz", [(member("config.json", size), bytes(size))])
    refused(path, tmp_path, "over the limit")
