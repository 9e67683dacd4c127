"""What TorchServe calls. It is found by this module's name in the installed package: a release holds no code.

TorchServe takes the one class that is defined here, makes one of it in each worker, calls `initialize` once and then
`handle` with a batch of HTTP requests, each holding a list of reviews. Clients who know nothing of each other meet in
such a batch, so whatever goes wrong over one review, foreseen or not, becomes that review's own error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from contracts.engine import Engine, Logits
from contracts.errors import ReviewError
from contracts.isolation import alone, together
from contracts.review import Review, Segments, segments
from contracts.tokens import Encoded, ReviewEncoder
from contracts.wire import EXPIRED, Prediction, read_request, refusal_body, response_body
from torchserve.language import Language
from torchserve.model import load_model

if TYPE_CHECKING:
    from ts.context import Context

    from contracts.wire import Unfamiliar

log = logging.getLogger(__name__)


# A review as the model reads it, and what about it is outside the training. No class: TorchServe wants one only here.
Readable: TypeAlias = "tuple[Encoded, Unfamiliar | None]"


class ReviewHandler:
    """Parse, tokenise, infer, answer: every step takes and returns one entry a review, in order."""

    encoder: ReviewEncoder
    kind: str
    engine: Engine
    language: Language

    def initialize(self, context: Context) -> None:
        """Load the release in the model's folder and warm it up. Raises ModelError when it cannot be loaded."""
        started = perf_counter()
        model = load_model(Path(context.system_properties["model_dir"]))
        self.encoder, self.kind, self.engine = model.encoder, model.kind, model.engine
        self.language = Language(model.language)
        loaded = perf_counter()
        self.engine.warm_up()
        seconds = loaded - started, perf_counter() - started
        log.info("engine %s loaded in %.1f s, warm after %.1f s", model.kind, *seconds)
        # From here on TorchServe's worker would log two lines a request.
        logging.getLogger().setLevel(logging.WARNING)

    def handle(self, data: Sequence[dict[str, Any]], context: Context) -> list[bytes]:
        """Answer each request of the batch; one that cannot be read gets status 400, one that comes too late 504."""
        requests = [self.parse(request) for request in data]
        readable = self.tokenise([review for request in requests if isinstance(request, list) for review in request])
        started = perf_counter()
        predictions = iter(self.infer(readable))
        milliseconds = (perf_counter() - started) * 1000
        answers = []
        for index, request in enumerate(requests):
            context.set_response_content_type(index, "application/json")
            if isinstance(request, ReviewError):
                late = request.kind == EXPIRED
                context.set_response_status(504 if late else 400, "Gateway Timeout" if late else "Bad Request", index)
                answers.append(refusal_body(request))
            else:
                answers.append(response_body(list(islice(predictions, len(request))), milliseconds, self.kind))
        return answers

    def parse(self, request: dict[str, Any]) -> list[Review | ReviewError] | ReviewError:
        """The reviews of one HTTP request, or why it holds none."""
        return alone(read_request, request.get("body", b""))

    def tokenise(self, reviews: Sequence[Review | ReviewError]) -> list[Readable | ReviewError]:
        """Each review as token ids, or why it cannot be."""
        texts = [alone(_segments, review) if isinstance(review, Review) else review for review in reviews]
        tokens = iter(self.encoder.encode_each([text for text in texts if isinstance(text, Segments)]))
        return [text if isinstance(text, ReviewError) else self._readable(text, next(tokens)) for text in texts]

    def infer(self, readable: Sequence[Readable | ReviewError]) -> list[Prediction | ReviewError]:
        """All reviews of the batch in one run of the engine, or one by one where it fails over one of them."""
        tokens = [review[0] for review in readable if not isinstance(review, ReviewError)]
        logits = iter(together(self._logits, tokens))
        return [
            review if isinstance(review, ReviewError) else _prediction(*review, next(logits)) for review in readable
        ]

    def _logits(self, reviews: Sequence[Encoded]) -> Logits:
        logits = self.engine.infer(reviews)
        if not np.isfinite(logits).all():  # the gateway would have to refuse the whole request over one of them
            raise ArithmeticError("logits that are no numbers")
        return logits

    def _readable(self, text: Segments, tokens: Encoded | ReviewError) -> Readable | ReviewError:
        unfamiliar = alone(self.language.unfamiliar, text.second)
        if isinstance(tokens, ReviewError):
            return tokens
        return unfamiliar if isinstance(unfamiliar, ReviewError) else (tokens, unfamiliar)


def _segments(review: Review) -> Segments:
    text = segments(review.review_body, review.review_headline, review.product_category)
    if not text.second:
        raise ReviewError("the text is blank once control characters are out: send the review's text", "blank_text")
    return text


def _prediction(
    tokens: Encoded, unfamiliar: Unfamiliar | None, logits: Logits | ReviewError
) -> Prediction | ReviewError:
    if isinstance(logits, ReviewError):
        return logits
    return Prediction(tuple(logits.tolist()), len(tokens.input_ids), tokens.truncated, unfamiliar)
