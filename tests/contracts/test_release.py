from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from contracts.errors import MachineError, NotFound, ReleaseError
from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.default_store import default_store
from contracts.release.files import FILES, MANIFEST, REQUIRED
from contracts.release.lookup import find, resolve
from contracts.release.manifest import EngineSpec, FileEntry, Manifest
from contracts.release.published import read_manifest, versions
from contracts.release.release import Release, verify
from contracts.release.transfer import fetch, file_entries, publish, write_manifest
from contracts.settings import Home
from contracts.store.file_store import FileStore

Build = Callable[..., tuple[Path, Manifest]]
NAME = "review-stars"


@pytest.fixture
def release(build: Build) -> Path:
    """A sound release folder, to be damaged."""
    folder, manifest = build()
    write_manifest(folder, manifest)
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    change(document)
    (folder / MANIFEST).write_text(json.dumps(document))


def replace(folder: Path, name: str, content: bytes) -> None:
    """Another file content with its right hash: what an attacker or a bug in an exporter would write."""
    (folder / name).write_bytes(content)
    entry = FileEntry.of(folder / name).model_dump()
    edit_manifest(folder, lambda document: document["files"].update({name: entry}))


def edit(folder: Path, name: str, **changes: Any) -> None:
    replace(folder, name, json.dumps(json.loads((folder / name).read_bytes()) | changes).encode())


def only_problem(folder: Path) -> str:
    problems = verify(folder)
    assert len(problems) == 1, problems
    with pytest.raises(ReleaseError) as caught:
        Release.open(folder)
    assert list(caught.value.problems) == problems
    return problems[0]


# Sound releases


def test_a_sound_release(release: Path) -> None:
    assert verify(release) == []
    opened = Release.open(release)
    assert opened.manifest.version == "v1"
    assert opened.golden().cases[0].stars == 5
    assert opened.encoder().limit == opened.manifest.token_limit == 128


def test_publish_fetch_and_fetch_again(store: FileStore, build: Build, tmp_path: Path) -> None:
    folder, manifest = build()
    publish(store, folder, manifest)
    assert store.list("") == sorted(f"releases/{NAME}/v1/{name}" for name in (*REQUIRED, MANIFEST))
    fetched = fetch(store, NAME, "v1", tmp_path / "cache")
    assert fetched.folder == tmp_path / "cache" / NAME / "v1"
    assert fetched.manifest == manifest == read_manifest(store, NAME, "v1")
    inode = (fetched.folder / "model.safetensors").stat().st_ino
    assert fetch(store, NAME, "v1", tmp_path / "cache").manifest == manifest
    assert (fetched.folder / "model.safetensors").stat().st_ino == inode, "downloaded again"
    (fetched.folder / "config.json").write_text("{}")
    assert verify(fetch(store, NAME, "v1", tmp_path / "cache").folder) == []


def test_fetching_at_once_gives_each_a_sound_folder(store: FileStore, build: Build, tmp_path: Path) -> None:
    publish(store, *build())
    found: list[Release] = []
    run = lambda: found.append(fetch(store, NAME, "v1", tmp_path / "cache"))  # noqa: E731
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and {verify(each.folder) == [] for each in found} == {True}


def test_only_sound_folders_are_published(store: FileStore, build: Build) -> None:
    folder, manifest = build()
    (folder / "MODEL_CARD.md").write_text("changed since")
    with pytest.raises(ReleaseError, match=r"MODEL_CARD\.md"):
        publish(store, folder, manifest)
    assert store.list("") == []


def test_a_missing_file_in_a_new_release(build: Build) -> None:
    folder, _ = build()
    (folder / "golden.json").unlink()
    with pytest.raises(ReleaseError, match=r"golden\.json"):
        file_entries(folder)


# Bad input


def test_no_folder_and_no_manifest(tmp_path: Path, build: Build) -> None:
    assert "no release folder" in only_problem(tmp_path / "absent")
    assert only_problem(build()[0]) == "manifest.json: missing"


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file(release: Path, name: str) -> None:
    (release / name).unlink()
    assert f"{name}: missing" in verify(release)


