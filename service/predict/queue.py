"""How many reviews may be in the gateway at once, and in which order they reach the model server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import BackendOverloaded


class ReviewQueue:
    """First come, first served: at most `width` reviews with the model server, at most `size` in all.

    Counted in reviews, not in requests, because a request of 64 is 64 times the work. A request that finds no place is
    refused at once instead of waiting for a deadline that it would miss; one whose client left gives its place back.
    """

    def __init__(self, size: int, width: int) -> None:
        self.size = size
        self.width = width
        self.admitted = 0
        self.running = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self, reviews: int) -> AsyncIterator[None]:
        """Wait for a turn with the model server and keep it inside the block. Raises BackendOverloaded when full."""
        if self.admitted + reviews > self.size:
            raise BackendOverloaded(
                f"{self.admitted} reviews are waiting and the limit is {self.size}: try again in a moment"
            )
        self.admitted += reviews
        try:
            await self._enter(reviews)
            try:
                yield
            finally:
                self.running -= reviews
                self._wake()
        finally:
            self.admitted -= reviews

    async def _enter(self, reviews: int) -> None:
        if not self._waiting and self.running + reviews <= self.width:
            self.running += reviews
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (reviews, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.running -= reviews  # the turn came in the same moment
            elif entry in self._waiting:
                self._waiting.remove(entry)
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self.running + self._waiting[0][0] <= self.width:
            reviews, turn = self._waiting.popleft()
            if not turn.done():
                self.running += reviews
                turn.set_result(None)
