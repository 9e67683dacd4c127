"""The training side of `stars`, put together. Imports nothing heavy until a command runs."""

from __future__ import annotations

import typer

from training.commands import data, pipeline, runs, train
from training.commands.evaluate import evaluate
from training.commands.worker import worker

app = typer.Typer(no_args_is_help=True)
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(train.app, name="train")
app.command()(evaluate)
app.command()(worker)
