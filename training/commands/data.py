"""`stars data`: data sets of labelled reviews, made, looked at and asked."""

from __future__ import annotations

import typer

from training.commands.check import check
from training.commands.explore import explore
from training.commands.fetch import fetch
from training.commands.ls import list_data_sets
from training.commands.noise import noise
from training.commands.profile import profile
from training.commands.sql import sql

app = typer.Typer(no_args_is_help=True, help="Make a data set of labelled reviews, and look at what is in it.")
app.command()(fetch)
app.command("ls")(list_data_sets)
app.command()(profile)
app.command()(check)
app.command()(sql)
app.command()(explore)
app.command()(noise)
