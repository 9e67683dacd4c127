"""Contract 5: jobs. Rows in one table that the gateway writes and a worker takes under a lease.

A worker owns a job from `claim` to `finish` as long as it renews its lease with `heartbeat`. Whoever lets the lease
run out may lose the job to another worker and learns it by LeaseLost. Every change is one UPDATE whose WHERE names
the state it relies on, so SQLite and PostgreSQL behave alike. Leases compare clocks: workers on several machines need
theirs within a few seconds of each other.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from contracts.errors import ConfigError, JobConflict, JobError, JobNotFound, LeaseLost, MachineError

LOG_TAIL = 50
"""Lines of a job's log that are kept."""

LINE_LIMIT = 500
ERROR_LIMIT = 2000
MAX_ATTEMPTS = 3
BUSY_SECONDS = 10.0
_MAKING = 0x5741_5253  # any number that no other program locks


class JobState(StrEnum):
    """Where a job stands. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class Job:
    """One row, as it was when it was read."""

    id: str
    kind: str
    config: dict[str, Any]
    idempotency_key: str
    state: JobState
    created_at: datetime
    stage: str | None = None
    progress: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    release: str | None = None
    error: str | None = None
    attempts: int = 0
    log_tail: list[str] = field(default_factory=list)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    heartbeat_at: datetime | None = None
    lease_until: datetime | None = None
    worker: str | None = None
    cancel_requested: bool = False


_JOBS = sa.Table(
    "jobs",
    sa.MetaData(),
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
    sa.Column("log_tail", sa.Text, nullable=False, default="[]"),
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
_J = _JOBS.c
_TIMES = ("created_at", "started_at", "finished_at", "heartbeat_at", "lease_until")


class JobStore:
    """The table of jobs behind a database URL, made when it is not there.

    Safe to share between threads. Raises ConfigError for a URL that cannot be used; every method raises JobError when
    the database fails and MachineError when its disk is full.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            parsed = sa.make_url(url)
            sqlite = parsed.get_backend_name() == "sqlite"
            if sqlite and parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._engine = sa.create_engine(parsed, pool_pre_ping=not sqlite)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigError(f"the job store's URL cannot be used: {error}. Try sqlite:////folder/jobs.db") from error
        except OSError as error:
            raise ConfigError(f"the job store's folder cannot be made: {error.strerror}: {error.filename}") from error
        if sqlite:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        with self._transaction() as connection:
            if self._engine.name == "postgresql":
                # There IF NOT EXISTS does not keep two from making the table at once. One after the other, then.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
            connection.execute(CreateTable(_JOBS, if_not_exists=True))
            for index in _JOBS.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def submit(self, kind: str, config: Mapping[str, Any], idempotency_key: str) -> tuple[Job, bool]:
        """Queue a job; (job, True) for a new one, (job, False) for the one that this key has queued before.

        Raises JobConflict when the key belongs to a job of another kind or configuration, JobError for a key that is
        empty or over 200 characters.
        """
        if not idempotency_key.isprintable() or not 0 < len(idempotency_key) <= 200:
            raise JobError("an idempotency key has 1 to 200 printable characters: choose another")
        try:
            text = json.dumps(config, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise JobError(f"the job's configuration is not JSON: {error}") from error
        row = {"id": uuid.uuid4().hex, "kind": kind, "config": text, "idempotency_key": idempotency_key}
        try:
            with self._transaction() as connection:
                connection.execute(_JOBS.insert().values(**row, state=JobState.QUEUED, created_at=self._clock()))
            return self.get(row["id"]), True
        except _Duplicate:
            with self._transaction() as connection:
                query = _JOBS.select().where(_J.idempotency_key == idempotency_key)
                known = connection.execute(query).mappings().one()
        if (known["kind"], known["config"]) != (kind, text):
            raise JobConflict(
                f"the idempotency key {idempotency_key!r} queued job {known['id']} with another request: use a new key"
            )
        return _job(known), False

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        with self._transaction() as connection:
            row = connection.execute(_JOBS.select().where(_J.id == job_id)).mappings().one_or_none()
        if row is None:
            raise JobNotFound(f"no job {job_id[:64]!r}: `stars jobs` or GET /admin/jobs lists them")
        return _job(row)

    def list(self, limit: int = 50, state: JobState | None = None) -> list[Job]:
        """The youngest jobs first."""
        query = _JOBS.select().order_by(_J.created_at.desc(), _J.id).limit(limit)
        if state is not None:
            query = query.where(_J.state == state)
        with self._transaction() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def request_cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once, ask a running job's worker to stop it. A second request changes nothing.

        Raises JobNotFound, and JobConflict for a job that succeeded or failed.
        """
        ended = {"state": JobState.CANCELLED, "cancel_requested": True, "finished_at": self._clock()}
        if not self._update(job_id, _J.state == JobState.QUEUED, **ended):
            self._update(job_id, _J.state == JobState.RUNNING, cancel_requested=True)
        job = self.get(job_id)
        if not job.cancel_requested:
            raise JobConflict(f"job {job_id} has {job.state} already: there is nothing to cancel")
        return job

    def claim(self, worker: str, lease_seconds: float, max_attempts: int = MAX_ATTEMPTS) -> Job | None:
        """Take the oldest job that is queued, or whose worker let its lease run out; None when there is none.

        `worker` must be unique to the process. A job whose worker died is cancelled here when that was asked for, and
        failed when this was its last attempt.
        """
        while True:
            now = self._clock()
            abandoned = sa.and_(_J.state == JobState.RUNNING, _J.lease_until < now)
            free = sa.or_(_J.state == JobState.QUEUED, abandoned)
            with self._transaction() as connection:
                query = _JOBS.select().where(free).order_by(_J.created_at, _J.id).limit(1)
                row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            seen = sa.and_(free, _J.attempts == row["attempts"])
            if row["cancel_requested"]:
                self._update(row["id"], seen, state=JobState.CANCELLED, finished_at=now, lease_until=None)
            elif row["attempts"] >= max_attempts:
                reason = f"given up: the worker died {row['attempts']} times, the last time in stage {row['stage']}"
                self._update(row["id"], seen, state=JobState.FAILED, error=reason, finished_at=now, lease_until=None)
            elif self._update(
                row["id"],
                seen,
                state=JobState.RUNNING,
                worker=worker,
                attempts=row["attempts"] + 1,
                started_at=row["started_at"] or now,
                heartbeat_at=now,
                lease_until=now + lease_seconds,
            ):
                return self.get(row["id"])

    def heartbeat(
        self,
        job_id: str,
        worker: str,
        lease_seconds: float,
        stage: str | None = None,
        progress: float | None = None,
        log_lines: Sequence[str] = (),
    ) -> bool:
        """Renew the lease and write down how far the job is; True when somebody asked to cancel it.

        Raises LeaseLost when the job is no longer this worker's: stop it at once, another one may be running it.
        """
        now = self._clock()
        changes: dict[str, Any] = {"heartbeat_at": now, "lease_until": now + lease_seconds}
        if stage is not None:
            changes["stage"] = stage
        if progress is not None:
            changes["progress"] = min(max(progress, 0.0), 1.0)
        return self._update_own(job_id, worker, changes, log_lines).cancel_requested

    def finish(
        self,
        job_id: str,
        worker: str,
        state: JobState,
        *,
        release: str | None = None,
        error: str | None = None,
        facts: Mapping[str, Any] | None = None,
        stage: str | None = None,
        log_lines: Sequence[str] = (),
    ) -> Job:
        """End the job. Raises LeaseLost when it is no longer this worker's."""
        if not state.final:
            raise ValueError(f"{state} ends nothing")
        if error is not None:  # a database takes neither lone surrogates nor NUL
            error = error.replace("\0", "").encode(errors="replace").decode()[:ERROR_LIMIT]
        changes: dict[str, Any] = {"state": state, "release": release, "error": error, "finished_at": self._clock()}
        changes |= {"facts": json.dumps(facts or {}, allow_nan=False), "lease_until": None}
        if stage is not None:
            changes["stage"] = stage
        if state is JobState.SUCCEEDED:
            changes["progress"] = 1.0
        return self._update_own(job_id, worker, changes, log_lines)

    def release(self, job_id: str, worker: str) -> Job:
        """Hand a job back to the queue without counting the attempt: its worker is being stopped, not failing."""
        changes = {"state": JobState.QUEUED, "worker": None, "lease_until": None, "attempts": _J.attempts - 1}
        return self._update_own(job_id, worker, changes, ())

    def _update_own(self, job_id: str, worker: str, changes: dict[str, Any], log_lines: Sequence[str]) -> Job:
        if log_lines:  # only the owner writes the log, so reading it first is safe
            tail = [*self.get(job_id).log_tail, *(line[:LINE_LIMIT] for line in log_lines)]
            changes["log_tail"] = json.dumps(tail[-LOG_TAIL:])
        if not self._update(job_id, sa.and_(_J.state == JobState.RUNNING, _J.worker == worker), **changes):
            raise LeaseLost(f"job {job_id} is no longer this worker's: another worker took it over, or it has ended")
        return self.get(job_id)

    def _update(self, job_id: str, condition: sa.ColumnElement[bool], **values: Any) -> bool:
        with self._transaction() as connection:
            result = connection.execute(_JOBS.update().where(_J.id == job_id, condition).values(**values))
            return result.rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """A connection whose work is committed at the end, with the database's errors turned into ours."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise _Duplicate from error
        except SQLAlchemyError as error:
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            if "full" in reason and "disk" in reason:
                raise MachineError("no space left for the job store: free some disk space") from error
            raise JobError(f"the job store does not answer: {reason}") from error


class _Duplicate(JobError):
    """The idempotency key is taken."""


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


def _job(row: Mapping[Any, Any]) -> Job:
    values = dict(row)
    for name in _TIMES:
        if values[name] is not None:
            values[name] = datetime.fromtimestamp(values[name], UTC)
    for name in ("config", "facts", "log_tail"):
        values[name] = json.loads(values[name])
    return Job(**values | {"state": JobState(values["state"])})
