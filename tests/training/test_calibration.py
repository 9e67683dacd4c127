"""Temperature scaling finds the temperature that the data were made with."""

from __future__ import annotations

import numpy as np
import pytest

from training.judge.calibration import FLATTEST, SHARPEST, fit_temperature, softmax
from training.judge.metrics import Floats, Ints, log_losses


def drawn(temperature: float, rows: int = 20_000) -> tuple[Floats, Ints]:
    """Logits, and stars drawn with the probabilities that the logits mean at this temperature."""
    rng = np.random.default_rng(5)
    logits = rng.normal(scale=2, size=(rows, 5))
    below = softmax(logits, temperature).cumsum(axis=1)
    return logits, np.minimum((rng.random((rows, 1)) > below).sum(axis=1), 4) + 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 3.0])
def test_the_true_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_is_more_likely() -> None:
    logits, truth = drawn(1.4, rows=500)
    found = fit_temperature(logits, truth)
    best = log_losses(truth, softmax(logits, found)).mean()
    assert all(log_losses(truth, softmax(logits, t)).mean() >= best for t in np.geomspace(0.1, 10, 200))


def test_it_stays_in_bounds_where_the_data_say_nothing() -> None:
    logits = np.eye(5)
    assert fit_temperature(logits, np.arange(1, 6)) == pytest.approx(SHARPEST)
    assert fit_temperature(-logits, np.arange(1, 6)) == pytest.approx(FLATTEST)


def test_huge_logits_do_not_overflow() -> None:
    assert softmax(np.array([[1e4, 0, -1e4, 0, 0]]), 0.05).tolist() == [[1, 0, 0, 0, 0]]
