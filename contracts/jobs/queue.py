"""What a queued job waits for, in words: its place, what is ahead of it, or a worker that nobody has started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """As much of a job as those behind it want to know."""

    id: str
    kind: str
    stage: str | None = None
    progress: float = 0.0
    worker: str | None = None
    """Who holds it."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that has been heard of lately, and the kinds of jobs that it takes."""

    id: str
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs that a worker holds, those that none holds in the order in which they are taken, and the workers."""

    running: tuple[QueuedJob, ...] = ()
    waiting: tuple[QueuedJob, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()

    def place(self, job_id: str) -> int | None:
        """1 for the next job that a worker takes; None for one that does not wait."""
        return next((place for place, job in enumerate(self.waiting, 1) if job.id == job_id), None)

    def waits_for(self, job_id: str) -> str | None:
        """What the job waits for, in a sentence; None for one that does not wait."""
        place = self.place(job_id)
        if place is None:
            return None
        job = self.waiting[place - 1]
        able = [worker for worker in self.workers if job.kind in worker.kinds]
        if not self.workers:
            return "no worker is running: start one with `stars worker`"
        if not able:
            return f"no worker that runs knows jobs of kind {job.kind!r}: start one of a newer version"
        running = [other for other in self.running if other.worker in {worker.id for worker in able}]
        before = [other for other in self.waiting[: place - 1] if any(other.kind in worker.kinds for worker in able)]
        if len(before) < len(able) - len(running):
            return "a worker takes it within seconds"
        first, count = (running + before)[0], len(running + before)
        doing = f"in stage {first.stage}, {first.progress:.0%} done" if first.stage else "not begun"
        return f"{count} {'job is' if count == 1 else 'jobs are'} ahead of it, first {first.id} ({doing})"
