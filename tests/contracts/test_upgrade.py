"""Manifests of version 1: read as today's, their bytes and their signature left as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ReleaseError
from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.default_store import default_store
from contracts.release.files import MANIFEST
from contracts.release.lookup import resolve
from contracts.release.manifest import EngineSpec, Manifest
from contracts.release.release import Release, verify
from contracts.release.signing import signature_problem
from contracts.release.strict_json import load_json
from contracts.release.transfer import fetch, publish, sign
from contracts.settings import Home
from contracts.store.file_store import FileStore

Build = Callable[..., tuple[Path, Manifest]]
NAME = "review-stars"
KEY = b"k1"
SIGNED_BY_0_1 = Path(__file__).with_name("signed_by_0_1.json").read_bytes()
BUNDLED_BY_0_1 = Path(__file__).with_name("bundled_by_0_1.json").read_bytes()


def bundled() -> bytes:
    store = bundled_store()
    return store.read(f"releases/{NAME}/{resolve(store, 'production')}/{MANIFEST}").data


def as_version_1(manifest: Manifest) -> dict[str, Any]:
    """The document that version 0.1 of the project would have written."""
    document = json.loads(manifest.to_json())
    [engine] = document.pop("engines")
    del document["language"]
    return document | {"schema_version": 1, "engine": {"kind": engine["kind"], "batch_size": engine["batch_size"]}}


@pytest.fixture
def old(build: Build) -> Path:
    """A release folder as version 0.1 has made it."""
    folder, manifest = build()
    (folder / MANIFEST).write_text(json.dumps(as_version_1(manifest), indent=2) + "\n")
    return folder


@pytest.mark.parametrize("data", [BUNDLED_BY_0_1, SIGNED_BY_0_1], ids=["bundled by 0.1", "signed by 0.1"])
def test_every_field_of_a_stored_manifest_is_read_as_it_stands(data: bytes) -> None:
    document = json.loads(data)
    assert document["schema_version"] == 1, "the stored bytes are never rewritten"

    manifest = Manifest.parse(data)

    read = json.loads(json.dumps(manifest.model_dump(mode="json")))
    engine = document.pop("engine")
    added = {"schema_version": 2, "language": "en"}
    torch = engine | {"files": ["config.json", "model.safetensors"], "tolerance": None}
    assert read == document | added | {"engines": [torch]}
    assert Manifest.parse(manifest.to_json()).says_the_same(manifest)


def test_what_0_1_left_out_has_the_defaults_of_0_1(build: Build) -> None:
    document = as_version_1(build()[1])
    for name in ("schema_version", "engine", "token_limit", "truncation", "labels"):
        del document[name]
    manifest = Manifest.parse(json.dumps(document))
    assert (manifest.engines, manifest.token_limit) == ((EngineSpec(kind="torch", batch_size=8),), 128)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engines": [{"kind": "torch"}]}, "schema_version is 1, which knows no engines"),
        ({"language": "en"}, "schema_version is 1, which knows no language"),
        ({"engine": "torch"}, "engine: must be an object"),
        ({"engine": {"kind": "torch", "batch_size": 0}}, "batch_size"),
        ({"schema_version": 0}, "schema_version"),
        ({"schema_version": None}, "schema_version"),
        ({"surprise": 1}, "surprise: is not known"),
    ],
)
def test_what_version_1_never_said_is_refused(old: Path, changes: dict[str, Any], said: str) -> None:
    document = json.loads((old / MANIFEST).read_bytes()) | changes
    with pytest.raises(ReleaseError, match=said):
        Manifest.parse(json.dumps(document))


def test_a_release_of_version_1_is_verified_and_opened(old: Path) -> None:
    assert verify(old) == []
    assert Release.open(old).tolerances() == {"torch": 0.02}


def test_it_is_signed_published_fetched_and_promoted_in_its_own_words(
    old: Path, store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (old / MANIFEST).read_bytes()
    publish(store, old, Release.open(old).manifest)
    key = f"releases/{NAME}/v1/{MANIFEST}"
    assert store.read(key).data == before
    channels.move(store, NAME, "production", "v1", "ann", None)
    assert fetch(store, NAME, "v1", tmp_path / "cache").manifest == Release.open(old).manifest

    monkeypatch.setenv("STARS_SIGNING_KEY", KEY.decode())
    sign(store, NAME, "v1")
    stored = load_json(store.read(key).data)
    assert (stored["schema_version"], signature_problem(stored, KEY)) == (1, None)
    assert fetch(store, NAME, "v1", tmp_path / "cache").manifest.signature is not None


def test_a_changed_one_is_written_anew(old: Path, store: FileStore) -> None:
    manifest = Release.open(old).manifest.model_copy(update={"code_revision": "later"})
    publish(store, old, manifest)
    assert json.loads((old / MANIFEST).read_bytes())["schema_version"] == 2


def test_the_bundled_release_enters_a_store_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older version of the project may be using the same store."""
    home = Home(tmp_path / "home")
    store = default_store(home)
    key = f"releases/{NAME}/{resolve(store, 'production')}/{MANIFEST}"
    assert store.read(key).data == bundled()
    monkeypatch.setenv("STARS_SIGNING_KEY", KEY.decode())
    stored = load_json(default_store(home).read(key).data)
    assert signature_problem(stored, KEY) is None
    assert {**stored, "signature": None} == load_json(bundled())
    shutil.rmtree(home.create().store)
    assert load_json(default_store(home).read(key).data) == stored
