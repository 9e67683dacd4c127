"""The versions in the store, for whoever asks: the store is not walked for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from anyio.to_thread import run_sync

KEEP_SECONDS = 2.0


class Listing:
    """What a walk through the store found, or how it failed, kept for a moment. There is one walk at a time."""

    def __init__(self, walk: Callable[[], list[str]], clock: Callable[[], float] = monotonic) -> None:
        self._walk = walk
        self._clock = clock
        self._walking: asyncio.Task[list[str]] | None = None
        self._ended = 0.0

    async def versions(self) -> list[str]:
        """The versions. Raises StoreError."""
        if self._walking is None or (self._walking.done() and self._clock() - self._ended >= KEEP_SECONDS):
            self._walking = asyncio.create_task(self._once())
        return await asyncio.shield(self._walking)

    async def _once(self) -> list[str]:
        try:
            return await run_sync(self._walk)
        finally:
            self._ended = self._clock()
