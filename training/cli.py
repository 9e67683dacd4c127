"""The training side of `stars`, put together. Imports nothing heavy until a command runs."""

from __future__ import annotations

import typer

from training.commands import data, pipeline
from training.commands.evaluate import evaluate
from training.commands.worker import worker

app = typer.Typer(no_args_is_help=True)
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(data.app, name="data")
app.command()(evaluate)
app.command()(worker)
