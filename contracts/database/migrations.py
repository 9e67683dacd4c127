"""Schema versions: how each room's tables came to be, step by step, and who brings a database up to date.

A room (jobs; later feedback, audit) writes down its steps and hands them to its `Database`; nothing here knows a table
of theirs. The first who opens a database that is behind takes the steps that are missing, in one transaction under one
lock: all of them or none. Everybody else waits and finds nothing left to do. Alembic does the same; it would make the
gateway start a quarter slower and take 10 MiB, for one table and these few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import sqlalchemy as sa

from contracts.errors import NewerDatabase

Step = Callable[[sa.Connection], None]
"""Turns the tables of one version into those of the next, in statements that SQLite 3.34 and PostgreSQL both know.

A step that has been released is never changed: databases exist that have taken it.
"""

_MIGRATING = 0x5741_5253  # any number that no other program locks
_VERSIONS = sa.Table(
    "schema_versions",
    sa.MetaData(),
    sa.Column("room", sa.String(32), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Schema:
    """One room's tables. Their version is how many of the steps, in order, a database has taken."""

    room: str
    steps: tuple[Step, ...]

    @property
    def version(self) -> int:
        return len(self.steps)


def migrate(engine: sa.Engine, schemas: Collection[Schema]) -> None:
    """Bring the database up to date. Raises NewerDatabase, and SQLAlchemy's errors.

    A database that is up to date is only read: nobody waits for whoever is writing to it.
    """
    with engine.connect() as connection:
        if not _behind(connection, schemas):
            return
    with engine.begin() as connection:
        _lock(connection)
        _VERSIONS.create(connection, checkfirst=True)
        for schema, version in _behind(connection, schemas).items():  # looked up again: another may have been first
            for step in schema.steps[version:]:
                step(connection)
            connection.execute(_VERSIONS.delete().where(_VERSIONS.c.room == schema.room))
            connection.execute(_VERSIONS.insert().values(room=schema.room, version=schema.version))


def _behind(connection: sa.Connection, schemas: Collection[Schema]) -> dict[Schema, int]:
    """The schemas whose steps the database has not all taken, and how many it has. Raises NewerDatabase."""
    known = sa.inspect(connection).has_table(_VERSIONS.name)
    versions = {row.room: row.version for row in connection.execute(_VERSIONS.select())} if known else {}
    for schema in schemas:
        if versions.get(schema.room, 0) > schema.version:
            raise NewerDatabase(
                f"the database was brought to version {versions[schema.room]} of its {schema.room} by a newer program "
                f"than this one, which knows {schema.version}: update this one"
            )
    return {schema: versions.get(schema.room, 0) for schema in schemas if versions.get(schema.room, 0) < schema.version}


def _lock(connection: sa.Connection) -> None:
    """Keep everybody else from migrating until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would begin too late, at the first INSERT
