"""BERT and DistilBERT sequence classification in plain PyTorch, for inference on a CPU.

Computes what transformers' *ForSequenceClassification do (Devlin et al. 2018, arXiv:1810.04805; Sanh et al. 2019,
arXiv:1910.01108), with less work: reviews are laid end to end instead of padded to one length, and only attention sees
where each ends; the last block computes only each review's first token, the one that the classifier reads.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from contracts.errors import ModelError
from contracts.tokens import Encoded

LABELS = 5

ROWS_MOST = 768
"""Tokens that go through the network at once: enough to fill the processor's vector units, and few enough that what
is computed stays in its cache."""

ROWS_STEP = 16
"""Rows are made a multiple of this, because oneDNN takes a millisecond to prepare for a number that it hasn't seen."""

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
"""A tensor by its Hugging Face name, float32, checked to have the shape."""


class Norm(NamedTuple):
    """A layer norm's weight and bias, both (hidden,)."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.bias.shape, self.weight, self.bias, self.epsilon)


class Dense:
    """A dense layer, weight (out, in) and bias (out,).

    On x86 the weight is kept in oneDNN's packed layout, and oneDNN adds the bias and computes gelu while a tile is in
    the cache. These are the operators that PyTorch's own compiler emits, which would need a C++ compiler to run.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._bias = bias
        self._packed = _can_pack()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS_MOST) if self._packed else weight

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        if self._packed:
            kind, algorithm = ("gelu", "none") if gelu else ("none", "")
            packed: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, kind, [], algorithm)
            return packed
        y = functional.linear(x, self._weight, self._bias)
        return functional.gelu(y) if gelu else y


def _can_pack() -> bool:
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


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
        """Raises ModelError for an architecture that this file does not compute."""
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


class Block(NamedTuple):
    """One transformer block. Queries are scaled by 1 / sqrt(head size) in the weights."""

    query: Dense
    key_value: Dense
    attended: Dense
    attended_norm: Norm
    inner: Dense
    outer: Dense
    outer_norm: Norm


