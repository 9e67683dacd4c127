"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes the probabilities honest.

Dividing the logits by a temperature never changes which star wins; it only changes how sure the model says it is.
"""

from __future__ import annotations

import numpy as np

from training.data.arrays import Floats, Ints

SHARPEST, FLATTEST = 0.05, 20.0
"""The temperatures that are searched. At either end the validation split is too small or too easy to say more."""


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities (n, 5) of logits (n, 5)."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float64)


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """The temperature with the least negative log-likelihood of the true stars.

    The likelihood is convex in 1 / temperature, so bisecting its slope finds the one minimum.
    """
    true_logit = logits[np.arange(len(truth)), truth - 1].astype(np.float64)
    low, high = 1 / FLATTEST, 1 / SHARPEST
    for _ in range(60):
        middle = (low + high) / 2
        slope = ((softmax(logits, 1 / middle) * logits).sum(axis=1) - true_logit).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return round(2 / (low + high), 6)
