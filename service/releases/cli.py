"""`stars release`: look at a store's releases, and choose the one in production. The gateway need not run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.options import Store

app = typer.Typer(no_args_is_help=True, help="Look at releases and choose the one in production.")


@app.command()
def verify(path: Annotated[Path, typer.Argument(help="A release's folder.")]) -> None:
    """Check a release: exit code 0, or one line for each thing that is wrong and exit code 1."""
    from contracts.release.release import verify as problems_of

    problems = problems_of(path)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{path} is a sound release")


@app.command("list")
def list_releases(store: Store = None) -> None:
    """List a store's releases and what its channels point at."""
    from contracts.errors import NotFound
    from contracts.release import channels, published

    opened, name = _open(store)
    pointing: dict[str, list[str]] = {}
    for channel in (channels.PRODUCTION, channels.CANDIDATE):
        try:
            pointing.setdefault(channels.read(opened, name, channel)[0].version, []).append(channel)
        except NotFound:
            continue
    line = "{:<24}  {:<16}  {:>8}  {}"
    typer.echo(line.format("VERSION", "CREATED", "ACCURACY", "CHANNELS"))
    for version in published.versions(opened, name):
        manifest = published.read_manifest(opened, name, version)
        accuracy = manifest.metrics.get("accuracy", {}).get("value")
        shown = f"{accuracy:.3f}" if isinstance(accuracy, float) else ""
        created, channels_of = f"{manifest.created:%Y-%m-%d %H:%M}", " ".join(pointing.get(version, []))
        typer.echo(line.format(version, created, shown, channels_of))


@app.command()
def promote(version: Annotated[str, typer.Argument(help="The version.")], store: Store = None) -> None:
    """Point the production channel at a version: gateways that run follow it within seconds.

    Each of them loads and checks it first, and goes on with what it serves when that fails: `GET /models` says so. To
    be told at once whether it serves, promote over HTTP: POST /admin/models/VERSION/promote.
    """
    from contracts.release import channels

    opened, name = _open(store)
    expect = channels.seen(opened, name, channels.PRODUCTION)
    moved = channels.move(opened, name, channels.PRODUCTION, version, "stars release promote", expect)
    typer.echo(f"production of {name} is {moved.version} (before: {moved.previous or 'nothing'})")


@app.command()
def sign(version: Annotated[str, typer.Argument(help="The version.")], store: Store = None) -> None:
    """Verify a release in the store and sign it with STARS_SIGNING_KEY: one that you trust, but that has no signature.

    It may also have one of another key, which is then replaced.
    """
    from contracts.release import transfer

    opened, name = _open(store)
    transfer.sign(opened, name, version)
    typer.echo(f"{name} {version} is signed")


def _open(store: str | None) -> Any:
    from service.settings import load_settings

    settings = load_settings(**({"store": store} if store else {}))
    return settings.open_store(), settings.name
