"""Which estimator of the expected calibration error is right, and whose 95 % interval holds it: a simulation.

    python -m benchmarks.calibration [--repeats 100] [--weighted]

Draws reviews with the confidences of the bundled release on real ones, from populations whose calibration error is
known, and asks each estimator. The error has three shapes: every bin too sure, sure bins too sure and unsure ones too
modest, and bins that are wrong in turns. Prints bias, root mean squared error and coverage for each number of rows and
each error, averaged over the shapes, with the least coverage of a shape. Weighted are rows as customers rate them, each
counting by how rare its star is, which only ours knows of.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from training.judge.calibration_error import BINS, Bins, calibration_error, observed_error

Floats = NDArray[np.float64]
Estimate = tuple[float, float, float]
"""Value, and the bounds of the interval."""

ROWS = (300, 1500, 5000, 20_000)
ERRORS = (0.0, 0.01, 0.03, 0.06, 0.1)
# 41 quantiles of the top probability that the bundled release gives 6,000 reviews of eight categories.
CONFIDENCE = (
    *(0.271, 0.419, 0.453, 0.472, 0.485, 0.501, 0.514, 0.525, 0.539, 0.555, 0.569, 0.582, 0.597, 0.611, 0.624, 0.639),
    *(0.654, 0.666, 0.679, 0.694, 0.706, 0.721, 0.733, 0.746, 0.758, 0.771, 0.784, 0.795, 0.806, 0.818, 0.831, 0.843),
    *(0.854, 0.865, 0.875, 0.885, 0.893, 0.900, 0.907, 0.913, 0.926),
)
SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "too sure": np.ones_like,
    "tilted": lambda confidence: confidence - np.median(CONFIDENCE),
    "in turns": lambda confidence: np.where(np.ceil(confidence * BINS) % 2 == 0, 1.0, -1.0),
}
RESAMPLES = 1000
STARS = (0.11, 0.06, 0.09, 0.18, 0.56)
"""How often customers give one to five stars, about."""


class Population(NamedTuple):
    """Reviews without end whose predictions are right with probability confidence - size * shape(confidence)."""

    shape: Callable[[Floats], Floats]
    size: float

    @classmethod
    def with_error(cls, shape: Callable[[Floats], Floats], error: float) -> Population:
        """The population of this shape with this calibration error."""
        low, high = 0.0, 5.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if cls(shape, middle).error() < error else (low, middle)
        return cls(shape, low)

    def accuracy(self, confidence: Floats) -> Floats:
        return np.clip(confidence - self.size * self.shape(confidence), 0.0, 1.0)

    def error(self) -> float:
        """The calibration error itself."""
        confidence = _confidences((np.arange(100_000) + 0.5) / 100_000)
        return observed_error(Bins.of(confidence, self.accuracy(confidence)))

    def sample(self, rows: int, random: np.random.Generator, weighted: bool = False) -> Bins:
        confidence = _confidences(random.random(rows))
        weights = 1 / random.choice(STARS, size=rows, p=STARS) if weighted else None
        return Bins.of(confidence, random.random(rows) < self.accuracy(confidence), weights)


def _confidences(ranks: Floats) -> Floats:
    return np.interp(ranks, np.linspace(0, 1, len(CONFIDENCE)), CONFIDENCE)


def ours(bins: Bins) -> Estimate:
    """Hybrid resampling: training/judge/calibration_error.py."""
    return calibration_error(bins)


def percentile(bins: Bins) -> Estimate:
    """The sample's number with the quantiles of its bootstrap, as releases before 25 November 2026 report it."""
    low, high = np.quantile(_resampled(bins), (0.025, 0.975))
    return observed_error(bins), float(low), float(high)


def debiased(bins: Bins) -> Estimate:
    """Less each bin's upward bias (Kumar et al. 2019, arXiv:1909.10155, for p = 1), with a basic bootstrap about it."""
    value = _debiased(bins)
    drawn = _resampled(bins)
    low, high = np.quantile(drawn, (0.025, 0.975)) - drawn.mean()
    return value, max(0.0, float(value - high)), float(value - low)


