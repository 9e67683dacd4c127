"""`stars data noise`: the reviews whose stars their text contradicts, for a person to read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from training.commands.sources import Columns, DataSet, data_set
from training.commands.terminal import TerminalBar, ends_on_interrupt


def noise(
    data: DataSet = None,
    columns: Columns = None,
    form: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="table shows the first 100, the others all.")
    ] = "table",
    text: Annotated[bool, typer.Option("--text", help="With the texts, to judge them here.")] = False,
) -> None:
    """List the reviews whose stars their text contradicts, the surest first. Nothing is changed.

    A cheap model judges each review having learnt from the others. About two thirds of a minute for 10,000 reviews.
    """
    console = Console(stderr=True)
    with ends_on_interrupt(console, "interrupted"):
        from training.data.labelled import LabelledReviews
        from training.explore import printing
        from training.judge.noise import find_noise

        with data_set(data, columns, console) as folder:
            reviews, places = LabelledReviews.of_data_set(folder)
        listener = TerminalBar(console)
        listener.stage("noise")
        try:
            found = find_noise(
                reviews.texts, reviews.stars, lambda done: listener.progress("noise", done, f"{len(reviews):,} reviews")
            )
        finally:
            listener.close()
        names = ["source", "row", "category", "stars", "text_says", "support", *(["headline_and_text"] if text else [])]

        def rows() -> Iterator[list[Any]]:
            for row in found.ranked().tolist():
                said = [*places[row], reviews.categories[row], int(reviews.stars[row]), int(found.suggested[row])]
                yield [*said, round(float(found.quality[row]), 4), *([reviews.texts[row].strip()] if text else [])]

        if form == "csv":
            printing.write_csv(names, rows(), sys.stdout)
        elif form == "json":
            printing.write_json(names, rows(), sys.stdout)
        elif printing.write_table(names, rows(), Console()):
            console.print(f"these are the first {printing.SHOWN}: --format csv has all", highlight=False)
        console.print(
            f"{found.contradicted.sum():,} of {len(reviews):,} reviews, by a model that says the star of "
            f"{found.accuracy:.0%} of them",
            highlight=False,
        )
