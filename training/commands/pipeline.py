"""`stars pipeline`: from labelled reviews to a release."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts.options import Store
from training.commands.sources import Columns, Data, named_columns
from training.commands.terminal import TerminalBar, ends_on_interrupt
from training.running.interrupt import AGAIN

app = typer.Typer(no_args_is_help=True, help="Train, judge and export a release from labelled reviews.")


@app.command("run")
def run_stages(
    data: Data,
    columns: Columns = None,
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
    master: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Spark master, such as spark://HOST:PORT. Default: $STARS_SPARK_MASTER, else local[*]."
        ),
    ] = None,
) -> None:
    """Train, judge and export a release, stage by stage. Skips what is unchanged; run it again to go on."""
    console = Console(stderr=True)
    work = work or Path("runs") / preset
    with ends_on_interrupt(console, AGAIN):
        from contracts.release.default_store import default_store
        from contracts.settings import Home
        from contracts.store.urls import open_store
        from training.pipeline.local import run, stage_folders
        from training.pipeline.plan import plan
        from training.pipeline.request import Run, parse_overrides
        from training.tracking.tracker import default_tracking

        overrides = parse_overrides(settings or [])
        overrides["ingest"] = overrides.get("ingest", {}) | named_columns(columns)
        home = Home.default()
        url = (open_store(store) if store else default_store(home)).url
        request = Run(
            tuple(data),
            preset,
            url,
            work,
            name,
            config,
            overrides,
            master=master,
            tracking=default_tracking(home.tracking),
        )
        listener = TerminalBar(console)
        with listener.bar:
            facts = run(request, listener)
    folders = stage_folders(request)
    table = Table("stage", "seconds", "artifacts")
    for stage in plan():
        table.add_row(stage, str(facts[stage]["seconds"]), str(folders[stage]))
    console.print(table)
    exported = facts["export"]
    console.print(f"{facts['evaluate']['verdict']}: {escape(facts['evaluate']['reason'])}")
    for line in [f"the whole run on a page: {work / 'report.html'}", *_how_to_serve(exported, store)]:
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
