"""The proof that the PyTorch network computes what the TensorFlow network learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import GateError
from contracts.review import STARS
from contracts.stages import BATCH_SIZE
from training.data.arrays import Floats
from training.data.tokens import TokenRows

if TYPE_CHECKING:
    from training.model.bert import BertClassifier


@dataclass(frozen=True)
class Parity:
    """How two networks' logits on the same texts differ. `relative` is `max_difference` over the largest logit."""

    texts: int
    agreeing: int
    max_difference: float
    largest_logit: float
    relative: float

    @classmethod
    def of(cls, tensorflow: Floats, pytorch: Floats) -> Parity:
        """Compare logits (n, 5). Raises GateError where one is not a finite number."""
        if not np.isfinite(tensorflow).all():
            raise GateError(
                "TensorFlow answers with values that are not numbers: training diverged: lower the learning rate and "
                "train again"
            )
        if not np.isfinite(pytorch).all():
            raise GateError(f"PyTorch answers with values that are not numbers: {_WRONG}")
        difference, largest = float(np.abs(tensorflow - pytorch).max()), float(np.abs(tensorflow).max())
        agreeing = int((tensorflow.argmax(axis=1) == pytorch.argmax(axis=1)).sum())
        return cls(len(tensorflow), agreeing, difference, largest, difference / max(largest, 1e-9))

    def check(self, tolerance: float) -> None:
        """Raises GateError when logits differ by more than `tolerance`, relative, or a text gets another star."""
        if self.relative > tolerance or self.agreeing < self.texts:
            raise GateError(
                f"PyTorch does not compute what TensorFlow does: on {self.texts} texts the logits differ by up to "
                f"{self.relative:.1e} of the largest ({tolerance:.0e} allowed) and {self.texts - self.agreeing} stars "
                f"change. T{_WRONG[1:]}"
            )


_WRONG = "the conversion is wrong: compare training/model/bert.py with the checkpoint's architecture"


def tensorflow_logits(model: BertClassifier, reviews: TokenRows) -> Floats:
    """Raw logits (n, 5) of the Keras model, row by row."""
    logits = np.empty((len(reviews), len(STARS)))
    shortest_first = np.argsort(reviews.lengths, kind="stable")
    for start in range(0, len(reviews), BATCH_SIZE):
        rows = shortest_first[start : start + BATCH_SIZE]
        # Few widths, because XLA compiles for each; and wider ones than PyTorch gets, so that masks are compared too.
        logits[rows] = np.asarray(model(reviews.batch(rows, multiple=32), training=False))
    return logits
