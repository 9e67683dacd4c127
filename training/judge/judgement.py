"""All that is measured of a model's probabilities on labelled reviews."""

from __future__ import annotations

from typing import Any

from training.data.arrays import Floats
from training.data.labelled import LabelledReviews
from training.judge.metrics import confusion, measure, predicted_stars, slices


def judge(reviews: LabelledReviews, probabilities: Floats) -> dict[str, Any]:
    """metrics with intervals, slices and the confusion matrix of probabilities (n, 5)."""
    predicted = predicted_stars(probabilities)
    return {
        "metrics": measure(reviews.stars, probabilities),
        "slices": slices(reviews.stars, predicted, reviews.categories, reviews.body_words),
        "confusion": confusion(reviews.stars, predicted).tolist(),
    }
