"""Where a downloaded file came from: `origin.json` beside it, written before its first byte."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from training.running.folder import write_whole

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What a server said of a file. `validator` tells this version of it from others, and is empty where none does."""

    url: str
    """Without what could be a secret in it."""
    file: str
    validator: str = ""
    size: int | None = None
    downloaded: str = ""
    """When, in UTC; empty while it is under way."""

    def write(self, folder: Path) -> None:
        write_whole(folder / ORIGIN, json.dumps(asdict(self)))


def read_origin(folder: Path) -> Origin | None:
    """What is being downloaded into this folder, or was. None where nothing is."""
    try:
        return Origin(**json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def origin_of(file: Path) -> Origin | None:
    """Where a file was downloaded from. None for one that was not."""
    origin = read_origin(file.parent)
    return origin if origin is not None and origin.file == file.name else None
