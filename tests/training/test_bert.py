"""The Keras BERT and DistilBERT against their papers' reference, Hugging Face transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from contracts.errors import ModelError
from training.model.bert import BertClassifier, load_safetensors, save_safetensors
from training.model.bert_config import BertConfig

TINY = BertConfig(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=32,
)


def write_checkpoint(folder: Path, config: BertConfig = TINY, seed: int = 5) -> Path:
    """A random network as a Hugging Face folder, with the tokenizer of nobody."""
    keras.utils.set_random_seed(seed)
    save_safetensors(BertClassifier(config), folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_logits_equal_those_of_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = write_checkpoint(tmp_path, replace(TINY, model_type=kind))
    ids = np.array([[1, 5, 9, 2, 17, 33, 2, 0], [1, 2, 44, 2, 0, 0, 0, 0]], dtype=np.int32)
    types = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0]], dtype=np.int32)
    found = np.asarray(load_safetensors(folder)((ids, types)))
    reference = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    segments = {} if kind == "distilbert" else {"token_type_ids": torch.tensor(types)}
    with torch.inference_mode():
        given = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(ids != 0).int()}
        expected = reference(**given, **segments).logits.numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_gelu_and_its_gradient_are_exact() -> None:
    import tensorflow as tf

    from training.model.fused import gelu

    x = tf.constant(np.linspace(-6, 6, 101), tf.float32)
    with tf.GradientTape() as ours, tf.GradientTape() as theirs:
        ours.watch(x)
        theirs.watch(x)
        mine, reference = gelu(x), tf.nn.gelu(x, approximate=False)
    assert np.allclose(mine, reference, atol=1e-6)
    assert np.allclose(ours.gradient(mine, x), theirs.gradient(reference, x), atol=1e-6)


def test_softmax_and_its_gradient_are_exact() -> None:
    import tensorflow as tf

    from training.model.fused import biased_softmax

    x = tf.random.stateless_normal((2, 3, 4, 4), seed=(1, 2))
    bias = tf.constant([[[[0.0, 0.0, 0.0, -1e9]]]])
    with tf.GradientTape() as ours, tf.GradientTape() as theirs:
        ours.watch(x)
        theirs.watch(x)
        mine, reference = biased_softmax(x, bias), tf.nn.softmax(x + bias)
        first, second = tf.reduce_sum(mine**2), tf.reduce_sum(reference**2)
    assert np.allclose(mine, reference, atol=1e-6)
    assert np.allclose(ours.gradient(first, x), theirs.gradient(second, x), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "not supported"),
        ({"hidden_act": "relu"}, "exact gelu"),
        ({"position_embedding_type": "relative_key"}, "absolute position"),
    ],
)
def test_what_we_do_not_compute_is_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message):
        load_safetensors(folder)


def test_damaged_and_incomplete_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        load_safetensors(tmp_path)
    folder = write_checkpoint(tmp_path)
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match="no readable"):
        load_safetensors(folder)
    write_checkpoint(tmp_path, replace(TINY, num_hidden_layers=1))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(ModelError, match="lacks 16 encoder tensors"):
        load_safetensors(folder)