@pytest.mark.parametrize("name", REQUIRED)
def test_flipped_byte(release: Path, name: str) -> None:
    content = bytearray((release / name).read_bytes())
    content[len(content) // 2] ^= 1
    (release / name).write_bytes(content)
    assert only_problem(release) == f"{name}: damaged: its sha256 is not the manifest's"


def test_cut_file(release: Path) -> None:
    os.truncate(release / "model.safetensors", 100)
    assert "model.safetensors: has 100 bytes" in only_problem(release)


def test_unlisted_files(release: Path) -> None:
    (release / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (release / "handler.py").write_text("import os")
    (release / "sub").mkdir()
    assert [line.split(":")[0] for line in verify(release)] == ["sub", "handler.py", "pytorch_model.bin"]


@pytest.mark.parametrize("name", ["model.safetensors", MANIFEST])
def test_links_and_pipes(release: Path, tmp_path: Path, name: str) -> None:
    (release / name).rename(tmp_path / "elsewhere")
    (release / name).symlink_to(tmp_path / "elsewhere")
    assert only_problem(release) == f"{name}: not a plain file"
    (release / name).unlink()
    os.mkfifo(release / name)
    assert only_problem(release) == f"{name}: not a plain file"


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "sub/../config.json", "model.mar", ""])
def test_names_that_are_no_release_files(release: Path, name: str) -> None:
    edit_manifest(release, lambda document: document["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    assert f"{name!r} is not the name of a release file" in only_problem(release)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "../v1"),
        ("version", "v1\n"),
        ("name", "/review-stars"),
        ("schema_version", 3),
        ("schema_version", "2"),
        ("language", "English"),
        ("engines", []),
        ("engines", [{"kind": "torch"}, {"kind": "torch"}]),
        ("engines", [{"kind": "Torch 2"}]),
        ("engines", [{"kind": "torch", "files": []}]),
        ("engines", [{"kind": "torch", "tolerance": 0}]),
        ("created", "2026-01-01T00:00:00"),  # without a time zone
        ("temperature", 0),
        ("token_limit", 100_000),
        ("labels", [0, 1, 2, 3, 4]),
        ("weights_dtype", "int4"),
        ("files", {}),
        ("surprise", 1),
    ],
)
def test_bad_manifest_fields(release: Path, field: str, value: object) -> None:
    edit_manifest(release, lambda document: document.update({field: value}))
    problems = verify(release)
    assert problems and all(line.startswith(f"manifest.json: {field}") for line in problems)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"temperature": NaN}', b"[" * 100_000, b" " * 2_000_000]
)
def test_manifests_that_are_not_json(release: Path, content: bytes) -> None:
    (release / MANIFEST).write_bytes(content)
    problems = verify(release)
    assert problems and all(line.startswith("manifest.json") for line in problems)


def test_a_manifest_lists_all_its_problems(release: Path) -> None:
    edit_manifest(release, lambda document: document.update({"temperature": -1, "version": "A"}))
    assert len(verify(release)) == 2


def test_infinity_in_metrics_is_refused(release: Path) -> None:
    text = (release / MANIFEST).read_text().replace("0.61", "1e999")
    (release / MANIFEST).write_text(text)
    assert "manifest.json" in only_problem(release)


def test_pickle_and_zip_instead_of_safetensors(release: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(marker),)

    replace(release, "model.safetensors", pickle.dumps(Evil()))
    assert "model.safetensors: model.safetensors is a pickle file, not safetensors" in only_problem(release)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    replace(release, "model.safetensors", (tmp_path / "zip").read_bytes())
    assert "zip archive" in only_problem(release)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("config.json", {"model_type": "gpt2"}, "neither bert nor distilbert"),
        ("config.json", {"id2label": {"0": "5", "1": "4", "2": "3", "3": "2", "4": "1"}}, "stars"),
        ("config.json", {"max_position_embeddings": 64}, "positions"),
        ("config.json", {"vocab_size": 3}, "tokens where the model knows 3"),
        ("calibration.json", {"temperature": 2.0}, "temperature is 2.0"),
        ("calibration.json", {"ece_after": 7}, "ece_after"),
        ("golden.json", {"cases": []}, "cases"),
        ("golden.json", {"tolerance": 0}, "tolerance"),
        ("golden.json", {"cases": [{"text": "x", "logits": [1, 0, 0, 0], "stars": 1}]}, "logits"),
        ("golden.json", {"cases": [{"text": "x", "logits": [9, 0, 0, 0, 0], "stars": 5}]}, "largest logit"),
        ("golden.json", {"cases": [{"text": "", "logits": [9, 0, 0, 0, 0], "stars": 1}]}, "text"),
        ("tokenizer.json", {"model": {}}, "not a tokenizer"),
    ],
)
def test_wrong_contents_with_right_hashes(release: Path, file: str, changes: dict[str, Any], word: str) -> None:
    edit(release, file, **changes)
    assert word in only_problem(release)


@pytest.mark.parametrize("file", [name for name in REQUIRED if name.endswith(".json")])
@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"NaN", b"[" * 100_000])
def test_documents_that_are_not_json(release: Path, file: str, content: bytes) -> None:
    replace(release, file, content)
    problems = verify(release)
    assert any(line.startswith(file) for line in problems), problems


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_empty_cards(release: Path, content: bytes) -> None:
    if content:
        replace(release, "DATA_CARD.md", content)
    else:
        (release / "DATA_CARD.md").write_bytes(content)
    assert only_problem(release).startswith("DATA_CARD.md")


