"""`stars up`, `stars logs` and `stars status`: what runs on this machine."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from contracts.errors import ConfigError
from contracts.options import StateFolder, Store
from contracts.settings import Home
from service.local.status import status

app = typer.Typer()
app.command()(status)

PROGRAMS = ["gateway", "torchserve", "worker"]
LOOK_SECONDS = 0.5


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Listen here. Default: 127.0.0.1, this machine only.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port. Default: 8000.")] = None,
    store: Store = None,
    home: StateFolder = None,
    worker: Annotated[bool, typer.Option(help="Also run a worker for retraining.")] = True,
) -> None:
    """Serve: TorchServe, the gateway and a worker, until Ctrl-C."""
    from service.local.up import run
    from service.settings import load_settings

    flags: dict[str, Any] = {"host": host, "port": port, "store": store, "home": home}
    settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
    raise typer.Exit(run(settings, worker, typer.echo))


@app.command()
def logs(
    program: Annotated[str | None, typer.Argument(help="gateway, torchserve or worker. Default: all of them.")] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The last so many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    home: StateFolder = None,
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
        shown = _show(shown, {name: list(follower.new_lines()) for name, follower in followers.items()})


def _show(shown: str | None, lines: dict[str, list[str]]) -> str | None:
    """Print lines, with a heading where there are several logs and another one begins; the log that came last."""
    for name, new in lines.items():
        if new and len(lines) > 1 and name != shown:
            typer.echo(f"==> {name} <==")
        for line in new:
            typer.echo(line)
        shown = name if new else shown
    return shown
