"""Jobs for the tests of the job store and of its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.jobs.event import NewEvent, log_line, progress_made, stage_began
from contracts.jobs.job import Job
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore

CONFIG: dict[str, Any] = {"data": "examples/reviews.tsv", "preset": "tiny"}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def submit(jobs: JobStore, key: str = "k1") -> Job:
    return jobs.submit("retrain", CONFIG, key)[0]


def claim(leases: JobLeases, worker: str = "w1", lease: float = 30) -> Job:
    job = leases.claim(worker, lease)
    assert job is not None
    return job


def said(stage: str | None = None, progress: float | None = None, lines: Sequence[str] = ()) -> list[NewEvent]:
    """What a pipeline says: that a stage began, how far it is, lines of its log."""
    events = [] if stage is None else [stage_began(stage)]
    events += [] if progress is None else [progress_made(progress)]
    return events + [log_line(line) for line in lines]
