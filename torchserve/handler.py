"""What TorchServe calls. It is found by this module's name in the installed package: a release holds no code.

TorchServe takes the one class that is defined here, makes one of it in each worker, calls `initialize` once and then
`handle` with a batch of HTTP requests, each holding a list of reviews. Clients who know nothing of each other meet in
such a batch, so whatever goes wrong over one review, foreseen or not, becomes that review's own error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from contracts.engine import Engine, Logits
from contracts.errors import ReviewError
from contracts.isolation import alone
from contracts.review import Review, segments
from contracts.tokens import Encoded, ReviewEncoder
from torchserve.language import Language
from torchserve.model import load_model
from torchserve.wire import EXPIRED, failed, read_reviews

if TYPE_CHECKING:
    from ts.context import Context

    from contracts.wire import FailedPrediction, Prediction, PredictionResponse, Unfamiliar

log = logging.getLogger(__name__)


# A review as the model reads it, and what about it is outside the training. No class: TorchServe wants one only here.
Readable: TypeAlias = "tuple[Encoded, Unfamiliar | None]"


class ReviewHandler:
    """Parse, tokenise, infer, answer: every step takes and returns one entry a review, in order."""

    encoder: ReviewEncoder
    engine: Engine
    language: Language

    def initialize(self, context: Context) -> None:
        """Load the release in the model's folder and warm it up. Raises ModelError when it cannot be loaded."""
        started = perf_counter()
        model = load_model(Path(context.system_properties["model_dir"]))
        self.encoder, self.engine = model.encoder, model.engine
        self.language = Language(model.language)
        loaded = perf_counter()
        self.engine.warm_up()
        seconds = loaded - started, perf_counter() - started
        log.info("engine %s loaded in %.1f s, warm after %.1f s", model.kind, *seconds)
        # From here on TorchServe's worker would log two lines a request.
        logging.getLogger().setLevel(logging.WARNING)

    def handle(self, data: Sequence[dict[str, Any]], context: Context) -> list[bytes]:
        """Answer each request of the batch; one that cannot be read gets status 400, one that comes too late 504."""
        requests = [self.parse(each) for each in data]
        reviews = [review for request in requests if isinstance(request, list) for review in request]
        readable = self.tokenise(reviews)
        started = perf_counter()
        predictions = iter(self.infer(readable))
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
        return alone(read_reviews, request.get("body", request.get("data")))

    def tokenise(self, reviews: Sequence[Review | ReviewError]) -> list[Readable | ReviewError]:
        """Each review as token ids, or why it cannot be."""
        return [alone(self._read, each) if isinstance(each, Review) else each for each in reviews]

    def infer(self, readable: Sequence[Readable | ReviewError]) -> list[Prediction | FailedPrediction]:
        """All reviews of the batch in one run of the engine, or one by one where it fails over one of them."""
        found = iter(self._logits([each[0] for each in readable if not isinstance(each, ReviewError)]))
        return [failed(each) if isinstance(each, ReviewError) else _prediction(*each, next(found)) for each in readable]

    def answer(self, document: PredictionResponse | FailedPrediction) -> bytes:
        """The body of one HTTP response."""
        return json.dumps(document, separators=(",", ":")).encode()

    def _read(self, review: Review) -> Readable:
        text = segments(review.review_body, review.review_headline, review.product_category)
        if not text.second:
            raise ReviewError("the text is blank once control characters are out: send the review's text", "blank_text")
        return self.encoder.encode([text])[0], self.language.unfamiliar(text.second)

    def _logits(self, reviews: Sequence[Encoded]) -> Sequence[Logits | ReviewError]:
        """Five logits a review."""
        if not reviews:
            return []
        together = alone(self.engine.infer, reviews)
        if isinstance(together, ReviewError):
            return [alone(self._logits_of_one, each) for each in reviews]
        return [alone(_checked, each) for each in together]

    def _logits_of_one(self, review: Encoded) -> Logits:
        return _checked(self.engine.infer([review])[0])


def _checked(logits: Logits) -> Logits:
    # The gateway would have to refuse the whole request over a number that is none.
    if not np.isfinite(logits).all():
        raise ArithmeticError("logits that are no numbers")
    return logits


def _prediction(
    encoded: Encoded, unfamiliar: Unfamiliar | None, logits: Logits | ReviewError
) -> Prediction | FailedPrediction:
    if isinstance(logits, ReviewError):
        return failed(logits)
    return {
        "logits": logits.tolist(),
        "tokens": len(encoded.input_ids),
        "truncated": encoded.truncated,
        "unfamiliar": unfamiliar,
    }
