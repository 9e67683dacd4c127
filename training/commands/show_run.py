"""`stars runs show`: all that was kept of one training."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts.options import Tracking

Which = Annotated[
    str, typer.Argument(metavar="RUN", help="The beginning of a run's id, a run's name, or the release that it became.")
]


def show_run(
    run: Which,
    tracking: Tracking = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """All that was kept of one training: where it came from, its settings, what it measured and what it said."""
    from contracts.settings import Home
    from training.tracking.runs import Runs
    from training.tracking.tracker import default_tracking

    found = Runs(tracking or default_tracking(Home.default().tracking)).find(run)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
        return
    console = Console()
    about = Table("", f"run {found.id}")
    for name, value in {
        "name": found.name,
        "began": f"{found.started.astimezone():%Y-%m-%d %H:%M}",
        "state": found.state,
        "code": found.revision,
        "data set": found.dataset,
        "verdict": found.verdict,
        "release": found.release,
    }.items():
        about.add_row(name, escape(value) or "not known")
    console.print(about)
    measured = {name: f"{value:.6g}" for name, value in found.metrics.items()}
    for title, values in (("setting", found.parameters), ("measured", measured)):
        table = Table(title, "value")
        for name, value in sorted(values.items()):
            table.add_row(escape(name), escape(value))
        console.print(table)
    if found.notes:
        console.print(escape(found.notes), highlight=False, soft_wrap=True)
