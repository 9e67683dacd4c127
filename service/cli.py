"""The gateway's commands of `stars`: up, predict, release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.errors import BackendUnavailable, ReviewError

app = typer.Typer(no_args_is_help=True)
release_app = typer.Typer(no_args_is_help=True, help="Look at releases and choose the one in production.")
app.add_typer(release_app, name="release")

DEFAULT_URL = "http://127.0.0.1:8000"
ASK_SECONDS = 30.0

Store = Annotated[
    str | None,
    typer.Option(help="Where the releases are: a folder or URL. Default: the home folder's."),
]


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Listen here. Default: 127.0.0.1, this machine only.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port. Default: 8000.")] = None,
    store: Store = None,
    home: Annotated[Path | None, typer.Option(help="Keep state here. Default: $STARS_HOME.")] = None,
    worker: Annotated[bool, typer.Option(help="Also run a worker for retraining.")] = True,
) -> None:
    """Serve: TorchServe, the gateway and a worker, until Ctrl-C."""
    from service.settings import load_settings
    from service.up import run

    given: dict[str, Any] = {"host": host, "port": port, "store": store, "home": home}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    raise typer.Exit(run(settings, worker, typer.echo))


@app.command()
def predict(
    text: Annotated[str, typer.Argument(help="The review.")],
    title: Annotated[str, typer.Option(help="Its headline.")] = "",
    category: Annotated[str, typer.Option(help="The product's category, such as Digital_Software.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
    url: Annotated[str, typer.Option(envvar="STARS_URL", help="The gateway to ask.")] = DEFAULT_URL,
) -> None:
    """Ask a running gateway for a review's stars."""
    answer = _ask(url, {"text": text, "title": title, "category": category})
    if as_json:
        typer.echo(json.dumps(answer))
        return
    stars = answer["stars"]
    typer.echo(f"{'★' * stars}{'☆' * (5 - stars)}  {stars} of 5, {answer['confidence']:.0%} sure")
    for star, probability in reversed(answer["probabilities"].items()):
        typer.echo(f"  {star}  {'▇' * round(probability * 40):<40}  {probability:.1%}")
    if answer["truncated"]:
        typer.echo(f"  only {answer['tokens']} tokens of the text fit the model")
    typer.echo(f"  {answer['model']} {answer['version']}")


def _ask(url: str, review: dict[str, str]) -> dict[str, Any]:
    import httpx

    try:
        response = httpx.post(f"{url.rstrip('/')}/predict", json=review, timeout=ASK_SECONDS, trust_env=False)
        body: dict[str, Any] = response.json()
    except httpx.InvalidURL as error:
        raise BackendUnavailable(f"{url} is not an address: use one like {DEFAULT_URL}") from error
    except httpx.HTTPError as error:
        raise BackendUnavailable(
            f"no gateway answers at {url}: start one with `stars up`, or give its --url"
        ) from error
    except ValueError as error:
        raise BackendUnavailable(f"what answers at {url} is not our gateway: give the right --url") from error
    if response.status_code == 200:
        return body
    message = body.get("error", {}).get("message", f"status {response.status_code}")
    raise (ReviewError if response.status_code == 422 else BackendUnavailable)(message)


@release_app.command()
def verify(path: Annotated[Path, typer.Argument(help="A release's folder.")]) -> None:
    """Check a release: exit code 0, or one line for each thing that is wrong and exit code 1."""
    from contracts.release import verify as problems_of

    problems = problems_of(path)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{path} is a sound release")


@release_app.command("list")
def list_releases(store: Store = None) -> None:
    """List a store's releases and what its channels point at."""
    from contracts import channels, release
    from contracts.errors import NotFound

    opened, name = _open(store)
    pointing: dict[str, list[str]] = {}
    for channel in (channels.PRODUCTION, channels.CANDIDATE):
        try:
            pointing.setdefault(channels.read(opened, name, channel)[0].version, []).append(channel)
        except NotFound:
            continue
    for version in release.versions(opened, name):
        manifest = release.read_manifest(opened, name, version)
        accuracy = manifest.metrics.get("accuracy", {}).get("value")
        shown = f"accuracy {accuracy:.3f}" if isinstance(accuracy, float) else ""
        typer.echo(
            f"{version:<24} {manifest.created:%Y-%m-%d %H:%M}  {shown:<16} {' '.join(pointing.get(version, []))}"
        )


@release_app.command()
def promote(version: Annotated[str, typer.Argument(help="The version.")], store: Store = None) -> None:
    """Point the production channel at a version, for gateways that start from now on.

    A gateway that runs is told over HTTP: POST /admin/models/VERSION/promote.
    """
    from contracts import channels
    from contracts.errors import NotFound

    opened, name = _open(store)
    try:
        etag = channels.read(opened, name, channels.PRODUCTION)[1]
    except NotFound:
        etag = None
    moved, _ = channels.point(opened, name, channels.PRODUCTION, version, "stars release promote", etag)
    typer.echo(f"production of {name} is {moved.version} (before: {moved.previous or 'nothing'})")


def _open(store: str | None) -> Any:
    from service.settings import load_settings

    settings = load_settings(**({"store": store} if store else {}))
    return settings.open_store(), settings.name
