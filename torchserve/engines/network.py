"""BERT and DistilBERT sequence classification in plain PyTorch on a CPU: what is computed with the weights.

Computes what transformers' *ForSequenceClassification do (Devlin et al. 2018, arXiv:1810.04805; Sanh et al. 2019,
arXiv:1910.01108), with less work: reviews are laid end to end instead of padded to one length, and only attention sees
where each ends; the last block computes only each review's first token, the one that the classifier reads.

Nothing here stands in the way of gradients: with `TorchDense` the logits are differentiable in the word embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from contracts.tokens import Encoded
from torchserve.engines.dense import ROWS_MOST, Dense
from torchserve.engines.weights import Affine, BlockWeights, Norm, Weights

ROWS_STEP = 16
"""Rows are made a multiple of this, because oneDNN takes a millisecond to prepare for a number that it hasn't seen."""

MakeDense = Callable[[Affine], Dense]


class ReviewAttention:
    """Multi-head attention within each review. Queries are scaled by 1 / sqrt(head size) in the weights."""

    def __init__(self, heads: int, block: BlockWeights, dense: MakeDense) -> None:
        self._heads = heads
        parts = (_scaled(block.query, heads), block.key, block.value)
        self.project = dense(
            Affine(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
        )

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
    """What ReviewAttention gives each review's first token, without projecting the others.

    With one query q a review, its products with the keys W x + b are those of (W' q) with x, but for a term that is the
    same for all x and drops out of the softmax; and the weighted sum of the values is V applied to that of the x.
    """

    def __init__(self, heads: int, block: BlockWeights) -> None:
        self._heads = heads
        self._query = _scaled(block.query, heads)
        hidden = len(block.query.bias)
        self._key = block.key.weight.view(heads, -1, hidden)
        self._value = block.value.weight.view(heads, -1, hidden)
        self._value_bias = block.value.bias

    def __call__(self, x: Tensor, firsts: Tensor, lengths: Sequence[int]) -> Tensor:
        """(rows, hidden) in, (reviews, hidden) out."""
        query = functional.linear(firsts, *self._query).view(len(firsts), self._heads, -1)
        query = torch.bmm(query.transpose(0, 1), self._key).transpose(0, 1)  # (reviews, heads, hidden)
        mixed = []
        row = 0
        for index, length in enumerate(lengths):
            review = x[row : row + length]
            weights = torch.mm(query[index], review.t()).softmax(-1)  # (heads, length)
            mixed.append(torch.mm(weights, review))
            row += length
        values = torch.bmm(torch.stack(mixed, 1), self._value.transpose(1, 2))  # (heads, reviews, head size)
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
    epsilon: float

    def __call__(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = normalised(self.attended.onto(x, mixed), self.attended_norm, self.epsilon)
        return normalised(self.outer.onto(x, self.inner(x, gelu=True)), self.outer_norm, self.epsilon)


class Network:
    """Reviews as token ids in, logits (reviews, 5) out: the weights, laid out for a way to compute dense layers."""

    def __init__(self, weights: Weights, dense: MakeDense) -> None:
        self._shape = weights.shape
        self._words = weights.words
        self._positions = weights.positions
        self._segments = weights.segments
        self._embedding_norm = weights.embedding_norm
        heads, epsilon = weights.shape.heads, weights.shape.epsilon
        self._attentions = [ReviewAttention(heads, block, dense) for block in weights.blocks[:-1]]
        self._last_attention = FirstTokenAttention(heads, weights.blocks[-1])
        self._feed_forwards = [
            FeedForward(
                dense(block.attended),
                block.attended_norm,
                dense(block.inner),
                dense(block.outer),
                block.outer_norm,
                epsilon,
            )
            for block in weights.blocks
        ]
        self._pooler = weights.pooler
        self._classifier = weights.classifier

    def __call__(self, reviews: Sequence[Encoded]) -> Tensor:
        """Logits of reviews of any lengths, in their order. At most ROWS_MOST tokens in all, or it gets slow."""
        return self.logits(self.words(reviews), reviews)

    def words(self, reviews: Sequence[Encoded]) -> Tensor:
        """The word embeddings of the reviews' tokens, laid end to end: (tokens, hidden)."""
        return functional.embedding(
            torch.tensor([token for review in reviews for token in review.input_ids]), self._words
        )

    def logits(self, words: Tensor, reviews: Sequence[Encoded]) -> Tensor:
        """The same from word embeddings, whatever words they are: the reviews only say where each ends.

        With `TorchDense`, and outside of inference mode, differentiable in them.
        """
        lengths = [len(review.input_ids) for review in reviews]
        x = self._embedded(words, reviews)  # (rows, hidden)
        for attend, feed_forward in zip(self._attentions, self._feed_forwards, strict=False):
            x = feed_forward(x, attend(x, lengths))
        firsts = x[torch.tensor([0, *lengths[:-1]]).cumsum(0)]  # (reviews, hidden)
        mixed = self._last_attention(x, firsts, lengths)
        last = self._feed_forwards[-1](_whole_steps(firsts), _whole_steps(mixed))[: len(reviews)]
        pooled = functional.linear(last, *self._pooler)
        return functional.linear(torch.relu(pooled) if self._shape.distil else torch.tanh(pooled), *self._classifier)

    def warm_up(self) -> None:
        """Let oneDNN prepare for all numbers of rows that there can be: a millisecond each, once a process."""
        for rows in range(ROWS_STEP, ROWS_MOST + 1, ROWS_STEP):
            x = self._words.new_zeros(rows, self._shape.hidden)
            self._feed_forwards[0](x, x)
            for attend in self._attentions[:1]:
                attend(x, [ROWS_STEP])

    def _embedded(self, words: Tensor, reviews: Sequence[Encoded]) -> Tensor:
        x = words + torch.cat([self._positions[: len(review.input_ids)] for review in reviews])
        if self._segments is not None:
            types = torch.tensor([kind for review in reviews for kind in review.token_type_ids])
            x += functional.embedding(types, self._segments)
        return _whole_steps(normalised(x, self._embedding_norm, self._shape.epsilon))


def normalised(x: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """Layer norm over the last dimension."""
    return functional.layer_norm(x, norm.bias.shape, norm.weight, norm.bias, epsilon)


def _whole_steps(x: Tensor) -> Tensor:
    """With rows of zeros to a whole number of steps; no review's attention ever sees them."""
    missing = -len(x) % ROWS_STEP
    return functional.pad(x, (0, 0, 0, missing)) if missing else x
