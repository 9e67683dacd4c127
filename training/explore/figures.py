"""The charts of the report as matplotlib figures, for a notebook: `figure(lake, "star_breakdown")`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from contracts.errors import DataError
from training.explore.charts import Bars, Chart, Histogram, Lines, Spans, Stacked, Words
from training.explore.lake import ask, open_lake
from training.explore.questions import drawable, question
from training.pages.colours import PALETTE

COLOURS = {name: light for name, (light, _) in PALETTE.items()}
ROW = 0.28
"""Inches that a row of a chart takes."""


def figure(lake: Path | str, name: str) -> Figure:
    """The answer to a question of a data set as a figure of its own, which pyplot has forgotten: nothing to close.

    Raises DataError where there is no data set, or nothing in it that answers.
    """
    asked = question(name)
    with open_lake(Path(lake)) as connection:
        rows = ask(connection, asked.sql)
        chart = None if rows.empty else asked.chart(drawable(connection, rows))
    if chart is None:
        raise DataError(f"{lake} has nothing to draw: {asked.nothing if rows.empty else asked.finding(rows)}")
    with sns.axes_style("whitegrid", {"axes.grid": False, "axes.edgecolor": ".6"}):
        drawn = DRAWINGS[type(chart)](chart)
    drawn.suptitle(asked.title)
    plt.close(drawn)
    return drawn


def _canvas(rows: int, labels: list[str]) -> tuple[Figure, Axes]:
    """Axes with a labelled row a value, the first on top."""
    drawn, axes = plt.subplots(figsize=(8, 1.4 + ROW * rows), layout="constrained")
    axes.set_yticks(range(rows), [label if len(label) <= 50 else f"{label[:49]}…" for label in labels])
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(left=False)
    sns.despine(drawn, left=True)
    return drawn, axes


def _bars(chart: Bars) -> Figure:
    drawn, axes = _canvas(len(chart.bars), [bar.label for bar in chart.bars])
    for row, bar in enumerate(chart.bars):
        if not chart.dots:
            axes.barh(row, bar.value, color=COLOURS[bar.colour])
        elif bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color=COLOURS["pale"], linewidth=2)
        axes.annotate(bar.text, (bar.value, row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    if chart.dots:
        axes.scatter([bar.value for bar in chart.bars], range(len(chart.bars)), color=COLOURS["mark"], zorder=3)
    axes.set_xlim(chart.start, chart.top + 0.12 * (chart.top - chart.start))
    axes.set_xlabel(chart.unit)
    return drawn


def _stacked(chart: Stacked) -> Figure:
    drawn, axes = _canvas(len(chart.rows), [row.label for row in chart.rows])
    left = [0.0] * len(chart.rows)
    for part, (name, colour) in enumerate(chart.parts):
        widths = [row.values[part] for row in chart.rows]
        axes.barh(range(len(widths)), widths, left=left, color=COLOURS[colour], label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, end in enumerate(left):
        axes.annotate(chart.rows[row].text, (end, row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, chart.top * 1.12)
    axes.set_xlabel(chart.unit)
    drawn.legend(loc="outside lower center", ncols=5, frameon=False)
    return drawn


def _spans(chart: Spans) -> Figure:
    drawn, axes = _canvas(len(chart.spans), [span.label for span in chart.spans])
    for row, span in enumerate(chart.spans):
        axes.barh(row, max(span.end - span.start, 0.05), left=span.start, height=0.5, color=COLOURS["mark"])
    axes.set_xlim(chart.ticks[0], chart.ticks[-1])
    axes.set_xlabel(chart.unit)
    return drawn


def _panels(number: int, height: float, most: int) -> tuple[Figure, list[Axes]]:
    """A grid of small axes, as many as are needed."""
    columns = min(number, most)
    rows = -(-number // columns)
    size = (max(4.0, 2.6 * columns), 1 + height * rows)
    drawn, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for unused in axes.flat[number:]:
        unused.remove()
    sns.despine(drawn)
    return drawn, list(axes.flat[:number])


def _lines(chart: Lines) -> Figure:
    drawn, panels = _panels(len(chart.lines), 1.3, 5)
    for axes, line in zip(panels, chart.lines, strict=True):
        years, values = zip(*line.points, strict=True)
        sns.lineplot(x=years, y=values, ax=axes, color=COLOURS["mark"], marker="o", markersize=4)
        axes.set_title(line.label, fontsize=9)
        axes.set(ylim=(chart.low, chart.high), xlim=(chart.years[0] - 0.5, chart.years[1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    drawn.supylabel(chart.unit)
    drawn.supxlabel("year")
    return drawn


def _histogram(chart: Histogram) -> Figure:
    drawn, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    bottom = [0.0] * len(chart.bins)
    for part, (name, colour) in enumerate(chart.parts):
        heights = [each.values[part] for each in chart.bins]
        axes.bar(range(len(heights)), heights, bottom=bottom, width=0.92, color=COLOURS[colour], label=name)
        bottom = [start + height for start, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(range(0, len(bottom), chart.step), [each.label for each in chart.bins[:: chart.step]])
    axes.set_xlabel(chart.unit)
    axes.legend(frameon=False)
    sns.despine(drawn)
    return drawn


def _words(chart: Words) -> Figure:
    drawn, panels = _panels(len(chart.panels), 2.2, 4)
    most = max(len(panel.up) + len(panel.down) for panel in chart.panels)
    for axes, panel in zip(panels, chart.panels, strict=True):
        words = [*panel.up, *panel.down]
        colours = [COLOURS["star5" if weight > 0 else "star1"] for _, weight in words]
        axes.barh(range(len(words)), [weight for _, weight in words], color=colours)
        axes.set_yticks(range(len(words)), [word for word, _ in words], fontsize=8)
        axes.set_ylim(max(most, 4) - 0.5, -0.5)  # bars as thick as beside it
        axes.set_title(panel.label, fontsize=9)
    drawn.supxlabel(chart.unit)
    return drawn


DRAWINGS: dict[type[Chart], Callable[[Any], Figure]] = {
    Bars: _bars,
    Stacked: _stacked,
    Spans: _spans,
    Lines: _lines,
    Histogram: _histogram,
    Words: _words,
}
