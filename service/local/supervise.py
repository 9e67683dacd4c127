"""Programs that are started, restarted when they die, stopped together, and never outlive their parent."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from contracts.log_files import LOG_BYTES, last_lines, open_log, rotate
from contracts.processes import die_with_parent, signal_group

QUICK_SECONDS = 20.0
"""A child that dies sooner than this after its start has failed to start."""

GIVE_UP_AFTER = 4
FIRST_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `essential` says whether the others make sense without it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    essential: bool = True
    stop_seconds: float = 10.0
    log_bytes: int = LOG_BYTES


class SupervisedProgram:
    """One program, kept running.

    It has a process group of its own: Ctrl-C reaches only the parent, which stops its children in order, and what a
    dead child leaves behind is found by its group. On Linux it is told to stop when the parent is gone, even by
    kill -9.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.gave_up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._quick_deaths = 0
        self._next_start = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it; what it writes goes to its log."""
        with open_log(self.program.log) as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own programs
                self.program.command,
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        self._started = monotonic()

    def keep_running(self) -> str | None:
        """Restart it if it died and its pause is over; returns a sentence when there is something to tell.

        Its log is kept within bounds meanwhile.
        """
        rotate(self.program.log, self.program.log_bytes)
        if self.gave_up:
            return None
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return None
            return self._died(code)
        if monotonic() >= self._next_start:
            self.start()
        return None

    def _died(self, code: int) -> str:
        self._sweep()
        self._process = None
        quick = monotonic() - self._started < QUICK_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if quick else 1
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self._quick_deaths >= GIVE_UP_AFTER:
            self.gave_up = True
            return f"{self.program.name} {how}, {GIVE_UP_AFTER} times in a row: {self.last_line()}"
        pause = FIRST_PAUSE * 2 ** (self._quick_deaths - 1)
        self._next_start = monotonic() + pause
        return f"{self.program.name} {how}: starting it again in {pause:g} s"

    def last_line(self) -> str:
        """The last thing it said, and where the rest is."""
        lines = last_lines(self.program.log, 100)
        last = next((line.removeprefix("error: ") for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{last[:500]} (log: {self.program.log})"

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait_stopped(self) -> None:
        """Wait for its end, at most `stop_seconds`; then end it and all that it started by force."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self.program.stop_seconds)
        self._sweep()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it and all that it started at once."""
        if self._process is not None:
            self._sweep()

    def _sweep(self) -> None:
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
