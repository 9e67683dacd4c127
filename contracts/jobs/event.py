"""What happens to a job, one event after the other: kept beside its row, followed by people and programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

LINE_LIMIT = 500
"""Characters that are kept of a line of a job's log."""

_STAGE_LIMIT = 64
_NAME_LIMIT = 100
_VALUES_LIMIT = 100


class EventKind(StrEnum):
    """What an event tells, and what its data hold."""

    STATE = "state"
    """The job was queued, taken, handed back, or has ended: {"state"}, and with it "worker", "attempts", "release" or
    "error" where there is something to tell. Or somebody asked to cancel it while it ran: {"state": "running",
    "cancel_requested": true}."""

    STAGE = "stage"
    """A stage of the pipeline has begun. No data."""

    PROGRESS = "progress"
    """{"progress": of the whole job, from 0 to 1, "message": what is being done}."""

    METRIC = "metric"
    """{"values": {name: number}, "step": number}. What came out infinite or as no number is null."""

    LOG = "log"
    """{"message": one line}."""


IN_LOG = frozenset({EventKind.STAGE, EventKind.LOG})
"""The kinds that are lines of a job's log."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it is written down. `stage` is the pipeline's stage in which it happened, where that is known."""

    kind: EventKind
    data: Mapping[str, Any] = field(default_factory=dict)
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event as it is kept. `sequence` counts a job's events from 1 on, without gaps but for what was given up:
    of the kinds of which there can be very many, only the newest are kept. `at` is when it was written down."""

    sequence: int
    at: datetime
    kind: EventKind
    stage: str | None
    data: dict[str, Any]

    @property
    def line(self) -> str | None:
        """Its line in the job's log; None for what is no line there."""
        return log_text(self.stage, self.data) if self.kind in IN_LOG else None


def log_text(stage: str | None, data: Mapping[str, Any]) -> str:
    """The line in a job's log of an event of the kinds IN_LOG."""
    return str(data["message"]) if "message" in data else f"stage {stage}"


def state_changed(state: str, **details: Any) -> NewEvent:
    """`details` that are None are left out."""
    return NewEvent(EventKind.STATE, {"state": state} | {name: v for name, v in details.items() if v is not None})


def stage_began(stage: str) -> NewEvent:
    return NewEvent(EventKind.STAGE, stage=stage[:_STAGE_LIMIT].replace("\0", ""))


def progress_made(fraction: float, message: str = "", stage: str | None = None) -> NewEvent:
    """`fraction` is of the whole job; what lies outside 0 to 1 is brought inside."""
    data = {"progress": min(max(fraction, 0.0), 1.0), "message": message[:LINE_LIMIT]}
    return NewEvent(EventKind.PROGRESS, data, stage)


def metrics_measured(values: Mapping[str, Any], step: Any = None, stage: str | None = None) -> NewEvent:
    """Takes what a program wrote as it is: values that are neither numbers nor null are left out."""
    numbers = {str(name)[:_NAME_LIMIT]: _number(value) for name, value in values.items() if _is_number(value)}
    kept = dict(list(numbers.items())[:_VALUES_LIMIT])
    return NewEvent(EventKind.METRIC, {"values": kept, "step": _number(step) if _is_number(step) else None}, stage)


def log_line(message: str, stage: str | None = None) -> NewEvent:
    return NewEvent(EventKind.LOG, {"message": message[:LINE_LIMIT]}, stage)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _number(value: float | None) -> float | None:
    """None for what strict JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None