def debiased_normal(bins: Bins) -> Estimate:
    """The same value with a normal interval from the variances of the bins."""
    value, half = _debiased(bins), 1.96 * float(np.sqrt((_deviation(bins) ** 2).sum()))
    return value, max(0.0, value - half), value + half


ESTIMATORS: dict[str, Callable[[Bins], Estimate]] = {
    "percentile bootstrap": percentile,
    "debiased, bootstrap": debiased,
    "debiased, normal": debiased_normal,
    "hybrid (ours)": ours,
}


def _debiased(bins: Bins) -> float:
    gap, deviation = np.abs(bins.confidence - bins.right) / bins.rows.sum(), _deviation(bins)
    ratio = gap / deviation
    folded = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gap * (1 - 2 * norm.cdf(-ratio))
    return max(0.0, float((2 * gap - folded).sum()))


def _deviation(bins: Bins) -> Floats:
    accuracy = (bins.right + bins.confidence / bins.rows) / (bins.rows + 1)
    return np.asarray(np.sqrt(bins.rows * accuracy * (1 - accuracy)) / bins.rows.sum(), dtype=np.float64)


def _resampled(bins: Bins) -> Floats:
    """The sample's number in each resample: drawing rows is drawing from the cells (bin, right or wrong)."""
    total, count = int(bins.rows.sum()), len(bins.rows)
    cells = np.concatenate([bins.right, bins.rows - bins.right]) / total
    drawn = np.random.default_rng(1).multinomial(total, cells, size=RESAMPLES)
    right, rows = drawn[:, :count], drawn[:, :count] + drawn[:, count:]
    return np.asarray(np.abs(rows * bins.confidence / bins.rows - right).sum(axis=1) / total, dtype=np.float64)


class Judged(NamedTuple):
    """How an estimator did on samples of one population."""

    bias: float
    rmse: float
    coverage: float
    """Share of the intervals that hold the true error."""
    inside: float
    """Share of the values that lie in their own interval."""


def judge(
    estimator: Callable[[Bins], Estimate],
    population: Population,
    error: float,
    rows: int,
    repeats: int,
    weighted: bool = False,
) -> Judged:
    """Ask the estimator about so many samples of so many rows, the same for every estimator."""
    random = np.random.default_rng(rows)
    value, low, high = np.array([estimator(population.sample(rows, random, weighted)) for _ in range(repeats)]).T
    return Judged(
        float((value - error).mean()),
        float(np.sqrt(((value - error) ** 2).mean())),
        float(((low <= error) & (error <= high)).mean()),
        float(((low <= value) & (value <= high)).mean()),
    )


def _cell(judged: Iterable[Judged]) -> str:
    bias, rmse, coverage, inside = np.array(list(judged)).T
    said = f"{bias.mean():+.4f}  {np.sqrt((rmse**2).mean()):.4f}  {coverage.mean():.1%} ({coverage.min():.1%})"
    return said if inside.min() == 1 else f"{said}, outside itself {1 - inside.mean():.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100, help="samples of each population")
    parser.add_argument("--weighted", action="store_true", help="rows that count by how rare their star is")
    args = parser.parse_args()
    estimators = {"hybrid (ours)": ours} if args.weighted else ESTIMATORS
    table = Table("rows", "ECE", *estimators, title="bias, RMSE, coverage of the 95 % interval (least of a shape)")
    for rows in ROWS:
        for error in ERRORS:
            shapes = list(SHAPES.values())[: None if error else 1]
            populations = [Population.with_error(shape, error) for shape in shapes]
            table.add_row(
                f"{rows:,}",
                f"{error:g}",
                *(
                    _cell(
                        judge(estimator, population, error, rows, args.repeats, args.weighted)
                        for population in populations
                    )
                    for estimator in estimators.values()
                ),
            )
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
