"""BERT and DistilBERT sequence classification in plain PyTorch, for inference on a CPU.

Computes what transformers' *ForSequenceClassification do (Devlin et al. 2018, arXiv:1810.04805; Sanh et al. 2019,
arXiv:1910.01108), with less work: reviews are laid end to end instead of padded to one length, and only attention sees
where each ends; the last block computes only each review's first token, the one that the classifier reads.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

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

_ONEDNN = torch.ops.mkldnn._linear_pointwise


class Affine(NamedTuple):
    """Weight (out, in) and bias (out,) as they are stored."""

    weight: Tensor
    bias: Tensor


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
            return cast(Tensor, _ONEDNN(x, self._weight, self._bias, kind, [], algorithm))
        y = functional.linear(x, self._weight, self._bias)
        return functional.gelu(y) if gelu else y

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """The layer's output for x, added to the residual."""
        if self._packed:
            return cast(Tensor, _ONEDNN.binary(x, residual, self._weight, self._bias, "add"))
        return functional.linear(x, self._weight, self._bias).add_(residual)


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


class SelfAttention:
    """Multi-head attention within each review. Queries are scaled by 1 / sqrt(head size) in the weights."""

    def __init__(self, heads: int, query: Affine, key: Affine, value: Affine) -> None:
        self._heads = heads
        parts = (_scaled(query, heads), key, value)
        self.project = Dense(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """(rows, hidden) in and out.

        For reviews' short sequences and small heads, two batched products and a softmax beat PyTorch's fused attention.
        """
        projected = self.project(x).view(len(x), 3, self._heads, -1)
        mixed = torch.zeros_like(x)
        row = 0
        for length in lengths:
            query, key, value = projected[row : row + length].permute(1, 2, 0, 3)  # (heads, length, head size) each
            weights = torch.bmm(query, key.transpose(1, 2)).softmax(-1)  # (heads, length, length)
            review = mixed[row : row + length].view(length, self._heads, -1)
            review.copy_(torch.bmm(weights, value).transpose(0, 1))
            row += length
        return mixed


class FirstTokenAttention:
    """What SelfAttention gives each review's first token, without projecting the others.

    With one query q a review, its products with the keys W x + b are those of (W' q) with x, but for a term that is the
    same for all x and drops out of the softmax; and the weighted sum of the values is V applied to that of the x.
    """

    def __init__(self, heads: int, query: Affine, key: Affine, value: Affine) -> None:
        self._heads = heads
        self._query = _scaled(query, heads)
        hidden = len(query.bias)
        self._key = key.weight.view(heads, -1, hidden)
        self._value = value.weight.view(heads, -1, hidden)
        self._value_bias = value.bias

    def __call__(self, x: Tensor, firsts: Tensor, lengths: Sequence[int]) -> Tensor:
        """(rows, hidden) in, (reviews, hidden) out."""
        query = functional.linear(firsts, self._query.weight, self._query.bias).view(len(firsts), self._heads, -1)
        query = torch.bmm(query.transpose(0, 1), self._key).transpose(0, 1)  # (reviews, heads, hidden)
        mixed = torch.empty(query.shape)
        row = 0
        for index, length in enumerate(lengths):
            review = x[row : row + length]
            weights = torch.mm(query[index], review.t()).softmax(-1)  # (heads, length)
            torch.mm(weights, review, out=mixed[index])
            row += length
        values = torch.bmm(mixed.transpose(0, 1), self._value.transpose(1, 2))  # (heads, reviews, head size)
        return values.transpose(0, 1).reshape(len(firsts), -1) + self._value_bias


def _scaled(query: Affine, heads: int) -> Affine:
    scale = (len(query.bias) / heads) ** -0.5
    return Affine(query.weight * scale, query.bias * scale)


class FeedForward(NamedTuple):
    """The part of a transformer block behind its attention."""

    attended: Dense
    attended_norm: Norm
    inner: Dense
    outer: Dense
    outer_norm: Norm

    def __call__(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = self.attended_norm(self.attended.onto(x, mixed))
        return self.outer_norm(self.outer.onto(x, self.inner(x, gelu=True)))


class Network:
    """Reviews as token ids in, logits (reviews, 5) out. Holds float32 weights and is never trained."""

    def __init__(self, shape: Shape, read: Read) -> None:
        self.shape = shape
        hidden, root = shape.hidden, "distilbert" if shape.distil else "bert"
        names = _DISTILBERT if shape.distil else _BERT

        def affine(name: str, rows: int, columns: int) -> Affine:
            return Affine(read(f"{name}.weight", (rows, columns)), read(f"{name}.bias", (rows,)))

        def norm(name: str) -> Norm:
            return Norm(read(f"{name}.weight", (hidden,)), read(f"{name}.bias", (hidden,)), shape.epsilon)

        embeddings = f"{root}.embeddings"
        self._words = read(f"{embeddings}.word_embeddings.weight", (shape.vocabulary, hidden))
        self._positions = read(f"{embeddings}.position_embeddings.weight", (shape.positions, hidden))
        if not shape.distil:
            self._segments = read(f"{embeddings}.token_type_embeddings.weight", (shape.segments, hidden))
        self._embedding_norm = norm(f"{embeddings}.LayerNorm")
        attentions, self._feed_forwards = [], []
        for index in range(shape.blocks):
            at = f"{root}.transformer.layer.{index}" if shape.distil else f"{root}.encoder.layer.{index}"
            attentions.append([affine(f"{at}.{names[part]}", hidden, hidden) for part in ("query", "key", "value")])
            self._feed_forwards.append(
                FeedForward(
                    Dense(*affine(f"{at}.{names['attended']}", hidden, hidden)),
                    norm(f"{at}.{names['attended_norm']}"),
                    Dense(*affine(f"{at}.{names['inner']}", shape.inner, hidden)),
                    Dense(*affine(f"{at}.{names['outer']}", hidden, shape.inner)),
                    norm(f"{at}.{names['outer_norm']}"),
                )
            )
        self._attentions = [SelfAttention(shape.heads, *parts) for parts in attentions[:-1]]
        self._last_attention = FirstTokenAttention(shape.heads, *attentions[-1])
        self._pooler = affine("pre_classifier" if shape.distil else "bert.pooler.dense", hidden, hidden)
        self._classifier = affine("classifier", LABELS, hidden)

    def __call__(self, reviews: Sequence[Encoded]) -> Tensor:
        """Logits of reviews of any lengths, in their order. At most ROWS_MOST tokens in all, or it gets slow."""
        lengths = [len(review.input_ids) for review in reviews]
        x = self._embed(reviews)  # (tokens, hidden)
        for attend, feed_forward in zip(self._attentions, self._feed_forwards, strict=False):
            x = feed_forward(x, attend(x, lengths))
        firsts = x[torch.tensor([0, *lengths[:-1]]).cumsum(0)]  # (reviews, hidden)
        mixed = self._last_attention(x, firsts, lengths)
        last = self._feed_forwards[-1](_whole_steps(firsts), _whole_steps(mixed))[: len(reviews)]
        pooled = functional.linear(last, *self._pooler)
        return functional.linear(torch.relu(pooled) if self.shape.distil else torch.tanh(pooled), *self._classifier)

    def warm_up(self) -> None:
        """Let oneDNN prepare for all numbers of rows that there can be: a millisecond each, once a process."""
        for rows in range(ROWS_STEP, ROWS_MOST + 1, ROWS_STEP):
            x = torch.zeros(rows, self.shape.hidden)
            self._feed_forwards[0](x, x)
            for attend in self._attentions[:1]:
                attend(x, [ROWS_STEP])

    def _embed(self, reviews: Sequence[Encoded]) -> Tensor:
        ids = torch.tensor([token for review in reviews for token in review.input_ids])
        x = functional.embedding(ids, self._words)
        x += torch.cat([self._positions[: len(review.input_ids)] for review in reviews])
        if not self.shape.distil:
            types = torch.tensor([kind for review in reviews for kind in review.token_type_ids])
            x += functional.embedding(types, self._segments)
        return _whole_steps(self._embedding_norm(x))


def _whole_steps(x: Tensor) -> Tensor:
    """With rows of zeros to a whole number of steps; no review's attention ever sees them."""
    missing = -len(x) % ROWS_STEP
    return functional.pad(x, (0, 0, 0, missing)) if missing else x
