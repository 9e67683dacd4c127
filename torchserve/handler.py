"""What TorchServe calls. It is found by this module's name in the installed package: a release holds no code.

TorchServe takes the one class that is defined here, makes one of it in each worker, calls `initialize` once and then
`handle` with a batch of HTTP requests, each holding a list of reviews.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import ReviewError
from contracts.review import Review, segments
from contracts.tokens import Encoded, ReviewEncoder
from torchserve.engine import Engine
from torchserve.model import load_model
from torchserve.wire import EXPIRED, failed, read_reviews

if TYPE_CHECKING:
    from ts.context import Context

    from contracts.serving import FailedPrediction, Prediction, PredictionResponse

log = logging.getLogger(__name__)


class ReviewHandler:
    """Parse, tokenise, infer, answer: every step takes and returns one entry a review, in order."""

    encoder: ReviewEncoder
    engine: Engine

    def initialize(self, context: Context) -> None:
        """Load the release in the model's folder and warm it up. Raises ModelError when it cannot be loaded."""
        started = perf_counter()
        self.encoder, self.engine = load_model(Path(context.system_properties["model_dir"]))
        loaded = perf_counter()
        self.engine.warm_up()
        log.info("model loaded in %.1f s, warm after %.1f s", loaded - started, perf_counter() - started)
        # From here on TorchServe's worker would log two lines a request.
        logging.getLogger().setLevel(logging.WARNING)

    def handle(self, data: Sequence[dict[str, Any]], context: Context) -> list[bytes]:
        """Answer each request of the batch; one that cannot be read gets status 400, one that comes too late 504."""
        requests = [self.parse(each) for each in data]
        reviews = [review for request in requests if isinstance(request, list) for review in request]
        encoded = self.tokenise(reviews)
        started = perf_counter()
        predictions = iter(self.infer(encoded))
        milliseconds = (perf_counter() - started) * 1000
        answers = []
        for index, request in enumerate(requests):
            context.set_response_content_type(index, "application/json")
            if isinstance(request, ReviewError):
                late = request.kind == EXPIRED
                context.set_response_status(504 if late else 400, "Gateway Timeout" if late else "Bad Request", index)
                answers.append(self.answer(failed(request)))
            else:
                items = [next(predictions) for _ in request]
                answers.append(self.answer({"predictions": items, "infer_ms": round(milliseconds, 2)}))
        return answers

    def parse(self, request: dict[str, Any]) -> list[Review | ReviewError] | ReviewError:
        """The reviews of one HTTP request, or why it holds none."""
        try:
            return read_reviews(request.get("body", request.get("data")))
        except ReviewError as error:
            return error

    def tokenise(self, reviews: Sequence[Review | ReviewError]) -> list[Encoded | ReviewError]:
        """Each review as token ids, or why it cannot be."""
        return [self._encode(each) if isinstance(each, Review) else each for each in reviews]

    def infer(self, encoded: Sequence[Encoded | ReviewError]) -> list[Prediction | FailedPrediction]:
        """All reviews of the batch in one run of the engine."""
        sound = [each for each in encoded if isinstance(each, Encoded)]
        logits = iter(self.engine.infer(sound) if sound else np.empty((0, 5), np.float32))
        return [_prediction(each, next(logits)) if isinstance(each, Encoded) else failed(each) for each in encoded]

    def answer(self, document: PredictionResponse | FailedPrediction) -> bytes:
        """The body of one HTTP response."""
        return json.dumps(document, separators=(",", ":")).encode()

    def _encode(self, review: Review) -> Encoded | ReviewError:
        text = segments(review.review_body, review.review_headline, review.product_category)
        if not text.second:
            return ReviewError(
                "the text is blank once control characters are out: send the review's text", "blank_text"
            )
        try:
            return self.encoder.encode([text])[0]
        except ReviewError as error:
            return error


def _prediction(encoded: Encoded, logits: np.ndarray) -> Prediction:
    return {"logits": logits.tolist(), "tokens": len(encoded.input_ids), "truncated": encoded.truncated}
