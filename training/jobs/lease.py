"""A worker's hold on a job: renewed in time, or given up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.errors import LeaseLost, StarsError
from contracts.jobs.event import EventKind, NewEvent, log_line, metrics_measured, progress_made, stage_began
from contracts.jobs.job import Job, JobState
from contracts.jobs.leases import JobLeases
from training.jobs.pipeline_process import PipelineLine

UNSENT_LIMIT = 1000
"""Events that are kept for a job store that is silent."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. A worker that cannot renew its lease gives up while there is time to stop its pipeline twice over.

    A lease outlasts any lock on the job store that is no fault: 70 seconds of silence cost nothing.
    """

    lease: float = 90.0
    heartbeat: float = 5.0
    stop: float = 10.0
    poll: float = 1.0


DEFAULT_TIMES = Times()


class PipelineReport:
    """What a job's pipeline has said so far. `unsent` are the events that the job store does not have yet."""

    def __init__(self) -> None:
        self.stage: str | None = None
        self.unsent: list[NewEvent] = []
        self.done: PipelineLine | None = None
        self.error: str | None = None

    def take(self, lines: Iterable[PipelineLine]) -> None:
        for line in lines:
            if line.event == "stage" and line.stage:
                self.stage = line.stage
                self._add(stage_began(line.stage))
            elif line.event == "progress" and line.progress is not None:
                self._add(progress_made(line.progress, line.message, self.stage))
            elif line.event == "metric" and isinstance(line.values, dict):
                self._add(metrics_measured(line.values, line.step, self.stage))
            elif line.event == "log":
                self._add(log_line(line.message, self.stage))
            elif line.event == "done":
                self.done = line
            elif line.event == "error":
                self.error = line.message

    def _add(self, event: NewEvent) -> None:
        progress = EventKind.PROGRESS
        if self.unsent and event.kind is progress and self.unsent[-1].kind is progress:
            self.unsent.pop()  # between two heartbeats the last word is enough
        self.unsent.append(event)
        if len(self.unsent) > UNSENT_LIMIT:
            # The oldest is given up, but not a stage: there are few of them.
            kinds = [kept.kind for kept in self.unsent]
            del self.unsent[next((i for i, kind in enumerate(kinds) if kind is not EventKind.STAGE), 0)]


class Cancelled(Exception):
    """Somebody asked to cancel the job."""


class StoreSilent(Exception):
    """The job store has said nothing for so long that the job may be another worker's soon."""


class Lease:
    """A job that is ours for as long as we renew it in time, and what its pipeline reports."""

    def __init__(self, jobs: JobLeases, job: Job, worker: str, times: Times) -> None:
        self.job = job
        self.report = PipelineReport()
        self._jobs = jobs
        self._worker = worker
        self._times = times
        self._renewed = time.monotonic()
        self._stage: str | None = None

    @property
    def left(self) -> float:
        """Seconds until somebody else may take the job."""
        return self._renewed + self._times.lease - time.monotonic()

    def keep(self) -> None:
        """Renew it when that is due, or when a stage has begun.

        Raises Cancelled, LeaseLost when the job is gone, StoreSilent while there is still time to stop the pipeline.
        """
        now = time.monotonic()
        if now - self._renewed < self._times.heartbeat and self.report.stage == self._stage:
            return
        try:
            cancel = self._jobs.heartbeat(self.job.id, self._worker, self._times.lease, self.report.unsent)
        except LeaseLost:
            raise
        except StarsError as error:
            if self.left < 2 * self._times.stop:
                raise StoreSilent(f"the lease could not be renewed in time: {error}") from error
            return
        self._renewed, self._stage = now, self.report.stage
        self.report.unsent.clear()
        if cancel:
            raise Cancelled

    def end(self, state: JobState, error: str | None = None) -> None:
        """Write down how the job ended, trying again while the job is ours. Raises what the last try did."""
        done = self.report.done if state is JobState.SUCCEEDED else None
        while True:
            try:
                self._jobs.finish(
                    self.job.id,
                    self._worker,
                    state,
                    release=done.version if done else None,
                    facts=done.facts if done else None,
                    error=error,
                    events=self.report.unsent,
                )
                return
            except LeaseLost:
                raise
            except StarsError:
                if self.left < 0:
                    raise
                time.sleep(self._times.poll)
