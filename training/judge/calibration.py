"""Fitting what the logits mean (contracts/release/calibration.py), and the same arithmetic for many rows at once.

Temperatures are fitted by a mean of two log losses, both proper: of the five probabilities against the true star, and
of the confidence against whether the answer is right. The first alone leaves the mean confidence off the accuracy.

Rows are weighted: each star counts the same, as the model is trained to see them, and within a star each category by
the square root of its rows, so that one large category does not speak for all that a client may ask about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from contracts.release.calibration import Calibration, Doubt, Likely
from contracts.review import STARS
from training.data.arrays import Floats, Ints

SHARPEST, FLATTEST = 0.05, 20.0
"""The temperatures that are searched. At either end the rows are too few or too easy to say more."""
COVERAGE = 0.9
_MOST_DOUBT = np.log(len(STARS))
_LEAST = 1e-12


class Fitted(NamedTuple):
    """What a validation split says of the logits."""

    temperature: float
    doubt: Doubt
    likely: Likely


def softmax(logits: Floats, temperature: float | Floats = 1.0) -> Floats:
    """Probabilities (n, 5) of logits (n, 5) at one temperature, or at one a row (n,)."""
    scaled = logits.astype(np.float64) / np.reshape(temperature, (-1, 1))
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float64)


def probabilities(calibration: Calibration, logits: Floats) -> Floats:
    """Calibrated probabilities (n, 5) of logits (n, 5), as `Calibration.probabilities` gives them row by row."""
    if calibration.doubt is None:
        return softmax(logits, calibration.temperature)
    return softmax(logits, _temperatures(np.log([calibration.doubt.certain, calibration.doubt.doubtful]), logits))


def row_weights(stars: Ints, categories: Sequence[str]) -> Floats:
    """(n,) weights that add up to 1: each star the same, its categories by the square root of their rows."""
    _, group, rows = np.unique(np.asarray(categories, dtype=str), return_inverse=True, return_counts=True)
    weights = rows[group] ** -0.5
    of_star = np.bincount(stars, weights, minlength=len(STARS) + 1)
    return np.asarray(weights / of_star[stars] / (of_star > 0).sum(), dtype=np.float64)


def fit(logits: Floats, truth: Ints, weights: Floats) -> Fitted:
    """The temperatures, and the reach of likely stars, of logits (n, 5) with the true stars (n,)."""
    bounds = (np.log(SHARPEST), np.log(FLATTEST))

    def loss(ends: Floats) -> float:
        return _loss(softmax(logits, _temperatures(ends, logits)), truth, weights)

    single = minimize_scalar(lambda log: loss(np.array([log, log])), bounds=bounds, method="bounded").x
    ends = minimize(loss, [single, single], bounds=[bounds, bounds], method="L-BFGS-B").x
    chances = softmax(logits, _temperatures(ends, logits))
    certain, doubtful = (round(float(temperature), 6) for temperature in np.exp(ends))
    return Fitted(
        round(float(np.exp(single)), 6), Doubt(certain=certain, doubtful=doubtful), fit_likely(chances, truth, weights)
    )


def fit_likely(chances: Floats, truth: Ints, weights: Floats, coverage: float = COVERAGE) -> Likely:
    """The least reach with which sets of likely stars hold the true one in this share of the weighted rows.

    Split conformal prediction's correction for few rows goes by their effective number (Kish 1965).
    """
    scores = reaches(chances)[np.arange(len(truth)), truth - 1]
    effective = weights.sum() ** 2 / (weights**2).sum()
    level = min(1.0, coverage * (1 + 1 / effective))
    order = np.argsort(scores, kind="stable")
    held = np.cumsum(weights[order]) / weights.sum()
    at = min(int(np.searchsorted(held, level - 1e-9)), len(scores) - 1)
    # Rounded up: the least more than that would leave out the very row that it was measured on.
    return Likely(coverage=coverage, reach=min(1.0, float(np.ceil(scores[order][at] * 1e6) / 1e6)))


def reaches(chances: Floats) -> Floats:
    """(n, 5) as contracts/release/calibration.py's `reaches` gives them row by row, of probabilities (n, 5)."""
    rows, stars = np.arange(len(chances)), chances.shape[1]
    padded = np.pad(chances, ((0, 0), (1, 1)), constant_values=-1.0)  # star s stands at s + 1
    low = high = chances.argmax(axis=1) + 1
    reach = np.zeros_like(chances)
    held = padded[rows, low]
    for _ in range(stars - 1):
        down = padded[rows, low - 1] > padded[rows, high + 1]
        low, high = np.where(down, low - 1, low), np.where(down, high, high + 1)
        added = np.where(down, low, high)
        held = held + padded[rows, added]
        reach[rows, added - 1] = held
    return reach


def likely_share(chances: Floats, truth: Ints, likely: Likely) -> tuple[Floats, Floats]:
    """For each row whether its set of likely stars holds the true one (n,), and how many stars are in it (n,)."""
    inside = (reaches(chances) <= likely.reach).astype(np.float64)
    return inside[np.arange(len(truth)), truth - 1], inside.sum(axis=1, dtype=np.float64)


def _temperatures(ends: Floats, logits: Floats) -> Floats:
    """(n,) temperatures between the logarithms of the two that doubt ends at."""
    chances = softmax(logits)
    entropy = -(chances * np.log(np.maximum(chances, np.finfo(np.float64).tiny))).sum(axis=1) / _MOST_DOUBT
    return np.asarray(np.exp(ends[0] + (ends[1] - ends[0]) * entropy), dtype=np.float64)


def _loss(chances: Floats, truth: Ints, weights: Floats) -> float:
    of_truth = np.maximum(chances[np.arange(len(truth)), truth - 1], _LEAST)
    confidence = chances.max(axis=1)
    right = chances.argmax(axis=1) + 1 == truth
    of_confidence = np.maximum(np.where(right, confidence, 1 - confidence), _LEAST)
    return float(-(weights * (np.log(of_truth) + np.log(of_confidence))).sum() / 2)
