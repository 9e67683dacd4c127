"""`stars data`: data sets of labelled reviews, made, looked at and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Make a data set of labelled reviews, and look at what is in it.")


def _lake() -> Path:
    return Path(os.environ.get("STARS_LAKE", "lake"))


Lake = Annotated[
    Path,
    typer.Argument(metavar="[LAKE]", default_factory=_lake, help="The data set. Default: $STARS_LAKE, else ./lake."),
]


@app.command("ls")
def list_categories(lake: Lake) -> None:
    """What is in a data set: how many reviews of each category, and their stars."""
    from training.data.dataset import count_stars

    table = Table("category", "reviews", *(f"{star} stars" for star in range(1, 6)))
    for category, stars in count_stars(lake).items():
        table.add_row(escape(category), f"{sum(stars.values()):,}", *(f"{stars[star]:,}" for star in range(1, 6)))
    Console().print(table)
