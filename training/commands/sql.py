"""`stars data sql`: a data set asked in SQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich.console import Console

from contracts.errors import MachineError
from training.commands.sources import Columns, DataSet, data_set
from training.commands.terminal import ends_on_interrupt


def sql(
    statement: Annotated[
        str, typer.Argument(help="One SELECT, of the tables reviews and reviews_tsv. - reads standard input.")
    ],
    data: DataSet = None,
    columns: Columns = None,
    form: Annotated[
        Literal["table", "csv", "json"],
        typer.Option("--format", help="table shows the first 100 rows, the others all."),
    ] = "table",
) -> None:
    """Ask a data set in SQL, as Athena would be asked. Nothing can be written."""
    console = Console(stderr=True)
    with ends_on_interrupt(console, "interrupted"):
        from training.explore import printing
        from training.explore.lake import open_lake, select

        asked = sys.stdin.read() if statement == "-" else statement
        with data_set(data, columns, console) as folder, open_lake(folder) as lake, _written():
            names, rows = select(lake, asked)
            if form == "csv":
                printing.write_csv(names, rows, sys.stdout)
            elif form == "json":
                printing.write_json(names, rows, sys.stdout)
            elif printing.write_table(names, rows, Console()):
                console.print(f"these are the first {printing.SHOWN} rows: --format csv has all", highlight=False)


@contextmanager
def _written() -> Iterator[None]:
    """Raises MachineError when standard output, a file on a full disk, does not take all that is printed."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as head does
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again as it ends
        raise MachineError(
            f"the answer cannot be written: {error.strerror}. Free some space, or ask for less"
        ) from error