class Network:
    """Reviews as token ids in, logits (reviews, 5) out. Holds float32 weights and is never trained."""

    def __init__(self, shape: Shape, read: Read) -> None:
        self.shape = shape
        hidden, root = shape.hidden, "distilbert" if shape.distil else "bert"

        def affine(name: str, rows: int, columns: int) -> tuple[Tensor, Tensor]:
            return read(f"{name}.weight", (rows, columns)), read(f"{name}.bias", (rows,))

        def norm(name: str) -> Norm:
            return Norm(read(f"{name}.weight", (hidden,)), read(f"{name}.bias", (hidden,)), shape.epsilon)

        embeddings = f"{root}.embeddings"
        self._words = read(f"{embeddings}.word_embeddings.weight", (shape.vocabulary, hidden))
        self._positions = read(f"{embeddings}.position_embeddings.weight", (shape.positions, hidden))
        if not shape.distil:
            self._segments = read(f"{embeddings}.token_type_embeddings.weight", (shape.segments, hidden))
        self._embedding_norm = norm(f"{embeddings}.LayerNorm")
        names = _DISTILBERT if shape.distil else _BERT
        scale = (hidden / shape.heads) ** -0.5
        self._blocks = []
        for index in range(shape.blocks):
            at = f"{root}.transformer.layer.{index}" if shape.distil else f"{root}.encoder.layer.{index}"
            query, key, value = (affine(f"{at}.{names[part]}", hidden, hidden) for part in ("query", "key", "value"))
            self._blocks.append(
                Block(
                    Dense(query[0] * scale, query[1] * scale),
                    Dense(torch.cat([key[0], value[0]]), torch.cat([key[1], value[1]])),
                    Dense(*affine(f"{at}.{names['attended']}", hidden, hidden)),
                    norm(f"{at}.{names['attended_norm']}"),
                    Dense(*affine(f"{at}.{names['inner']}", shape.inner, hidden)),
                    Dense(*affine(f"{at}.{names['outer']}", hidden, shape.inner)),
                    norm(f"{at}.{names['outer_norm']}"),
                )
            )
        self._pooler = affine("pre_classifier" if shape.distil else "bert.pooler.dense", hidden, hidden)
        self._classifier = affine("classifier", LABELS, hidden)

    def __call__(self, reviews: Sequence[Encoded]) -> Tensor:
        """Logits of reviews of any lengths, in their order. At most ROWS_MOST tokens in all, or it gets slow."""
        lengths = [len(review.input_ids) for review in reviews]
        x = self._embed(reviews)  # (tokens, hidden)
        for block in self._blocks[:-1]:
            x = self._compute(block, x, x, lengths, lengths)
        firsts = torch.tensor([0, *lengths[:-1]]).cumsum(0)  # (reviews,): where each begins
        x = self._compute(self._blocks[-1], _whole_steps(x[firsts]), x, [1] * len(reviews), lengths)
        pooled = functional.linear(x[: len(reviews)], *self._pooler)  # (reviews, hidden)
        return functional.linear(torch.relu(pooled) if self.shape.distil else torch.tanh(pooled), *self._classifier)

    def warm_up(self) -> None:
        """Let oneDNN prepare for all numbers of rows that there can be: a millisecond each, once a process."""
        block = self._blocks[0]
        for rows in range(ROWS_STEP, ROWS_MOST + 1, ROWS_STEP):
            x = torch.zeros(rows, self.shape.hidden)
            block.key_value(x)
            block.attended(block.query(x))
            block.outer(block.inner(x, gelu=True))

    def _embed(self, reviews: Sequence[Encoded]) -> Tensor:
        ids = torch.tensor([token for review in reviews for token in review.input_ids])
        x = functional.embedding(ids, self._words)
        x += torch.cat([self._positions[: len(review.input_ids)] for review in reviews])
        if not self.shape.distil:
            types = torch.tensor([kind for review in reviews for kind in review.token_type_ids])
            x += functional.embedding(types, self._segments)
        return _whole_steps(self._embedding_norm(x))

    def _compute(
        self, block: Block, x: Tensor, context: Tensor, lengths: Sequence[int], context_lengths: Sequence[int]
    ) -> Tensor:
        """The block's output for x, which attends to the context of the same review."""
        attended = self._attend(block.query(x), block.key_value(context), lengths, context_lengths)
        x = block.attended_norm(block.attended(attended).add_(x))
        return block.outer_norm(block.outer(block.inner(x, gelu=True)).add_(x))

    def _attend(
        self, queries: Tensor, keys_values: Tensor, lengths: Sequence[int], context_lengths: Sequence[int]
    ) -> Tensor:
        """Multi-head attention within each review, (rows, hidden).

        For reviews' short sequences and small heads, two batched products and a softmax beat PyTorch's fused attention.
        """
        heads, size = self.shape.heads, self.shape.hidden // self.shape.heads
        mixed = torch.zeros_like(queries)
        row = context_row = 0
        for length, context in zip(lengths, context_lengths, strict=True):
            query = queries[row : row + length].view(length, heads, size).transpose(0, 1)  # (heads, length, size)
            pair = keys_values[context_row : context_row + context].view(context, 2, heads, size)
            key, value = pair.permute(1, 2, 0, 3)  # (heads, context, size) each
            weights = torch.bmm(query, key.transpose(1, 2)).softmax(-1)  # (heads, length, context)
            mixed[row : row + length].view(length, heads, size).copy_(torch.bmm(weights, value).transpose(0, 1))
            row, context_row = row + length, context_row + context
        return mixed


def _whole_steps(x: Tensor) -> Tensor:
    """With rows of zeros to a whole number of steps; no review's attention ever sees them."""
    missing = -len(x) % ROWS_STEP
    return functional.pad(x, (0, 0, 0, missing)) if missing else x
