"""The calibration error's estimate and interval, on populations whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration import SHAPES, Population, judge, ours, percentile
from training.judge.calibration_error import Bins, calibration_error, observed_error

REPEATS = 40


def test_the_samples_number_by_hand() -> None:
    # Two rows at 0.9, one of them right: a gap of 0.4. Two rows at 0.6, both right: a gap of 0.4 the other way.
    bins = Bins.of(np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True]))
    assert observed_error(bins) == pytest.approx(0.4)
    assert bins.rows.tolist() == [2, 2]


def test_a_confidence_on_an_edge_belongs_below_it() -> None:
    assert len(Bins.of(np.array([3 / 15, 2.5 / 15]), np.array([True, True])).rows) == 1


@pytest.mark.parametrize("error", [0.0, 0.03])
def test_the_interval_holds_the_truth_and_the_value_where_a_bootstrap_holds_neither(error: float) -> None:
    """Fault 16: a calibrated model lay below its own interval in 12 of 40 runs."""
    population = Population.with_error(SHAPES["tilted"], error)
    found, before = (judge(each, population, error, 1500, REPEATS) for each in (ours, percentile))
    assert found.inside == 1
    assert found.coverage >= 36 / REPEATS
    assert abs(found.bias) < 0.01
    assert before.coverage < 0.75 and before.bias > abs(found.bias)
    if error == 0:
        assert before.inside < 1


def test_of_many_rows_it_is_the_samples_number() -> None:
    bins = Population.with_error(SHAPES["tilted"], 0.06).sample(1_000_000, np.random.default_rng(1))
    value, low, high = calibration_error(bins)
    assert value == pytest.approx(0.06, abs=0.002)
    assert value == pytest.approx(observed_error(bins), abs=0.0005)
    assert high - low < 0.004


def test_it_is_repeatable() -> None:
    bins = Population.with_error(SHAPES["in turns"], 0.03).sample(500, np.random.default_rng(1))
    assert calibration_error(bins) == calibration_error(bins)


@pytest.mark.parametrize("rows", [1, 400])
def test_certainty_that_is_right_is_no_error(rows: int) -> None:
    assert calibration_error(Bins.of(np.ones(rows), np.ones(rows, dtype=bool)))[0] == 0


def test_certainty_that_is_wrong_is_all_error() -> None:
    value, low, high = calibration_error(Bins.of(np.ones(400), np.zeros(400, dtype=bool)))
    assert 0.98 < low <= value <= high <= 1
