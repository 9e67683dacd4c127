"""Log files of child processes: readable by their owner only, kept within bounds while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LOG_BYTES = 10 * 1024 * 1024
"""A log over this size is put aside, and a new one begun."""

KEPT = 3
"""Older parts of a log, NAME.1 being the youngest."""

_BLOCK = 64 * 1024


def open_log(path: Path) -> BinaryIO:
    """The file, opened to be appended to. Raises OSError."""
    with suppress(FileNotFoundError):
        path.chmod(0o600)  # an earlier version may have made it
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115  # the caller closes it


def rotate(path: Path, limit: int = LOG_BYTES) -> bool:
    """Put a log over `limit` bytes aside; whether that was so.

    Whoever writes to it has it open, so it is copied and emptied, not renamed: a process that appends goes on at the
    new beginning. What it writes between the copy and the emptying is lost. Where there is no room for the copy, the
    log is emptied all the same.
    """
    try:
        if path.stat().st_size <= limit:
            return False
        with suppress(OSError):
            _put_aside(path)
        os.truncate(path, 0)
    except OSError:  # there is none, or not ours
        return False
    return True


def _put_aside(path: Path) -> None:
    for age in range(KEPT, 1, -1):
        with suppress(FileNotFoundError):
            _aged(path, age - 1).replace(_aged(path, age))
    aside = _aged(path, 1)
    try:
        with path.open("rb") as source, open_log(aside) as target:
            shutil.copyfileobj(source, target)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _aged(path: Path, age: int) -> Path:
    return path.with_name(f"{path.name}.{age}")


def last_lines(path: Path, count: int) -> list[str]:
    """The log's last lines, oldest first; none where there is no such file. Raises OSError for one that is not ours."""
    found = b""
    try:
        with path.open("rb") as log:
            at = log.seek(0, os.SEEK_END)
            while at > 0 and found.count(b"\n") <= count:
                start = max(at - _BLOCK, 0)
                log.seek(start)
                found = log.read(at - start) + found
                at = start
    except FileNotFoundError:
        return []
    return found.decode(errors="replace").splitlines()[-count:] if count else []


class Follower:
    """What is appended to a log from now on, however often it is emptied meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> Iterator[str]:
        """Whole lines since the last call."""
        try:
            with self._path.open("rb") as log:
                if log.seek(0, os.SEEK_END) < self._at:
                    self._at, self._rest = 0, b""
                log.seek(self._at)
                read = log.read(LOG_BYTES)
        except FileNotFoundError:
            return
        self._at += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
