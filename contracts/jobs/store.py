"""Contract 5: jobs. Rows in one table that the gateway writes and a worker takes under a lease.

A worker owns a job from `claim` to `finish` as long as it renews its lease with `heartbeat`. Whoever lets the lease
run out may lose the job to another worker and learns it by LeaseLost. Every change is one UPDATE whose WHERE names
the state it relies on, so SQLite and PostgreSQL behave alike. Leases compare clocks: workers on several machines need
theirs within a few seconds of each other.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from contracts.database.database import Database, Duplicate
from contracts.errors import JobConflict, JobError, JobNotFound, LeaseLost
from contracts.jobs.job import ERROR_LIMIT, KINDS, LINE_LIMIT, LOG_TAIL, MAX_ATTEMPTS, Job, JobState
from contracts.jobs.queue import Queue, QueuedJob, WorkerSeen

ALIVE_SECONDS = 30.0
"""A worker that has not been seen for so long is not counted on."""

FORGOTTEN_SECONDS = 3600.0


_TABLES = sa.MetaData()
_JOBS = sa.Table(
    "jobs",
    _TABLES,
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
_WORKERS = sa.Table(
    "workers",
    _TABLES,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("kinds", sa.Text, nullable=False),  # a JSON list
    sa.Column("seen_at", sa.Double, nullable=False),
)
_J, _W = _JOBS.c, _WORKERS.c
_TIMES = ("created_at", "started_at", "finished_at", "heartbeat_at", "lease_until")


class JobStore:
    """The jobs, and the workers that have made themselves known, behind a database URL.

    Safe to share between threads. Raises ConfigError for a URL that cannot be used. The database is asked when it is
    first needed, and its tables are made then; every method raises JobError when it fails and MachineError when its
    disk is full.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database = Database(url, _TABLES)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

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
            with self._database.transaction() as connection:
                connection.execute(_JOBS.insert().values(**row, state=JobState.QUEUED, created_at=self._clock()))
            return self.get(row["id"]), True
        except Duplicate:
            known = self.with_key(idempotency_key)
        if known is None:
            raise JobError("the job store was deleted or replaced meanwhile: try again")
        if (known.kind, known.config) != (kind, json.loads(text)):
            raise JobConflict(
                f"the idempotency key {idempotency_key!r} queued job {known.id} with another request: use a new key"
            )
        return known, False

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        with self._database.transaction() as connection:
            row = connection.execute(_JOBS.select().where(_J.id == job_id)).mappings().one_or_none()
        if row is None:
            raise JobNotFound(f"no job {job_id[:64]!r}: `stars jobs ls` or GET /admin/jobs lists them")
        return _job(row)

    def find(self, beginning: str) -> Job:
        """The one job whose id begins so. Raises JobNotFound, and JobError when there are several."""
        if not re.fullmatch("[0-9a-f]{1,31}", beginning):
            return self.get(beginning)
        query = sa.select(_J.id).where(_J.id.startswith(beginning)).limit(2)
        with self._database.transaction() as connection:
            found = connection.execute(query).scalars().all()
        if len(found) > 1:
            raise JobError(f"several jobs begin with {beginning}: give more of the id")
        return self.get(found[0] if found else beginning)

    def with_key(self, idempotency_key: str) -> Job | None:
        """The job that this idempotency key has queued, if any."""
        query = _JOBS.select().where(_J.idempotency_key == idempotency_key)
        with self._database.transaction() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _job(row)

    def list(self, limit: int = 50, state: JobState | None = None) -> list[Job]:
        """The youngest jobs first."""
        query = _JOBS.select().order_by(_J.created_at.desc(), _J.id).limit(limit)
        if state is not None:
            query = query.where(_J.state == state)
        with self._database.transaction() as connection:
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

    def announce(self, worker: str, kinds: Collection[str] = KINDS) -> None:
        """Let it be known that a worker waits for jobs of these kinds. To be said again within ALIVE_SECONDS."""
        now, row = self._clock(), {"kinds": json.dumps(sorted(kinds))}
        with self._database.transaction() as connection:
            if not connection.execute(_WORKERS.update().where(_W.id == worker).values(**row, seen_at=now)).rowcount:
                connection.execute(_WORKERS.insert().values(id=worker, **row, seen_at=now))
            connection.execute(_WORKERS.delete().where(_W.seen_at < now - FORGOTTEN_SECONDS))

    def retire(self, worker: str) -> None:
        """Take back what was announced: the worker stops."""
        with self._database.transaction() as connection:
            connection.execute(_WORKERS.delete().where(_W.id == worker))

    def queue(self) -> Queue:
        """What runs, what waits, and which workers are there to take it."""
        now = self._clock()
        columns = (_J.id, _J.kind, _J.state, _J.stage, _J.progress, _J.worker, _J.lease_until)
        open_jobs = sa.select(*columns).where(_J.state.in_([JobState.QUEUED, JobState.RUNNING]))
        with self._database.transaction() as connection:
            rows = connection.execute(open_jobs.order_by(_J.created_at, _J.id)).mappings().all()
            seen = connection.execute(_WORKERS.select().where(_W.seen_at >= now - ALIVE_SECONDS)).mappings().all()
        held = [row for row in rows if row["state"] == JobState.RUNNING and row["lease_until"] >= now]
        free = [row for row in rows if row["state"] == JobState.QUEUED or row["lease_until"] < now]
        workers = {row["id"]: frozenset(json.loads(row["kinds"])) for row in seen}
        for row in held:  # whoever renews a lease is there, and knows what it runs
            workers[row["worker"]] = workers.get(row["worker"], frozenset()) | {row["kind"]}
        return Queue(
            running=tuple(_queued(row) for row in held),
            waiting=tuple(_queued(row) for row in free),
            workers=tuple(WorkerSeen(name, kinds) for name, kinds in sorted(workers.items())),
        )

    def claim(
        self,
        worker: str,
        lease_seconds: float,
        max_attempts: int = MAX_ATTEMPTS,
        kinds: Collection[str] = KINDS,
    ) -> Job | None:
        """Take the oldest job that is queued, or whose worker let its lease run out; None when there is none.

        `worker` must be unique to the process. Jobs of other kinds than `kinds` are left to those who know them. A job
        whose worker died is cancelled here when that was asked for, and failed when this was its last attempt.
        """
        while True:
            now = self._clock()
            abandoned = sa.and_(_J.state == JobState.RUNNING, _J.lease_until < now)
            free = sa.and_(_J.kind.in_(kinds), sa.or_(_J.state == JobState.QUEUED, abandoned))
            with self._database.transaction() as connection:
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
        try:
            if log_lines:  # only the owner writes the log, so reading it first is safe
                tail = [*self.get(job_id).log_tail, *(line[:LINE_LIMIT] for line in log_lines)]
                changes["log_tail"] = json.dumps(tail[-LOG_TAIL:])
            own = self._update(job_id, sa.and_(_J.state == JobState.RUNNING, _J.worker == worker), **changes)
            job = self.get(job_id)
        except JobNotFound:
            raise LeaseLost(f"job {job_id} is gone: the job store was deleted or replaced while it ran") from None
        if not own:
            raise LeaseLost(f"job {job_id} is no longer this worker's: another worker took it over, or it has ended")
        return job

    def _update(self, job_id: str, condition: sa.ColumnElement[bool], **values: Any) -> bool:
        with self._database.transaction() as connection:
            result = connection.execute(_JOBS.update().where(_J.id == job_id, condition).values(**values))
            return result.rowcount == 1


def _job(row: Mapping[Any, Any]) -> Job:
    values = dict(row)
    for name in _TIMES:
        if values[name] is not None:
            values[name] = datetime.fromtimestamp(values[name], UTC)
    for name in ("config", "facts", "log_tail"):
        values[name] = json.loads(values[name])
    return Job(**values | {"state": JobState(values["state"])})


def _queued(row: Mapping[Any, Any]) -> QueuedJob:
    return QueuedJob(row["id"], row["kind"], row["stage"], row["progress"], row["worker"])
