"""One job's pipeline as a process: what it says, how it is stopped, and the lock that keeps it the only one."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import psutil
from pydantic import BaseModel, Field

from contracts.errors import MachineError
from contracts.log_files import LOG_BYTES, open_log, rotate
from contracts.processes import die_with_parent, signal_group

LINE_BYTES = 4 * 1024 * 1024
DRAIN_SECONDS = 5.0
NICENESS = 10
"""Training lets a model server on the same machine go first."""


MARK = "STARS_JOB"
"""In the environment of a pipeline and of all that it starts: the job's id, by which orphans are known."""


class PipelineLine(BaseModel):
    """One JSON line of a pipeline. `event` is stage, progress, metric, log, done or error; the other fields are those
    that belong to it."""

    event: str
    stage: str | None = None
    progress: float | None = None
    message: str = ""
    values: Any = None
    step: Any = None
    version: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, line: bytes) -> PipelineLine:
        """What is not a number becomes null: a job's facts are strict JSON. Raises ValueError or RecursionError."""
        return cls.model_validate(json.loads(line, parse_constant=lambda _: None))


class RunLock:
    """The right to run a pipeline in one folder, held by the pipeline's own process and by nobody else.

    The open file is handed to the child and closed here, so the lock lives as long as the child does, with or without
    the worker that started it. Raises MachineError when the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o700)  # logs and runs hold review text
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MachineError(f"{path} cannot be made: {error.strerror}. Check the folder and its disk") from error

    def acquire(self) -> bool:
        """False while another process has it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of what is held here. May be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def orphans(job_id: str) -> list[psutil.Process]:
    """What is left of a job's earlier pipelines on this machine, Spark's and other grandchildren too."""
    marked = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == job_id:
                marked.append(process)
    return marked


def end_orphans(processes: Sequence[psutil.Process], force: bool) -> None:
    """Ask the pipelines among them to end; what has no pipeline any more, or all by `force`, is killed."""
    leaders = [process for process in processes if _leads(process)]
    for process in processes if force or not leaders else leaders:
        with suppress(psutil.Error):
            process.kill() if force or not leaders else process.terminate()


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


class PipelineProcess:
    """A job's running pipeline, in a process group of its own. Raises MachineError when it cannot be started."""

    def __init__(self, job_id: str, command: Sequence[str], lock: RunLock, log: Path) -> None:
        self._log = log
        self._lines: SimpleQueue[PipelineLine] = SimpleQueue()
        bind_to_parent = die_with_parent()

        def prepare() -> None:
            os.nice(NICENESS)
            if bind_to_parent is not None:
                bind_to_parent()

        try:
            with open_log(log) as errors:
                self._process = subprocess.Popen(  # noqa: S603  # our own program
                    command,
                    env=os.environ | {MARK: job_id},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=(lock.descriptor,),
                    preexec_fn=prepare,
                )
        except OSError as error:
            raise MachineError(f"the pipeline cannot be started: {error.strerror or error}") from error
        lock.close()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs, negative when a signal ended it."""
        return self._process.poll()

    def lines(self) -> Iterator[PipelineLine]:
        """What it has said since the last call. Its log is kept within bounds meanwhile."""
        rotate(self._log, LOG_BYTES)
        with suppress(Empty):
            while True:
                yield self._lines.get_nowait()

    def stop(self, seconds: float) -> None:
        """Ask it to end and keep what it has; after `seconds` end it, and all that it started, by force.

        Only the pipeline itself is asked: it stops Spark in its own order.
        """
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.sweep()

    def sweep(self) -> None:
        """End whatever is left of its group, and wait until all that it said can be read."""
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(DRAIN_SECONDS)

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout, open_log(self._log) as log:
            while line := stdout.readline(LINE_BYTES):
                try:
                    self._lines.put(PipelineLine.read(line))
                except (ValueError, RecursionError):
                    log.write(line)  # a library's own words
