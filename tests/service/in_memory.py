"""A launcher of jobs without a database: what the gateway needs of one, and no more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from contracts.errors import JobConflict, JobNotFound
from contracts.jobs.event import JobEvent, NewEvent, state_changed
from contracts.jobs.job import Job, JobState
from contracts.jobs.queue import Queue


class InMemory:
    """A `Launcher`. `move` plays the part of whatever does the work."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.told: dict[str, list[JobEvent]] = {}

    def move(self, job_id: str, *events: NewEvent, **changes: Any) -> Job:
        self.jobs[job_id] = replace(self.get(job_id), **changes)
        for event in events:
            told = self.told.setdefault(job_id, [])
            told.append(JobEvent(len(told) + 1, datetime.now(UTC), event.kind, event.stage, dict(event.data)))
        return self.jobs[job_id]

    def submit(self, kind: str, config: Mapping[str, Any], idempotency_key: str) -> tuple[Job, bool]:
        known = self.with_key(idempotency_key)
        if known is not None and (known.kind, known.config) != (kind, config):
            raise JobConflict("use a new key")
        if known is not None:
            return known, False
        job = Job(uuid.uuid4().hex, kind, dict(config), idempotency_key, JobState.QUEUED, datetime.now(UTC))
        self.jobs[job.id] = job
        return self.move(job.id, state_changed(JobState.QUEUED)), True

    def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise JobNotFound(f"no job {job_id}")
        return self.jobs[job_id]

    def with_key(self, idempotency_key: str) -> Job | None:
        return next((job for job in self.jobs.values() if job.idempotency_key == idempotency_key), None)

    def list(self, limit: int = 50, state: JobState | None = None) -> list[Job]:
        return [job for job in reversed(self.jobs.values()) if state in (None, job.state)][:limit]

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:  # type: ignore[valid-type]
        return self.told.get(job_id, [])[after : after + limit]

    def request_cancel(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job.state is JobState.QUEUED:
            changes = {"state": JobState.CANCELLED, "cancel_requested": True}
            return self.move(job_id, state_changed(JobState.CANCELLED), **changes)
        if job.state is JobState.RUNNING:
            return self.move(job_id, cancel_requested=True)
        if job.cancel_requested:
            return job
        raise JobConflict(f"job {job_id} has {job.state} already")

    def queue(self) -> Queue:
        return Queue()

    def close(self) -> None:
        pass
