"""`stars data check`: may this data be trained on?"""

from __future__ import annotations

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from contracts.errors import GateError
from training.commands.sources import Columns, DataSet, data_set, default_lake
from training.commands.terminal import TerminalBar, ends_on_interrupt


class _Bar(TerminalBar):
    """The report says the rest."""

    def log(self, message: str) -> None:
        pass


def check(
    data: DataSet = None,
    columns: Columns = None,
    rules: Annotated[
        Path | None, typer.Option(help="The rules, a YAML file. Default: training/quality/rules.yaml.")
    ] = None,
    engine: Annotated[
        Literal["auto", "deequ", "spark"] | None,
        typer.Option(metavar="WHICH", help="What measures: deequ, spark, or auto: deequ where its jar can be had."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report and the suggested rules. Default: they are not kept.")
    ] = None,
    master: Annotated[
        str | None, typer.Option(metavar="URL", help="Spark master. Default: $STARS_SPARK_MASTER, else local[*].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Hold reviews to the rules of the pipeline's stage `quality`: exit code 0, or 3 when one of level error is broken.

    What is measured of good data is kept in the state folder: the same data is compared with it the next time.
    """
    console = Console(stderr=True)
    place = nullcontext(out) if out else tempfile.TemporaryDirectory(prefix="stars-check-")
    with ends_on_interrupt(console, "interrupted"), place as outputs, data_set(data, columns, console) as folder:
        from training.pipeline.data_check import check_data_set
        from training.running.reporting import StageReporter

        chosen = {"rules": rules and str(rules), "engine": engine, "master": master}
        settings = {name: value for name, value in chosen.items() if value}
        listener = _Bar(console)
        listener.stage("quality")
        try:
            report = StageReporter("quality", [listener])
            found = check_data_set(folder, data or [str(default_lake())], settings, Path(outputs), report)
        finally:
            listener.close()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(_report(found))
        Console().print(escape(found["said"]), highlight=False, soft_wrap=True)
    if not found["passed"]:
        raise typer.Exit(GateError.exit_code)


def _report(found: dict[str, Any]) -> Table:
    """Every rule, the broken ones first, with the rows that break them by source and row number."""
    table = Table(Column("rule", no_wrap=True), "level", "measured", "wanted", "rows", "such as")
    for rule in sorted(found["rules"], key=lambda each: (each["kept"], each["level"])):
        level = "kept" if rule["kept"] else f"[{'red' if rule['level'] == 'error' else 'yellow'}]{rule['level']}[/]"
        measured = "-" if rule["measured"] is None else f"{rule['measured']:.6g}"
        rows = "" if rule["rows"] is None else f"{rule['rows']:,}"
        cells = (escape(rule["title"]), level, measured, rule["wanted"], rows, escape(rule["places"]))
        table.add_row(*cells)
    return table
