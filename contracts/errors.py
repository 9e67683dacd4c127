"""Every exception that crosses a boundary of this project. Each message says what went wrong and what to do next.

StarsError
├── ConfigError        a setting, flag or stage configuration that cannot be used
├── ReviewError        one review that cannot be predicted on (blank, too long, wrong type)
├── DataError          a data set that cannot be trained or judged on
├── ModelError         weights or a network that cannot be read, built or converted
├── GateError          a stage finished, but its result is not good enough to go on (data, parity, accuracy, golden)
├── StoreError         the release store failed
│   ├── NotFound       no object under this key
│   ├── Conflict       a conditional write lost: the object exists, or changed since it was read
│   └── StoreAway      the store does not answer, or not in time: what was asked may be asked again later
├── ReleaseError       a release that is incomplete, damaged or unsafe; `problems` lists each thing that is wrong
├── DatabaseError      the database does not answer, or its file was replaced meanwhile
│   └── NewerDatabase  its tables are those of a newer version of this program
├── JobError           a job that cannot be queued, found or cancelled
│   ├── JobNotFound    no job under this id
│   ├── JobConflict    an idempotency key that another job has, or a state that does not allow this
│   └── LeaseLost      this worker no longer owns the job: another one took it over, or it is finished
├── BackendError       the model server did not answer as it should
│   ├── BackendUnavailable   nothing answers, or it answers that it is not ready
│   ├── BackendOverloaded    more is waiting than can be answered in time
│   └── DeadlineExceeded     no answer within the deadline
└── MachineError       the machine lacks something: Java, a free port, disk space
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class StarsError(Exception):
    """Base of all errors that we raise on purpose. `str(error)` is fit to be shown to a user."""

    exit_code: ClassVar[int] = 1
    """What a process ends with that such an error has ended."""


class ConfigError(StarsError):
    """A setting, flag or stage configuration that cannot be used."""


class ReviewError(StarsError):
    """One review that cannot be predicted on. `kind` is the stable word that clients may match on."""

    def __init__(self, message: str, kind: str = "invalid_review") -> None:
        super().__init__(message)
        self.kind = kind


class DataError(StarsError):
    """A data set that cannot be trained or judged on."""


class ModelError(StarsError):
    """Weights or a network that cannot be read, built or converted."""


class GateError(StarsError):
    """A stage finished, but its result is not good enough to go on."""

    exit_code = 3


class StoreError(StarsError):
    """The release store failed."""


class NotFound(StoreError):
    """No object under this key."""


class Conflict(StoreError):
    """A conditional write lost: the object exists already, or changed since it was read."""


class StoreAway(StoreError):
    """The store does not answer, or not in time: what was asked may be asked again later."""


class ReleaseError(StarsError):
    """A release that is incomplete, damaged or unsafe."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class DatabaseError(StarsError):
    """The database does not answer, or its file was replaced meanwhile."""


class NewerDatabase(DatabaseError):
    """The database's tables are those of a newer version of this program."""


class JobError(StarsError):
    """A job that cannot be queued, found or cancelled."""


class JobNotFound(JobError):
    """No job under this id."""


class JobConflict(JobError):
    """An idempotency key that another job has, or a job whose state does not allow this."""


class LeaseLost(JobError):
    """This worker no longer owns the job: another one took it over, or it is finished."""


class BackendError(StarsError):
    """The model server did not answer as it should."""


class BackendUnavailable(BackendError):
    """Nothing answers, or it answers that it is not ready."""


class BackendOverloaded(BackendError):
    """More is waiting than can be answered in time. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(BackendError):
    """No answer within the deadline."""


class MachineError(StarsError):
    """The machine lacks something that the program needs: Java, a free port, disk space."""


def places(error: BaseException) -> list[str]:
    """Where an exception came from, innermost last, without its message, which may quote a review."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
