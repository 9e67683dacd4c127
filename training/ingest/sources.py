"""The sources of a data set: found, hashed, and cut into parts that can be read side by side."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.data_set import is_data_set
from contracts.errors import ConfigError, DataError
from contracts.stages import SUFFIXES
from training.ingest.opening import BLOCK, packed
from training.ingest.reading import Reading
from training.ingest.remote.address import is_url

PART_BYTES = 128 << 20
"""A plain file of lines is cut into parts of about this size."""


@dataclass(frozen=True)
class Cut:
    """Where a part of a file begins, and the number of its first line; where it ends, which is None for the last."""

    start: int
    first_row: int
    end: int | None


@dataclass(frozen=True)
class SourceFile:
    """One file of reviews. `name` is its own among the sources of a data set, `sha256` is of its bytes on disk."""

    name: str
    path: Path
    sha256: str
    size: int
    changed: int
    """When it was last changed, in nanoseconds."""
    cuts: tuple[Cut, ...]

    def check_unchanged(self) -> None:
        """Raises DataError when it is no longer what was hashed."""
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) != (self.size, self.changed):
            raise DataError(f"{self.path} changed while it was read: wait until it is complete, then run it again")


def find_files(data: Sequence[str | Path]) -> list[Path]:
    """The files named, in the folders named, and those that a pattern such as `data/*.csv` fits, without repeats.

    Raises DataError where there is none.
    """
    files: dict[Path, None] = {}
    for each in data:
        path = Path(each)
        if path.is_dir() and is_data_set(path):
            raise DataError(f"{path} is a data set: name what it was made of, which stars data ls {path} shows")
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES))
            if not inside:
                raise DataError(f"the folder {path} holds no file of reviews: their names end in {', '.join(SUFFIXES)}")
            files |= dict.fromkeys(p.resolve() for p in inside)
        elif path.is_file():
            files[path.resolve()] = None
        elif glob.has_magic(str(each)) and (fitting := sorted(glob.glob(str(each), recursive=True))):
            files |= dict.fromkeys(Path(one).resolve() for one in fitting if Path(one).is_file())
        else:
            raise DataError(f"there is no file {path}: check the path")
    if not files:
        raise DataError("no data: name at least one file of reviews")
    return list(files)


def sole_data_set(data: Sequence[str | Path]) -> Path | None:
    """The data set that is named alone. None where sources are named; raises ConfigError for both together."""
    found = next((Path(each) for each in data if not is_url(str(each)) and is_data_set(Path(each))), None)
    if found is not None and len(data) > 1:
        raise ConfigError(f"{found} is a data set: name it alone, or add the sources to it with stars data fetch")
    return found


def named(files: Mapping[Path, str], taken: Mapping[str, str]) -> dict[str, Path]:
    """Each file by a name of its own: its file name, with as many folders before it as it takes.

    `files` says where each lies, its URL if it was downloaded; `taken` are the names that the sources of the data set
    have, and where those lie.
    """
    names: dict[str, Path] = {}
    for path, place in files.items():
        parts = path.parts
        for count in range(1, len(parts)):
            name = "/".join(parts[-count:])
            if name not in names and taken.get(name, place) == place:
                break
        names[name] = path
    return names


def prefix(name: str) -> str:
    """How the Parquet files of a source begin: its name as a file's, the same for no other name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def survey(name: str, path: Path, reading: Reading, read: Callable[[int], None]) -> SourceFile:
    """Hash a file, and find where it can be cut. `read` is told the bytes as they go by."""
    before = path.stat()
    cuttable = reading.kind in ("tsv", "json") and not packed(path)
    digest = hashlib.sha256()
    starts = [(0, 0 if reading.kind == "tsv" else 1)]
    at, row = 0, starts[0][1]
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            if cuttable:
                begins = block.find(b"\n") + 1
                if begins and at + begins >= starts[-1][0] + PART_BYTES and at + begins < before.st_size:
                    starts.append((at + begins, row + 1))
                row += block.count(b"\n")
            at += len(block)
            read(len(block))
    ends = [start for start, _ in starts[1:]]
    cuts = tuple(Cut(start, row, end) for (start, row), end in zip(starts, [*ends, None], strict=True))
    return SourceFile(name, path, digest.hexdigest(), before.st_size, before.st_mtime_ns, cuts)
