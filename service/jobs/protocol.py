"""What the gateway needs of whatever runs its jobs, so that another can take the job store's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from contracts.jobs.event import JobEvent
from contracts.jobs.job import Job, JobState
from contracts.jobs.queue import Queue


class Launcher(Protocol):
    """Has jobs done, and tells how they stand. `contracts.jobs.store.JobStore` is one: workers read it.

    Its methods may block, and are called from several threads. They raise DatabaseError or another StarsError when
    they cannot answer now, and what is said with each.
    """

    def submit(self, kind: str, config: Mapping[str, Any], idempotency_key: str) -> tuple[Job, bool]:
        """Have a job done; (job, False) for the one that this key has started before.

        Raises JobConflict when the key belongs to a job of another kind or configuration.
        """

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""

    def with_key(self, idempotency_key: str) -> Job | None:
        """The job that this idempotency key has started, if any."""

    def list(self, limit: int = 50, state: JobState | None = None) -> Sequence[Job]:
        """The youngest jobs first."""

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> Sequence[JobEvent]:
        """What happened to the job after the event of this sequence number, the oldest first."""

    def request_cancel(self, job_id: str) -> Job:
        """Cancel a job that waits, ask one that runs to stop. A second request changes nothing.

        Raises JobNotFound, and JobConflict for a job that succeeded or failed.
        """

    def queue(self) -> Queue:
        """What runs and what waits. Empty where jobs do not wait for each other."""

    def close(self) -> None:
        """Close the connections."""
