"""Inference gives each review what it would get alone, and refuses weights that are not a whole classifier."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import AutoModelForSequenceClassification

from contracts.errors import ModelError
from training.data.tokens import TokenRows
from training.model.reference import ReferenceModel
from training.package.rounding import cast_weights


@pytest.fixture(scope="module")
def reviews(tiny_inputs: dict[str, Path]) -> TokenRows:
    return TokenRows.stored(tiny_inputs["prepare"], "test")


def test_batches_change_nothing(tiny_inputs: dict[str, Path], reviews: TokenRows) -> None:
    alone = AutoModelForSequenceClassification.from_pretrained(tiny_inputs["convert"]).eval()
    expected = []
    with torch.inference_mode():
        for row in range(len(reviews)):
            ids, types = (torch.from_numpy(array) for array in reviews.batch(np.array([row]), multiple=1))
            expected.append(alone(input_ids=ids, token_type_ids=types).logits[0].numpy())
    told: list[float] = []
    found = ReferenceModel(tiny_inputs["convert"], batch_size=7).logits(reviews, told.append)
    assert np.abs(found - np.array(expected)).max() < 1e-5
    assert told == sorted(told)
    assert told[-1] == 1


def test_half_precision_weights_are_computed_in_full(
    tiny_inputs: dict[str, Path], reviews: TokenRows, tmp_path: Path
) -> None:
    shutil.copy(tiny_inputs["convert"] / "config.json", tmp_path)
    cast_weights(tiny_inputs["convert"] / "model.safetensors", tmp_path / "model.safetensors", "float16")
    half = ReferenceModel(tmp_path)
    assert {weight.dtype for weight in half._model.parameters()} == {torch.float32}
    full = ReferenceModel(tiny_inputs["convert"]).logits(reviews)
    assert 0 < np.abs(half.logits(reviews) - full).max() < 0.02


def test_nothing_in_nothing_out(tiny_inputs: dict[str, Path]) -> None:
    assert ReferenceModel(tiny_inputs["convert"]).logits(TokenRows.of([])).shape == (0, 5)


def _drop_head(folder: Path) -> None:
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    safetensors.numpy.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _pickle_instead(folder: Path) -> None:
    torch.save({"classifier.weight": torch.zeros(5, 32)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _reconfigure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_drop_head, "1 missing keys, the first is classifier.weight"),
        (_pickle_instead, "no classifier that PyTorch can read"),
        (_cut, "no classifier that PyTorch can read"),
        (lambda folder: _reconfigure(folder, model_type="gpt2"), "model_type 'gpt2'"),
        (lambda folder: _reconfigure(folder, hidden_size=64), r"no classifier that PyTorch can read|mismatched keys"),
        (lambda folder: (folder / "config.json").write_text("{"), "no readable config.json"),
        (lambda folder: (folder / "config.json").unlink(), "no readable config.json"),
    ],
)
def test_anything_but_a_whole_classifier_is_refused(
    tiny_inputs: dict[str, Path], tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_inputs["convert"], folder)
    damage(folder)
    with pytest.raises(ModelError, match=said):
        ReferenceModel(folder)
