"""How many reviews may be in the gateway at once, and in which order they reach the model server."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from time import monotonic

from contracts.errors import BackendOverloaded

HALF_LIFE = 64
"""Reviews after which what was measured before counts half."""


class ReviewQueue:
    """First come, first served: at most `width` reviews with the model server, at most `size` in all.

    Counted in reviews, not in requests, because a request of 64 is 64 times the work. A request that could not be
    answered within half the deadline is refused at once instead of waiting for it: how long a review takes is measured
    as they come back. The model server is given a quarter of a deadline's work at a time, so that what waits here, and
    can still be called off, is the larger part.
    """

    def __init__(self, size: int, width: int, deadline: float, clock: Callable[[], float] = monotonic) -> None:
        self.size = size
        self.width = width
        self.admitted = 0
        self.running = 0
        self._deadline = deadline
        self._clock = clock
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._seconds = 0.0
        self._reviews = 0.0
        self._since = 0.0

    @property
    def pace(self) -> float | None:
        """Seconds that a review takes while the model server is busy; None until it has read one."""
        return self._seconds / self._reviews if self._reviews else None

    async def enter(self, reviews: int) -> None:
        """Wait for a turn with the model server; whoever gets one must `leave`.

        Raises BackendOverloaded at once for a request that would wait too long, and later for one that has.
        """
        self._refuse_if_full(reviews)
        self.admitted += reviews
        try:
            async with asyncio.timeout(self._deadline / 2):
                await self._turn(reviews)
        except BaseException as error:
            self.admitted -= reviews
            if isinstance(error, TimeoutError):
                raise BackendOverloaded("no turn came in time, the model is slow: try again in a moment") from None
            raise

    def leave(self, reviews: int, answered: bool) -> None:
        """The model server is done with them. Only what it has answered tells how fast it is."""
        now = self._clock()
        if answered:
            weight = 0.5 ** (reviews / HALF_LIFE)
            self._seconds = self._seconds * weight + now - self._since
            self._reviews = self._reviews * weight + reviews
        self._since = now
        self.admitted -= reviews
        self.running -= reviews
        self._wake()

    def _refuse_if_full(self, reviews: int) -> None:
        pace = self.pace
        # Until a first review has come back nobody knows how many could wait.
        over = self.admitted + reviews > (self.width if pace is None else self.size)
        late = (self.admitted + reviews) * (pace or 0) - self._deadline / 2
        if over or (late > 0 and self.admitted):
            raise BackendOverloaded(
                f"{self.admitted} reviews are waiting, as many as can be answered in time: try again in a moment",
                retry_after=max(1, math.ceil(late)),
            )

    async def _turn(self, reviews: int) -> None:
        if not self._waiting and self._fits(reviews):
            self._run(reviews)
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

    def _fits(self, reviews: int) -> bool:
        together = self.running + reviews
        return not self.running or (together <= self.width and together * (self.pace or 0) <= self._deadline / 4)

    def _run(self, reviews: int) -> None:
        if not self.running:
            self._since = self._clock()
        self.running += reviews

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            reviews, turn = self._waiting.popleft()
            if not turn.done():
                self._run(reviews)
                turn.set_result(None)
