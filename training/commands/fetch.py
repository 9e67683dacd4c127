"""`stars data fetch`: sources of reviews into a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from training.commands.sources import Columns, default_lake, named_columns
from training.commands.terminal import TerminalBar, ends_on_interrupt
from training.running.interrupt import AGAIN


def fetch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Labelled reviews: a .tsv, .csv, .json(l) or .parquet file, .gz and .zst too; a folder or a pattern; "
            "https://host/file#sha256=…; s3://bucket/file, s3://bucket/folder/ or a pattern there.",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            help="The data set to make or to add to. Default: $STARS_LAKE, else ./lake.",
            default_factory=default_lake,
            show_default=False,
        ),
    ],
    columns: Columns = None,
    category: Annotated[str | None, typer.Option(help="Of reviews whose source names none.")] = None,
    licence: Annotated[str | None, typer.Option(help="The terms of the sources, for the data card.")] = None,
    tsv: Annotated[bool, typer.Option("--tsv", help="As TSV too, as Athena's external table reads it.")] = False,
) -> None:
    """Make a data set of labelled reviews, or add to one: typed Parquet, what was put aside, where all came from.

    A source that is in it and has not changed is skipped, one that has changed is replaced. Run it again to go on.
    """
    console = Console(stderr=True)
    with ends_on_interrupt(console, AGAIN):
        from contracts.stages import IngestConfig
        from training.ingest.fetch import fetch as fetch_sources
        from training.running.configuration import load_config

        flags: dict[str, Any] = named_columns(columns)
        flags |= {name: said for name, said in (("category", category), ("licence", licence)) if said is not None}
        config = load_config(IngestConfig, "ingest", flags=flags)
        listener = TerminalBar(console)
        with listener.bar:
            facts = fetch_sources(sources, to, config, listener, tsv)
    console.print(escape(_said(facts, to)), highlight=False, soft_wrap=True)


def _said(facts: dict[str, Any], folder: Path) -> str:
    from training.stages.ingest import rows_read

    [rows] = rows_read(facts, folder / "quarantine")
    return f"{folder} has {facts['reviews']:,} reviews of {_sources(facts)}: {rows}"


def _sources(facts: dict[str, Any]) -> str:
    count = len(facts["sources"])
    return "1 source" if count == 1 else f"{count:,} sources"
