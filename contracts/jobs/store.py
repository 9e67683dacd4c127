"""Contract 5, the asking side: jobs are queued, looked at and cancelled. contracts/jobs/leases.py is the working side.

Both change a row by one UPDATE whose WHERE names the state it relies on, so SQLite and PostgreSQL behave alike, and
write down what happened as events in the same transaction.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from contracts.database.database import Duplicate
from contracts.errors import DatabaseError, JobConflict, JobError, JobNotFound
from contracts.jobs.event import JobEvent, state_changed
from contracts.jobs.job import Job, JobState
from contracts.jobs.queue import Queue, QueuedJob, WorkerSeen
from contracts.jobs.rows import read_events, read_job, read_jobs, record
from contracts.jobs.schema import JOBS, WORKERS
from contracts.jobs.tables import JobDatabase

ALIVE_SECONDS = 30.0
"""A worker that has not been seen for so long is not counted on."""

_J = JOBS.c


class JobStore(JobDatabase):
    """The jobs for those who want something done."""

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
        row |= {"state": JobState.QUEUED}
        now = self._clock()
        try:
            with self._database.transaction() as connection:
                connection.execute(JOBS.insert().values(**row, created_at=now))
                record(connection, row["id"], now, [state_changed(JobState.QUEUED)])
                job = read_job(connection, _J.id == row["id"])
        except Duplicate:
            job = self.with_key(idempotency_key)
        if job is None:
            raise DatabaseError("the job store was deleted or replaced meanwhile: try again")
        if (job.kind, job.config) != (kind, json.loads(text)):
            raise JobConflict(
                f"the idempotency key {idempotency_key!r} queued job {job.id} with another request: use a new key"
            )
        return job, job.id == row["id"]

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        with self._database.transaction() as connection:
            return _existing(read_job(connection, _J.id == job_id), job_id)

    def find(self, beginning: str) -> Job:
        """The one job whose id begins so. Raises JobNotFound, and JobError when there are several."""
        if not re.fullmatch("[0-9a-f]{1,31}", beginning):
            return self.get(beginning)
        with self._database.transaction() as connection:
            jobs = read_jobs(connection, sa.select(JOBS).where(_J.id.startswith(beginning)).limit(2))
        if len(jobs) > 1:
            raise JobError(f"several jobs begin with {beginning}: give more of the id")
        return _existing(jobs[0] if jobs else None, beginning)

    def with_key(self, idempotency_key: str) -> Job | None:
        """The job that this idempotency key has queued, if any."""
        with self._database.transaction() as connection:
            return read_job(connection, _J.idempotency_key == idempotency_key)

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        """What happened to the job since the event with the sequence number `after`, the oldest first.

        A job that has ended has no more events than there were when it ended. No events for a job that is not there.
        """
        with self._database.transaction() as connection:
            return read_events(connection, job_id, after, limit)

    def list(self, limit: int = 50, state: JobState | None = None) -> list[Job]:
        """The youngest jobs first."""
        query = sa.select(JOBS).order_by(_J.created_at.desc(), _J.id).limit(limit)
        if state is not None:
            query = query.where(_J.state == state)
        with self._database.transaction() as connection:
            return read_jobs(connection, query)

    def request_cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once, ask a running job's worker to stop it. A second request changes nothing.

        Raises JobNotFound, and JobConflict for a job that succeeded or failed.
        """
        now = self._clock()
        waiting = JOBS.update().where(_J.id == job_id, _J.state == JobState.QUEUED)
        running = JOBS.update().where(_J.id == job_id, _J.state == JobState.RUNNING, ~_J.cancel_requested)
        with self._database.transaction() as connection:
            ended = waiting.values(state=JobState.CANCELLED, cancel_requested=True, finished_at=now)
            if connection.execute(ended).rowcount:
                record(connection, job_id, now, [state_changed(JobState.CANCELLED)])
            elif connection.execute(running.values(cancel_requested=True)).rowcount:
                record(connection, job_id, now, [state_changed(JobState.RUNNING, cancel_requested=True)])
            job = _existing(read_job(connection, _J.id == job_id), job_id)
        if not job.cancel_requested:
            raise JobConflict(f"job {job_id} has {job.state} already: there is nothing to cancel")
        return job

    def queue(self) -> Queue:
        """What runs, what waits, and which workers are there to take it."""
        now = self._clock()
        columns = (_J.id, _J.kind, _J.state, _J.stage, _J.progress, _J.worker, _J.lease_until)
        open_jobs = sa.select(*columns).where(_J.state.in_([JobState.QUEUED, JobState.RUNNING]))
        with self._database.transaction() as connection:
            rows = connection.execute(open_jobs.order_by(_J.created_at, _J.id)).mappings().all()
            alive = WORKERS.select().where(WORKERS.c.seen_at >= now - ALIVE_SECONDS)
            announced = connection.execute(alive).mappings().all()
        held = [row for row in rows if row["state"] == JobState.RUNNING and row["lease_until"] >= now]
        free = [row for row in rows if row["state"] == JobState.QUEUED or row["lease_until"] < now]
        workers = {row["id"]: frozenset(json.loads(row["kinds"])) for row in announced}
        for row in held:  # whoever renews a lease is there, and knows what it runs
            workers[row["worker"]] = workers.get(row["worker"], frozenset()) | {row["kind"]}
        return Queue(
            running=tuple(_queued(row) for row in held),
            waiting=tuple(_queued(row) for row in free),
            workers=tuple(WorkerSeen(name, kinds) for name, kinds in sorted(workers.items())),
        )


def _existing(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise JobNotFound(f"no job {job_id[:64]!r}: `stars jobs ls` or GET /admin/jobs lists them")
    return job


def _queued(row: Mapping[Any, Any]) -> QueuedJob:
    return QueuedJob(row["id"], row["kind"], row["stage"], row["progress"], row["worker"])
