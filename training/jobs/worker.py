"""Contract 5, the worker: takes retraining jobs from the job store and runs each as a child process.

It holds a job by a lease that it renews. When it dies, even by kill -9, the kernel stops its child, the lease runs
out, and the next worker runs the same pipeline in the same folder, where finished stages are skipped. A lock that the
child itself holds keeps a second pipeline out of the folder.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

import structlog
from pydantic import ValidationError

from contracts.errors import JobError, LeaseLost, NewerDatabase, StarsError
from contracts.jobs.data import data_roots, locate
from contracts.jobs.job import KINDS, Job, JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.retrain import Retrain
from contracts.release.default_store import default_store
from contracts.release.published import MODEL_NAME
from contracts.settings import Home
from contracts.store.urls import open_store
from contracts.validation import what_is_wrong
from training.jobs.lease import DEFAULT_TIMES, Cancelled, Lease, StoreSilent, Times
from training.jobs.pipeline_process import PipelineProcess, RunLock, end_orphans, orphans
from training.pipeline.plan import tidy
from training.tracking.tracker import default_tracking

PIPELINE = (sys.executable, "-m", "training.pipeline")
TICK_SECONDS = 0.2
STORE_PATIENCE = 600.0
"""Seconds that a job waits for a store that is away: as it begins, goes on, or is to publish what it has trained."""


class Stopping(Exception):
    """The worker itself is to stop."""


class Worker:
    """Runs the jobs of one job store, one at a time.

    `command` starts a pipeline; the flags of `python -m training.pipeline` are added to it.
    """

    def __init__(
        self,
        store_url: str,
        jobs: JobLeases,
        runs: Path,
        *,
        roots: Iterable[Path],
        name: str = MODEL_NAME,
        command: Sequence[str] = PIPELINE,
        times: Times = DEFAULT_TIMES,
        tracking: str = "",
    ) -> None:
        self.id = f"{socket.gethostname()[:64]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._flags: tuple[str, ...] = (
            "--store",
            store_url,
            "--name",
            name,
            "--events",
            "-",
            f"--patience={STORE_PATIENCE:.0f}",
        )
        if tracking:
            self._flags += ("--tracking", tracking)
        self._jobs = jobs
        self._runs = runs
        self._roots = tuple(roots)
        self._command = tuple(command)
        self._times = times
        self._stopping = False
        self._announced = -times.heartbeat
        self._owed: Callable[[], None] | None = None
        self._log = structlog.get_logger().bind(worker=self.id)

    def stop(self) -> None:
        """Make `run` hand its job back and return. Safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Take jobs until `stop` is called. Trouble with the job store is logged and waited out.

        Raises NewerDatabase when this worker is too old for the job store: waiting does not help.
        """
        self._log.info("worker started", runs=str(self._runs))
        while not self._stopping:
            try:
                busy = self.run_one()
            except NewerDatabase:
                raise
            except StarsError as error:
                self._log.error("trouble with the job store", error=str(error))
                busy = False
            if not busy:
                self._pause()
        with suppress(StarsError):
            self._settle()
            self._jobs.retire(self.id)
        self._log.info("worker stopped")

    def _pause(self) -> None:
        until = time.monotonic() + self._times.poll
        while not self._stopping and time.monotonic() < until:
            time.sleep(TICK_SECONDS)

    def run_one(self) -> bool:
        """Take a job and see it to its end; False when there is none.

        Raises DatabaseError when the job store fails. How a job ended is then written down before the next one is
        taken, unless another worker has it by that time.
        """
        self._settle()
        self._announce()
        job = self._jobs.claim(self.id, self._times.lease, kinds=KINDS)
        if job is None:
            return False
        log = self._log.bind(job=job.id, attempt=job.attempts)
        log.info("job taken")
        lease = Lease(self._jobs, job, self.id, self._times)
        try:
            code = self._run(lease)
        except LeaseLost as lost:
            log.warning("job lost", reason=str(lost))
        except StoreSilent as silent:
            log.warning("job stopped", reason=str(silent))
            self._owed = partial(self._hand_back, job)
        except Cancelled:
            self._end(lease, JobState.CANCELLED)
        except Stopping:
            self._hand_back(job)
        except StarsError as error:
            self._end(lease, JobState.FAILED, str(error))
        else:
            if lease.report.done:
                self._end(lease, JobState.SUCCEEDED)
            else:
                self._end(lease, JobState.FAILED, lease.report.error or _last_words(code, self._file(job, "log")))
        return True

    def _announce(self) -> None:
        """Let it be known that this worker is there, now and then."""
        now = time.monotonic()
        if now >= self._announced + self._times.heartbeat:
            self._jobs.announce(self.id, KINDS)
            self._announced = now

    def _settle(self) -> None:
        """Write down what the job store did not take when it was time. Raises DatabaseError while it is silent."""
        owed, self._owed = self._owed, None
        if owed is not None:
            owed()

    def _hand_back(self, job: Job) -> None:
        """Put the job back into the queue, without counting the attempt."""
        try:
            self._jobs.release(job.id, self.id)
        except LeaseLost as lost:
            self._log.warning("job lost", job=job.id, reason=str(lost))
        except StarsError:
            self._owed = partial(self._hand_back, job)
            raise
        else:
            self._log.info("job handed back", job=job.id)

    def _end(self, lease: Lease, state: JobState, error: str | None = None) -> None:
        """Write down how the job ended, if it is still this worker's."""
        try:
            lease.end(state, error)
        except LeaseLost as lost:
            self._log.warning("job lost at its end", job=lease.job.id, reason=str(lost))
            return
        except StarsError:
            self._owed = partial(self._end, lease, state, error)
            raise
        self._log.info("job ended", job=lease.job.id, state=state, error=error)
        if state is JobState.SUCCEEDED:
            tidy(self._runs / lease.job.id)

    def _run(self, lease: Lease) -> int:
        """Run the job's pipeline to its end; returns its exit code. Whatever is raised, the pipeline has ended."""
        command = [*self._command, *self._arguments(lease.job)]
        lock = RunLock(self._file(lease.job, "lock"))
        try:
            self._wait_for(lock, lease)
            pipeline = PipelineProcess(lease.job.id, command, lock, self._file(lease.job, "log"))
        finally:
            lock.close()
        try:
            while pipeline.exit_code is None:
                lease.report.take(pipeline.lines())
                self._tick(lease)
            pipeline.sweep()
        except BaseException:
            pipeline.stop(self._times.stop)
            lease.report.take(pipeline.lines())
            if lease.report.done is None:
                raise
        lease.report.take(pipeline.lines())
        return pipeline.exit_code or 0

    def _tick(self, lease: Lease) -> None:
        if self._stopping:
            raise Stopping
        lease.keep()
        time.sleep(TICK_SECONDS)

    def _wait_for(self, lock: RunLock, lease: Lease) -> None:
        """Get the lock. What a dead worker's pipeline left behind is ended first: this worker owns the job now."""
        asked_at = None
        while (left := orphans(lease.job.id)) or not lock.acquire():
            if asked_at is None:
                asked_at = time.monotonic()
                self._log.warning("ending the pipeline of a dead worker", job=lease.job.id, processes=len(left))
                end_orphans(left, force=False)
            elif time.monotonic() > asked_at + self._times.stop:
                end_orphans(left, force=True)
            self._tick(lease)

    def _arguments(self, job: Job) -> list[str]:
        """The pipeline's flags. The request is checked again: files move, and links are bent."""
        try:
            request = Retrain.model_validate(job.config)
        except ValidationError as error:
            raise JobError(what_is_wrong(error, Retrain, "the job's configuration")) from error
        arguments = [f"--data={locate(name, self._roots)}" for name in request.data]
        arguments += [f"--preset={request.preset}", "--work", str(self._runs / job.id), *self._flags]
        if request.columns:
            arguments.append(f"--set=ingest.columns={json.dumps(request.columns)}")
        for stage, settings in request.changed.items():
            arguments += [f"--set={stage}.{name}={json.dumps(value)}" for name, value in settings.items()]
        return arguments

    def _file(self, job: Job, suffix: str) -> Path:
        return self._runs / f"{job.id}.{suffix}"


def _last_words(code: int, log: Path) -> str:
    """Why a pipeline that said nothing has failed."""
    if code == -signal.SIGKILL:
        return f"the pipeline was killed, most likely for want of memory: free some, then queue it again (log: {log})"
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"the pipeline {how} and gave no reason: read {log} on the worker's machine"


def serve(store: str | None = None, home: Path | None = None) -> int:
    """Run a worker until SIGTERM (exit code 0) or Ctrl-C (130). Raises ConfigError for settings it cannot use."""
    place = (Home(home.expanduser().absolute()) if home else Home.default()).create()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    published = open_store(store) if store else default_store(place)
    published.check_writable()
    worker = Worker(
        published.url,
        JobLeases(place.job_store_url()),
        place.runs,
        roots=data_roots(place),
        name=os.environ.get("STARS_NAME") or MODEL_NAME,
        tracking=default_tracking(place.tracking),
    )
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    worker.run()
    return 130 if signal.SIGINT in received else 0
