"""Predicting: reviews wait their turn, are read by the release in service, and come back as answers in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple, cast

from contracts.errors import DeadlineExceeded, ReviewError
from contracts.review import Review
from contracts.wire import Prediction, Predictions
from service.backend.protocol import Backend, NotLoaded
from service.metrics import Metrics
from service.predict.answer import answer
from service.predict.queue import ReviewQueue
from service.releases.loaded import LoadedRelease
from service.releases.service import Releases
from service.settings import Limits

GRACE_SECONDS = 5.0
"""For TorchServe to notice that its worker hangs, and to say so."""


class Predicted(NamedTuple):
    """Answers or errors in the order of the reviews, the version that gave them, and where the time went (ms)."""

    items: list[dict[str, Any] | ReviewError]
    model: str
    version: str
    timing: dict[str, float]


class Predictor:
    """Sends reviews to the release in service, within the limits."""

    def __init__(self, backend: Backend, releases: Releases, limits: Limits, metrics: Metrics) -> None:
        self._backend = backend
        self._releases = releases
        self.limits = limits
        self._metrics = metrics
        self.queue = ReviewQueue(limits.queue_reviews, limits.model_reviews, limits.deadline_seconds)
        self._asking: set[asyncio.Task[tuple[LoadedRelease, Predictions]]] = set()

    async def predict(self, reviews: Sequence[Review | ReviewError]) -> Predicted:
        """Answers for the reviews that could be read; the others keep their errors.

        Raises NotServing, BackendOverloaded, DeadlineExceeded, or another BackendError.
        """
        self._releases.serving()  # or it is refused at once
        readable = [review for review in reviews if isinstance(review, Review)]
        started = perf_counter()
        try:
            async with asyncio.timeout(self.limits.deadline_seconds) as deadline:
                await self.queue.enter(len(readable))
                entered = perf_counter()
                left = cast(float, deadline.when()) - asyncio.get_running_loop().time()
                asking = asyncio.create_task(self._ask(readable, left))
                self._asking.add(asking)
                asking.add_done_callback(self._asked)
                release, predictions = await asyncio.shield(asking)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no answer within {self.limits.deadline_seconds:g} s: send fewer reviews, or try again later"
            ) from None
        except NotLoaded:
            self._releases.look_again()
            raise
        done = perf_counter()
        timing = {
            "queue": (entered - started) * 1000,
            "model": (done - entered) * 1000,
            "infer": predictions.infer_ms,
        }
        predicted = iter(predictions.items)
        outcomes = [next(predicted) if isinstance(review, Review) else review for review in reviews]
        answers = [self._answer(outcome, release) for outcome in outcomes]
        return Predicted(answers, release.manifest.name, release.version, timing)

    def _answer(self, outcome: Prediction | ReviewError, release: LoadedRelease) -> dict[str, Any] | ReviewError:
        if isinstance(outcome, ReviewError):
            return outcome
        self._metrics.predicted(outcome)
        return answer(outcome, release.calibration, release.manifest.name, release.version)

    async def _ask(self, reviews: Sequence[Review], seconds: float) -> tuple[LoadedRelease, Predictions]:
        """Have the reviews read by the release in service now; they keep their place in the queue until that is done.

        A task of its own: it goes on when the client has left or the deadline has passed, because the model server
        does. One that says nothing for so long that it would have killed its own worker is given up.
        """
        answered = False
        try:
            serving = self._releases.serving()
            with serving.in_use():
                async with asyncio.timeout(self.limits.hang_seconds + GRACE_SECONDS):
                    predictions = await self._backend.predict(serving.version, reviews, seconds)
            answered = True
            return serving, predictions
        finally:
            self.queue.leave(len(reviews), answered)

    def _asked(self, asking: asyncio.Task[tuple[LoadedRelease, Predictions]]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # seen, where nobody waits for it any more

    async def close(self) -> None:
        """Call off what is still being asked."""
        for asking in self._asking:
            asking.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
