"""Calibration finds what the data were made with, and says the same row by row and for many rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.release.calibration import Calibration, Doubt, Likely
from contracts.release.calibration import reaches as reaches_of_one
from training.judge.calibration import (
    FLATTEST,
    SHARPEST,
    fit,
    fit_likely,
    likely_share,
    probabilities,
    reaches,
    row_weights,
    softmax,
)
from training.judge.metrics import Floats, Ints, expected_calibration_error


def document(certain: float, doubtful: float, reach: float = 0.9) -> Calibration:
    return Calibration(
        temperature=1.0,
        ece_before=0.0,
        ece_after=0.0,
        doubt=Doubt(certain=certain, doubtful=doubtful),
        likely=Likely(coverage=0.9, reach=reach),
    )


def drawn(certain: float, doubtful: float, rows: int = 40_000) -> tuple[Floats, Ints, Floats]:
    """Logits, stars drawn with the probabilities that the logits mean at these temperatures, and equal weights."""
    rng = np.random.default_rng(5)
    logits = rng.normal(scale=2, size=(rows, 5))
    below = probabilities(document(certain, doubtful), logits).cumsum(axis=1)
    return logits, np.minimum((rng.random((rows, 1)) > below).sum(axis=1), 4) + 1, np.full(rows, 1 / rows)


@pytest.mark.parametrize(("certain", "doubtful"), [(1.0, 1.0), (0.6, 1.5), (2.0, 0.8)])
def test_the_true_temperatures_are_found(certain: float, doubtful: float) -> None:
    found = fit(*drawn(certain, doubtful)).doubt
    assert (found.certain, found.doubtful) == pytest.approx((certain, doubtful), rel=0.08)


def test_doubt_mends_what_one_temperature_cannot() -> None:
    logits, truth, weights = drawn(0.5, 2.0)
    fitted = fit(logits, truth, weights)
    assert expected_calibration_error(truth, softmax(logits, fitted.temperature)) > 0.02
    by_doubt = document(fitted.doubt.certain, fitted.doubt.doubtful)
    assert expected_calibration_error(truth, probabilities(by_doubt, logits)) < 0.005


def test_it_stays_in_bounds_where_the_data_say_nothing() -> None:
    logits, weights = np.eye(5), np.full(5, 0.2)
    right, wrong = fit(logits, np.arange(1, 6), weights), fit(-logits, np.arange(1, 6), weights)
    assert right.temperature == pytest.approx(SHARPEST, rel=0.01)
    assert wrong.temperature == pytest.approx(FLATTEST, rel=0.01)
    for doubt in (right.doubt, wrong.doubt):
        assert SHARPEST * 0.99 <= min(doubt.certain, doubt.doubtful) <= max(doubt.certain, doubt.doubtful) <= FLATTEST


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, 0, -1e4, 0, 0]])
    assert softmax(logits, 0.05).tolist() == [[1, 0, 0, 0, 0]]
    assert probabilities(document(0.1, 5), logits).tolist() == [[1, 0, 0, 0, 0]]


def test_weights_make_stars_equal_and_rare_categories_heard() -> None:
    stars = np.array([1] * 100 + [5] * 25 + [5] * 100)
    weights = row_weights(stars, ["a"] * 100 + ["b"] * 25 + ["c"] * 100)
    assert weights[stars == 1].sum() == pytest.approx(0.5)
    assert weights[stars == 5].sum() == pytest.approx(0.5)
    assert weights[100:125].sum() / weights[125:].sum() == pytest.approx(0.5)  # by the root of 25 to 100, both of 5


def test_one_row_and_many_rows_are_calculated_alike() -> None:
    logits = np.random.default_rng(1).normal(scale=3, size=(300, 5))
    calibration = document(0.8, 1.6)
    chances = probabilities(calibration, logits)
    for row, chance in zip(logits.tolist(), chances, strict=True):
        assert calibration.probabilities(row) == pytest.approx(chance.tolist(), abs=1e-12)
    for chance, reach in zip(chances.tolist(), reaches(chances).tolist(), strict=True):
        assert reaches_of_one(chance) == pytest.approx(reach, abs=1e-12)


def test_likely_stars_hold_the_true_one_as_often_as_they_say() -> None:
    logits, truth, weights = drawn(1.0, 1.0)
    chances = softmax(logits)
    likely = fit_likely(chances[:1000], truth[:1000], weights[:1000])
    held, size = likely_share(chances[1000:], truth[1000:], likely)
    assert held.mean() == pytest.approx(0.9, abs=0.03)
    assert 1 < size.mean() < 5


def test_few_rows_are_not_trusted_with_coverage() -> None:
    """Five rows cannot show nine in ten: every star is likely."""
    logits, truth, weights = drawn(1.0, 1.0, rows=5)
    assert fit_likely(softmax(logits), truth, weights).reach == pytest.approx(
        reaches(softmax(logits))[np.arange(5), truth - 1].max(), abs=1e-6
    )


def test_likely_stars_grow_from_the_most_probable_without_a_gap() -> None:
    chances = [0.1, 0.2, 0.4, 0.25, 0.05]
    for reach, ends in {0.0: (3, 3), 0.64: (3, 3), 0.66: (3, 4), 0.86: (2, 4), 0.96: (1, 4), 1.0: (1, 5)}.items():
        assert document(1, 1, reach).likely_stars(chances) == [*range(ends[0], ends[1] + 1)]


def test_a_release_from_before_has_one_temperature_and_no_likely_stars() -> None:
    old = Calibration(temperature=2.0, ece_before=0.1, ece_after=0.05)
    logits = [0.0, 1.0, 2.0, 1.0, 0.0]
    assert old.probabilities(logits) == pytest.approx(softmax(np.array([logits]), 2.0)[0].tolist())
    assert old.likely_stars(old.probabilities(logits)) is None
