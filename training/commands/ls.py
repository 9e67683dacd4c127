"""`stars data ls`: the data sets that there are, and what is in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.commands.sources import default_lake

_STARS = [f"{star} ★" for star in range(1, 6)]


def list_data_sets(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="A data set, or a folder that holds some. Default: $STARS_LAKE or ./lake, those in the current "
            "folder, and those in the state folder's data/.",
        ),
    ] = None,
) -> None:
    """What data sets there are: sources, rows, stars, size, when. Of one that is named, its sources and categories."""
    from contracts.data_set import is_data_set
    from contracts.errors import DataError

    console = Console()
    if folder is not None and is_data_set(folder):
        for table in _tables(folder):
            console.print(table)
        return
    found = _inside(folder) if folder is not None else _usual()
    if not found:
        where = f"in {folder}" if folder is not None else "here: name its folder"
        raise DataError(f"there is no data set {where}, or make one with stars data fetch SOURCE --to FOLDER")
    table = _table("data set", "sources", "rows", "reviews", "1 to 5 ★, %", "MB", "filled")
    for each in found:
        table.add_row(*map(escape, _row(each)))
    console.print(table)


def _usual() -> list[Path]:
    from contracts.data_set import is_data_set
    from contracts.settings import Home

    lake = default_lake()
    places = [*([lake] if is_data_set(lake) else []), *_inside(Path()), *_inside(Home.default().data)]
    return list({place.resolve(): place for place in reversed(places)}.values())[::-1]


def _inside(folder: Path) -> list[Path]:
    from contracts.data_set import is_data_set

    return sorted(path for path in folder.iterdir() if path.is_dir() and is_data_set(path)) if folder.is_dir() else []


def _row(folder: Path) -> list[str]:
    from contracts.data_set import FACTS, WORK
    from training.data.dataset import PARTITION, REVIEWS
    from training.ingest.card import card

    facts = card(folder)
    stars = Counter[int]()
    for each in _stars(folder).values():
        stars += each
    size = sum(file.stat().st_size for file in folder.glob(f"{REVIEWS}/{PARTITION}=*/*.parquet"))
    filled = max((source["ingested"] for source in facts["sources"]), default="")
    if not (folder / FACTS).is_file() and (folder / WORK).is_dir():
        filled = "unfinished"
    counts = [len(facts["sources"]), facts["rows_in"], stars.total()]
    shares = " ".join(f"{100 * stars[star] / max(stars.total(), 1):.0f}" for star in range(1, 6))
    return [str(folder), *(f"{count:,}" for count in counts), shares, f"{size / 1e6:,.1f}", _when(filled)]


def _stars(folder: Path) -> dict[str, Counter[int]]:
    """Nothing, of a data set that nothing has got into yet."""
    from training.data.dataset import REVIEWS, count_stars

    return count_stars(folder) if (folder / REVIEWS).is_dir() else {}


def _tables(folder: Path) -> list[Table]:
    from training.ingest.card import card

    sources = _table("source", "layout", "rows", "reviews", "put aside", "MB", "ingested", "licence")
    for source in card(folder)["sources"]:
        sources.add_row(*map(escape, _source(source)))
    categories = _table("category", "reviews", *_STARS)
    for category, stars in _stars(folder).items():
        categories.add_row(escape(category), f"{stars.total():,}", *(f"{stars[star]:,}" for star in range(1, 6)))
    return [sources, categories]


def _source(source: dict[str, Any]) -> list[str]:
    counts = [f"{source[name]:,}" for name in ("rows", "reviews", "quarantined")]
    return [
        source["file"], source["layout"], *counts, f"{source['bytes'] / 1e6:,.1f}", _when(source["ingested"]),
        source["licence"] or "not said",
    ]  # fmt: skip


def _when(moment: str) -> str:
    return moment[:10]


def _table(first: str, *columns: str) -> Table:
    table = Table()
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=column != "licence")
    return table
