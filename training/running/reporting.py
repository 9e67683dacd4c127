"""How a run says how far it is and what it measured: stage, progress, metric, log.

A stage says it to a `Reporter`, which need not know which stage it serves. Whoever wants to hear it is a `Listener`:
the terminal, a log, the worker that writes the job's row, MLflow. `StageReporter` stands between the two.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TextIO

from training.running.interrupt import check

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|inf|nan)"
"""A number as `metric_line` writes it."""


class Reporter(Protocol):
    """Where a stage says how far it is and what it measured. Never gets review text."""

    def progress(self, fraction: float, message: str) -> None:
        """So much of the stage is done, from 0 to 1."""

    def metric(self, values: Mapping[str, float], step: int) -> None:
        """Points of learning curves. `step` counts from the stage's start and never falls."""

    def log(self, message: str) -> None:
        """A line worth keeping."""


class Listener:
    """Who hears what a run says. A listener overrides what it cares for; the rest passes it by."""

    def stage(self, stage: str) -> None:
        """This stage begins."""

    def progress(self, stage: str, overall: float, message: str) -> None:
        """So much of the whole run is done, from 0 to 1."""

    def metric(self, stage: str, values: Mapping[str, float], step: int) -> None:
        """The stage measured this at a step of its own count."""

    def log(self, message: str) -> None:
        """A line worth keeping."""


class StageReporter:
    """What one stage says, passed on to all listeners: its fraction becomes a part of the run's.

    It ends the stage at its next word, with KeyboardInterrupt, when the run was asked to stop: a library may have
    swallowed the interrupt.
    """

    def __init__(self, stage: str, listeners: Iterable[Listener], before: float = 0.0, share: float = 1.0) -> None:
        self._stage, self._listeners = stage, tuple(listeners)
        self._before, self._share = before, share

    def progress(self, fraction: float, message: str) -> None:
        check()
        overall = round(min(self._before + self._share * fraction, 1.0), 4)
        for listener in self._listeners:
            listener.progress(self._stage, overall, message)

    def metric(self, values: Mapping[str, float], step: int) -> None:
        check()
        for listener in self._listeners:
            listener.metric(self._stage, values, step)

    def log(self, message: str) -> None:
        check()
        for listener in self._listeners:
            listener.log(message)


class PlainLines(Listener):
    """A line for everything, for a container's or a job's log."""

    def stage(self, stage: str) -> None:
        self.log(f"== {stage}")

    def progress(self, stage: str, overall: float, message: str) -> None:
        self.log(f"{overall:6.1%} {stage}: {message}")

    def metric(self, stage: str, values: Mapping[str, float], step: int) -> None:
        self.log(metric_line(stage, values, step))

    def log(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")


class JsonLines(Listener):
    """One JSON object a line. The worker reads them: its side of the contract is training/jobs/pipeline_process.py."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def emit(self, event: str, **values: Any) -> None:
        self._out.write(json.dumps({"event": event, **values}) + "\n")
        self._out.flush()

    def stage(self, stage: str) -> None:
        self.emit("stage", stage=stage)

    def progress(self, stage: str, overall: float, message: str) -> None:
        self.emit("progress", stage=stage, progress=overall, message=message)

    def metric(self, stage: str, values: Mapping[str, float], step: int) -> None:
        self.emit("metric", stage=stage, step=step, values=dict(values))

    def log(self, message: str) -> None:
        self.emit("log", message=message)


def metric_line(stage: str, values: Mapping[str, float], step: int) -> str:
    """ "train at step 50: loss=1.25 reviews_per_second=71", which `metric_regex` reads."""
    return f"{stage} at step {step}: " + " ".join(f"{name}={value:.6g}" for name, value in values.items())


def metric_regex(stage: str, name: str) -> str:
    """What finds a metric's value in a log line, as its one group: SageMaker's metric definitions take such regexes."""
    return rf"{stage} at step \d+:.* {name}=({NUMBER})"
