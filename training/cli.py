"""The training side of `stars`: pipeline, evaluate, worker. Imports nothing heavy until a command runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from contracts.options import StateFolder, Store
from training.judge.report import counted
from training.running.interrupt import AGAIN, INTERRUPTED, check, interruptible
from training.running.reporting import Listener

app = typer.Typer(no_args_is_help=True)
pipeline = typer.Typer(no_args_is_help=True, help="Train, judge and export a release from labelled reviews.")
app.add_typer(pipeline, name="pipeline")


class TerminalBar(Listener):
    """A pipeline's progress on a terminal: one bar, with the stage's own words for rate and time left."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.fields[stage]:>8}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.description}"), console=console)
        self.task = self.bar.add_task("", total=1.0, stage="", visible=False)  # a run may be refused before it begins

    def stage(self, stage: str) -> None:
        self.bar.update(self.task, stage=stage, description="", visible=True)

    def progress(self, stage: str, overall: float, message: str) -> None:
        self.bar.update(self.task, stage=stage, completed=overall, description=escape(message))

    def log(self, message: str) -> None:
        self.bar.console.print(escape(message))


@contextmanager
def _interruptible(console: Console, sentence: str) -> Iterator[None]:
    """Ctrl-C ends the command with this sentence and the exit code of an interruption."""
    try:
        with interruptible(lambda said: console.print(said, highlight=False)):
            yield
    except KeyboardInterrupt:
        console.print(sentence, highlight=False)
        raise typer.Exit(INTERRUPTED) from None


@pipeline.command("run")
def pipeline_run(
    data: Annotated[list[Path], typer.Option(help="A .tsv or .tsv.gz file, or a folder of them. Repeat for more.")],
    store: Store = None,
    preset: Annotated[str, typer.Option(help="tiny, standard or frozen: see training/presets.")] = "standard",
    work: Annotated[
        Path | None, typer.Option(help="The work folder, for what the stages make. Default: runs/PRESET.")
    ] = None,
    name: Annotated[str, typer.Option(help="The model that the release is one of.")] = "review-stars",
    config: Annotated[Path | None, typer.Option(help="YAML file with settings, one section a stage.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="One setting. Repeat for more.")
    ] = None,
) -> None:
    """Prepare, train, convert, evaluate and export. Skips what is unchanged; run it again after an interruption."""
    console = Console(stderr=True)
    work = work or Path("runs") / preset
    with _interruptible(console, AGAIN):
        from contracts.release.default_store import default_store
        from contracts.settings import Home
        from contracts.store.urls import open_store
        from training.pipeline.local import run
        from training.pipeline.plan import plan
        from training.pipeline.request import Run, parse_overrides

        overrides = parse_overrides(settings or [])
        url = (open_store(store) if store else default_store(Home.default())).url
        listener = TerminalBar(console)
        with listener.bar:
            facts = run(Run(tuple(data), preset, url, work, name, config, overrides), listener)
    table = Table("stage", "seconds", "artifacts")
    for stage in plan():
        table.add_row(stage, str(facts[stage]["seconds"]), str(work / stage))
    console.print(table)
    exported = facts["export"]
    console.print(f"{facts['evaluate']['verdict']}: {escape(facts['evaluate']['reason'])}")
    for line in _how_to_serve(exported, store):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _how_to_serve(exported: dict[str, Any], store: str | None) -> list[str]:
    flag = f" --store {shlex.quote(store)}" if store else ""
    if exported["production"]:
        return [f"release {exported['version']} is production in {exported['store']}. Serve it with: stars up{flag}"]
    return [
        f"release {exported['version']} is the candidate in {exported['store']}; production stays as it was.",
        f"Promote it with: stars release promote {exported['version']}{flag}",
        f"Then serve it with: stars up{flag}",
    ]


@app.command()
def evaluate(
    data: Annotated[list[Path], typer.Option(help="Labelled .tsv or .tsv.gz file. Repeat for more.")],
    release: Annotated[
        str, typer.Option(help="bundled, a release folder, a version, or a channel (production, candidate).")
    ] = "bundled",
    store: Store = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first so many good rows only.")] = None,
    engine: Annotated[
        Literal["reference", "serving"],
        typer.Option(metavar="WHICH", help="What computes: the reference, or the engine that serves (serving)."),
    ] = "reference",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Judge a release on labelled reviews, without training: accuracy, MAE, within one star, macro-F1, kappa, ECE."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(30), TaskProgressColumn(), TimeRemainingColumn())
    with _interruptible(console, "interrupted"), Progress(*columns, console=console, transient=True) as bar:
        from training.judge.release import evaluate_release

        task = bar.add_task("reading", total=1.0)

        def judged(done: float) -> None:
            check()
            bar.update(task, completed=done, description="judging")

        result = evaluate_release(release, data, store, limit, judged, engine)
    console.print(escape(_skipped(result)), highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(result))
        return
    Console().print(_report(result))


def _skipped(result: dict[str, Any]) -> str:
    """How many of the rows that were read could not be judged, and why."""
    skipped = result["skipped"]
    bad, refused = skipped["rows"], skipped["too_many_tokens"]
    said = f"{result['n'] + bad + refused:,} rows read, {result['n']:,} judged"
    if bad:
        said += f", {bad:,} could not be read ({counted(skipped['reasons'])})"
    if refused:
        said += f", {refused:,} are over the release's token limit, which refuses them"
    return said


def _report(result: dict[str, Any]) -> Table:
    table = Table("measure", "value", "95 % interval", title=f"{result['n']:,} reviews, release {result['version']}")
    intervals = result.get("intervals", {})
    for measure in ("accuracy", "mae", "within_one", "macro_f1", "qwk", "ece"):
        low, high = intervals.get(measure, (None, None))
        table.add_row(measure, f"{result[measure]:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    if engine := result.get("engine"):
        table.caption = (
            f"by the engine {engine['kind']}: {engine['changed_stars']:,} reviews get other stars than from the "
            f"reference, logits differ by {engine['largest_logit_difference']:.1e} at most"
        )
    return table


@app.command()
def worker(
    store: Store = None,
    home: StateFolder = None,
) -> None:
    """Take retraining jobs from the job store and run them, one at a time. SIGTERM puts the job back."""
    from training.jobs.worker import serve

    raise typer.Exit(serve(store=store, home=home))