def test_review_text_is_in_no_problem(release: Path) -> None:
    case = {"text": "my secret review", "logits": [9, 0, 0, 0, 0], "stars": "my secret review"}
    edit(release, "golden.json", cases=[case])
    assert "secret" not in only_problem(release)


def test_float16_weights_are_said_to_be(release: Path) -> None:
    edit_manifest(release, lambda document: document.update({"weights_dtype": "float16"}))
    assert "holds no float16" in only_problem(release)


# Stores that went wrong


def test_fetch_of_a_damaged_release(store: FileStore, build: Build, tmp_path: Path) -> None:
    publish(store, *build())
    key = f"releases/{NAME}/v1/golden.json"
    content = store.read(key).data
    store.write(key, content.replace(b"0.9", b"0.8"))
    with pytest.raises(ReleaseError, match="sha256"):
        fetch(store, NAME, "v1", tmp_path / "cache")
    store.write(key, content + bytes(10_000))
    with pytest.raises(Exception, match="it is not what it says"):
        fetch(store, NAME, "v1", tmp_path / "cache")
    store.delete(key)
    with pytest.raises(ReleaseError, match=r"golden\.json .* is missing"):
        fetch(store, NAME, "v1", tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.name.endswith(".json")] == []


def test_a_release_under_another_name(store: FileStore, build: Build, tmp_path: Path) -> None:
    publish(store, *build("v1"))
    shutil.copytree(tmp_path / f"store/releases/{NAME}/v1", tmp_path / f"store/releases/{NAME}/v2")
    with pytest.raises(ReleaseError, match="belongs to review-stars v1"):
        fetch(store, NAME, "v2", tmp_path / "cache")


