"""The engine that would serve a release on this machine, asked as the reference is. It is the model server's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.engine import serving_engine
from contracts.review import STARS
from contracts.stages import BATCH_SIZE
from contracts.tokens import Encoded
from training.data.arrays import Floats
from training.data.tokens import TokenRows
from training.model.reference import Progress


class ServingModel:
    """A release's folder in the engine `kind`. Raises ConfigError where no model server is installed, or ModelError."""

    def __init__(self, folder: Path, batch_size: int = BATCH_SIZE) -> None:
        import torch

        threads = torch.get_num_threads()
        self.kind, self._engine = serving_engine(folder)
        torch.set_num_threads(threads)  # a model worker takes one of them, judging may have all
        self.batch_size = batch_size

    def logits(self, reviews: TokenRows, progress: Progress | None = None) -> Floats:
        """Raw logits (n, 5), row by row, in batches as they come."""
        logits = np.empty((len(reviews), len(STARS)))
        for start in range(0, len(reviews), self.batch_size):
            end = min(start + self.batch_size, len(reviews))
            logits[start:end] = self._engine.infer([_encoded(reviews, row) for row in range(start, end)])
            if progress:
                progress(end / len(reviews))
        return logits


def _encoded(reviews: TokenRows, row: int) -> Encoded:
    ids = reviews.ids[reviews.offsets[row] : reviews.offsets[row + 1]].tolist()
    return Encoded(ids, int(reviews.second_start[row]), False)
