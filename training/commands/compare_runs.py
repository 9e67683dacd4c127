"""`stars runs compare`: two trainings beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts.options import Tracking
from training.commands.show_run import Which


def compare_runs(
    first: Which,
    second: Which,
    tracking: Tracking = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw their curves over each other: a .html or .png file.")
    ] = None,
) -> None:
    """Two trainings beside each other: the settings in which they differ, and how good each became."""
    from contracts.settings import Home
    from training.tracking.comparison import Comparison
    from training.tracking.runs import Runs
    from training.tracking.tracker import default_tracking

    runs = Runs(tracking or default_tracking(Home.default().tracking))
    comparison = Comparison(runs.find(first), runs.find(second))
    console = Console()
    names = [f"{run.name} {run.short}" for run in comparison.pair]
    for title, rows in (("setting", comparison.settings()), ("measured", comparison.measured())):
        table = Table(title, *map(escape, names))
        for name, *values in rows:
            table.add_row(escape(name), *map(escape, values))
        console.print(table)
    if out is not None:
        from training.report.comparing import draw

        draw(comparison, runs.curve, out)
        console.print(f"their curves are in {escape(str(out))}", highlight=False, soft_wrap=True)
