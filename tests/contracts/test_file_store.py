"""What a folder as a store does beyond what every store must, and the URLs that name one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigError, MachineError, NotFound, StoreError
from contracts.store.file_store import FileStore
from contracts.store.protocol import check_key
from contracts.store.urls import open_store

KEY = "releases/review-stars/v1/manifest.json"


def everything(root: Path) -> set[str]:
    """Every file below the store, its own lock left out."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {".lock"}


def test_reading_an_absent_store_makes_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "absent")
    assert store.list("") == []
    store.delete(KEY)
    with pytest.raises(NotFound):
        store.read(KEY)
    assert not (tmp_path / "absent").exists()


@given(st.text(max_size=30))
def test_a_key_stays_inside(key: str) -> None:
    root = Path("/store")
    try:
        path = Path(os.path.normpath(root / check_key(key)))
    except StoreError:
        return
    assert path.is_relative_to(root) and path != root


def test_links_and_strange_names_are_no_objects(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store.write("a/real", b"1")
    root = tmp_path / "store"
    (root / "a/link").symlink_to(tmp_path / "secret")
    (root / "outside").symlink_to(tmp_path)
    (root / "a/ünïcode").write_text("x")
    assert store.list("") == ["a/real"]
    for key in ("a/link", "outside/secret"):
        with pytest.raises(StoreError, match="symbolic link"):
            store.read(key)


def test_a_store_reached_through_a_link(store: FileStore, tmp_path: Path) -> None:
    store.write("a", b"1")
    (tmp_path / "alias").symlink_to(tmp_path / "store")
    assert FileStore(tmp_path / "alias").read("a").data == b"1"


def test_open_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my store"
    open_store(str(folder)).write("a", b"1")
    assert open_store(folder.as_uri()).read("a").data == b"1"
    assert "%20" in open_store(str(folder)).url
    monkeypatch.chdir(tmp_path)
    assert open_store("my store").read("a").data == b"1"
    assert open_store("my store").url == folder.as_uri()


@pytest.mark.parametrize("url", ["", "s3://bucket/prefix", "http://example.com/x", "file://host/share", "file://"])
def test_urls_that_are_no_store(url: str) -> None:
    with pytest.raises(ConfigError, match="folder"):
        open_store(url)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        open_store(str(tmp_path / "file"))


def test_a_key_below_an_object(store: FileStore) -> None:
    store.write("a", b"1")
    with pytest.raises(StoreError, match="Check that the path is right"):
        store.write("a/b", b"2")
    with pytest.raises(NotFound):
        store.read("a/b")


def test_disk_full_leaves_the_old_object(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("contracts.store.disk.os.fsync", full)
    with pytest.raises(MachineError, match="free some disk space"):
        store.write("a", b"new")
    with pytest.raises(MachineError):
        store.write("b", b"new")
    assert store.read("a").data == b"old"
    assert everything(tmp_path / "store") == {"a"}


def test_a_file_size_limit_is_a_full_disk(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(200_000))
    code = "import resource, sys\nfrom pathlib import Path\nfrom contracts.errors import MachineError\n"
    code += (
        "from contracts.store.urls import open_store\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    code += "try: open_store(sys.argv[1]).upload(Path(sys.argv[2]), 'a/b')\nexcept MachineError as e: sys.exit(str(e))"
    command = [sys.executable, "-c", code, store.url, str(tmp_path / "big")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no space left" in done.stderr
    assert everything(tmp_path / "store") == set()


def test_a_writer_killed_in_the_middle_leaves_nothing_to_read(store: FileStore, tmp_path: Path) -> None:
    code = "import os, signal, sys\nfrom contracts.store.urls import open_store\n"
    code += "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\nopen_store(sys.argv[1]).write('a', b'new')"
    assert subprocess.run([sys.executable, "-c", code, store.url], timeout=60).returncode == -9
    assert store.list("") == []
    store.write("a", b"again")
    assert store.list("") == ["a"]


def test_whether_anything_can_be_written_is_told_beforehand(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.check_writable()
    assert list((tmp_path / "store").iterdir()) == [] and store.list("") == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Check that the path is right"):
        open_store(str(tmp_path / "file" / "store")).check_writable()
