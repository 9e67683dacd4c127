"""Which of a release's engines a worker takes."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from contracts.engine import serving_engine
from contracts.errors import ConfigError, ModelError
from contracts.release.bundled import bundled_store
from contracts.release.lookup import resolve
from contracts.release.release import Release
from contracts.review import segments
from torchserve.engines.pytorch import TorchEngine
from torchserve.engines.table import ENGINES
from torchserve.model import load_model


class Refusing:
    """An engine that this machine cannot run."""

    def __init__(self, folder: Path, token_limit: int) -> None:
        raise ModelError(f"needs a processor of its own for {token_limit} tokens")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more engines: one that refuses, one whose library is not installed."""
    module = ModuleType("engine_of_the_test")
    vars(module)["Refusing"] = Refusing
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(ENGINES, "refusing", (module.__name__, "Refusing"))
    monkeypatch.setitem(ENGINES, "absent", ("library_that_is_not_there", "Engine"))


def with_engines(release: Release, folder: Path, *kinds: str, **changes: Any) -> Path:
    """A copy of the release that names these engines."""
    shutil.copytree(release.folder, folder)
    engines = [{"kind": kind, "files": ["model.safetensors"]} for kind in kinds]
    manifest = json.loads((folder / "manifest.json").read_bytes()) | {"engines": engines} | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_first_that_runs_is_taken_and_the_others_are_said(
    tiny_release: Release, tmp_path: Path, table: None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = with_engines(tiny_release, tmp_path / "release", "unknown", "absent", "refusing", "torch")
    with caplog.at_level(logging.WARNING):
        model = load_model(folder)
    assert model.kind == "torch" and isinstance(model.engine, TorchEngine)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    for message, reason in zip(said, ("'unknown'", "library_that_is_not_there", "a processor of its own"), strict=True):
        assert reason in message


def test_where_none_runs_every_reason_is_said(tiny_release: Release, tmp_path: Path, table: None) -> None:
    folder = with_engines(tiny_release, tmp_path / "release", "unknown", "absent", "refusing")
    with pytest.raises(ModelError, match=r"'unknown'.*library_that_is_not_there.*128 tokens"):
        load_model(folder)


def test_what_nobody_needs_is_not_imported(tiny_release: Release, tmp_path: Path, table: None) -> None:
    assert load_model(with_engines(tiny_release, tmp_path / "release", "torch", "absent")).kind == "torch"


def test_the_language_is_the_releases(tiny_release: Release, tmp_path: Path) -> None:
    assert load_model(tiny_release.folder).language == "en"
    assert load_model(with_engines(tiny_release, tmp_path / "release", "torch", language="fr")).language == "fr"


def test_a_manifest_of_version_1_names_the_torch_engine(tmp_path: Path) -> None:
    store = bundled_store()
    folder = tmp_path / "release"
    shutil.copytree(store.folder / "releases" / "review-stars" / resolve(store, "production"), folder)
    document = json.loads((folder / "manifest.json").read_bytes())
    [engine] = document.pop("engines")
    del document["language"]
    old = document | {"schema_version": 1, "engine": {"kind": engine["kind"], "batch_size": engine["batch_size"]}}
    (folder / "manifest.json").write_text(json.dumps(old))
    model = load_model(folder)
    assert (model.kind, model.language, model.encoder.limit) == ("torch", "en", 128)


def test_the_serving_engine_is_found_by_its_entry_point(tiny_release: Release) -> None:
    served = serving_engine(tiny_release.folder)
    golden = tiny_release.golden()
    texts = [segments(case.text, case.title, case.category) for case in golden.cases]
    logits = served.engine.infer(tiny_release.encoder().encode(texts))
    assert served.kind == "torch"
    np.testing.assert_allclose(logits, [case.logits for case in golden.cases], rtol=0, atol=1e-5)


def test_without_an_installed_engine_the_extra_is_named(tiny_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contracts.engine.entry_points", lambda **_: [])
    with pytest.raises(ConfigError, match="no engine that serves is installed"):
        serving_engine(tiny_release.folder)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torchserve.model", None)
    with pytest.raises(ConfigError, match=r"torchserve\.model"):
        serving_engine(tiny_release.folder)
