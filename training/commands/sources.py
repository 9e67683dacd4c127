"""The options by which commands are told of reviews, worded once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from training.commands.terminal import TerminalBar

Data = Annotated[
    list[str],
    typer.Option(
        help="Labelled reviews: a .tsv, .csv, .json(l) or .parquet file, .gz and .zst too, a folder of them, or an "
        "https:// or s3:// address. Repeat for more. Or one data set, as stars data fetch makes it."
    ),
]
LAKE_VARIABLE = "STARS_LAKE"
DataSet = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="A data set; or reviews as stars pipeline run takes them, of which one is made first, for this command "
        "only. Default: $STARS_LAKE, else ./lake.",
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


def default_lake() -> Path:
    """The data set that a command means when it is told of none."""
    return Path(os.environ.get(LAKE_VARIABLE, "lake"))


@contextmanager
def data_set(data: list[str] | None, columns: str | None, console: Console) -> Iterator[Path]:
    """The folder of the data set that a command was told of. Raises DataError where there is none."""
    from contracts.errors import DataError
    from contracts.stages import IngestConfig
    from training.pipeline.data_set import data_set_of
    from training.running.configuration import load_config

    if data is None and not default_lake().exists():
        raise DataError(
            f"there is no data set {default_lake()}: name one, or a file of reviews, with --data, or make one with "
            "stars data fetch"
        )
    config = load_config(IngestConfig, "ingest", flags=named_columns(columns))
    listener = TerminalBar(console)
    with tempfile.TemporaryDirectory(prefix="stars-data-") as scratch:
        try:
            folder = data_set_of(data or [str(default_lake())], config, Path(scratch), listener)
        finally:
            listener.close()
        yield folder
