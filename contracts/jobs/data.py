"""Which data a retraining may read, and what is wrong with it: the gateway looks, and the worker looks again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.data_set import FACTS, is_data_set
from contracts.errors import JobError
from contracts.settings import Home
from contracts.stages import SUFFIXES

ROOTS_VARIABLE = "STARS_DATA_ROOTS"


def data_roots(home: Home | None = None) -> tuple[Path, ...]:
    """The allowed folders: $STARS_DATA_ROOTS, or ./examples where there is one, and <home>/data."""
    if chosen := os.environ.get(ROOTS_VARIABLE):
        return split_roots(chosen)
    examples = Path.cwd() / "examples"
    return (*([examples] if examples.is_dir() else []), (home or Home.default()).data)


def split_roots(text: str) -> tuple[Path, ...]:
    """Folders that are separated like PATH, as absolute paths."""
    return tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part)


def locate(name: str, roots: Sequence[Path], *, elsewhere: bool = False) -> Path:
    """The absolute path of a file, a folder of reviews or a data set in an allowed folder, symbolic links followed.

    Never a URL: nobody who asks for a retraining makes the worker fetch something.

    A relative name is looked for in each allowed folder; the folder's own name may stand in front. Raises JobError for
    what lies outside, without a word on whether it exists, and for what could not be trained on.

    `elsewhere` says that another machine will read it: what lies in an allowed folder that this one does not have is
    then taken unseen.
    """
    allowed, inside = [root.resolve() for root in roots], candidates(name, roots)
    if not inside:
        folders = ", ".join(str(root) for root in roots) or "none"
        raise JobError(
            f"data must lie in an allowed folder ({folders}): put the file there, or add its folder to "
            f"{ROOTS_VARIABLE} on the gateway and on the worker"
        )
    for path in inside:
        if os.path.lexists(path):
            _check(path, allowed)
            return path
    absent = [root for root in allowed if not root.is_dir()]
    if elsewhere and (unseen := [path for path in inside if _is_in(path, absent)]):
        return unseen[0]
    raise JobError(f"there is no {inside[0] if len(inside) == 1 else name} in the allowed folders: check the name")


def candidates(name: str, roots: Sequence[Path]) -> list[Path]:
    """The paths in allowed folders that a name may mean, whether or not something is there."""
    allowed = [root.resolve() for root in roots]
    return [path for path in _meant(name, roots) if _is_in(path, allowed)]


def _meant(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    """Every path that a name may mean, links followed."""
    path = Path(name)
    if not name or "://" in name or ".." in path.parts:  # "..", behind a link, would tell what lies outside
        return
    meanings = [path] if path.is_absolute() else [root / path for root in roots]
    if not path.is_absolute():
        meanings += [root.parent / path for root in roots if path.parts[:1] == (root.name,)]
    for meaning in meanings:
        try:
            yield meaning.resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL byte
            continue


def _is_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _check(path: Path, allowed: Sequence[Path]) -> None:
    """Raises JobError unless a training can read it: a file of reviews, a folder that holds some, or a data set."""
    try:
        if not path.is_dir():
            _check_file(path)
            return
        if is_data_set(path):
            _check_data_set(path, allowed)
            return
        files = [file for file in path.iterdir() if file.name.endswith(SUFFIXES)]
        if not files:
            raise JobError(f"the folder {path} holds no file of reviews: their names end in {', '.join(SUFFIXES)}")
        for file in files:
            if not _is_in(file.resolve(), allowed):
                raise JobError(f"{file} leads out of the allowed folders: put the file itself there")
            _check_file(file)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise JobError(f"{path} cannot be read ({reason}): check the file and who may read it") from error


def _check_data_set(folder: Path, allowed: Sequence[Path]) -> None:
    """A finished one, of which nothing lies elsewhere. Its files are many, its links none: only those are looked at."""
    if not (folder / FACTS).is_file():
        raise JobError(f"the data set {folder} is being filled: wait, or finish it with stars data fetch --to {folder}")
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not _is_in(path.resolve(), allowed):
                raise JobError(f"{path} leads out of the allowed folders: put the file itself there")


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise JobError(f"{path} is no plain file: name a file of reviews, or a folder of them")
    if not path.name.endswith(SUFFIXES):
        raise JobError(f"{path} is called as no file of reviews is: their names end in {', '.join(SUFFIXES)}")
    if status.st_size == 0:
        raise JobError(f"{path} is empty: copy it again")
    with path.open("rb"):
        pass
