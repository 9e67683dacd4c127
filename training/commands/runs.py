"""`stars runs`: trainings as they were kept, put together."""

from __future__ import annotations

import typer

from training.commands.compare_runs import compare_runs
from training.commands.list_runs import list_runs
from training.commands.show_run import show_run

app = typer.Typer(no_args_is_help=True, help="Look back at trainings: settings, curves, and what became of them.")
app.command("ls")(list_runs)
app.command("show")(show_run)
app.command("compare")(compare_runs)
