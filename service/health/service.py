"""Whether this gateway should get traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from contracts.errors import StarsError
from service.errors import NotServing
from service.releases.service import Releases


class Readiness:
    """A golden prediction through the whole chain, its good answer kept for a moment.

    However many probes ask, one prediction runs at a time.
    """

    def __init__(self, releases: Releases, keep_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._releases = releases
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._one = asyncio.Lock()
        self._good_until: float | None = None
        self._version: str | None = None
        self._stopping = False

    def stop(self) -> None:
        """From now on nothing is ready: the gateway takes no new connections any more."""
        self._stopping = True

    async def check(self) -> str:
        """The version that is ready. Raises NotServing with the reason."""
        if self._stopping:
            raise NotServing("the gateway is being stopped")
        async with self._one:
            version = self._releases.serving().version
            fresh = self._good_until is not None and self._clock() < self._good_until
            if not fresh or version != self._version:
                self._good_until = None
                try:
                    await self._releases.check()
                except StarsError as error:
                    raise NotServing(str(error)) from error
                self._version = version
                self._good_until = self._clock() + self._keep_seconds
            return version
