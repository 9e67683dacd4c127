"""All that is measured of a model's probabilities on labelled reviews."""

from __future__ import annotations

from typing import Any

import numpy as np

from contracts.release.calibration import Calibration, Likely
from training.data.arrays import Floats
from training.data.labelled import LabelledReviews
from training.judge.calibration import likely_share
from training.judge.metrics import confusion, measure, measured_share, predicted_stars, slices


def judge(reviews: LabelledReviews, probabilities: Floats, likely: Likely | None, balanced: bool) -> dict[str, Any]:
    """metrics with intervals, likely sets, slices and the confusion matrix, in counts, of probabilities (n, 5)."""
    predicted = predicted_stars(probabilities)
    return {
        "metrics": measure(reviews.stars, probabilities, balanced),
        "likely": likely and judge_likely(reviews, probabilities, likely, balanced),
        "slices": slices(reviews.stars, predicted, reviews.categories, reviews.body_words, balanced),
        "confusion": confusion(reviews.stars, predicted).tolist(),
    }


def judge_likely(reviews: LabelledReviews, probabilities: Floats, likely: Likely, balanced: bool) -> dict[str, Any]:
    """How often the sets of likely stars hold the true one, and how many stars are in one."""
    held, size = likely_share(probabilities, reviews.stars, likely)
    groups = reviews.stars if balanced else None
    return {
        "coverage": likely.coverage,
        "held": measured_share(held, groups),
        "stars": measured_share(size, groups),
    }


def as_rated(reviews: LabelledReviews, probabilities: Floats, calibration: Calibration) -> dict[str, Any]:
    """What is measured on the reviews as customers rate: of the answers, and of what one can make of them.

    Who knows how often customers give each star multiplies each probability by its star's share, by Bayes' rule: the
    model answers as if all stars were equally frequent.
    """
    told = probabilities * np.asarray(calibration.star_shares)
    return {
        "metrics": measure(reviews.stars, probabilities),
        "told_the_shares": measure(reviews.stars, np.asarray(told / told.sum(axis=1, keepdims=True))),
    }
