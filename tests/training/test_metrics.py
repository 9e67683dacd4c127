"""Metrics against scikit-learn, intervals against a bootstrap that really draws rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from training.judge import metrics

rng = np.random.default_rng(3)
TRUTH = rng.integers(1, 6, 400)
PROBABILITIES = rng.dirichlet(np.ones(5), 400)
PROBABILITIES[np.arange(400), TRUTH - 1] += 0.3
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)
PREDICTED = metrics.predicted_stars(PROBABILITIES)
MATRIX = metrics.confusion(TRUTH, PREDICTED)


def test_confusion_is_scikit_learns() -> None:
    expected = sklearn_metrics.confusion_matrix(TRUTH, PREDICTED, labels=[1, 2, 3, 4, 5])
    assert (expected == MATRIX).all()


@pytest.mark.parametrize("present", [[1, 2, 3, 4, 5], [1, 5], [3, 4]])
def test_values_are_scikit_learns(present: list[int]) -> None:
    rows = np.isin(TRUTH, present)
    truth, predicted = TRUTH[rows], PREDICTED[rows]
    matrix = metrics.confusion(truth, predicted)
    assert metrics.accuracy(matrix) == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert metrics.mae(matrix) == pytest.approx(sklearn_metrics.mean_absolute_error(truth, predicted))
    assert metrics.within_one(matrix) == pytest.approx((abs(truth - predicted) <= 1).mean())
    assert metrics.macro_f1(matrix) == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    kappa = sklearn_metrics.cohen_kappa_score(truth, predicted, weights="quadratic")
    assert metrics.quadratic_kappa(matrix) == pytest.approx(kappa)


def test_nll_is_scikit_learns() -> None:
    expected = sklearn_metrics.log_loss(TRUTH, PROBABILITIES, labels=[1, 2, 3, 4, 5])
    assert metrics.log_losses(TRUTH, PROBABILITIES).mean() == pytest.approx(expected)


def test_a_probability_of_zero_costs_much_but_not_infinity() -> None:
    (loss,) = metrics.log_losses(np.array([2]), np.array([[1.0, 0, 0, 0, 0]]))
    assert 100 < loss < np.inf


def test_kappa_is_zero_where_it_is_undefined() -> None:
    assert metrics.quadratic_kappa(metrics.confusion(np.array([3, 3]), np.array([3, 3]))) == 0


def test_measure_has_every_metric_in_its_interval_and_is_repeatable() -> None:
    found = metrics.measure(TRUTH, PROBABILITIES)
    assert list(found) == ["accuracy", "mae", "within_one", "macro_f1", "qwk", "ece", "nll"]
    for name in found:
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found == metrics.measure(TRUTH, PROBABILITIES)


def test_intervals_are_those_of_drawing_rows() -> None:
    drawn = []
    for _ in range(1000):
        rows = rng.integers(400, size=400)
        drawn.append(metrics.macro_f1(metrics.confusion(TRUTH[rows], PREDICTED[rows])))
    low, high = np.quantile(drawn, (0.025, 0.975))
    found = metrics.measure(TRUTH, PROBABILITIES)["macro_f1"]
    assert found["low"] == pytest.approx(low, abs=0.01)
    assert found["high"] == pytest.approx(high, abs=0.01)


def test_one_row_can_be_measured() -> None:
    found = metrics.measure(np.array([4]), np.array([[0, 0, 0, 1.0, 0]]))
    assert found["accuracy"] == {"value": 1, "low": 1, "high": 1}


def test_slices_partition_the_rows() -> None:
    categories = ["Gift_Card", "", "Digital_Software", "Gift_Card"] * 100
    words = np.array([0, 9, 10, 1000] * 100)
    found = metrics.slices(TRUTH, PREDICTED, categories, words)
    assert {name: group["n"] for name, group in found["category"].items()} == {
        "Gift_Card": 200,
        "(none)": 100,
        "Digital_Software": 100,
    }
    assert {name: group["n"] for name, group in found["length"].items()} == {"0-9": 200, "10-24": 100, "200+": 100}
    assert sum(group["n"] for group in found["star"].values()) == 400
    right = (TRUTH == PREDICTED)[TRUTH == 2].mean()
    assert found["star"]["2"]["accuracy"]["value"] == pytest.approx(right, abs=1e-6)


def test_a_paired_difference_is_sharper_than_two_intervals() -> None:
    hits = (TRUTH == PREDICTED).astype(float)
    better = hits.copy()
    better[np.flatnonzero(hits == 0)[:12]] = 1
    found = metrics.paired_difference(better, hits)
    assert found["value"] == pytest.approx(12 / 400)
    assert 0 < found["low"] < found["value"] < found["high"] < 0.06


def test_no_difference_has_no_width() -> None:
    assert metrics.paired_difference(np.ones(9), np.ones(9)) == {"value": 0, "low": 0, "high": 0}
