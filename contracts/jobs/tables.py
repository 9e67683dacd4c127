"""The job tables behind a database URL: what those who ask for jobs and those who do them have in common."""

from __future__ import annotations

import time
from collections.abc import Callable

from contracts.database.database import Database
from contracts.jobs.schema import SCHEMA


class JobDatabase:
    """The jobs' tables behind a database URL.

    Safe to share between threads. Raises ConfigError for a URL that cannot be used. The database is asked when it is
    first needed; every method raises DatabaseError when it fails and MachineError when its disk is full.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database = Database(url, SCHEMA)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
