"""A step of the installation: one line on the screen, all that programs say in a log. Runs on Python 3.8 and later."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / ".venv" / "install.log"
LOOK_SECONDS = 0.2
STOP_SECONDS = 5
PAUSES = (2, 8, 20)
"""Seconds before the next try where the network has failed. uv and pip have tried several times themselves by then."""

NETWORK = re.compile(r"Request failed after|Failed to (fetch|download)|Retrying \(")
"""How uv and pip begin to say that something could not be fetched."""

REFUSED = "HTTP status client error"
LAST_LINES = 20


class Failed(Exception):
    """A program of a step has failed. The text is for the person who waits, where more can be said than "again"."""


class Step:
    """One line about something that takes a while: alive on a terminal, written once into a file or a pipe.

    To be used with `with`. It says so when it ends by Failed, with the last words of the program that failed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._began = time.monotonic()
        self._said_from = 0
        self._alive = sys.stderr.isatty()

    def __enter__(self) -> Step:
        if not self._alive:
            say(f"{self.name} ... ", end="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Failed):
            took = f"{time.monotonic() - self._began:.0f} s"
            self._close("interrupted" if kind is KeyboardInterrupt else "failed" if kind else took)
            return
        self._close("failed")
        say("\n".join(self._said().splitlines()[-LAST_LINES:]))
        why = "the network failed" if self.network_failed() else "see above"
        again = "Run the same command again to go on; what came is kept"
        say(str(error) or f"error: {self.name}: {why}. {again}")
        say(f"(everything that was said: {LOG})")

    def need(self, *command: object, env: dict[str, str] | None = None, otherwise: str = "") -> None:
        """Run a program. Raises Failed, with `otherwise` as its text, where it does not succeed."""
        if not self.run(*command, env=env):
            raise Failed(otherwise)

    def run(self, *command: object, env: dict[str, str] | None = None) -> bool:
        """Whether a program succeeds, run in the project's folder; again after a pause where the network failed."""
        for pause in PAUSES:
            if self._succeeds(command, env):
                return True
            if not self.network_failed():
                return False
            self._wait(pause)
        return self._succeeds(command, env)

    def _succeeds(self, command: tuple[object, ...], env: dict[str, str] | None) -> bool:
        words = [str(word) for word in command]
        with LOG.open("ab") as log:
            log.write(f"\n$ {' '.join(words)}\n".encode())
            log.flush()
            self._said_from = log.tell()
            process = subprocess.Popen(
                words, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            while process.poll() is None:
                self._draw(_written(process.pid))
                time.sleep(LOOK_SECONDS)
        finally:
            if process.poll() is None:  # interrupted; by a terminal, which has told the program, too
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        return process.returncode == 0

    def network_failed(self) -> bool:
        """Whether that is why the last program failed."""
        said = self._said()
        return bool(NETWORK.search(said)) and REFUSED not in said

    def _said(self) -> str:
        """What the last program said."""
        with LOG.open("rb") as log:
            log.seek(self._said_from)
            return log.read().decode(errors="replace").strip()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._draw(f", the network failed: trying again in {left:.0f} s")
            time.sleep(min(LOOK_SECONDS, left))

    def _draw(self, more: str) -> None:
        if self._alive:
            say(f"\r\x1b[K{self.name} ... {time.monotonic() - self._began:.0f} s{more}", end="")

    def _close(self, how: str) -> None:
        say(f"\r\x1b[K{self.name} ... {how}" if self._alive else how)


def say(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


def _written(pid: int) -> str:
    """How much a program has written, where the system tells: on a slow network it shows that there is progress."""
    try:
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return f", {int(counts['wchar']) / 1e6:.0f} MB written"
    except (OSError, ValueError, KeyError):
        return ""