def test_unknown_versions_name_what_there_is(store: FileStore, build: Build, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds nothing"):
        read_manifest(store, NAME, "v9")
    publish(store, *build("v1"))
    with pytest.raises(NotFound, match="holds v1"):
        fetch(store, NAME, "v9", tmp_path / "cache")
    with pytest.raises(NotFound, match="no version"):
        fetch(store, NAME, "../../v1", tmp_path / "cache")


def test_disk_full_while_fetching(
    store: FileStore, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, *build())

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("contracts.store.disk.os.fsync", full)
    with pytest.raises(MachineError, match="free some disk space"):
        fetch(store, NAME, "v1", tmp_path / "cache")
    monkeypatch.undo()
    assert fetch(store, NAME, "v1", tmp_path / "cache").manifest.version == "v1"


# References


def test_resolve(store: FileStore, build: Build) -> None:
    with pytest.raises(NotFound, match="stars pipeline run"):
        resolve(store, "latest")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    publish(store, *build("v2", created=now))
    publish(store, *build("v1", created=now + timedelta(hours=1)))
    assert versions(store) == ["v1", "v2"]
    assert resolve(store, "latest") == "v1"
    assert resolve(store, "v2") == "v2"
    with pytest.raises(NotFound, match="points nowhere"):
        resolve(store, "production")
    channels.move(store, NAME, "production", "v2", "ann", None)
    assert resolve(store, "production") == "v2"


def test_find(store: FileStore, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, manifest = build("v1")
    publish(store, folder, manifest)
    assert find(str(folder), store, tmp_path / "cache").folder == folder
    assert find("latest", store, tmp_path / "cache").folder == tmp_path / "cache" / NAME / "v1"
    with pytest.raises(ReleaseError, match="no release folder"):
        find("./nothing", store, tmp_path / "cache")
    channels.move(store, NAME, "production", "v1", "ann", None)
    monkeypatch.setattr("contracts.release.lookup.bundled_store", lambda: store)
    assert find("bundled", FileStore(tmp_path / "other"), tmp_path / "cache").manifest.version == "v1"


def test_bundled_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contracts.release.bundled.ROOT", tmp_path)
    with pytest.raises(NotFound, match="STARS_STORE"):
        bundled_store()
    (tmp_path / "releases").mkdir()
    assert bundled_store().url == (tmp_path / "releases").as_uri()


class TestDefaultStore:
    @pytest.fixture
    def bundled(self, store: FileStore, build: Build, monkeypatch: pytest.MonkeyPatch) -> FileStore:
        """A store with v1 in production, as the one that comes with the project."""
        publish(store, *build("v1"))
        channels.move(store, NAME, "production", "v1", "ann", None)
        monkeypatch.setattr("contracts.release.default_store.bundled_store", lambda: store)
        return store

    def upgrade(self, bundled: FileStore, build: Build) -> None:
        publish(bundled, *build("v2"))
        channels.move(bundled, NAME, "production", "v2", "ann", channels.read(bundled, NAME, "production")[1])

    def test_begins_with_the_bundled_release_and_follows_it(
        self, bundled: FileStore, build: Build, tmp_path: Path
    ) -> None:
        home = Home(tmp_path / "home")
        before = bundled.list("")
        for _ in range(2):
            assert resolve(default_store(home), "production") == "v1"
        assert fetch(default_store(home), NAME, "v1", tmp_path / "cache").manifest.version == "v1"
        self.upgrade(bundled, build)
        assert resolve(default_store(home), "production") == "v2"
        assert versions(default_store(home)) == ["v1", "v2"]
        assert set(before) <= set(bundled.list(""))

    def test_what_a_person_promoted_stays(self, bundled: FileStore, build: Build, tmp_path: Path) -> None:
        home = Home(tmp_path / "home")
        own = default_store(home)
        publish(own, *build("mine"))
        channels.move(own, NAME, "production", "mine", "ann", channels.read(own, NAME, "production")[1])
        self.upgrade(bundled, build)
        assert resolve(default_store(home), "production") == "mine"
        assert resolve(bundled, "production") == "v2"
        assert versions(own) == ["mine", "v1", "v2"]

    def test_another_store_is_left_as_it_is(
        self, bundled: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STARS_STORE", str(tmp_path / "other"))
        assert default_store(Home(tmp_path / "home")).list("") == []
        assert not (tmp_path / "home").exists()

    def test_an_installation_without_a_bundled_release(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("contracts.release.bundled.ROOT", tmp_path)
        assert default_store(Home(tmp_path / "home")).list("") == []


# Optional files and engines


OPTIONAL = sorted(set(FILES) - set(REQUIRED))


def enrich(folder: Path, manifest: Manifest, **engine: Any) -> Manifest:
    """The release with every optional file, and an engine before the reference."""
    for name in OPTIONAL:
        (folder / name).write_text("{}")
    arrays = {"x": np.ones((2, 3), np.int8), "scale": np.ones(2, np.float32)}
    safetensors.numpy.save_file(arrays, folder / "model-int8.safetensors")
    fast = EngineSpec(**{"kind": "torch-int8", "files": ["model-int8.safetensors"], "tolerance": 0.5} | engine)
    changes = {"files": file_entries(folder), "engines": (fast, EngineSpec(batch_size=4))}
    return write_manifest(folder, manifest.model_copy(update=changes))


def test_a_release_with_all_that_there_can_be(store: FileStore, build: Build, tmp_path: Path) -> None:
    folder, manifest = build()
    manifest = enrich(folder, manifest)
    assert verify(folder) == []
    publish(store, folder, manifest)
    fetched = fetch(store, NAME, "v1", tmp_path / "cache")
    assert fetched.manifest == manifest
    assert {path.name for path in fetched.folder.iterdir()} == {*FILES, MANIFEST}
    assert fetched.tolerances() == {"torch-int8": 0.5, "torch": 0.02}


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_file_is_checked_as_the_others(release: Path, build: Build, name: str) -> None:
    (release / name).write_text("{}")
    assert only_problem(release) == f"{name}: not listed in the manifest, remove it"
    enrich(release, Release.open(_without(release, name)).manifest)
    replace(release, name, b"[]")
    assert only_problem(release).startswith(f"{name}: ")
    (release / name).unlink()
    assert only_problem(release) == f"{name}: missing"


def _without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def test_the_trained_weights_are_never_quantised(release: Path) -> None:
    arrays = {"classifier.weight": np.ones((5, 8), np.int8)}
    replace(release, "model.safetensors", safetensors.numpy.save(arrays))
    assert "is not stored as F32 or F16" in only_problem(release)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("conformal.jsn", "conformal.json"),
        ("model-int4.safetensors", "model-int8.safetensors"),
        ("data-profile.json", "data_profile.json"),
    ],
)
def test_an_unknown_file_is_answered_with_the_nearest_name(release: Path, name: str, nearest: str) -> None:
    edit_manifest(release, lambda document: document["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    assert f"{name!r} is not the name of a release file: did you mean {nearest!r}?" in only_problem(release)


def test_a_file_may_not_be_larger_than_its_kind(release: Path) -> None:
    entry = {"sha256": "0" * 64, "size": 2**40}
    edit_manifest(release, lambda document: document["files"].update({"MODEL_CARD.md": entry}))
    assert "MODEL_CARD.md has 1099511627776 bytes and may have 1048576" in only_problem(release)


def test_an_engine_reads_what_is_in_the_release(release: Path) -> None:
    engine = {"kind": "fast", "files": ["model-int8.safetensors"]}
    edit_manifest(release, lambda document: document.update({"engines": [engine]}))
    assert "the engine fast reads 'model-int8.safetensors', which is no file of the release" in only_problem(release)
