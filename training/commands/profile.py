"""`stars data profile`: what is in the columns of a data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.commands.sources import default_lake

if TYPE_CHECKING:
    from training.explore.profile import Column


def profile(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The data set. Default: $STARS_LAKE, else ./lake.",
            default_factory=default_lake,
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """What is in each column of a data set: how much is filled, how many values differ, lengths, numbers, dates."""
    from training.explore.profile import profile as profile_columns

    rows, columns = profile_columns(folder)
    if as_json:
        typer.echo(json.dumps({"rows": rows, "columns": [asdict(column) for column in columns]}))
        return
    table = Table("column", title=f"{rows:,} reviews", caption="of texts the lengths in characters")
    table.columns[0].no_wrap = True
    for title in ("filled", "differ", "from", "mean", "to"):
        table.add_column(title, justify="right", no_wrap=True)
    for column in columns:
        table.add_row(column.name, f"{column.filled / rows:.1%}", f"{column.distinct:,}", *_bounds(column))
    Console().print(table)


def _bounds(column: Column) -> tuple[str, str, str]:
    mean = "" if column.mean is None else f"{column.mean:,.2f}"
    if column.kind == "text":
        shortest, longest = ("" if n is None else f"{n:,}" for n in (column.shortest, column.longest))
        return shortest, mean, longest
    return column.lowest or "", mean, column.highest or ""
