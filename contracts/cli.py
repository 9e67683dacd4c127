"""The `stars` command: the service's and the training package's commands under one name.

Commands come from the entry points "stars.commands", so this package imports neither of the other two. A group whose
extra isn't installed is named in `stars --help` with the line that installs it; the rest works without it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points, version
from traceback import walk_tb
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from contracts.errors import StarsError
from contracts.installation import how_to_install

DISTRIBUTION = "review-stars"
COMMANDS = "stars.commands"
PACKAGES = frozenset({"contracts", "service", "torchserve", "training"})
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells give it."""


def main() -> None:
    """Run `stars`: an error of ours is one sentence on stderr and its exit code, 1 or 3; Ctrl-C is exit code 130."""
    try:
        build(entry_points(group=COMMANDS))()
    except StarsError as error:
        _fail(str(error), error.exit_code)
    except ImportError as error:
        if not _is_foreign(error):
            raise
        _fail(f"{error}: {how_to_install(_extra_that_has(error))}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def build(groups: Iterable[EntryPoint]) -> typer.Typer:
    """One app with every group's commands at its top level; a group that isn't installed becomes a hint.

    A group's entry point is named like the extra that it needs. An import that fails for any other reason than a
    missing package is a bug of ours and is raised.
    """
    apps: list[typer.Typer] = []
    hints: list[str] = []
    for group in sorted(groups, key=lambda each: each.name):
        try:
            apps.append(group.load())
        except ImportError as error:
            if not _is_foreign(error) and not _is_left_out(group, error):
                raise
            hints.append(f"The {group.name} commands are not installed: {how_to_install(group.name)}.")

    class Commands(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if hints and self.get_command(ctx, args[0]) is None:
                ctx.fail(f"No such command '{args[0]}'. {' '.join(hints)}")
            return super().resolve_command(ctx, args)

    app = typer.Typer(
        cls=Commands,
        name="stars",
        rich_markup_mode=None,  # its tables put "<bool>" beside flags, and take "[…]" in a help text for markup
        epilog=" ".join(hints),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for each in apps:
        app.add_typer(each)
    return app


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=lambda on: _version_of(on)
        ),
    ] = False,
) -> None:
    """Any customer review in, a star rating out."""


def _version_of(asked: bool) -> None:
    if asked:
        typer.echo(f"stars {version(DISTRIBUTION)}")
        raise typer.Exit


def _is_foreign(error: ImportError) -> bool:
    """Whether the module that could not be imported is somebody else's: neither ours nor Python's."""
    top = (error.name or "").partition(".")[0]
    return bool(top) and top not in PACKAGES and top not in sys.stdlib_module_names


def _is_left_out(group: EntryPoint, error: ImportError) -> bool:
    """Whether the group's own package isn't there, as in a container image that holds one package only."""
    return isinstance(error, ModuleNotFoundError) and error.name in {group.module, group.module.partition(".")[0]}


def _extra_that_has(error: ImportError) -> str | None:
    """The extra that holds the missing module: that of our innermost package that asked for it."""
    if (error.name or "").partition(".")[0] in {"boto3", "botocore"}:
        return "aws"
    modules = (str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__))
    packages = [module.partition(".")[0] for module in modules]
    return next((each for each in reversed(packages) if each in PACKAGES - {"contracts"}), None)


def _fail(sentence: str, code: int = 1) -> None:
    typer.secho(f"error: {sentence}", fg="red", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
