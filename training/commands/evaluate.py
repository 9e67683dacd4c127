"""`stars evaluate`: a release judged on labelled reviews."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from contracts.options import Store
from training.commands.sources import Columns, Data, named_columns
from training.commands.terminal import ends_on_interrupt
from training.judge.report import counted
from training.running.interrupt import check


def evaluate(
    data: Data,
    columns: Columns = None,
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
    bars = (TextColumn("{task.description}"), BarColumn(30), TaskProgressColumn(), TimeRemainingColumn())
    with ends_on_interrupt(console, "interrupted"), Progress(*bars, console=console, transient=True) as bar:
        from contracts.stages import IngestConfig
        from training.judge.release import evaluate_release
        from training.running.configuration import load_config

        config = load_config(IngestConfig, "ingest", flags=named_columns(columns))
        task = bar.add_task("reading", total=1.0)

        def judged(done: float) -> None:
            check()
            bar.update(task, completed=done, description="judging")

        result = evaluate_release(release, data, store, limit, judged, engine, config)
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
