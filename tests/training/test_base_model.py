"""Which model training starts from: by its content, and the same for prepare and train."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.errors import ConfigError, ModelError
from contracts.release.release import Release
from contracts.stages import PrepareConfig, TrainConfig
from training.model import base_model
from training.model.base_model import hashes, identity, locate, of_prepare
from training.running.configuration import load_config
from training.stages import prepare


@pytest.fixture
def base(tiny_release: Release, tmp_path: Path) -> Path:
    """A Hugging Face folder."""
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(tiny_release.folder / name, tmp_path / "base" / name)
    return tmp_path / "base"


def test_a_base_model_has_its_licence_where_we_know_it_and_a_release_its_own_base(
    tiny_release: Release, base: Path
) -> None:
    minilm = identity("minilm", locate("minilm"))
    assert (minilm["name"], minilm["description"]) == ("minilm", "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)")
    assert identity("a copy", locate("minilm")) == minilm
    assert identity("someone/else", base)["description"] == "someone/else"
    released = identity(str(tiny_release.folder), tiny_release.folder)
    version = tiny_release.manifest.version
    assert released["description"] == f"review-stars {version}, which started from tiny random BERT"


def test_the_model_that_prepare_used_is_found_again_whatever_it_was_called(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    for name in ("base", str(base), "minilm"):
        known = {"base_model": identity(name, Path("base"))}
        assert of_prepare(known, None) == base
    elsewhere = base.with_name("channel")
    base.rename(elsewhere)
    assert of_prepare(known, elsewhere) == elsewhere
    with pytest.raises(ModelError, match="there is no folder"):
        of_prepare(known, None)


def test_another_content_under_the_same_name_is_refused(base: Path) -> None:
    """Fault 14: the weights could be another model's than the tokenizer."""
    known = {"base_model": identity(str(base), base)}
    (base / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer.json in .*base differ.*run prepare again"):
        of_prepare(known, None)
    with pytest.raises(ConfigError, match="run prepare again"):
        of_prepare({}, None)


def test_prepare_counts_what_is_in_the_folder_unless_another_is_given(base: Path) -> None:
    """Fault 14: a folder whose content changed counted as unchanged."""
    config = prepare.Config(base_model=str(base))
    assert prepare.named_inputs(config, {}) == {"base_model": base}
    assert prepare.named_inputs(config, {"base_model": base}) == {}


def test_there_is_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 14: prepare.base_model and train.base_model could differ unseen."""
    with pytest.raises(ConfigError, match=r"set once, as prepare\.base_model"):
        load_config(TrainConfig, "train", flags={"base_model": "minilm"})
    monkeypatch.setenv("STARS_TRAIN_BASE_MODEL", "minilm")
    with pytest.raises(ConfigError, match=r"set once, as prepare\.base_model"):
        load_config(TrainConfig, "train")
    monkeypatch.setenv("STARS_PREPARE_BASE_MODEL", "somewhere")
    assert load_config(PrepareConfig, "prepare").base_model == "somewhere"


def test_an_unknown_variable_of_a_stage_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_TRAIN_EPOCS", "2")
    with pytest.raises(ConfigError, match="did you mean epochs"):
        load_config(TrainConfig, "train")


def test_a_folder_that_lacks_a_file_and_a_package_that_was_changed_are_said(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "config.json").unlink()
    with pytest.raises(ModelError, match=r"lacks config\.json"):
        hashes(base)
    monkeypatch.setattr(base_model, "_MINILM_SHA256", base_model._MINILM_SHA256 | {"config.json": "0" * 64})
    with pytest.raises(ModelError, match="install the package again"):
        locate("minilm")
