"""The options by which commands are told of reviews, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Data = Annotated[
    list[Path],
    typer.Option(
        help="Labelled reviews: a .tsv, .csv, .json(l) or .parquet file, .gz and .zst too, or a folder of them. "
        "Repeat for more."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="stars=…,text=…",
        help="Which column is which, where names do not tell: stars=rating,text=review, or a YAML file that says so.",
    ),
]


def named_columns(said: str | None) -> dict[str, Any]:
    """The setting of the stage ingest that `--columns` stands for. Raises ConfigError for a file that is no YAML."""
    if said is None:
        return {}
    from training.running.configuration import read_yaml

    return {"columns": read_yaml(Path(said)) if said.endswith((".yaml", ".yml")) else said}
