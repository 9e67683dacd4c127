"""Two runs drawn over each other, as a page or as a picture: `stars runs compare A B --out FILE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contracts.errors import ConfigError, MachineError
from training.pages.colours import PALETTE
from training.pages.page import PLOTS, check_writable, write_page
from training.pages.plots import Plot, Point, Series, short
from training.tracking.comparison import Comparison
from training.tracking.runs import TrackedRun

TEMPLATE = Path(__file__).with_name("comparing.html.j2")
COLOURS = ("mark", "star2")
CURVES = {
    "loss": "Loss",
    "validation_accuracy": "Validation accuracy",
    "validation_mae": "Validation MAE, in stars",
    "validation_cross_entropy": "Validation cross-entropy",
    "learning_rate": "Learning rate",
    "gradient_norm": "Gradient norm",
    "reviews_per_second": "Reviews a second",
    "input_wait": "Share of time spent waiting for batches",
}
"""The curves that are drawn of a training, with what stands over each."""

Curve = Callable[[TrackedRun, str], list[tuple[int, float]]]


def draw(comparison: Comparison, curve: Curve, out: Path) -> None:
    """Write the page or the picture, as the file's name says.

    Raises ConfigError for a name that is neither .html nor .png, or a file that cannot be made, MachineError where
    there is no room for it.
    """
    check_writable(out)
    if out.suffix not in (".html", ".png"):
        raise ConfigError(f"{out} cannot be drawn: name a file that ends with .html or .png")
    names = [f"{run.name} {run.short}" for run in comparison.pair]
    plots = []
    for name, title in CURVES.items():
        found = [tuple((float(step), value) for step, value in curve(run, name)) for run in comparison.pair]
        if any(found):
            series = zip(names, found, COLOURS, strict=True)
            drawn = tuple(Series(*each) for each in series if each[1])
            plots.append(Plot(title, _told(found), drawn, x_bounds=(0.0, None)))
    if out.suffix == ".png":
        _picture(plots, " and ".join(names), out)
        return
    write_page(
        out,
        TEMPLATE,
        style=PLOTS,
        over="Two trainings",
        title=" and ".join(names),
        tiles=[
            (name, _share(run, "test_accuracy"), run.release or "no release")
            for name, run in zip(names, comparison.pair, strict=True)
        ],
        contents=[("curves", "Curves"), ("settings", "Settings that differ"), ("measured", "What they measured")],
        names=names,
        parts=list(zip(names, COLOURS, strict=True)),
        plots=plots,
        settings=comparison.settings(),
        measured=comparison.measured(),
    )


def _told(found: list[tuple[Point, ...]]) -> str:
    return ", ".join(f"{points[-1][1]:.4g}" if points else "not measured" for points in found) + " at the end"


def _share(run: TrackedRun, name: str) -> str:
    return f"{100 * run.metrics[name]:.1f}\N{NO-BREAK SPACE}% exact" if name in run.metrics else "not judged"


def _picture(plots: list[Plot], title: str, out: Path) -> None:
    from matplotlib.figure import Figure

    rows = -(-len(plots) // 2) or 1
    figure = Figure(figsize=(11, 1 + 2.6 * rows), layout="constrained", dpi=110)
    for place, plot in enumerate(plots, start=1):
        axes = figure.add_subplot(rows, 2, place)
        for series in plot.series:
            colour, marker = PALETTE[series.colour][0], "o" if len(series.points) <= 12 else ""
            axes.plot(*zip(*series.points, strict=True), color=colour, marker=marker, label=series.label)
        axes.set_title(plot.title, loc="left", fontsize=10)
        axes.set_yticks(plot.y_ticks, [short(tick) for tick in plot.y_ticks])
        axes.set_xlim(left=0)
        axes.set_ylim(plot.y_ticks[0], plot.y_ticks[-1])
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    if plots:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    try:
        figure.savefig(out)
    except OSError as error:
        raise MachineError(
            f"{out} cannot be written: {error.strerror}. Free some space or name another file"
        ) from error
