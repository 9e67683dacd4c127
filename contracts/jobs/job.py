"""A job as it is read from the job store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from contracts.jobs.retrain import RETRAIN

LOG_TAIL = 50
"""Lines of its log that a job is shown with."""

ERROR_LIMIT = 2000
MAX_ATTEMPTS = 3
KINDS = frozenset({RETRAIN})
"""The kinds of jobs that this version knows."""


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
    """One row and the end of its log, as they were when they were read."""

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
