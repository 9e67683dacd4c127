"""The database behind the job store: a SQLite file or PostgreSQL, with the tables made where they are missing.

SQLite holds on to a file that was deleted, and what is written there is seen by nobody. So each use looks whether the
file is still the one that was opened, before and after. What SQLite keeps beside the file (-wal, -shm) is found by its
name: before another file is opened under the same name, the first who notices takes that away from those who still have
the old one. FILE-opened says which file was opened last.
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
from threading import Lock
from typing import Any, TextIO

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from contracts.errors import ConfigError, JobError, MachineError
from contracts.installation import how_to_install

BUSY_SECONDS = 10.0
"""How long a statement waits for another's lock, and a connection for its server."""

_MAKING = 0x5741_5253  # any number that no other program locks
_Identity = tuple[int, int]


class Duplicate(JobError):
    """A row with this unique value is there already."""


class Database:
    """Tables behind a URL. Safe to share between threads.

    Raises ConfigError for a URL that cannot be used; a server need not answer yet. `transaction` raises JobError when
    the database fails and MachineError when its disk is full.
    """

    def __init__(self, url: str, tables: sa.MetaData) -> None:
        self._tables = tables
        self._file = database_file(url)
        self._engine = _engine(sa.make_url(url), self._file)
        self._opened: _Identity | None = None
        self._ready = False
        self._making = Lock()
        if self._file is not None:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            try:
                _make_file(self._file)
            except OSError as error:
                raise ConfigError(
                    f"the job store {self._file} cannot be written ({error.strerror}): name another file or folder"
                ) from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose work is committed at the end, with the database's errors turned into ours."""
        try:
            opened = self._open()
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Duplicate("the row is there already") from error
        except SQLAlchemyError as error:
            if self._file is None:  # a server's database may have been made anew
                self._ready = False
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            if "full" in reason and "disk" in reason:
                raise MachineError("no space left for the job store: free some disk space") from error
            raise JobError(f"the job store does not answer: {reason}") from error
        if self._file is not None and _identity(self._file) != opened:
            raise JobError("the job store's file was deleted or replaced meanwhile: try again")

    def _open(self) -> _Identity | None:
        """Make what is missing, at the first use and whenever SQLite's file is another one than before."""
        with self._making:
            if self._ready and (self._file is None or _identity(self._file) == self._opened):
                return self._opened
            self._ready = False
            self._engine.dispose()
            if self._file is not None:
                try:
                    self._opened = _make_file(self._file, self._opened)
                except OSError as error:
                    raise JobError(f"the job store {self._file} cannot be made anew: {error.strerror}") from error
            with self._engine.begin() as connection:
                self._make_tables(connection)
            if self._file is not None:
                _keep_private(self._file)
            self._ready = True
            return self._opened

    def _make_tables(self, connection: sa.Connection) -> None:
        if self._engine.name == "postgresql":
            # There IF NOT EXISTS does not keep two from making a table at once. One after the other, then.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
        for table in self._tables.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))


def database_file(url: str) -> Path | None:
    """SQLite's file, None for a server. Raises ConfigError for a URL that names neither."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # the reason may quote a password
        raise ConfigError(
            "the job store's URL is none: use sqlite:////folder/jobs.db, or postgresql+psycopg://…"
        ) from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return None
    if kind != "sqlite":
        raise ConfigError(f"the job store's URL names {kind}: use sqlite:////folder/jobs.db, or postgresql+psycopg://…")
    name = parsed.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigError("the job store needs a file that others can open too: use sqlite:////folder/jobs.db")
    return Path(name).absolute()


def shown(url: str) -> str:
    """The URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def _engine(url: sa.URL, file: Path | None) -> sa.Engine:
    server = file is None
    if file is not None:  # a file that is gone is ours to make anew, not SQLite's
        url = url.set(database=file.as_uri(), query=dict(url.query) | {"mode": "rw", "uri": "true"})
    waits = {"connect_timeout": int(BUSY_SECONDS)} if "psycopg" in url.drivername else {}
    try:
        return sa.create_engine(url, pool_pre_ping=server, connect_args=waits)
    except ImportError as error:
        hint = f"write postgresql+psycopg://…, and {how_to_install('postgresql')}" if server else "write sqlite:///…"
        raise ConfigError(f"the job store's URL needs {error.name}, which is not installed: {hint}") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"the job store's URL cannot be used: {error}") from error


def _identity(file: Path) -> _Identity | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_file(file: Path, before: _Identity | None = None) -> _Identity | None:
    """Make the file where it is missing; the file that is to be opened now. Raises OSError.

    `before` is the one that this process had open until now. A file that is there is never opened here: closing it
    would drop the locks that SQLite holds in this process.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _opened_last(file) as note:
        made = not os.path.lexists(file)
        stale = made or (before is not None and note.read() == str(before) != str(_identity(file)))
        for beside in _beside(file) if stale else ():
            beside.unlink(missing_ok=True)
        if made:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        found = _identity(file)
        note.seek(0)
        note.truncate()
        note.write(str(found))
    if not file.is_file():
        raise IsADirectoryError(errno.EISDIR, "it is no file", str(file))
    _keep_private(file)
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission", str(file))
    return found


@contextmanager
def _opened_last(file: Path) -> Iterator[TextIO]:
    """The note of which file was opened last under this name, nobody else's meanwhile."""
    descriptor = os.open(f"{file}-opened", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+", encoding="ascii") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        yield note


def _beside(file: Path) -> tuple[Path, Path]:
    return Path(f"{file}-wal"), Path(f"{file}-shm")


def _keep_private(file: Path) -> None:
    """Let only its owner read the file and what SQLite puts beside it."""
    for each in (file, *_beside(file)):
        with suppress(FileNotFoundError, PermissionError):  # gone again, or another user's, who may share it
            each.chmod(0o600)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
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
