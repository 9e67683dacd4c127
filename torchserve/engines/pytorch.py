"""Engines turn encoded reviews into logits. PyTorch is the reference; others are judged against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from contracts.errors import ModelError
from contracts.tokens import Encoded
from torchserve.engines.network import LABELS, ROWS_MOST, Network, Shape

Logits = npt.NDArray[np.float32]


class Engine(Protocol):
    """One loaded model on one thread."""

    def infer(self, reviews: Sequence[Encoded]) -> Logits:
        """The raw logits (reviews, 5), in the order of the reviews."""

    def warm_up(self) -> None:
        """Pay for first times now, so that the first callers need not."""

    def close(self) -> None:
        """Let go of the weights."""


class TorchEngine:
    """PyTorch in float32 on one thread, from a folder's config.json and model.safetensors.

    Raises ModelError for weights that are not safetensors or do not fit the configuration.
    """

    def __init__(self, folder: Path, token_limit: int) -> None:
        torch.set_num_threads(1)
        self._token_limit = token_limit
        try:
            config = json.loads((folder / "config.json").read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(f"no readable config.json in {folder}: publish the release again") from error
        shape = Shape.of(config)
        if shape.positions < token_limit:
            raise ModelError(f"the model has {shape.positions} positions, fewer than the token limit of {token_limit}")
        self._network = _read_network(shape, folder / "model.safetensors")

    def infer(self, reviews: Sequence[Encoded]) -> Logits:
        if not reviews:
            return np.empty((0, LABELS), np.float32)
        with torch.inference_mode():
            found: Logits = torch.cat([self._network(run) for run in runs(reviews)]).numpy()
        return found

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


def _read_network(shape: Shape, path: Path) -> Network:
    try:
        with safe_open(path, framework="pt") as stored:
            names = set(stored.keys())

            def read(name: str, expected: tuple[int, ...]) -> torch.Tensor:
                if name not in names:
                    raise ModelError(f"{path.name} lacks {name}: export the release again")
                tensor: torch.Tensor = stored.get_tensor(name)
                if tuple(tensor.shape) != expected:
                    raise ModelError(f"{name} has shape {tuple(tensor.shape)} in {path.name}, {expected} expected")
                # Always a copy: the file is only mapped, and ours alone once this returns.
                return tensor.to(torch.float32, copy=True)

            return Network(shape, read)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: publish the release again") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is not safetensors, and nothing else is ever loaded: {error}") from error
