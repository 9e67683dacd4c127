"""The real TensorFlow against the real PyTorch, and conversions that are wrong on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from contracts.errors import GateError, ModelError
from contracts.review import segments
from training.data.arrays import Floats
from training.data.labelled import prepared_encoder
from training.data.tokens import TokenRows
from training.model.hard_texts import hard_texts
from training.model.parity import Parity, tensorflow_logits
from training.model.reference import ReferenceModel
from training.running.execution import execute
from training.stages import convert

from . import tiny
from .recorder import Recorder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoded(tiny_inputs: dict[str, Path]) -> TokenRows:
    texts = [segments(r.review_body, r.review_headline, r.product_category) for r in hard_texts()]
    return TokenRows.of(prepared_encoder(tiny_inputs["prepare"]).encode(texts))


@pytest.fixture(scope="module")
def expected(tiny_inputs: dict[str, Path], encoded: TokenRows) -> Floats:
    """What TensorFlow answers."""
    from training.model.bert import load_safetensors

    return tensorflow_logits(load_safetensors(tiny_inputs["train"] / "model"), encoded)


def test_a_bert_passes_and_its_files_are_whole(tiny_inputs: dict[str, Path], tmp_path: Path) -> None:
    inputs = {name: tiny_inputs[name] for name in ("prepare", "train")}
    facts = execute(convert.STAGE, convert.Config(), inputs, tmp_path / "convert", Recorder())
    assert facts["parity_texts"] == facts["parity_agreeing"] >= 500
    assert facts["parity_relative"] < 1e-5
    assert json.loads((tmp_path / "convert" / "parity.json").read_text())["texts"] == facts["parity_texts"]
    ReferenceModel(tmp_path / "convert")


def test_a_distilbert_passes(tiny_inputs: dict[str, Path], tmp_path: Path) -> None:
    from training.model.bert import BertClassifier, save_safetensors
    from training.model.bert_config import BertConfig

    vocabulary = tiny.tokenizer().get_vocab_size()
    model = BertClassifier(BertConfig(model_type="distilbert", vocab_size=vocabulary, **tiny.SHAPE))
    rng = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(variable + rng.normal(scale=0.1, size=variable.shape))
    (tmp_path / "train").mkdir()
    save_safetensors(model, tmp_path / "train" / "model")
    tiny.write_facts(tmp_path / "train")
    inputs = {"prepare": tiny_inputs["prepare"], "train": tmp_path / "train"}
    facts = execute(convert.STAGE, convert.Config(), inputs, tmp_path / "convert", Recorder())
    assert facts["parity_relative"] < 1e-5
    assert facts["parity_largest_logit"] > 0.1


def swap_query_and_key(weights: dict[str, Any]) -> None:
    query, key = "bert.encoder.layer.1.attention.self.query.weight", "bert.encoder.layer.1.attention.self.key.weight"
    weights[query], weights[key] = weights[key], weights[query]


def transpose_a_square(weights: dict[str, Any]) -> None:
    name = "bert.encoder.layer.0.attention.output.dense.weight"
    weights[name] = np.ascontiguousarray(weights[name].T)


def shift_positions(weights: dict[str, Any]) -> None:
    name = "bert.embeddings.position_embeddings.weight"
    weights[name] = np.roll(weights[name], 1, axis=0)


def reverse_the_labels(weights: dict[str, Any]) -> None:
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][::-1].copy()


def nudge_one_weight(weights: dict[str, Any]) -> None:
    weights["bert.pooler.dense.weight"][3, 5] += 0.01


@pytest.mark.parametrize(
    "damage", [swap_query_and_key, transpose_a_square, shift_positions, reverse_the_labels, nudge_one_weight]
)
def test_a_wrong_conversion_cannot_pass(
    tiny_inputs: dict[str, Path],
    tmp_path: Path,
    encoded: TokenRows,
    expected: Floats,
    damage: Callable[[dict[str, Any]], None],
) -> None:
    shutil.copy(tiny_inputs["convert"] / "config.json", tmp_path)
    weights = safetensors.numpy.load_file(tiny_inputs["convert"] / "model.safetensors")
    damage(weights)
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    parity = Parity.of(expected, ReferenceModel(tmp_path).logits(encoded))
    with pytest.raises(GateError, match="does not compute what TensorFlow does"):
        parity.check(convert.Config().tolerance)


@pytest.mark.parametrize("changes", [{"layer_norm_eps": 1e-2}, {"num_attention_heads": 8}, {"hidden_act": "gelu_new"}])
def test_a_wrong_config_cannot_pass(
    tiny_inputs: dict[str, Path], tmp_path: Path, encoded: TokenRows, expected: Floats, changes: dict[str, Any]
) -> None:
    shutil.copy(tiny_inputs["convert"] / "model.safetensors", tmp_path)
    config = json.loads((tiny_inputs["convert"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(GateError):
        Parity.of(expected, ReferenceModel(tmp_path).logits(encoded)).check(convert.Config().tolerance)


def test_one_changed_star_is_one_too_many() -> None:
    logits = np.array([[1.0, 1.000001, 0, 0, 0]] * 10)
    found = logits.copy()
    found[3, :2] = [1.000001, 1.0]
    parity = Parity.of(logits, found)
    assert parity.relative < 1e-5
    with pytest.raises(GateError, match="1 stars change"):
        parity.check(1e-4)


@pytest.mark.parametrize(("broken", "advice"), [(0, "training diverged"), (1, "conversion is wrong")])
def test_values_that_are_not_numbers_never_pass(broken: int, advice: str) -> None:
    logits = [np.ones((2, 5)), np.ones((2, 5))]
    logits[broken][1, 2] = np.nan
    with pytest.raises(GateError, match=advice):
        Parity.of(*logits)


def test_an_encoder_without_a_classifier_is_refused(tiny_inputs: dict[str, Path], tmp_path: Path) -> None:
    model = tmp_path / "train" / "model"
    shutil.copytree(tiny_inputs["train"] / "model", model)
    weights = safetensors.numpy.load_file(model / "model.safetensors")
    bare = {name: array for name, array in weights.items() if not name.startswith("classifier")}
    safetensors.numpy.save_file(bare, model / "model.safetensors")
    tiny.write_facts(tmp_path / "train")
    inputs = {"prepare": tiny_inputs["prepare"], "train": tmp_path / "train"}
    with pytest.raises(ModelError, match="without a classifier"):
        execute(convert.STAGE, convert.Config(), inputs, tmp_path / "convert", Recorder())
    (model / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="not safetensors"):
        execute(convert.STAGE, convert.Config(), inputs, tmp_path / "convert", Recorder())
