"""The expected calibration error (ECE) with an interval that holds it.

The ECE is the mean gap between confidence and accuracy over 15 equal-width bins of the top probability (Guo et al.
2017, arXiv:1706.04599): a property of a model and a population. A sample's own number adds the noise of every bin, all
of it upwards, and a bootstrap of that number adds it again, so that a calibrated model lies below its own interval.

So the sample's number is compared with what samples of other errors would show. For an error t, the bins' gaps are the
likeliest ones that sum up to t; noise is drawn around them. The value is the t whose samples show more than ours as
often as less; at the interval's bounds one side has 2.5 % (hybrid resampling, Chuang and Lai 2000, Statistica Sinica
10:1-50). Value and bounds are of one family, so the value is always inside; where nothing speaks against a calibrated
model the lower bound is 0. Bias, error and coverage, simulated: benchmarks/calibration.py and docs/calibration.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import Floats

BINS = 15
DRAWS = 2000
SEED = 20150831
STEPS = 16
"""Halvings in the search for an error: to 1 / 65,536 of the largest one possible."""
LEVELS = (0.5, 0.975, 0.025)
"""Share of samples that show no more than was observed: at the value, at the lower and at the upper bound."""
_LEAST_VARIANCE = 0.01
"""Of a row's being right, where a bin holds too few to show any."""


class Bins(NamedTuple):
    """The bins that hold rows, each an array (bins,), of rows with weights whose mean is 1.

    Sums of the weights, of the confidences, of what was right, and of the weights' squares.
    """

    rows: Floats
    confidence: Floats
    right: Floats
    squares: Floats

    @classmethod
    def of(cls, confidence: Floats, right: NDArray[np.bool_], weights: Floats | None = None) -> Bins:
        """(n,) top probabilities, whether each prediction was right, and what each row counts: the same if not said."""
        weight = np.ones(len(confidence)) if weights is None else weights / weights.mean()
        # Bins are (0, 1/15], (1/15, 2/15], ...: a confidence on an edge belongs below it.
        at = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        sums = [np.bincount(at, w, minlength=BINS) for w in (weight, weight * confidence, weight * right, weight**2)]
        held = sums[0] > 0
        return cls(*(each[held].astype(np.float64) for each in sums))


def observed_error(bins: Bins) -> float:
    """The sample's own number: what other tools call ECE. Too high, by more the fewer the rows."""
    return float(np.abs(bins.confidence - bins.right).sum() / bins.rows.sum())


def calibration_error(bins: Bins) -> tuple[float, float, float]:
    """(value, low, high): the error of the population, and the bounds of its 95 % interval."""
    family = _Family(bins)
    value, low, high = (family.find(level) for level in LEVELS)
    return value, low, high


class _Family:
    """For each calibration error the likeliest gaps, and how often their samples show no more than ours."""

    def __init__(self, bins: Bins) -> None:
        total = bins.rows.sum()
        self.share = bins.rows / total
        self.confidence = bins.confidence / bins.rows
        gaps = (bins.confidence - bins.right) / total
        self.sign = np.where(gaps < 0, -1.0, 1.0)
        self.gaps = np.abs(gaps)
        # An overconfident bin can be off by all of its confidence, an underconfident one by the rest.
        self.largest = np.where(gaps < 0, 1 - self.confidence, self.confidence) * self.share
        accuracy = (bins.right + self.confidence) / (bins.rows + 1)
        # Of a bin's gap, for each unit of a row's own variance: share / rows where all rows count the same.
        self.unit = bins.squares / total**2
        self.variance = self.unit * np.maximum(accuracy * (1 - accuracy), _LEAST_VARIANCE)
        self.observed = self.gaps.sum()
        self.noise = np.random.default_rng(SEED).standard_normal((DRAWS, BINS))[:, : len(self.gaps)]

    def find(self, level: float) -> float:
        """The error whose samples show no more than ours with this probability; 0 where even it has fewer such."""
        if self.probability(0.0) <= level:
            return 0.0
        low, high = 0.0, float(self.largest.sum())
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.probability(middle) > level else (low, middle)
        return low

    def probability(self, error: float) -> float:
        """How often a sample from a population with this error shows no more than ours."""
        gaps = self.at(error)
        off = self.sign * gaps / self.share
        accuracy = np.clip(self.confidence - off, 0, 1)
        # What varies from sample to sample: which of a bin's rows are right, and how many rows fall into it.
        variance = self.unit * (accuracy * (1 - accuracy) + (1 - self.share) * off**2)
        shown = np.abs(gaps + self.noise * np.sqrt(variance)).sum(axis=1)
        return float((shown <= self.observed).mean())

    def at(self, error: float) -> Floats:
        """The likeliest gaps with this sum: the observed ones, each moved by its variance as far as there is room."""
        inwards = error < self.observed
        room = self.gaps if inwards else self.largest - self.gaps
        stops = np.sort(np.append(room / self.variance, 0.0))
        moved = np.minimum(np.outer(stops, self.variance), room).sum(axis=1)
        move = np.minimum(np.interp(abs(error - self.observed), moved, stops) * self.variance, room)
        return np.asarray(self.gaps - move if inwards else self.gaps + move, dtype=np.float64)
