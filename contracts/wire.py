"""What the gateway and the handler say to each other: a request of reviews, and what the model makes of them.

    {"reviews": [{"review_body": …, "review_headline": …, "product_category": …}, …], "deadline": 1767225600.5}

    {"predictions": [{"logits": [5 numbers], "tokens": 14, "truncated": false, "unfamiliar": null},
                     {"error": {"type": "blank_text", "message": …}}], "infer_ms": 11.3, "engine": "torch"}

Both sides call this module, and a review keeps its record's names on the way. Gateway and handler are of one
installation, so that neither has to understand another version. A request that cannot be read is answered by one
`error`. Light: a worker imports it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from contracts.errors import BackendError, ReviewError
from contracts.isolation import alone
from contracts.limits import REVIEWS_LIMIT, TEXT_LIMIT
from contracts.review import STARS, Review

MALFORMED = "malformed"
"""The kind of a ReviewError about a body that is no request."""

EXPIRED = "expired"
"""The kind of one about a request whose deadline has passed."""

Unfamiliar = Literal["script", "language"]
"""What about a text is outside the training, so that its stars mean little: another script, or another language."""

_TEXTS = frozenset({"review_body", "review_headline", "product_category"})


class Prediction(NamedTuple):
    """The model's view of one review: five raw logits (one star to five), and the tokens that it read.

    `truncated` says that there were more, `unfamiliar` what about the text is outside the training.
    """

    logits: tuple[float, ...]
    tokens: int
    truncated: bool
    unfamiliar: Unfamiliar | None = None


class Predictions(NamedTuple):
    """A request's reviews in order, each with its prediction or the reason why it has none."""

    items: list[Prediction | ReviewError]
    infer_ms: float
    engine: str
    """Which of the release's engines computed them, as the manifest calls it."""


def request_body(reviews: Sequence[Review], deadline: float | None = None) -> bytes:
    """A request. Nobody waits for its answer after `deadline`, in seconds since 1970.

    The clocks of both sides must agree within a second or so.
    """
    items = [
        {
            "review_body": review.review_body,
            "review_headline": review.review_headline,
            "product_category": review.product_category,
        }
        for review in reviews
    ]
    return _json({"reviews": items} if deadline is None else {"reviews": items, "deadline": deadline})


def read_request(body: bytes | bytearray) -> list[Review | ReviewError]:
    """The reviews of a request, in order. Raises ReviewError for a body that holds none, or that comes too late.

    The gateway has told its client what is wrong with a review; what is refused here can only come from somebody else
    who has TorchServe's key.
    """
    document = _parsed(body)
    if not isinstance(document, dict) or not isinstance(document.get("reviews"), list):
        raise ReviewError('the body must be {"reviews": [{"review_body": …}, …]}', MALFORMED)
    deadline = document.get("deadline")
    if isinstance(deadline, int | float) and deadline < time.time():
        raise ReviewError("nobody waits for this answer any more: its deadline has passed", EXPIRED)
    reviews = document["reviews"]
    if not 1 <= len(reviews) <= REVIEWS_LIMIT:
        raise ReviewError(f"{len(reviews)} reviews in one request: send 1 to {REVIEWS_LIMIT}", MALFORMED)
    return [alone(_review, item) for item in reviews]


def response_body(items: Sequence[Prediction | ReviewError], infer_ms: float, engine: str) -> bytes:
    """What came of a request's reviews, in order."""
    predictions = [_error(item) if isinstance(item, ReviewError) else item._asdict() for item in items]
    return _json({"predictions": predictions, "infer_ms": round(infer_ms, 2), "engine": engine})


def refusal_body(error: ReviewError) -> bytes:
    """Why a request has no predictions."""
    return _json(_error(error))


def read_response(body: bytes, reviews: int) -> Predictions:
    """The predictions for so many reviews. Raises BackendError for a body that holds anything else."""
    try:
        document = json.loads(body)
        items = [_prediction(item) for item in document["predictions"]]
        infer_ms, engine = float(document["infer_ms"]), str(document["engine"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendError("the model server's answer cannot be read: is it of the same version as we?") from error
    if len(items) != reviews:
        raise BackendError(f"the model server answered {len(items)} reviews of {reviews}: is it of the same version?")
    return Predictions(items, infer_ms, engine)


def _review(item: Any) -> Review:
    if not isinstance(item, dict) or not item.keys() <= _TEXTS or "review_body" not in item:
        raise ReviewError("a review must be an object with a review_body, a review_headline and a product_category")
    for name, text in item.items():
        if not isinstance(text, str) or len(text) > TEXT_LIMIT:
            raise ReviewError(f"the {name} must be a text of at most {TEXT_LIMIT} characters")
    return Review(**item)


def _prediction(item: dict[str, Any]) -> Prediction | ReviewError:
    if "error" in item:
        return ReviewError(item["error"]["message"], item["error"]["type"])
    logits = tuple(item["logits"])
    if len(logits) != len(STARS) or not all(map(math.isfinite, logits)):
        raise ValueError("logits are not five numbers")
    return Prediction(logits, item["tokens"], item["truncated"], item["unfamiliar"])


def _error(error: ReviewError) -> dict[str, Any]:
    """`type` is a stable word, `message` a sentence for the client. Neither quotes the review."""
    return {"error": {"type": error.kind, "message": str(error)}}


def _parsed(body: bytes | bytearray) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError too
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ReviewError(f"the body is not JSON in UTF-8{where}", MALFORMED) from None


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
