"""The folder that TorchServe loads: what is in it, and what happens when one is there already."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contracts.errors import ConfigError, MachineError
from contracts.model_folder import HANDLER, WorkerSettings, model_files, write_model_folder
from contracts.release.manifest import FileEntry
from contracts.release.release import Release


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_the_workers_files_and_torchserves(tiny_release: Release, tmp_path: Path) -> None:
    folder = write_model_folder(tiny_release, tmp_path / "store")

    assert folder == tmp_path / "store" / "review-stars-tiny-1"
    assert files(folder) == {*model_files(tiny_release.manifest), "MAR-INF/MANIFEST.json", "model-config.yaml"}
    for name in model_files(tiny_release.manifest):
        assert FileEntry.of(folder / name) == FileEntry.of(tiny_release.folder / name)
    archive = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    assert archive["model"] == {
        "modelName": "review-stars",
        "modelVersion": "tiny-1",
        "handler": HANDLER,
        "configFile": "model-config.yaml",
    }
    config = yaml.safe_load((folder / "model-config.yaml").read_text())
    assert (config["minWorkers"], config["maxWorkers"], config["deviceType"]) == (1, 1, "cpu")
    assert config["maxBatchDelay"] >= 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half-written is left"


def test_a_sound_folder_stays_as_it_is(tiny_release: Release, tmp_path: Path) -> None:
    folder = write_model_folder(tiny_release, tmp_path)
    inode = folder.stat().st_ino
    assert write_model_folder(tiny_release, tmp_path).stat().st_ino == inode


def test_other_settings_replace_it(tiny_release: Release, tmp_path: Path) -> None:
    write_model_folder(tiny_release, tmp_path)
    folder = write_model_folder(tiny_release, tmp_path, WorkerSettings(workers=2))
    assert yaml.safe_load((folder / "model-config.yaml").read_text())["maxWorkers"] == 2


def add_code(folder: Path) -> None:
    (folder / "torchserve.py").write_text("raise SystemExit")


def change_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(b"\x80other weights")


def change_handler(folder: Path) -> None:
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace(HANDLER, "other.handler"))


def take_a_file(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def break_text(folder: Path) -> None:
    (folder / "model-config.yaml").write_bytes(b"\xff")


def be_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def be_a_link(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize(
    "change", [add_code, change_weights, change_handler, take_a_file, break_text, be_a_file, be_a_link]
)
def test_whatever_else_is_there_is_replaced(
    tiny_release: Release, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = write_model_folder(tiny_release, tmp_path)
    change(folder)

    assert write_model_folder(tiny_release, tmp_path) == folder

    assert folder.is_dir() and not folder.is_symlink()
    assert files(folder) == {*model_files(tiny_release.manifest), "MAR-INF/MANIFEST.json", "model-config.yaml"}
    assert HANDLER in (folder / "MAR-INF" / "MANIFEST.json").read_text()
    assert FileEntry.of(folder / "model.safetensors") == tiny_release.manifest.files["model.safetensors"]


def test_files_are_copied_where_links_cannot_be_made(
    tiny_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    folder = write_model_folder(tiny_release, tmp_path)
    assert FileEntry.of(folder / "model.safetensors") == tiny_release.manifest.files["model.safetensors"]
    assert (folder / "model.safetensors").stat().st_nlink == 1


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tiny_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(MachineError, match="No space left on device.*make room"):
        write_model_folder(tiny_release, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["workers", "batch_requests", "batch_delay_ms", "response_seconds"])
def test_settings_are_one_or_more(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be 1 or more"):
        WorkerSettings(**{name: 0})
