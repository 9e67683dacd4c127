"""A worker's hold on a job: renewed in time, or given up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.errors import LeaseLost, StarsError
from contracts.jobs.job import LOG_TAIL, Job, JobState
from contracts.jobs.store import JobStore
from training.jobs.child import Event


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


@dataclass(slots=True)
class Told:
    """What a pipeline has said so far. `lines` are those that the job store does not have yet."""

    stage: str | None = None
    progress: float | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_TAIL))
    done: Event | None = None
    error: str | None = None

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.event == "stage":
                self.stage = event.stage
                self.lines.append(f"stage {event.stage}")
            elif event.event == "progress":
                self.progress = event.progress
            elif event.event == "log":
                self.lines.append(event.message)
            elif event.event == "done":
                self.done = event
            elif event.event == "error":
                self.error = event.message


class Cancelled(Exception):
    """Somebody asked to cancel the job."""


class StoreSilent(Exception):
    """The job store has said nothing for so long that the job may be another worker's soon."""


class Lease:
    """A job that is ours for as long as we renew it in time, and what its pipeline has told."""

    def __init__(self, jobs: JobStore, job: Job, worker: str, times: Times) -> None:
        self.job = job
        self.told = Told()
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
        since = time.monotonic() - self._renewed
        if since < self._times.heartbeat and self.told.stage == self._stage:
            return
        told, now = self.told, time.monotonic()
        try:
            cancel = self._jobs.heartbeat(
                self.job.id, self._worker, self._times.lease, told.stage, told.progress, list(told.lines)
            )
        except LeaseLost:
            raise
        except StarsError as error:
            if self.left < 2 * self._times.stop:
                raise StoreSilent(f"the lease could not be renewed in time: {error}") from error
            return
        self._renewed, self._stage = now, told.stage
        told.lines.clear()
        if cancel:
            raise Cancelled

    def end(self, state: JobState, error: str | None = None) -> None:
        """Write down how the job ended, trying again while the job is ours. Raises what the last try did."""
        done = self.told.done if state is JobState.SUCCEEDED else None
        while True:
            try:
                self._jobs.finish(
                    self.job.id,
                    self._worker,
                    state,
                    release=done.version if done else None,
                    facts=done.facts if done else None,
                    error=error,
                    stage=self.told.stage,
                    log_lines=list(self.told.lines),
                )
                return
            except LeaseLost:
                raise
            except StarsError:
                if self.left < 0:
                    raise
                time.sleep(self._times.poll)
