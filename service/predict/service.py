"""Predicting: reviews are checked one by one, wait their turn, and come back as answers in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from contracts.errors import DeadlineExceeded, ReviewError
from contracts.isolation import FAILED
from contracts.release.manifest import Manifest
from contracts.review import Review
from contracts.validation import explain
from contracts.wire import Predictions
from service.backend.protocol import Backend, NotLoaded
from service.errors import InvalidRequest
from service.metrics import Metrics
from service.predict.answer import answer
from service.predict.queue import ReviewQueue
from service.predict.schemas import ReviewIn
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


def read_review(given: Any, limits: Limits) -> Review:
    """One review as it was sent. Raises ReviewError for one that cannot be predicted on."""
    if not isinstance(given, dict):
        raise ReviewError("a review must be an object with a text")
    try:
        review = ReviewIn.model_validate(given)
    except ValidationError as error:
        raise ReviewError(explain(error, ReviewIn, "the review")) from None
    for name, limit in (
        ("text", limits.text_characters),
        ("title", limits.title_characters),
        ("category", limits.category_characters),
    ):
        if len(getattr(review, name) or "") > limit:
            raise ReviewError(f"the {name} has more than {limit} characters: shorten it", kind="text_too_long")
    if not review.text.strip():
        raise ReviewError("the text is empty or blank: send the review's text", kind="blank_text")
    return Review(review.text, review.title or "", review.category or "")


def read_batch(body: dict[str, Any], limits: Limits) -> list[Review | ReviewError]:
    """The reviews of a batch, each with its own error where it is bad. Raises InvalidRequest for the batch itself."""
    given = body["reviews"]
    if len(body) > 1:
        raise InvalidRequest("beside reviews there is another field: put text, title and category inside the reviews")
    if not isinstance(given, list) or not given:
        raise InvalidRequest("reviews must be a list of at least one review")
    if len(given) > limits.reviews:
        raise InvalidRequest(f"{len(given)} reviews are over the limit of {limits.reviews}: send several requests")
    found: list[Review | ReviewError] = []
    for each in given:
        try:
            found.append(read_review(each, limits))
        except ReviewError as error:
            found.append(error)
    return found


def refuse_if_none_left(items: Sequence[object]) -> None:
    """Raise InvalidRequest when every review of a batch is bad, with the first reasons; or one that is our mistake."""
    errors = [item for item in items if isinstance(item, ReviewError)]
    if len(errors) == len(items):
        for error in errors:
            if error.kind == FAILED:
                raise error
        reasons = "; ".join(f"reviews.{i}: {error}" for i, error in enumerate(errors[:3]))
        raise InvalidRequest(f"none of the {len(items)} reviews can be read: {reasons}")


class Predictor:
    """Sends reviews to the release in service, within the limits."""

    def __init__(self, backend: Backend, releases: Releases, limits: Limits, metrics: Metrics) -> None:
        self._backend = backend
        self._releases = releases
        self._limits = limits
        self._metrics = metrics
        self.queue = ReviewQueue(limits.queue_reviews, limits.model_reviews, limits.deadline_seconds)
        self._asking: set[asyncio.Task[tuple[Manifest, Predictions]]] = set()

    async def predict(self, given: Sequence[Review | ReviewError]) -> Predicted:
        """Answers for the reviews that could be read; the others keep their errors.

        Raises NotServing, BackendOverloaded, DeadlineExceeded, or another BackendError.
        """
        self._releases.serving()  # or it is refused at once
        reviews = [each for each in given if isinstance(each, Review)]
        started = perf_counter()
        try:
            async with asyncio.timeout(self._limits.deadline_seconds) as deadline:
                await self.queue.enter(len(reviews))
                entered = perf_counter()
                left = cast(float, deadline.when()) - asyncio.get_running_loop().time()
                asking = asyncio.create_task(self._ask(reviews, left))
                self._asking.add(asking)
                asking.add_done_callback(self._asked)
                manifest, scored = await asyncio.shield(asking)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no answer within {self._limits.deadline_seconds:g} s: send fewer reviews, or try again later"
            ) from None
        except NotLoaded:
            self._releases.look_again()
            raise
        done = perf_counter()
        scores = iter(scored.items)
        items: list[dict[str, Any] | ReviewError] = []
        for each in given:
            item = next(scores) if isinstance(each, Review) else each
            if not isinstance(item, ReviewError):
                self._metrics.predicted(item)
                items.append(answer(item, manifest.temperature, manifest.name, manifest.version))
            else:
                items.append(item)
        timing = {
            "queue": (entered - started) * 1000,
            "model": (done - entered) * 1000,
            "infer": scored.infer_ms,
        }
        return Predicted(items, manifest.name, manifest.version, timing)

    async def _ask(self, reviews: Sequence[Review], seconds: float) -> tuple[Manifest, Predictions]:
        """Have the reviews read by the release in service now; they keep their place in the queue until that is done.

        A task of its own: it goes on when the client has left or the deadline has passed, because the model server
        does. One that says nothing for so long that it would have killed its own worker is given up.
        """
        answered = False
        try:
            serving = self._releases.serving()
            with serving.in_use():
                async with asyncio.timeout(self._limits.hang_seconds + GRACE_SECONDS):
                    scored = await self._backend.predict(serving.version, reviews, seconds)
            answered = True
            return serving.manifest, scored
        finally:
            self.queue.leave(len(reviews), answered)

    def _asked(self, asking: asyncio.Task[tuple[Manifest, Predictions]]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # seen, where nobody waits for it any more

    async def close(self) -> None:
        """Call off what is still being asked."""
        for asking in self._asking:
            asking.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
