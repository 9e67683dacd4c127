"""What a plot shows, before anybody draws it: style/plots.html.j2 draws it for a browser, matplotlib for a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a plot. What is no number leaves a gap."""

    label: str
    points: tuple[Point, ...]
    colour: str = "mark"


@dataclass(frozen=True)
class Plot:
    """Lines over one scale. `told` says in words how it ends; `bounds` are least and greatest values to show.

    With `intervals`, (x, low, high), it is points with their intervals instead, and a diagonal to compare them with.
    """

    title: str
    told: str
    series: tuple[Series, ...]
    unit: str = "step"
    bounds: tuple[float | None, float | None] = (None, None)
    x_bounds: tuple[float | None, float | None] = (None, None)
    intervals: tuple[tuple[float, float, float], ...] = ()

    @cached_property
    def x_ticks(self) -> tuple[float, ...]:
        return self._ticks(0, self.x_bounds, 6 if self.intervals else 5)

    @cached_property
    def y_ticks(self) -> tuple[float, ...]:
        return self._ticks(1, self.bounds, 6)

    def _ticks(self, axis: int, bounds: tuple[float | None, float | None], most: int) -> tuple[float, ...]:
        values = [point[axis] for series in self.series for point in series.points if math.isfinite(point[axis])]
        low, high = (given if given is not None else found for given, found in zip(bounds, _ends(values), strict=True))
        return ticks(low, high, most)

    def x(self, value: float) -> float:
        """Where it lies, from 0 at the left to 100."""
        return 100 * (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])

    def y(self, value: float) -> float:
        """Where it lies, from 0 at the top to 100."""
        return 100 * (self.y_ticks[-1] - value) / (self.y_ticks[-1] - self.y_ticks[0])

    def path(self, series: Series) -> str:
        """The line in SVG's words, in a box of 100 by 100."""
        words, begin = [], True
        for x, y in series.points:
            if math.isfinite(y):
                words.append(f"{'M' if begin else 'L'}{self.x(x):.2f} {self.y(y):.2f}")
            begin = not math.isfinite(y)
        return "".join(words)


@dataclass(frozen=True)
class Estimate:
    """A share of rows with its interval, as one line of a list."""

    label: str
    value: float
    low: float
    high: float
    text: str


def _ends(values: list[float]) -> Point:
    return (min(values), max(values)) if values else (0.0, 1.0)


def ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Round numbers in even steps of 1, 2 or 5, that hold both ends between the first and the last."""
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300) or high == low:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / (most - 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(number * step for number in range(first, last + 1))


def short(value: float) -> str:
    """A number on an axis: 1.2k, 0.05, 2e-05."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
