"""`stars release`: look at releases, move them between stores, choose the one in production. No gateway need run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import ConfigError
from contracts.options import Store

if TYPE_CHECKING:
    from contracts.release.release import Release

app = typer.Typer(no_args_is_help=True, help="Look at releases, move them, and choose the one in production.")

Wanted = Annotated[str, typer.Argument(help="A version, production, candidate or latest.")]
Local = Annotated[
    str, typer.Argument(help="A release's folder, an archive, bundled, or a version or channel of the default store.")
]


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


@app.command()
def push(release: Local, store: Store = None) -> None:
    """Verify a release of this machine and put it into a store. Repeat it after an interruption: it goes on from there.

    Nothing in the store is overwritten, and its channels stay as they are.
    """
    from contracts.release import transfer

    opened = _open(store)[0]
    with _local(release) as found:
        transfer.publish(opened, found.folder, found.manifest)
        typer.echo(f"{found.manifest.name} {found.manifest.version} is in {opened.url}")


@app.command()
def pull(
    version: Wanted,
    store: Store = None,
    into: Annotated[Path, typer.Option(help="Make its folder below this one.")] = Path(),
) -> None:
    """Download a release from a store and verify it. Repeat it after an interruption: it goes on from there."""
    from contracts.release import lookup, transfer

    opened, name = _open(store)
    typer.echo(transfer.fetch(opened, name, lookup.resolve(opened, version, name), into.absolute()).folder)


@app.command("copy")
def copy_release(
    version: Wanted,
    source: Annotated[str, typer.Option("--from", help="The store that has it: a folder or URL.")],
    target: Annotated[str, typer.Option("--to", help="The store that is to have it.")],
) -> None:
    """Put a release of one store into another, verified on the way. The channels of both stay as they are."""
    from contracts.release import lookup, transfer

    (opened, name), (other, _) = _open(source), _open(target)
    copied = transfer.copy(opened, other, name, lookup.resolve(opened, version, name))
    typer.echo(f"{name} {copied.manifest.version} is in {other.url}")


@app.command()
def pack(
    release: Local,
    form: Annotated[str, typer.Option("--format", help="tar.gz, as SageMaker takes it, or mar.")] = "tar.gz",
    output: Annotated[Path | None, typer.Option(help="The archive. Default: NAME-VERSION.FORMAT here.")] = None,
) -> None:
    """Verify a release and write it as one file: the same release always gives the same bytes."""
    from contracts import archive

    if form not in set(archive.Format):
        raise ConfigError(f"there is no format {form}: use {' or '.join(archive.Format)}")
    with _local(release) as found:
        path = output or Path(f"{found.manifest.name}-{found.manifest.version}.{form}")
        archive.pack(found, path.absolute(), archive.Format(form))
        typer.echo(path)


@app.command()
def unpack(
    path: Annotated[Path, typer.Argument(help="An archive, in either format.")],
    into: Annotated[Path, typer.Option(help="Make the release's folder below this one.")] = Path(),
) -> None:
    """Take the release out of an archive and verify it. Whatever else the archive holds is refused."""
    from contracts import archive

    typer.echo(archive.unpack(path, into.absolute()).folder)


@contextmanager
def _local(reference: str) -> Iterator[Release]:
    """The verified release that is meant, in a folder that may be changed."""
    from contracts import archive
    from contracts.release.lookup import find
    from contracts.release.release import Release
    from service.settings import load_settings

    with TemporaryDirectory(prefix="stars-") as scratch:
        if Path(reference).is_file():
            with archive.unpacked(Path(reference)) as release:
                yield release
        else:
            found = find(reference, None, Path(scratch) / "found", load_settings().name)
            folder = found.folder
            if not folder.is_relative_to(scratch):
                folder = shutil.copytree(folder, Path(scratch) / "copy")
            yield Release(folder, found.manifest)


def _open(store: str | None) -> Any:
    from service.settings import load_settings

    settings = load_settings(**({"store": store} if store else {}))
    return settings.open_store(), settings.name
