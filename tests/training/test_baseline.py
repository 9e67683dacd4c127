"""The two baselines learn what they can."""

from __future__ import annotations

import numpy as np

from training.judge import baseline

WORDS = {1: "awful refund", 2: "poor", 4: "good", 5: "excellent!"}
STARS = np.array([1, 2, 4, 5] * 30)
TEXTS = [f"the product number {i} is {WORDS[star]}" for i, star in enumerate(STARS)]


def test_majority_answers_with_the_shares_of_the_train_split() -> None:
    found = baseline.majority(np.array([5, 5, 5, 1]), rows=2)
    assert found.tolist() == [[0.25, 0, 0, 0, 0.75]] * 2


def test_tfidf_learns_words_and_gives_an_unseen_star_no_probability() -> None:
    found = baseline.tfidf(TEXTS, STARS, ["this is awful", "excellent!", "nothing known here"])
    assert found.shape == (3, 5)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found[:, 2] == 0).all()
    assert found[:2].argmax(axis=1).tolist() == [0, 4]
