"""Whose folder it is: a stage empties its own and no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from training.running import folder
from training.running.folder import FACTS, begin, check_folder, started


@pytest.fixture
def out(tmp_path: Path) -> Path:
    begin(tmp_path / "out", "train", "first")
    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "one").write_text("weights")
    return tmp_path / "out"


def test_a_folder_is_emptied_and_what_begins_in_it_is_known(out: Path) -> None:
    check_folder(out, "train")
    begin(out, "train", "second")
    assert started(out) == ("train", "second")
    assert [path.name for path in out.iterdir()] == [".started.json"]


@pytest.mark.parametrize(
    "content",
    [
        {"notes.txt": "mine"},
        {"facts.json": "my own facts"},
        {"facts.json": '{"stage": "a play"}'},
        {"facts.json": '["stage", "fingerprint"]'},
        {"data/.hidden": "mine"},
    ],
)
def test_what_a_stage_did_not_make_is_refused_and_kept(content: dict[str, str], tmp_path: Path) -> None:
    """Fault 8."""
    for name, text in content.items():
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_text(text)
    with pytest.raises(ConfigError, match=r"train holds files that train did not make.*--work.*--output"):
        check_folder(tmp_path / "train", "train")


def test_a_file_and_another_stages_folder_are_refused(out: Path) -> None:
    with pytest.raises(ConfigError, match="is what the stage train made, and prepare would delete it"):
        check_folder(out, "prepare")
    (out / FACTS).write_text(json.dumps({"stage": "train", "fingerprint": "first"}))
    (out / ".started.json").unlink()
    check_folder(out, "train")
    with pytest.raises(ConfigError, match="the stage train made"):
        check_folder(out, "prepare")
    with pytest.raises(ConfigError, match="is no folder"):
        check_folder(out / FACTS, "train")


def test_a_folder_that_an_earlier_version_began_is_a_stages(out: Path) -> None:
    (out / ".started.json").write_text("0" * 64)
    check_folder(out, "train")
    assert started(out) != ("train", "0" * 64)


def test_an_empty_disk_is_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    check_folder(tmp_path, "train")
    begin(tmp_path, "train", "first")
    assert (tmp_path / "lost+found").is_dir()


@pytest.mark.parametrize("last", ["write_whole", "unlink", "rmtree"])
def test_a_beginning_that_is_cut_off_leaves_a_folder_of_the_stage(
    last: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither finished, nor to be resumed with what an earlier run of other work left in it."""
    (out / FACTS).write_text(json.dumps({"stage": "train", "fingerprint": "first"}))
    written: list[str] = []

    def cut(*_args: object, **_kwargs: object) -> None:
        if last == "write_whole" and not written:
            written.append("begins")
            return
        raise KeyboardInterrupt

    where = {"write_whole": (folder, "write_whole"), "unlink": (Path, "unlink"), "rmtree": (shutil, "rmtree")}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*where[last], cut)
        begin(out, "train", "second")
    check_folder(out, "train")
    assert started(out) != ("train", "second")


def test_a_folder_that_cannot_be_removed_is_emptied(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 23: a mount point, such as SM_MODEL_DIR, is busy for rmdir."""
    rmdir = os.rmdir

    def busy(path: str, **more: int) -> None:
        if Path(path) == out:
            raise OSError(16, "Device or resource busy", path)
        rmdir(path, **more)

    monkeypatch.setattr(os, "rmdir", busy)
    begin(out, "train", "second")
    assert [path.name for path in out.iterdir()] == [".started.json"]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "mounted"
    point.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "tmpfs", point], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_mount_point_is_emptied(mounted: Path) -> None:
    """Fault 23, on a real one."""
    begin(mounted, "train", "first")
    (mounted / "checkpoints").mkdir()
    begin(mounted, "train", "second")
    assert [path.name for path in mounted.iterdir()] == [".started.json"]


def test_a_link_to_a_folder_is_emptied_and_links_in_it_are_not_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (out / "linked").symlink_to(tmp_path / "mine")
    (tmp_path / "link").symlink_to(out)
    check_folder(tmp_path / "link", "train")
    begin(tmp_path / "link", "train", "second")
    assert [path.name for path in out.iterdir()] == [".started.json"]
    assert (tmp_path / "mine" / "notes.txt").exists()
