"""How good star predictions are: point values, bootstrap intervals and slices, in plain numpy.

Stars are integers 1 to 5. A prediction is the most probable star. Accuracy, MAE, within-one, macro-F1 and kappa are
functions of the 5 x 5 confusion matrix alone, and drawing n rows with replacement is drawing n times from the
matrix's cells: the bootstrap (Efron 1979) of these five costs the same for a hundred rows and for a million. The
calibration error is no such function, and is biased in every resample: training/judge/calibration_error.py.

Customers give some stars far more often than others. What is `balanced` is measured as if all stars were equally
frequent: each row of the confusion matrix is divided by its sum, and each review counts by how rare its star is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.review import STARS
from training.data.arrays import Floats, Ints
from training.judge.calibration_error import Bins, calibration_error

Matrix = Ints | Floats
Interval = dict[str, float]
"""{"value": the point estimate, "low", "high": the bounds of the 95 % interval}: as reports and manifests hold it."""

RESAMPLES = 1000
SEED = 20150831
MOST_CATEGORIES = 40
LENGTH_BUCKETS = ((0, "0-9"), (10, "10-24"), (25, "25-49"), (50, "50-99"), (100, "100-199"), (200, "200+"))
"""(least number of words in the body, name) of each slice by length."""

_CLASSES = len(STARS)
_DISTANCE = np.abs(np.subtract.outer(np.arange(_CLASSES), np.arange(_CLASSES)))


def predicted_stars(scores: Floats) -> Ints:
    """The star with the highest logit or probability; `scores` is (n, 5)."""
    return np.asarray(scores.argmax(axis=1) + 1, dtype=np.int64)


def confusion(truth: Ints, predicted: Ints) -> Ints:
    """Counts (5, 5): true star on the rows, predicted star on the columns."""
    cells = (truth - 1) * _CLASSES + (predicted - 1)
    return np.bincount(cells, minlength=_CLASSES**2).reshape(_CLASSES, _CLASSES)


# Functions of a confusion matrix (..., 5, 5), of counts or of shares: leading axes are resamples and stay.


def accuracy(matrix: Matrix) -> Floats:
    """Share of rows with exactly the right star."""
    return _share(matrix, _DISTANCE == 0)


def within_one(matrix: Matrix) -> Floats:
    """Share of rows at most one star off."""
    return _share(matrix, _DISTANCE <= 1)


def mae(matrix: Matrix) -> Floats:
    """Mean distance between predicted and true star."""
    return _share(matrix, _DISTANCE)


def macro_f1(matrix: Matrix) -> Floats:
    """Mean F1 over the stars that occur, as truth or as prediction."""
    occurs = matrix.sum(-1) + matrix.sum(-2)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    f1 = 2 * hits / np.where(occurs > 0, occurs, 1)
    return np.asarray(f1.sum(-1) / (occurs > 0).sum(-1), dtype=np.float64)


def quadratic_kappa(matrix: Matrix) -> Floats:
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 is perfect, 0 is chance.

    0 where it is undefined, because all rows have the same star, as truth and as prediction.
    """
    weights = _DISTANCE**2
    observed = (matrix * weights).sum((-2, -1)).astype(np.float64)
    chance = matrix.sum(-1)[..., :, None] * matrix.sum(-2)[..., None, :] / matrix.sum((-2, -1))[..., None, None]
    expected = (chance * weights).sum((-2, -1))
    defined = expected > 0
    return np.where(defined, 1 - observed / np.where(defined, expected, 1), 0.0)


FROM_CONFUSION: dict[str, Callable[[Matrix], Floats]] = {
    "accuracy": accuracy,
    "mae": mae,
    "within_one": within_one,
    "macro_f1": macro_f1,
    "qwk": quadratic_kappa,
}


def balanced_weights(truth: Ints) -> Floats:
    """(n,) what each row counts where all stars that occur shall count the same."""
    rows = np.bincount(truth, minlength=_CLASSES + 1)
    return 1 / rows[truth]


def expected_calibration_error(truth: Ints, probabilities: Floats, balanced: bool = False) -> float:
    """Mean gap between confidence and accuracy over 15 bins of the top probability, without the sample's noise."""
    return calibration_error(_bins(truth, probabilities, balanced))[0]


