"""Publishers that are interrupted, and several at once, at every step of their way. Fault 18."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.errors import Conflict, MachineError
from contracts.release.files import MANIFEST, REQUIRED
from contracts.release.manifest import Manifest
from contracts.release.published import read_manifest, versions
from contracts.release.transfer import fetch, publish, write_manifest
from contracts.store.file_store import FileStore

Build = Callable[..., tuple[Path, Manifest]]
NAME = "review-stars"
STEPS = len(REQUIRED) + 1
PUBLISH = """
import sys
from pathlib import Path
from contracts.errors import Conflict
from contracts.release.manifest import Manifest
from contracts.release.transfer import publish
from contracts.store.urls import open_store
manifest = Manifest.parse(Path(sys.argv[2], "manifest.json").read_bytes())
try:
    publish(open_store(sys.argv[1]), Path(sys.argv[2]), manifest)
except Conflict as error:
    sys.exit(str(error))
"""


class Left(Exception):
    """The publisher is gone, whatever it was doing."""


class Stepped(FileStore):
    """Something happens before each upload: its number is given."""

    def __init__(self, store: FileStore, before: Callable[[int], None]) -> None:
        super().__init__(store.folder)
        self._before = before
        self._step = 0

    def upload(self, path: Path, key: str, *, if_absent: bool = False) -> None:
        self._before(self._step)
        self._step += 1
        super().upload(path, key, if_absent=if_absent)


def _sound(store: FileStore, manifest: Manifest, folder: Path) -> None:
    """What is published is this release, whole."""
    assert versions(store) == [manifest.version]
    assert fetch(store, NAME, manifest.version, folder).manifest == manifest


def test_a_version_is_never_overwritten(store: FileStore, build: Build, tmp_path: Path) -> None:
    folder, manifest = build("v1", 0)
    publish(store, folder, manifest)
    with pytest.raises(Conflict, match="choose another version"):
        publish(store, *build("v1", 1))
    _sound(store, manifest, tmp_path / "cache")


def test_what_is_there_with_the_same_content_is_published(store: FileStore, build: Build, tmp_path: Path) -> None:
    folder, manifest = build("v1", 0)
    for _ in range(2):
        assert publish(store, folder, manifest).manifest == manifest
    _sound(store, manifest, tmp_path / "cache")


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("same", [True, False], ids=["same content", "another content"])
def test_a_second_publisher_comes_at_each_step_of_the_first(
    store: FileStore, build: Build, tmp_path: Path, step: int, same: bool
) -> None:
    folder, manifest = build("v1", 0)
    other = (folder, manifest) if same else build("v1", 1)
    results: dict[str, Manifest] = {}

    def come(at: int) -> None:
        if at == step:
            with _refused_unless(same or step <= _first_difference(folder, other[0])):
                publish(store, *other)
                results["second"] = other[1]

    with _refused_unless(same or step > _first_difference(folder, other[0])):
        publish(Stepped(store, come), folder, manifest)
        results["first"] = manifest
    assert results, "one of them comes through"
    _sound(store, next(iter(results.values())), tmp_path / "cache")


@pytest.mark.parametrize("step", range(STEPS))
def test_an_interrupted_publish_is_in_nobodys_way_who_has_the_same(
    store: FileStore, build: Build, tmp_path: Path, step: int
) -> None:
    """A second publisher has seen the first one's files as its own: they must outlive the first one's failure."""
    folder, manifest = build("v1", 0)

    def leave(at: int) -> None:
        if at == step:
            raise Left

    with pytest.raises(Left):
        publish(Stepped(store, leave), folder, manifest)
    assert versions(store) == []
    publish(store, folder, manifest)
    _sound(store, manifest, tmp_path / "cache")


@pytest.mark.parametrize("step", range(STEPS))
def test_the_first_fails_after_the_second_came_through(
    store: FileStore, build: Build, tmp_path: Path, step: int
) -> None:
    """Its cleaning once deleted the second one's files."""
    folder, manifest = build("v1", 0)

    def be_overtaken_and_leave(at: int) -> None:
        if at == step:
            publish(store, folder, manifest)
            raise Left

    with pytest.raises(Left):
        publish(Stepped(store, be_overtaken_and_leave), folder, manifest)
    _sound(store, manifest, tmp_path / "cache")


def test_many_at_once_of_two_contents(store: FileStore, build: Build, tmp_path: Path) -> None:
    releases = [build("v1", seed) for seed in (0, 1)]
    for folder, manifest in releases:
        write_manifest(folder, manifest)
    start = threading.Barrier(4)

    def run(number: int) -> str:
        start.wait()
        command = [sys.executable, "-c", PUBLISH, store.url, str(releases[number % 2][0])]
        return subprocess.run(command, timeout=60, capture_output=True, text=True, check=False).stderr

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(run, range(4)))
    published = read_manifest(store, NAME, "v1")
    winner = [manifest for _, manifest in releases].index(published)
    assert [said[winner], said[winner + 2]] == ["", ""]
    assert all("choose another version" in said[1 - winner + more] for more in (0, 2))
    _sound(store, published, tmp_path / "cache")


def test_killed_in_the_middle(store: FileStore, build: Build, tmp_path: Path) -> None:
    folder, manifest = build("v1", 0)
    write_manifest(folder, manifest)
    code = "import os, signal\nimport contracts.store.disk as s\nreal, n = os.fsync, []\n"
    code += "def fsync(d):\n n.append(d)\n real(d) if len(n) < 9 else os.kill(os.getpid(), signal.SIGKILL)\n"
    code += f"s.os.fsync = fsync\n{PUBLISH}"
    done = subprocess.run([sys.executable, "-c", code, store.url, str(folder)], timeout=60, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert versions(store) == [] and len(store.list("")) >= 3
    with pytest.raises(Conflict, match="choose another version"):
        publish(store, *build("v1", 1))
    publish(store, folder, manifest)
    _sound(store, manifest, tmp_path / "cache")


def test_a_full_disk(store: FileStore, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, manifest = build()
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 8:  # the manifest in the folder, and three files with their folders
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("contracts.store.disk.os.fsync", fsync)
    with pytest.raises(MachineError, match="free some disk space"):
        publish(store, folder, manifest)
    assert versions(store) == []
    monkeypatch.undo()
    publish(store, folder, manifest)
    _sound(store, manifest, tmp_path / "cache")


def _first_difference(one: Path, other: Path) -> int:
    """The step that uploads the first file in which two releases differ."""
    names = [*REQUIRED, MANIFEST]
    return next((i for i, name in enumerate(names) if _differ(one / name, other / name)), STEPS)


def _differ(one: Path, other: Path) -> bool:
    return not other.exists() or not one.exists() or one.read_bytes() != other.read_bytes()


@contextmanager
def _refused_unless(allowed: bool) -> Iterator[None]:
    if allowed:
        yield
    else:
        with pytest.raises(Conflict, match="choose another version"):
            yield
