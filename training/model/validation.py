"""How good the network is after an epoch."""

from __future__ import annotations

import numpy as np

from training.data.arrays import Floats32, Ints32


def score(logits: Floats32, labels: Ints32) -> dict[str, float]:
    """Accuracy, mean absolute error in stars, and cross-entropy of logits (n, 5), without smoothing."""
    guess = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        "accuracy": float((guess == labels).mean()),
        "mae": float(np.abs(guess - labels).mean()),
        "cross_entropy": float(-log_probability[np.arange(len(labels)), labels].mean()),
    }
