"""The tables of the job store, and how they came to be what they are."""

from __future__ import annotations

import json

import sqlalchemy as sa

from contracts.database.migrations import Schema

_METADATA = sa.MetaData()
JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("config", sa.Text, nullable=False),  # canonical JSON, so that equal configs are equal texts
    sa.Column("idempotency_key", sa.String(200), nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(64)),
    sa.Column("progress", sa.Double, nullable=False, default=0.0),
    sa.Column("facts", sa.Text, nullable=False, default="{}"),
    sa.Column("release", sa.String(64)),
    sa.Column("error", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("worker", sa.String(128)),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    # Seconds since 1970: SQLite has no time zones, and leases are arithmetic.
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("heartbeat_at", sa.Double),
    sa.Column("lease_until", sa.Double),
    sa.Index("jobs_by_state", "state", "created_at"),
)
EVENTS = sa.Table(
    "job_events",
    _METADATA,
    sa.Column("job", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(64)),
    sa.Column("data", sa.Text, nullable=False),  # a JSON object
)
WORKERS = sa.Table(
    "workers",
    _METADATA,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("kinds", sa.Text, nullable=False),  # a JSON list
    sa.Column("seen_at", sa.Double, nullable=False),
)

_KEPT_COLUMNS = (
    "id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, worker, "
    "cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until"
)
_CREATE_JOBS = """
    CREATE TABLE {name} (
        id VARCHAR(32) NOT NULL PRIMARY KEY,
        kind VARCHAR(32) NOT NULL,
        config TEXT NOT NULL,
        idempotency_key VARCHAR(200) NOT NULL,
        state VARCHAR(16) NOT NULL,
        stage VARCHAR(64),
        progress DOUBLE PRECISION NOT NULL,
        facts TEXT NOT NULL,
        release VARCHAR(64),
        error TEXT,
        attempts INTEGER NOT NULL,
        {log_tail}
        worker VARCHAR(128),
        cancel_requested BOOLEAN NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        heartbeat_at DOUBLE PRECISION,
        lease_until DOUBLE PRECISION,
        UNIQUE (idempotency_key)
    )"""


def _jobs_and_workers(connection: sa.Connection) -> None:
    """Version 1. Databases from before there were versions have these tables, or the first of them."""
    for statement in (
        _CREATE_JOBS.format(name="IF NOT EXISTS jobs", log_tail="log_tail TEXT NOT NULL,"),
        "CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created_at)",
        """CREATE TABLE IF NOT EXISTS workers (
            id VARCHAR(128) NOT NULL PRIMARY KEY,
            kinds TEXT NOT NULL,
            seen_at DOUBLE PRECISION NOT NULL
        )""",
    ):
        connection.exec_driver_sql(statement)


def _events(connection: sa.Connection) -> None:
    """Version 2: events, which hold what stood in the column log_tail. SQLite 3.34 cannot drop a column."""
    connection.exec_driver_sql(
        """CREATE TABLE job_events (
            job VARCHAR(32) NOT NULL,
            sequence INTEGER NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            kind VARCHAR(16) NOT NULL,
            stage VARCHAR(64),
            data TEXT NOT NULL,
            PRIMARY KEY (job, sequence)
        )"""
    )
    insert = sa.text(
        "INSERT INTO job_events (job, sequence, at, kind, data) VALUES (:job, :sequence, :at, :kind, :data)"
    )
    for job in connection.execute(sa.text("SELECT * FROM jobs")).mappings().all():
        events: list[tuple[float, str, dict[str, object]]] = [(job["created_at"], "state", {"state": "queued"})]
        if job["started_at"] is not None:
            events.append((job["started_at"], "state", {"state": "running", "worker": job["worker"]}))
        heard_at = job["heartbeat_at"] or job["created_at"]
        events += [(heard_at, "log", {"message": line}) for line in json.loads(job["log_tail"])]
        if job["finished_at"] is not None:
            ending = {name: job[name] for name in ("state", "release", "error") if job[name] is not None}
            events.append((job["finished_at"], "state", ending))
        for sequence, (at, kind, data) in enumerate(events, 1):
            row = {"job": job["id"], "sequence": sequence, "at": at, "kind": kind, "data": json.dumps(data)}
            connection.execute(insert, row)
    for statement in (
        _CREATE_JOBS.format(name="jobs_2", log_tail=""),
        f"INSERT INTO jobs_2 ({_KEPT_COLUMNS}) SELECT {_KEPT_COLUMNS} FROM jobs",  # noqa: S608  # our own names
        "DROP TABLE jobs",
        "ALTER TABLE jobs_2 RENAME TO jobs",
        "CREATE INDEX jobs_by_state ON jobs (state, created_at)",
    ):
        connection.exec_driver_sql(statement)


SCHEMA = Schema("jobs", (_jobs_and_workers, _events))
