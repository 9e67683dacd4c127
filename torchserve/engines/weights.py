"""The parameters of a BERT or DistilBERT classifier as plain tensors, read from a release. No operation stands here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from contracts.errors import ModelError

LABELS = 5

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "outer_norm": "output.LayerNorm",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attended": "attention.out_lin",
    "attended_norm": "sa_layer_norm",
    "inner": "ffn.lin1",
    "outer": "ffn.lin2",
    "outer_norm": "output_layer_norm",
}

Read = Callable[[str, tuple[int, ...]], Tensor]
"""A tensor by its Hugging Face name, checked to have the shape."""


class Shape(NamedTuple):
    """What config.json says about the network."""

    distil: bool
    vocabulary: int
    positions: int
    segments: int
    hidden: int
    inner: int
    blocks: int
    heads: int
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """Raises ModelError for an architecture that network.py does not compute."""
        kind = config.get("model_type")
        if kind not in {"bert", "distilbert"}:
            raise ModelError(f"model_type {kind!r} is not supported: export a bert or distilbert model")
        if config.get("hidden_act", config.get("activation", "gelu")) != "gelu":
            raise ModelError("only the exact gelu activation is supported: train from another base model")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ModelError("only absolute position embeddings are supported: train from another base model")
        distil = kind == "distilbert"
        names = (
            ("dim", "hidden_dim", "n_layers", "n_heads")
            if distil
            else ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        )
        try:
            hidden, inner, blocks, heads = (int(config[name]) for name in names)
            vocabulary, positions = int(config["vocab_size"]), int(config["max_position_embeddings"])
            segments = 0 if distil else int(config["type_vocab_size"])
            epsilon = 1e-12 if distil else float(config["layer_norm_eps"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"config.json lacks a usable {error}: export the release again") from error
        if heads < 1 or hidden % heads:
            raise ModelError(f"{hidden} hidden units cannot be shared among {heads} attention heads")
        return cls(distil, vocabulary, positions, segments, hidden, inner, blocks, heads, epsilon)


class Affine(NamedTuple):
    """A dense layer: weight (out, in) and bias (out,)."""

    weight: Tensor
    bias: Tensor


class Norm(NamedTuple):
    """A layer norm: weight and bias, both (hidden,)."""

    weight: Tensor
    bias: Tensor


class BlockWeights(NamedTuple):
    """One transformer block: self-attention, then a feed-forward network with one inner layer."""

    query: Affine
    key: Affine
    value: Affine
    attended: Affine
    attended_norm: Norm
    inner: Affine
    outer: Affine
    outer_norm: Norm


class Weights(NamedTuple):
    """All parameters of a classifier."""

    shape: Shape
    words: Tensor
    """(vocabulary, hidden)"""
    positions: Tensor
    """(positions, hidden)"""
    segments: Tensor | None
    """(segments, hidden); None in DistilBERT, which knows one kind of text only."""
    embedding_norm: Norm
    blocks: tuple[BlockWeights, ...]
    pooler: Affine
    classifier: Affine


def read_weights(folder: Path, token_limit: int, dtype: torch.dtype = torch.float32) -> Weights:
    """From a folder's config.json and model.safetensors, in numbers of this type.

    Raises ModelError for weights that are not safetensors, do not fit the configuration, or know no reviews so long.
    """
    try:
        shape = Shape.of(json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise ModelError(f"no readable config.json in {folder}: publish the release again") from error
    if shape.positions < token_limit:
        raise ModelError(f"the model has {shape.positions} positions, fewer than the token limit of {token_limit}")
    path = folder / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as stored:
            names = set(stored.keys())

            def read(name: str, expected: tuple[int, ...]) -> Tensor:
                if name not in names:
                    raise ModelError(f"{path.name} lacks {name}: export the release again")
                tensor: Tensor = stored.get_tensor(name)
                if tuple(tensor.shape) != expected:
                    raise ModelError(f"{name} has shape {tuple(tensor.shape)} in {path.name}, {expected} expected")
                # Always a copy: the file is only mapped, and ours alone once this returns.
                return tensor.to(dtype, copy=True)

            return _weights(shape, read)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: publish the release again") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is not safetensors, and nothing else is ever loaded: {error}") from error


def _weights(shape: Shape, read: Read) -> Weights:
    hidden, inner = shape.hidden, shape.inner
    root = "distilbert" if shape.distil else "bert"
    names = _DISTILBERT if shape.distil else _BERT
    embeddings = f"{root}.embeddings"
    layers = f"{root}.transformer.layer" if shape.distil else f"{root}.encoder.layer"

    def affine(name: str, rows: int, columns: int) -> Affine:
        return Affine(read(f"{name}.weight", (rows, columns)), read(f"{name}.bias", (rows,)))

    def norm(name: str) -> Norm:
        return Norm(read(f"{name}.weight", (hidden,)), read(f"{name}.bias", (hidden,)))

    def block(at: str) -> BlockWeights:
        return BlockWeights(
            affine(f"{at}.{names['query']}", hidden, hidden),
            affine(f"{at}.{names['key']}", hidden, hidden),
            affine(f"{at}.{names['value']}", hidden, hidden),
            affine(f"{at}.{names['attended']}", hidden, hidden),
            norm(f"{at}.{names['attended_norm']}"),
            affine(f"{at}.{names['inner']}", inner, hidden),
            affine(f"{at}.{names['outer']}", hidden, inner),
            norm(f"{at}.{names['outer_norm']}"),
        )

    segments = None
    if not shape.distil:
        segments = read(f"{embeddings}.token_type_embeddings.weight", (shape.segments, hidden))
    return Weights(
        shape,
        read(f"{embeddings}.word_embeddings.weight", (shape.vocabulary, hidden)),
        read(f"{embeddings}.position_embeddings.weight", (shape.positions, hidden)),
        segments,
        norm(f"{embeddings}.LayerNorm"),
        tuple(block(f"{layers}.{index}") for index in range(shape.blocks)),
        affine("pre_classifier" if shape.distil else "bert.pooler.dense", hidden, hidden),
        affine("classifier", LABELS, hidden),
    )
