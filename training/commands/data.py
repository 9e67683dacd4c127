"""`stars data`: data sets of labelled reviews, made, looked at and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.commands.sources import default_lake
from training.commands.sql import sql

app = typer.Typer(no_args_is_help=True, help="Make a data set of labelled reviews, and look at what is in it.")
app.command()(sql)

Lake = Annotated[
    Path,
    typer.Argument(
        metavar="[LAKE]", default_factory=default_lake, help="The data set. Default: $STARS_LAKE, else ./lake."
    ),
]


@app.command("ls")
def list_categories(lake: Lake) -> None:
    """What is in a data set: how many reviews of each category, and their stars."""
    from training.data.dataset import count_stars

    table = Table("category", "reviews", *(f"{star} stars" for star in range(1, 6)))
    for category, stars in count_stars(lake).items():
        table.add_row(escape(category), f"{sum(stars.values()):,}", *(f"{stars[star]:,}" for star in range(1, 6)))
    Console().print(table)
