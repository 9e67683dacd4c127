"""BERT and DistilBERT sequence classification in plain Keras 3 layers.

Reads like the papers (Devlin et al. 2018, arXiv:1810.04805; Sanh et al. 2019, arXiv:1910.01108): post-layer-norm
blocks, exact gelu, learned positions. Weights are exchanged with PyTorch as Hugging Face safetensors, name for name,
so "conversion" is writing the same tensors out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy
from keras import layers, ops

from contracts.errors import ModelError
from training.model.bert_config import BertConfig
from training.model.fused import biased_softmax, gelu
from training.running.folder import write_whole


class SelfAttention(layers.Layer):
    """Multi-head scaled dot-product attention with one projection matrix each for query, key and value."""

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = config.num_attention_heads
        self.size = config.hidden_size // self.heads
        self.query = layers.Dense(config.hidden_size, name="query")
        self.key = layers.Dense(config.hidden_size, name="key")
        self.value = layers.Dense(config.hidden_size, name="value")
        self.output_dense = layers.Dense(config.hidden_size, name="output")
        self.dropout = layers.Dropout(config.attention_dropout)

    def build(self, shape: tuple[int | None, ...]) -> None:
        for dense in (self.query, self.key, self.value, self.output_dense):
            dense.build(shape)
        self.built = True

    def split(self, x: Any, length: Any) -> Any:
        x = ops.reshape(x, (-1, length, self.heads, self.size))
        return ops.transpose(x, (0, 2, 1, 3))  # (batch, heads, seq, size)

    def call(self, x: Any, bias: Any, training: bool = False) -> Any:
        length = ops.shape(x)[1]
        query = self.split(self.query(x) * (1.0 / math.sqrt(self.size)), length)
        key = self.split(self.key(x), length)
        value = self.split(self.value(x), length)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (batch, heads, seq, seq)
        weights = self.dropout(biased_softmax(scores, bias), training=training)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.output_dense(ops.reshape(mixed, (-1, length, self.heads * self.size)))


class Block(layers.Layer):
    """One post-layer-norm transformer block: attention, then a two-layer feed-forward network with gelu."""

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden, self.inner = config.hidden_size, config.intermediate_size
        self.attention = SelfAttention(config, name="attention")
        self.attention_norm = layers.LayerNormalization(epsilon=config.layer_norm_eps, name="attention_norm")
        self.intermediate = layers.Dense(config.intermediate_size, name="intermediate")
        self.output_dense = layers.Dense(config.hidden_size, name="output")
        self.output_norm = layers.LayerNormalization(epsilon=config.layer_norm_eps, name="output_norm")
        self.dropout = layers.Dropout(config.dropout)

    def build(self, shape: tuple[int | None, ...]) -> None:
        for layer in (self.attention, self.attention_norm, self.intermediate, self.output_norm):
            layer.build(shape)
        self.output_dense.build((*shape[:-1], self.inner))
        self.built = True

    def call(self, x: Any, bias: Any, training: bool = False) -> Any:
        attended = self.dropout(self.attention(x, bias, training=training), training=training)
        x = self.attention_norm(x + attended)
        inner = self.output_dense(gelu(self.intermediate(x)))
        return self.output_norm(x + self.dropout(inner, training=training))


class BertClassifier(keras.Model):
    """`(input_ids, token_type_ids)`, both int32 (batch, seq) padded with 0, to logits (batch, num_labels).

    The attention mask is `input_ids != 0`: id 0 is [PAD] in every BERT vocabulary and a review never holds it.
    """

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        # Looked up in float32 under every policy: a cast of the whole table each step would cost more than the lookup.
        table = {"output_dim": config.hidden_size, "dtype": "float32"}
        self.word = layers.Embedding(config.vocab_size, name="word", **table)
        self.position = layers.Embedding(config.max_position_embeddings, name="position", **table)
        self.segment = layers.Embedding(config.type_vocab_size, name="segment", **table)
        self.embedding_norm = layers.LayerNormalization(epsilon=config.layer_norm_eps, name="embedding_norm")
        self.blocks = [Block(config, name=f"block_{i}") for i in range(config.num_hidden_layers)]
        initial = keras.initializers.TruncatedNormal(stddev=0.02)
        self.pooler = layers.Dense(config.hidden_size, kernel_initializer=initial, name="pooler")
        self.classifier = layers.Dense(config.num_labels, kernel_initializer=initial, name="classifier")
        self.dropout = layers.Dropout(config.dropout)
        self.build()

    def build(self, _shape: Any = None) -> None:
        hidden = (None, None, self.config.hidden_size)
        embeddings = [self.word, self.position]
        if self.config.model_type == "bert":
            embeddings.append(self.segment)
        for layer in embeddings:
            layer.build((None, None))
        for layer in (self.embedding_norm, *self.blocks):
            layer.build(hidden)
        self.pooler.build((None, self.config.hidden_size))
        self.classifier.build((None, self.config.hidden_size))
        self.built = True

    def encode(self, input_ids: Any, token_type_ids: Any, training: bool = False) -> Any:
        """The first token's hidden state after the last block, (batch, hidden): what a frozen head learns from."""
        length = ops.shape(input_ids)[1]
        x = self.word(input_ids) + self.position(ops.arange(length))[None]
        if self.config.model_type == "bert":
            x = x + self.segment(token_type_ids)
        x = self.dropout(self.embedding_norm(x), training=training)  # (batch, seq, hidden)
        padded = ops.cast(ops.equal(input_ids, 0), x.dtype)
        bias = padded[:, None, None, :] * -1e9  # (batch, 1, 1, seq)
        for block in self.blocks:
            x = block(x, bias, training=training)
        return x[:, 0]

    def head(self, first: Any, training: bool = False) -> Any:
        """Pooler and classifier over `encode`'s output."""
        pooled = self.pooler(first)
        pooled = ops.tanh(pooled) if self.config.model_type == "bert" else ops.relu(pooled)
        return ops.cast(self.classifier(self.dropout(pooled, training=training)), "float32")

    def call(self, inputs: tuple[Any, Any], training: bool = False) -> Any:
        input_ids, token_type_ids = inputs
        return self.head(self.encode(input_ids, token_type_ids, training=training), training=training)

    def tensors(self) -> Iterator[tuple[str, Any, bool]]:
        """(Hugging Face name, variable, transposed): the whole correspondence with PyTorch, in one place.

        Keras keeps a dense kernel as (in, out), PyTorch as (out, in).
        """
        distil = self.config.model_type == "distilbert"
        root = "distilbert" if distil else "bert"

        def dense(name: str, layer: Any) -> Iterator[tuple[str, Any, bool]]:
            yield f"{name}.weight", layer.kernel, True
            yield f"{name}.bias", layer.bias, False

        def norm(name: str, layer: Any) -> Iterator[tuple[str, Any, bool]]:
            yield f"{name}.weight", layer.gamma, False
            yield f"{name}.bias", layer.beta, False

        yield f"{root}.embeddings.word_embeddings.weight", self.word.embeddings, False
        yield f"{root}.embeddings.position_embeddings.weight", self.position.embeddings, False
        if not distil:
            yield f"{root}.embeddings.token_type_embeddings.weight", self.segment.embeddings, False
        yield from norm(f"{root}.embeddings.LayerNorm", self.embedding_norm)
        for i, block in enumerate(self.blocks):
            at = f"{root}.transformer.layer.{i}" if distil else f"{root}.encoder.layer.{i}"
            attention = block.attention
            if distil:
                parts = {"attention.q_lin": attention.query, "attention.k_lin": attention.key}
                parts |= {"attention.v_lin": attention.value, "attention.out_lin": attention.output_dense}
                parts |= {"ffn.lin1": block.intermediate, "ffn.lin2": block.output_dense}
                norms = {"sa_layer_norm": block.attention_norm, "output_layer_norm": block.output_norm}
            else:
                parts = {"attention.self.query": attention.query, "attention.self.key": attention.key}
                parts |= {"attention.self.value": attention.value, "attention.output.dense": attention.output_dense}
                parts |= {"intermediate.dense": block.intermediate, "output.dense": block.output_dense}
                norms = {"attention.output.LayerNorm": block.attention_norm, "output.LayerNorm": block.output_norm}
            for name, layer in parts.items():
                yield from dense(f"{at}.{name}", layer)
            for name, layer in norms.items():
                yield from norm(f"{at}.{name}", layer)
        yield from dense("pre_classifier" if distil else "bert.pooler.dense", self.pooler)
        yield from dense("classifier", self.classifier)


