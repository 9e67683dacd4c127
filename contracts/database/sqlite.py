"""A SQLite file that several processes share: made where it is missing, private, and known again when it is replaced.

SQLite holds on to a file that was deleted, and what is written there is seen by nobody. What it keeps beside the file
(-wal, -shm) it finds by name: before another file is opened under the same name, the first who notices takes that away
from those who still have the old one. FILE-opened says which file was opened last.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

BUSY_SECONDS = 10.0
"""How long a statement waits for another's lock, and a connection for its server."""

Identity = tuple[int, int]
"""A file's device and inode: another file under the same name has another one."""


def identity(file: Path) -> Identity | None:
    """None where there is no such file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_file(file: Path, before: Identity | None = None) -> Identity | None:
    """Make the file where it is missing; the identity of the file that is to be opened now. Raises OSError.

    `before` is the one that this process had open until now. A file that is there is never opened here: closing it
    would drop the locks that SQLite holds in this process.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _opened_last(file) as note:
        made = not os.path.lexists(file)
        stale = made or (before is not None and note.read() == str(before) != str(identity(file)))
        for beside in _beside(file) if stale else ():
            beside.unlink(missing_ok=True)
        if made:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        now = identity(file)
        note.seek(0)
        note.truncate()
        note.write(str(now))
    if not file.is_file():
        raise IsADirectoryError(errno.EISDIR, "it is no file", str(file))
    keep_private(file)
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission", str(file))
    return now


def keep_private(file: Path) -> None:
    """Let only its owner read the file and what SQLite puts beside it."""
    for path in (file, *_beside(file)):
        with suppress(FileNotFoundError, PermissionError):  # gone again, or another user's, who may share it
            path.chmod(0o600)


def prepare(connection: Any, _record: Any) -> None:
    """Set up a new connection of the driver's: SQLAlchemy's `connect` event."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the worker
            break
        except sqlite3.OperationalError as error:
            # Two who open a new database at once: this one statement does not wait as busy_timeout says.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.05)
    cursor.close()


@contextmanager
def _opened_last(file: Path) -> Iterator[TextIO]:
    """The note of which file was opened last under this name, nobody else's meanwhile."""
    descriptor = os.open(f"{file}-opened", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+", encoding="ascii") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        yield note


def _beside(file: Path) -> tuple[Path, Path]:
    return Path(f"{file}-wal"), Path(f"{file}-shm")
