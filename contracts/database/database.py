"""The database that rooms keep their tables in: a SQLite file or PostgreSQL, brought up to date at the first use.

Each use looks whether SQLite's file is still the one that was opened, before and after: contracts/database/sqlite.py
says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from contracts.database import sqlite
from contracts.database.migrations import Schema, migrate
from contracts.errors import ConfigError, DatabaseError, MachineError
from contracts.installation import how_to_install

_EXAMPLES = "use sqlite:////folder/jobs.db, or postgresql+psycopg://…"


class Duplicate(DatabaseError):
    """A row with this unique value is there already."""


class Database:
    """The tables of some rooms behind a URL. Safe to share between threads.

    Several may be made for one URL, by this process and by others, each with the schemas that it needs. Raises
    ConfigError for a URL that cannot be used; a server need not answer yet.
    """

    def __init__(self, url: str, *schemas: Schema) -> None:
        self._schemas = schemas
        self._file = database_file(url)
        self._engine = _engine(sa.make_url(url), self._file)
        self._opened: sqlite.Identity | None = None
        self._ready = False
        self._opening = Lock()
        if self._file is not None:
            sa.event.listen(self._engine, "connect", sqlite.prepare)
            try:
                sqlite.make_file(self._file)
            except OSError as error:
                raise ConfigError(
                    f"the database {self._file} cannot be written ({error.strerror}): name another file or folder"
                ) from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose work is committed at the end.

        Raises DatabaseError when the database fails (NewerDatabase when this program is too old for it, Duplicate for
        a row that is there already) and MachineError when its disk is full.
        """
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
                raise MachineError("no space left for the database: free some disk space") from error
            raise DatabaseError(f"the database does not answer: {reason}") from error
        if self._file is not None and sqlite.identity(self._file) != opened:
            raise DatabaseError("the database's file was deleted or replaced meanwhile: try again")

    def _open(self) -> sqlite.Identity | None:
        """Bring it up to date, at the first use and whenever SQLite's file is another one than before."""
        with self._opening:
            if self._ready and (self._file is None or sqlite.identity(self._file) == self._opened):
                return self._opened
            self._ready = False
            self._engine.dispose()
            if self._file is not None:
                try:
                    self._opened = sqlite.make_file(self._file, self._opened)
                except OSError as error:
                    raise DatabaseError(f"the database {self._file} cannot be made anew: {error.strerror}") from error
            migrate(self._engine, self._schemas)
            if self._file is not None:
                sqlite.keep_private(self._file)
            self._ready = True
            return self._opened


def database_file(url: str) -> Path | None:
    """SQLite's file, None for a server. Raises ConfigError for a URL that names neither."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # the reason may quote a password
        raise ConfigError(f"the database's URL is none: {_EXAMPLES}") from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return None
    if kind != "sqlite":
        raise ConfigError(f"the database's URL names {kind}: {_EXAMPLES}")
    name = parsed.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigError("the database needs a file that others can open too: use sqlite:////folder/jobs.db")
    return Path(name).absolute()


def shown(url: str) -> str:
    """The URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def _engine(url: sa.URL, file: Path | None) -> sa.Engine:
    server = file is None
    if file is not None:  # a file that is gone is ours to make anew, not SQLite's
        url = url.set(database=file.as_uri(), query=dict(url.query) | {"mode": "rw", "uri": "true"})
    waits = {"connect_timeout": int(sqlite.BUSY_SECONDS)} if "psycopg" in url.drivername else {}
    try:
        return sa.create_engine(url, pool_pre_ping=server, connect_args=waits)
    except ImportError as error:
        hint = f"write postgresql+psycopg://…, and {how_to_install('postgresql')}" if server else "write sqlite:///…"
        raise ConfigError(f"the database's URL needs {error.name}, which is not installed: {hint}") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"the database's URL cannot be used: {error}") from error