def save_safetensors(model: BertClassifier, folder: Path) -> None:
    """Write config.json and model.safetensors (fp32) as transformers' *ForSequenceClassification reads them.

    Neither file is ever seen half written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, variable, transposed in model.tensors():
        array = np.asarray(variable, dtype=np.float32)
        arrays[name] = np.ascontiguousarray(array.T if transposed else array)
    # Not save_file: it wraps a full disk in an error of its own.
    write_whole(folder / "model.safetensors", safetensors.numpy.save(arrays, metadata={"format": "pt"}))
    write_whole(folder / "config.json", json.dumps(model.config.to_hugging_face(), indent=2) + "\n")


def load_safetensors(folder: Path, **overrides: Any) -> BertClassifier:
    """Build the model of a Hugging Face folder and load its weights. `overrides` replace fields of BertConfig.

    A bare encoder (no `bert.` prefix, no classifier) leaves the head at its initial values. Raises ModelError when a
    file is missing or damaged, a tensor has the wrong shape, or an encoder tensor is absent.
    """
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stored = safetensors.numpy.load_file(folder / "model.safetensors")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"no readable config.json and model.safetensors in {folder}: {error}") from error
    model = BertClassifier(replace(BertConfig.from_dict(raw), **overrides))
    missing = []
    for name, variable, transposed in model.tensors():
        bare = name.split(".", 1)[1]
        array = stored.get(name, stored.get(bare) if name.startswith(("bert.", "distilbert.")) else None)
        if array is None:
            missing.append(name)
            continue
        array = array.T if transposed else array
        if tuple(array.shape) != tuple(variable.shape):
            raise ModelError(f"{name} has shape {array.shape} in {folder}, {tuple(variable.shape)} expected")
        variable.assign(array.astype(np.float32))
    head = ("classifier.", "pre_classifier.", "bert.pooler.")
    if lost := [name for name in missing if not name.startswith(head)]:
        raise ModelError(f"{folder} lacks {len(lost)} encoder tensors, the first is {lost[0]}")
    return model
