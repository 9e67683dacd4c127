"""`stars runs ls`: the trainings that were kept."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts.options import Tracking

SHOWN = {"test_accuracy": "exact", "test_mae": "MAE"}


def list_runs(
    tracking: Tracking = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="So many, the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """The trainings that were kept, the newest first: how they ended, how good they are, what became of them."""
    from contracts.settings import Home
    from training.tracking.runs import Runs
    from training.tracking.tracker import default_tracking

    runs = Runs(tracking or default_tracking(Home.default().tracking)).newest(limit)
    if as_json:
        typer.echo(json.dumps([run.document() for run in runs], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)  # which leaves room for what is said of a run
    for column in ("run", "name", "began", "state", *SHOWN.values()):
        table.add_column(column, no_wrap=column != "name")
    table.add_column("release", overflow="fold")
    for run in runs:
        table.add_row(
            run.short,
            escape(run.name),
            f"{run.started.astimezone():%m-%d %H:%M}",
            run.state,
            *(f"{run.metrics[name]:.3f}" if name in run.metrics else "" for name in SHOWN),
            escape(run.release),
        )
    Console().print(table)
