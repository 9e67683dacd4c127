"""Reviews whose stars their text contradicts, by confident learning (Northcutt et al. 2021, arXiv:1911.00068).

A cheap model that has not seen a review says what its text is worth; where it is surer of another star than it is on
average of reviews that truly have that star, one of the two is wrong. Four stars for a five-star text is taste, no
contradiction: the two must be `APART` at least.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DataError
from contracts.review import STARS
from training.data.arrays import Floats, Ints
from training.judge.baseline import tfidf

FOLDS = 5
APART = 2
FEWEST = 100
"""Of fewer reviews nothing can be learnt that would contradict one."""

Told = Callable[[float], None]


class Noise(NamedTuple):
    """What the texts say of the stars, row by row (n,)."""

    contradicted: NDArray[np.bool_]
    suggested: Ints
    """The star that the text alone is most likely to have."""
    quality: Floats
    """How well the text supports the given star, 0 to 1: `contradicted` ones are worth reading from the lowest on."""
    accuracy: float
    """Share of the reviews whose star the cheap model says too: what its objections are worth."""

    def ranked(self) -> Ints:
        """The numbers of the contradicted rows, the surest first."""
        rows = np.flatnonzero(self.contradicted)
        return rows[np.argsort(self.quality[rows], kind="stable")]


def find_noise(texts: Sequence[str], stars: Ints, told: Told = lambda _: None) -> Noise:
    """Judge `stars` (n,), 1 to 5, by `texts` (n,), each by a model that learnt from the others.

    `told` hears how much is done. Raises DataError where there are too few reviews.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    if len(stars) < FEWEST or len(np.unique(stars)) == 1:
        raise DataError(
            f"{len(stars)} reviews with {len(np.unique(stars))} different ratings cannot contradict each other: bring "
            f"{FEWEST} reviews at least, and not of one rating only"
        )
    chances = out_of_fold(texts, stars, told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a star which does not occur has too few examples
        issues = find_label_issues(stars - 1, chances, filter_by="both", n_jobs=1)
    suggested = chances.argmax(axis=1) + 1
    return Noise(
        np.asarray(issues & (np.abs(suggested - stars) >= APART)),
        suggested.astype(np.int64),
        np.asarray(get_label_quality_scores(stars - 1, chances, method="normalized_margin"), dtype=np.float64),
        float((suggested == stars).mean()),
    )


def out_of_fold(texts: Sequence[str], stars: Ints, told: Told) -> Floats:
    """Probabilities (n, 5) of each text by TF-IDF and logistic regression that did not learn from it."""
    folds = np.random.default_rng(FOLDS).permutation(len(texts)) % FOLDS
    chances = np.zeros((len(texts), len(STARS)))
    for fold in range(FOLDS):
        learnt, asked = (np.flatnonzero(rows).tolist() for rows in (folds != fold, folds == fold))
        chances[asked] = tfidf([texts[row] for row in learnt], stars[learnt], [texts[row] for row in asked])
        told((fold + 1) / FOLDS)
    return chances
