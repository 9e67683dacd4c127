"""A closer look at a model's answers: how far its confidence can be trusted, and where it is wrong for sure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from training.data.arrays import Floats, Ints
from training.data.splits import read_split
from training.judge.calibration_error import BINS
from training.judge.metrics import balanced_weights, predicted_stars

WORST = 25
"""Errors that a report shows: enough to see a pattern."""


def reliability(truth: Ints, probabilities: Floats) -> list[dict[str, float]]:
    """For each bin of the top probability that holds rows: how many, their mean confidence, and what share was right.

    As if all stars were equally frequent, in the bins of the calibration error. `low` and `high` are the ends of
    Wilson's 95 % interval for the share (1927), of as many rows as the weighted ones are worth.
    """
    confidence = probabilities.max(axis=1)
    right = predicted_stars(probabilities) == truth
    at = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    weights = balanced_weights(truth)
    found = []
    for each in np.unique(at):
        rows = at == each
        share = float(np.average(right[rows], weights=weights[rows]))
        low, high = _wilson(share, float(weights[rows].sum() ** 2 / (weights[rows] ** 2).sum()))
        mean = float(np.average(confidence[rows], weights=weights[rows]))
        values = {"confidence": mean, "right": share, "low": low, "high": high}
        found.append({"rows": int(rows.sum())} | {name: round(value, 4) for name, value in values.items()})
    return found


def _wilson(share: float, rows: float) -> tuple[float, float]:
    z2 = 1.96**2 / rows
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def worst_errors(prepare: Path, split: str, probabilities: Floats) -> list[dict[str, Any]]:
    """The rows that are furthest off, of these the surest: all there is to say of them without a word of their text."""
    table = read_split(prepare, split, ["review_id", "product_category", "star_rating", "body_words", "truncated"])
    rows = table.to_pylist()
    truth, predicted = table["star_rating"].to_numpy().astype(np.int64), predicted_stars(probabilities)
    confidence, off = probabilities.max(axis=1), np.abs(predicted - truth)
    order = [row for row in np.lexsort((-confidence, -off)) if off[row] > 0]
    return [
        {
            "row": rows[row]["review_id"],
            "category": rows[row]["product_category"],
            "words": rows[row]["body_words"],
            "truncated": rows[row]["truncated"],
            "true": int(truth[row]),
            "predicted": int(predicted[row]),
            "confidence": round(float(confidence[row]), 4),
            "probability_of_true": round(float(probabilities[row, truth[row] - 1]), 4),
        }
        for row in order[:WORST]
    ]
