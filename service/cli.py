"""The gateway's commands of `stars`: up, logs and release here, predict, jobs and status beside what they are about."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.errors import ConfigError
from contracts.settings import Home
from service.health.cli import status
from service.jobs.cli import app as jobs_app
from service.predict.cli import predict

app = typer.Typer(no_args_is_help=True)
release_app = typer.Typer(no_args_is_help=True, help="Look at releases and choose the one in production.")
app.add_typer(release_app, name="release")
app.add_typer(jobs_app, name="jobs")
app.command()(predict)
app.command()(status)

PROGRAMS = ["gateway", "torchserve", "worker"]
LOOK_SECONDS = 0.5

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
    from service.local.up import run
    from service.settings import load_settings

    given: dict[str, Any] = {"host": host, "port": port, "store": store, "home": home}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    raise typer.Exit(run(settings, worker, typer.echo))


@app.command()
def logs(
    program: Annotated[str | None, typer.Argument(help="gateway, torchserve or worker. Default: all of them.")] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The last so many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    home: Annotated[Path | None, typer.Option(help="The state folder. Default: $STARS_HOME.")] = None,
) -> None:
    """Print the logs of what `stars up` runs."""
    from contracts.log_files import Follower, last_lines
    from contracts.validation import nearest

    if program is not None and program not in PROGRAMS:
        raise ConfigError(f"there is no log of {program}; {nearest(program, PROGRAMS)}")
    folder = (Home(home.expanduser().absolute()) if home else Home.default()).logs
    chosen = {name: folder / f"{name}.log" for name in ([program] if program else PROGRAMS)}
    if not follow and not any(path.exists() for path in chosen.values()):
        raise ConfigError(f"there is no log in {folder} yet: name the state folder with --home or STARS_HOME")
    followers = {name: Follower(path) for name, path in chosen.items()}
    shown = _show(None, {name: last_lines(path, lines) for name, path in chosen.items()})
    while follow:
        time.sleep(LOOK_SECONDS)
        shown = _show(shown, {name: list(each.new_lines()) for name, each in followers.items()})


def _show(shown: str | None, lines: dict[str, list[str]]) -> str | None:
    """Print lines, with a heading where there are several logs and another one begins; the log that came last."""
    for name, new in lines.items():
        if new and len(lines) > 1 and name != shown:
            typer.echo(f"==> {name} <==")
        for line in new:
            typer.echo(line)
        shown = name if new else shown
    return shown


@release_app.command()
def verify(path: Annotated[Path, typer.Argument(help="A release's folder.")]) -> None:
    """Check a release: exit code 0, or one line for each thing that is wrong and exit code 1."""
    from contracts.release.release import verify as problems_of

    problems = problems_of(path)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{path} is a sound release")


@release_app.command("list")
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


@release_app.command()
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


@release_app.command()
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
