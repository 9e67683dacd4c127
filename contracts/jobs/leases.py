"""Contract 5, the working side: a worker takes a job under a lease and tells how far it is.

It owns the job from `claim` to `finish` as long as it renews its lease with `heartbeat`. Whoever lets the lease run
out may lose the job to another worker and learns it by LeaseLost. Leases compare clocks: workers on several machines
need theirs within a few seconds of each other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from contracts.errors import LeaseLost
from contracts.jobs.event import EventKind, NewEvent, state_changed
from contracts.jobs.job import ERROR_LIMIT, KINDS, MAX_ATTEMPTS, Job, JobState
from contracts.jobs.rows import read_job, record
from contracts.jobs.schema import JOBS, WORKERS
from contracts.jobs.tables import JobDatabase

FORGOTTEN_SECONDS = 3600.0
"""After so long without a word from it a worker's row is deleted."""

_J = JOBS.c


class JobLeases(JobDatabase):
    """The jobs for those who do them."""

    def announce(self, worker: str, kinds: Collection[str] = KINDS) -> None:
        """Let it be known that a worker waits for jobs of these kinds. To be said again within ALIVE_SECONDS."""
        now, row = self._clock(), {"kinds": json.dumps(sorted(kinds))}
        ours, others = WORKERS.c.id == worker, WORKERS.c.seen_at < self._clock() - FORGOTTEN_SECONDS
        with self._database.transaction() as connection:
            if not connection.execute(WORKERS.update().where(ours).values(**row, seen_at=now)).rowcount:
                connection.execute(WORKERS.insert().values(id=worker, **row, seen_at=now))
            connection.execute(WORKERS.delete().where(others))

    def retire(self, worker: str) -> None:
        """Take back what was announced: the worker stops."""
        with self._database.transaction() as connection:
            connection.execute(WORKERS.delete().where(WORKERS.c.id == worker))

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
            oldest = sa.select(JOBS).where(free).order_by(_J.created_at, _J.id).limit(1)
            with self._database.transaction() as connection:
                row = connection.execute(oldest).mappings().one_or_none()
                if row is None:
                    return None
                changes = _taken(row, worker, now, lease_seconds, max_attempts)
                unchanged = sa.and_(_J.id == row["id"], free, _J.attempts == row["attempts"])
                if not connection.execute(JOBS.update().where(unchanged).values(**changes)).rowcount:
                    continue  # another was faster
                record(connection, row["id"], now, [_state_event(changes)])
                job = read_job(connection, _J.id == row["id"])
            if job is not None and job.state is JobState.RUNNING:
                return job

    def heartbeat(self, job_id: str, worker: str, lease_seconds: float, events: Sequence[NewEvent] = ()) -> bool:
        """Renew the lease and write down what happened; True when somebody asked to cancel the job.

        The row's stage and progress are those of the last events that tell them. Raises LeaseLost when the job is no
        longer this worker's: stop it at once, another one may be running it.
        """
        now = self._clock()
        changes = {"heartbeat_at": now, "lease_until": now + lease_seconds} | _standing(events)
        with self._own(job_id, worker, now, changes, events) as connection:
            return bool(connection.scalar(sa.select(_J.cancel_requested).where(_J.id == job_id)))

    def finish(
        self,
        job_id: str,
        worker: str,
        state: JobState,
        *,
        release: str | None = None,
        error: str | None = None,
        facts: Mapping[str, Any] | None = None,
        events: Sequence[NewEvent] = (),
    ) -> Job:
        """End the job, after its last events. Raises LeaseLost when it is no longer this worker's."""
        if not state.final:
            raise ValueError(f"{state} ends nothing")
        if error is not None:  # a database takes neither lone surrogates nor NUL
            error = error.replace("\0", "").encode(errors="replace").decode()[:ERROR_LIMIT]
        now = self._clock()
        changes = _standing(events) | {"state": state, "release": release, "error": error, "finished_at": now}
        changes |= {"facts": json.dumps(facts or {}, allow_nan=False), "lease_until": None}
        if state is JobState.SUCCEEDED:
            changes["progress"] = 1.0
        with self._own(job_id, worker, now, changes, [*events, _state_event(changes)]) as connection:
            return _own_job(read_job(connection, _J.id == job_id), job_id)

    def release(self, job_id: str, worker: str) -> Job:
        """Hand a job back to the queue without counting the attempt: its worker is being stopped, not failing."""
        changes = {"state": JobState.QUEUED, "worker": None, "lease_until": None, "attempts": _J.attempts - 1}
        with self._own(job_id, worker, self._clock(), changes, [state_changed(JobState.QUEUED)]) as connection:
            return _own_job(read_job(connection, _J.id == job_id), job_id)

    @contextmanager
    def _own(
        self, job_id: str, worker: str, now: float, changes: Mapping[str, Any], events: Sequence[NewEvent]
    ) -> Iterator[sa.Connection]:
        """The transaction in which a job that is this worker's has been changed. Raises LeaseLost for any other."""
        ours = sa.and_(_J.id == job_id, _J.state == JobState.RUNNING, _J.worker == worker)
        with self._database.transaction() as connection:
            if not connection.execute(JOBS.update().where(ours).values(**changes)).rowcount:
                _own_job(read_job(connection, _J.id == job_id), job_id)
                raise LeaseLost(
                    f"job {job_id} is no longer this worker's: another worker took it over, or it has ended"
                )
            record(connection, job_id, now, events)
            yield connection


def _taken(row: Mapping[Any, Any], worker: str, now: float, lease_seconds: float, max_attempts: int) -> dict[str, Any]:
    """What becomes of a free job."""
    if row["cancel_requested"]:
        return {"state": JobState.CANCELLED, "finished_at": now, "lease_until": None}
    if row["attempts"] >= max_attempts:
        reason = f"given up: the worker died {row['attempts']} times, the last time in stage {row['stage']}"
        return {"state": JobState.FAILED, "error": reason, "finished_at": now, "lease_until": None}
    return {
        "state": JobState.RUNNING,
        "worker": worker,
        "attempts": row["attempts"] + 1,
        "started_at": row["started_at"] or now,
        "heartbeat_at": now,
        "lease_until": now + lease_seconds,
    }


def _state_event(changes: Mapping[str, Any]) -> NewEvent:
    details = {name: changes.get(name) for name in ("worker", "attempts", "release", "error")}
    return state_changed(changes["state"], **details)


def _standing(events: Sequence[NewEvent]) -> dict[str, Any]:
    """The stage and the progress that a job's row has after these events."""
    standing: dict[str, Any] = {}
    for event in events:
        if event.kind is EventKind.STAGE:
            standing["stage"] = event.stage
        elif event.kind is EventKind.PROGRESS:
            standing["progress"] = event.data["progress"]
    return standing


def _own_job(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise LeaseLost(f"job {job_id} is gone: the job store was deleted or replaced while it ran")
    return job
