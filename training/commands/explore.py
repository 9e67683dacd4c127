"""`stars data explore`: sixteen questions about a data set, answered on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from training.commands.sources import Columns, DataSet, data_set, default_lake
from training.commands.terminal import TerminalBar, ends_on_interrupt
from training.running.interrupt import check


def explore(
    data: DataSet = None,
    columns: Columns = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Answer sixteen questions about a data set, with charts, on one HTML page that needs no network."""
    console = Console(stderr=True)
    name = Path(data[0] if data else default_lake()).resolve().name
    with ends_on_interrupt(console, "interrupted"):
        from training.explore.report import write_report
        from training.pages.page import check_writable

        check_writable(out)
        with data_set(data, columns, console) as folder:
            listener = TerminalBar(console)
            with listener.bar:
                listener.stage("explore")

                def asked(done: float, title: str) -> None:
                    check()
                    listener.progress("explore", done, title)

                write_report(folder, out, f"What is in {name}", asked)
    console.print(f"written: {escape(str(out))}", highlight=False, soft_wrap=True)
