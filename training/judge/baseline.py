"""What a star predictor has to beat: always the most frequent star, and TF-IDF with logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from contracts.review import STARS
from training.data.arrays import Floats, Ints
from training.data.labelled import LabelledReviews
from training.judge.metrics import Interval, measure

MAX_FEATURES = 200_000
ITERATIONS = 60


def judge_baselines(train: LabelledReviews, test: LabelledReviews) -> dict[str, dict[str, Interval]]:
    """The metrics of both on the test split, by name, as if all stars were equally frequent in it."""
    return {
        "majority": measure(test.stars, majority(train.stars, len(test)), balanced=True),
        "tfidf": measure(test.stars, tfidf(train.texts, train.stars, test.texts), balanced=True),
    }


def majority(train_stars: Ints, rows: int) -> Floats:
    """Probabilities (rows, 5): the share of each star in the training split, whatever the text says."""
    shares = np.bincount(train_stars - 1, minlength=len(STARS)) / len(train_stars)
    return np.tile(shares, (rows, 1))


def tfidf(train_texts: Sequence[str], train_stars: Ints, texts: Sequence[str]) -> Floats:
    """Probabilities (rows, 5) from words and pairs of words, learnt on the same rows as the model.

    A star that is not in the training split gets probability 0.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=2 if len(train_texts) >= 1000 else 1,
        max_features=MAX_FEATURES,
        sublinear_tf=True,
        token_pattern=r"\w+|[^\w\s]",  # noqa: S106  (words as tokens: "!" tells stars apart too)
        dtype=np.float32,
    )
    learner = LogisticRegression(C=2.0, max_iter=ITERATIONS, class_weight="balanced")
    with warnings.catch_warnings():
        # Held-out accuracy stops moving long before the solver calls it converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit(words.fit_transform(train_texts), train_stars)
    probabilities = np.zeros((len(texts), len(STARS)))
    probabilities[:, learner.classes_ - 1] = learner.predict_proba(words.transform(texts))
    return probabilities
