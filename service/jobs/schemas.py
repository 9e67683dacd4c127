"""What the addresses about jobs answer."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from contracts.jobs.event import EventKind, JobEvent
from contracts.jobs.job import Job, JobState
from contracts.jobs.queue import Queue


class JobOut(BaseModel):
    """A job as it stands now."""

    id: str
    kind: str
    state: JobState
    stage: str | None = Field(description="The stage of the pipeline that runs, or ran last.")
    progress: float = Field(ge=0, le=1)
    place: int | None = Field(description="Its place among the jobs that wait; 1 is the next. None once it runs.")
    waits_for: str | None = Field(
        description="What a queued job waits for, in a sentence: a worker, if none is running, or what is ahead of it.",
        examples=["no worker is running: start one with `stars worker`"],
    )
    release: str | None = Field(description="The candidate release that came out: promote it to put it into service.")
    error: str | None = Field(description="Why the job failed.")
    log_tail: list[str] = Field(description="The last lines of its log.")
    facts: dict[str, Any]
    config: dict[str, Any]
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None

    @classmethod
    def of(cls, job: Job, queue: Queue) -> JobOut:
        """`queue` is the queue that the job may be in."""
        return cls.model_validate(asdict(job) | {"place": queue.place(job.id), "waits_for": queue.waits_for(job.id)})


class JobList(BaseModel):
    """Jobs, the youngest first."""

    jobs: list[JobOut]


class JobEventOut(BaseModel):
    """Something that happened to a job."""

    sequence: int = Field(
        description="Counts the job's events from 1. Numbers of events that were given up are missing."
    )
    at: datetime
    kind: EventKind
    stage: str | None = Field(description="The stage of the pipeline in which it happened.")
    data: dict[str, Any] = Field(
        description="By kind: state, with worker, release or error where there is one; progress and message; values "
        "and step of a metric; message of a line of the log; nothing for a stage that has begun.",
        examples=[{"values": {"loss": 0.71}, "step": 50}],
    )

    @classmethod
    def of(cls, event: JobEvent) -> JobEventOut:
        return cls.model_validate(asdict(event))