def measure(truth: Ints, probabilities: Floats, balanced: bool = False) -> dict[str, Interval]:
    """Every metric with its 95 % interval: accuracy, mae, within_one, macro_f1, qwk, ece, nll."""
    measured = _measure_confusion(confusion(truth, predicted_stars(probabilities)), FROM_CONFUSION, balanced)
    value, low, high = calibration_error(_bins(truth, probabilities, balanced))
    measured["ece"] = {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6)}
    losses = log_losses(truth, probabilities)
    weights = balanced_weights(truth) if balanced else np.ones(len(truth))
    rng = np.random.default_rng(SEED)
    rows = (rng.integers(len(truth), size=len(truth)) for _ in range(RESAMPLES))
    draws = np.array([np.average(losses[chosen], weights=weights[chosen]) for chosen in rows])
    measured["nll"] = _interval(float(np.average(losses, weights=weights)), draws)
    return measured


def slices(
    truth: Ints, predicted: Ints, categories: Sequence[str], body_words: Ints, balanced: bool = False
) -> dict[str, dict[str, dict[str, Any]]]:
    """n, accuracy, MAE and within-one by product category (the largest), by length in words and by true star.

    Balanced are the stars that occur in the slice.
    """
    chosen = {name: FROM_CONFUSION[name] for name in ("accuracy", "mae", "within_one")}
    return {
        by: {
            name: {"n": int(rows.sum())} | _measure_confusion(confusion(truth[rows], predicted[rows]), chosen, balanced)
            for name, rows in masks.items()
            if rows.any()
        }
        for by, masks in slice_rows(truth, categories, body_words).items()
    }


def slice_rows(truth: Ints, categories: Sequence[str], body_words: Ints) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Which rows (n,) are in which slice, by what they are cut by and the slice's name."""
    starts = [least for least, _ in LENGTH_BUCKETS]
    buckets = np.searchsorted(starts, body_words, side="right") - 1
    named = np.asarray(categories, dtype=object)
    return {
        "category": {name or "(none)": named == name for name, _ in Counter(categories).most_common(MOST_CATEGORIES)},
        "length": {name: buckets == i for i, (_, name) in enumerate(LENGTH_BUCKETS)},
        "star": {str(star): truth == star for star in STARS},
    }


def paired_difference(ours: Floats, theirs: Floats, groups: Ints | None = None) -> Interval:
    """Mean of ours - theirs with its interval, resampling rows, so that what is hard for both cancels out.

    Both are one value a row, of which there are few different ones: a hit (0 or 1) or a distance (0 to 4).
    """
    return measured_share(ours - theirs, groups)


def measured_share(rows: Floats, groups: Ints | None = None) -> Interval:
    """Mean of one value a row, of which there are few different ones, with its interval.

    With `groups`, a number a row, it is the mean of the groups' means, and each group is resampled by itself.
    """
    rng = np.random.default_rng(SEED)
    groups = np.zeros(len(rows), dtype=np.int64) if groups is None else groups
    means, draws = [], []
    for group in np.unique(groups):
        of_group = rows[groups == group]
        values, counts = np.unique(of_group, return_counts=True)
        means.append(of_group.mean())
        draws.append(rng.multinomial(len(of_group), counts / len(of_group), size=RESAMPLES) @ values / len(of_group))
    return _interval(float(np.mean(means)), np.mean(draws, axis=0))


def _share(matrix: Matrix, weights: NDArray[Any]) -> Floats:
    return np.asarray((matrix * weights).sum((-2, -1)) / matrix.sum((-2, -1)), dtype=np.float64)


def _measure_confusion(
    matrix: Ints, metrics: dict[str, Callable[[Matrix], Floats]], balanced: bool
) -> dict[str, Interval]:
    n = int(matrix.sum())
    cells = np.random.default_rng(SEED).multinomial(n, matrix.ravel() / n, size=RESAMPLES)
    draws = cells.reshape(RESAMPLES, _CLASSES, _CLASSES)
    seen, resampled = (_balanced(matrix), _balanced(draws)) if balanced else (matrix, draws)
    return {name: _interval(float(metric(seen)), metric(resampled)) for name, metric in metrics.items()}


def _balanced(matrix: Ints) -> Floats:
    """Counts (..., 5, 5) as each true star's shares, which add up to 1; nothing where a star does not occur."""
    rows = matrix.sum(-1, keepdims=True)
    return np.asarray(matrix / np.where(rows > 0, rows, 1), dtype=np.float64)


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"value": round(value, 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def _bins(truth: Ints, probabilities: Floats, balanced: bool) -> Bins:
    weights = balanced_weights(truth) if balanced else None
    return Bins.of(probabilities.max(axis=1), predicted_stars(probabilities) == truth, weights)


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """-log of the probability that each row's true star got (n,): large where that was 0, never infinite."""
    hit = probabilities[np.arange(len(truth)), truth - 1]
    return np.asarray(-np.log(np.maximum(hit, np.finfo(np.float64).tiny)), dtype=np.float64)
