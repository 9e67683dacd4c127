"""The training side of `stars`: pipeline, evaluate, worker. Imports nothing heavy until a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

app = typer.Typer(no_args_is_help=True)
pipeline = typer.Typer(no_args_is_help=True, help="Train, judge and export a release from labelled reviews.")
app.add_typer(pipeline, name="pipeline")


class TerminalObserver:
    """A pipeline's progress on a terminal: one bar, with the stage's own words for rate and time left."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.fields[stage]:>8}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.description}"), console=console)
        self.task = self.bar.add_task("", total=1.0, stage="")

    def stage(self, name: str) -> None:
        self.bar.update(self.task, stage=name, description="")

    def progress(self, _name: str, overall: float, _fraction: float, message: str) -> None:
        self.bar.update(self.task, completed=overall, description=escape(message))

    def log(self, message: str) -> None:
        self.bar.console.print(escape(message))


@pipeline.command("run")
def pipeline_run(
    data: Annotated[list[Path], typer.Option(help="A .tsv or .tsv.gz file, or a folder of them. Repeat for more.")],
    store: Annotated[str, typer.Option(help="Release store, a folder or file:// URL.")] = "./store",
    preset: Annotated[str, typer.Option(help="tiny, standard or frozen: see training/presets.")] = "standard",
    work: Annotated[Path | None, typer.Option(help="Folder for every stage's artifacts [runs/PRESET].")] = None,
    name: Annotated[str, typer.Option(help="Name of the release.")] = "review-stars",
    config: Annotated[Path | None, typer.Option(help="YAML file with settings, one section a stage.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="One setting. Repeat for more.")
    ] = None,
) -> None:
    """Prepare, train, convert, evaluate and export. Skips what is unchanged; run it again after an interruption."""
    from training.pipeline import PLAN, Run, parse_overrides, run
    from training.stage import stop_on_sigterm

    console = Console(stderr=True)
    work = work or Path("runs") / preset
    request = Run(tuple(data), preset, store, work, name, config, parse_overrides(settings or []))
    observer = TerminalObserver(console)
    stop_on_sigterm()
    try:
        with observer.bar:
            facts = run(request, observer)
    except KeyboardInterrupt:
        console.print("interrupted: run the same command again to go on")
        raise typer.Exit(130) from None
    table = Table("stage", "seconds", "artifacts")
    for stage, _, _ in PLAN:
        table.add_row(stage, str(facts[stage]["seconds"]), str(work / stage))
    console.print(table)
    exported = facts["export"]
    console.print(f"{facts['evaluate']['verdict']}: {escape(facts['evaluate']['reason'])}")
    console.print(f"release {exported['version']} is in {store}. Serve it with: stars up --store {store}")


@app.command()
def evaluate(
    data: Annotated[list[Path], typer.Option(help="Labelled .tsv or .tsv.gz file. Repeat for more.")],
    release: Annotated[
        str, typer.Option(help="bundled, a release folder, a version, or a channel (production, candidate).")
    ] = "bundled",
    store: Annotated[str | None, typer.Option(help="Store of a version or channel [the default store].")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first so many good rows only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Judge a release on labelled reviews, without training: accuracy, MAE, within one star, macro-F1, kappa, ECE."""
    from training.evaluate import evaluate_release

    columns = (TextColumn("{task.description}"), BarColumn(30), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        result = evaluate_release(
            release, data, store, limit, lambda done: bar.update(task, completed=done, description="judging")
        )
    if as_json:
        typer.echo(json.dumps(result))
        return
    Console().print(_report(result))


def _report(result: dict[str, Any]) -> Table:
    table = Table("measure", "value", "95 % interval", title=f"{result['n']:,} reviews, release {result['version']}")
    intervals = result.get("intervals", {})
    for measure in ("accuracy", "mae", "within_one", "macro_f1", "qwk", "ece"):
        low, high = intervals.get(measure, (None, None))
        table.add_row(measure, f"{result[measure]:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    return table


@app.command()
def worker(
    store: Annotated[
        str | None, typer.Option(help="Store that candidates are published to [the default store].")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder with the job store and the runs [$STARS_HOME].")] = None,
) -> None:
    """Take retraining jobs from the job store and run them, one at a time. SIGTERM puts the job back."""
    from training.worker import serve

    raise typer.Exit(serve(store=store, home=home))
