"""`stars train`: what there is to do with a training by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(no_args_is_help=True, help="Look into a training.")


@app.command("report")
def write_training_report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A pipeline's work folder, such as runs/standard, or its train.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: report.html in the folder.")] = None,
    texts: Annotated[bool, typer.Option(help="Show what customers wrote where the model is furthest off.")] = False,
) -> None:
    """A training as one HTML page: curves, what the rules said, and where the model is right, sure and wrong."""
    from training.pages.page import check_writable
    from training.report.run_folder import LeftRun
    from training.report.training import write_report

    run = LeftRun.read(folder)
    page = out or folder / "report.html"
    check_writable(page)
    write_report(run, page, texts)
    Console().print(f"the report is {escape(str(page))}", highlight=False, soft_wrap=True)
