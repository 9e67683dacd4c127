"""What the gateway adds is a pair's, never the difference of two distributions' quantiles (fault 26)."""

from __future__ import annotations

import numpy as np

from benchmarks.gateway import Pairs, added


def test_the_added_time_is_the_pairs_own() -> None:
    direct = np.array([10.0, 20.0, 30.0] * 50)
    through = np.array([32.0, 12.0, 22.0] * 50)  # the medians differ by 2, which is no pair's difference
    median, low, high = added(Pairs(direct, direct + 2, direct))
    assert (median, low, high) == (2, 2, 2)
    assert np.median(through) - np.median(direct) == 2
    assert added(Pairs(direct, through, direct))[0] == -8


def test_the_interval_shows_how_little_few_noisy_pairs_say() -> None:
    random = np.random.default_rng(1)
    direct, through = random.normal(50, 20, (2, 60))
    median, low, high = added(Pairs(direct, through + 3, direct))
    assert low < 3 < high and high - low > 3 and low < median < high
