"""The rules that compare a data set with those of earlier runs. Where there are none, they are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import ClassVar, Literal

from pydantic import Field

from training.quality.analysis import MEAN_STARS, SIZE, MetricName, Metrics, rows_by_star
from training.quality.rule import Measured, Outcome, Rule, Share

RUNS = 5
"""How many earlier runs are compared with: their median, so that a single odd one decides nothing."""
SHARE_FLOOR = 1e-4
"""A star that nobody gave counts as this share, so that its logarithm is finite."""


class AgainstHistory(Rule):
    """Base of the rules that need earlier runs."""

    level: Literal["error", "warning"] = "warning"
    at_most: float = Field(gt=0)
    unit: ClassVar[str]
    """What `at_most` counts."""

    def judge(self, measured: Measured) -> Outcome:
        change = self.change(measured.now, measured.past[-RUNS:]) if measured.past else None
        return Outcome(change is None or change <= self.at_most, change, f"at most {self.at_most:g} {self.unit}")

    def change(self, metrics: Metrics, past: Sequence[Metrics]) -> float | None:
        """How far it is from earlier runs; None where that is not defined."""
        raise NotImplementedError


class SizeChange(AgainstHistory):
    """How many times larger or smaller the data set is."""

    check: Literal["size_change"]
    at_most: float = Field(gt=1)
    unit = "times larger or smaller"

    def change(self, metrics: Metrics, past: Sequence[Metrics]) -> float | None:
        before, now = _before(SIZE.metric(), past), metrics.get(SIZE.metric())
        return max(now / before, before / now) if before and now else None


class MeanStarsChange(AgainstHistory):
    """How far the mean of the stars has moved."""

    check: Literal["mean_stars_change"]
    at_most: float = Field(gt=0, le=4)
    unit = "stars away"

    def change(self, metrics: Metrics, past: Sequence[Metrics]) -> float | None:
        before, now = _before(MEAN_STARS.metric(), past), metrics.get(MEAN_STARS.metric())
        return None if before is None or now is None else abs(now - before)


class CompletenessChange(AgainstHistory):
    """How much emptier a column has become: the column for which that is most."""

    check: Literal["completeness_change"]
    at_most: Share
    unit = "of the rows emptier"

    def change(self, metrics: Metrics, past: Sequence[Metrics]) -> float | None:
        drops = [
            before - now
            for name, now in metrics.items()
            if name.analyzer == "Completeness" and (before := _before(name, past)) is not None
        ]
        return max(0.0, *drops) if drops else None


class StarDistributionChange(AgainstHistory):
    """The population stability index of the stars: below 0.1 they are as before, above 0.25 others."""

    check: Literal["star_distribution_change"]
    unit = "of stability index"

    def change(self, metrics: Metrics, past: Sequence[Metrics]) -> float | None:
        before = [shares for each in past if (shares := star_shares(rows_by_star(each)))]
        now = star_shares(rows_by_star(metrics))
        if not before or now is None:
            return None
        return stability_index({star: sum(each[star] for each in before) / len(before) for star in now}, now)


def star_shares(rows: Mapping[int, float]) -> dict[int, float] | None:
    """The share of each star; None where there is no review."""
    total = sum(rows.values())
    return {star: count / total for star, count in rows.items()} if total else None


def stability_index(before: Mapping[int, float], now: Mapping[int, float]) -> float:
    """Population stability index of two distributions over the same values: sum of (q - p) ln(q / p)."""
    pairs = [(max(before[value], SHARE_FLOOR), max(now[value], SHARE_FLOOR)) for value in before]
    return sum((q - p) * math.log(q / p) for p, q in pairs)


def _before(name: MetricName, past: Sequence[Metrics]) -> float | None:
    values = [each[name] for each in past if name in each]
    return median(values) if values else None


RULES: tuple[type[Rule], ...] = (SizeChange, MeanStarsChange, CompletenessChange, StarDistributionChange)
