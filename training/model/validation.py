"""How good the network is after an epoch."""

from __future__ import annotations

import numpy as np

from training.data.arrays import Floats32, Ints32


def score(logits: Floats32, labels: Ints32) -> dict[str, float]:
    """Accuracy, mean absolute error in stars, and cross-entropy of logits (n, 5), without smoothing.

    As if all stars that occur were equally frequent: the split holds them as customers give them.
    """
    guess = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    weights = 1 / np.bincount(labels)[labels]
    return {
        "accuracy": float(np.average(guess == labels, weights=weights)),
        "mae": float(np.average(np.abs(guess - labels), weights=weights)),
        "cross_entropy": float(np.average(-log_probability[np.arange(len(labels)), labels], weights=weights)),
    }


def variety(logits: Floats32) -> dict[str, float]:
    """How differently a network answers, of logits (n, 5): the share of rows that get its most frequent star, and how
    far a star's logit strays from row to row.
    """
    stars = np.bincount(logits.argmax(axis=1))
    return {"largest_share": float(stars.max() / len(logits)), "spread": float(logits.std(axis=0).mean())}
