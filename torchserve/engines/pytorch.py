"""PyTorch in float32: the reference engine, which all others are judged against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from contracts.engine import Logits
from contracts.tokens import Encoded
from torchserve.engines.dense import ROWS_MOST, PackedDense, TorchDense, can_pack
from torchserve.engines.network import Network
from torchserve.engines.weights import LABELS, read_weights


class TorchEngine:
    """An `Engine` on config.json and model.safetensors."""

    def __init__(self, folder: Path, token_limit: int) -> None:
        torch.set_num_threads(1)
        self._token_limit = token_limit
        self._network = Network(read_weights(folder, token_limit), PackedDense if can_pack() else TorchDense)

    def infer(self, reviews: Sequence[Encoded]) -> Logits:
        if not reviews:
            return np.empty((0, LABELS), np.float32)
        with torch.inference_mode():
            logits: Logits = torch.cat([self._network(run) for run in runs(reviews)]).numpy()
        return logits

    def warm_up(self) -> None:
        with torch.inference_mode():
            self._network.warm_up()
        self.infer([Encoded([1] * self._token_limit, 1, False)])

    def close(self) -> None:
        del self._network


def runs(reviews: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    """Cut the reviews into runs of at most ROWS_MOST tokens, or of one review."""
    start = tokens = 0
    for index, review in enumerate(reviews):
        tokens += len(review.input_ids)
        if tokens > ROWS_MOST and index > start:
            yield reviews[start:index]
            start, tokens = index, len(review.input_ids)
    yield reviews[start:]
