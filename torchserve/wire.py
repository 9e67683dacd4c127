"""The body of one prediction request, read into reviews. Whatever is wrong with one of them is that one's alone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NoReturn

from contracts.errors import ReviewError
from contracts.isolation import alone
from contracts.limits import REVIEWS_LIMIT, TEXT_LIMIT
from contracts.review import Review

if TYPE_CHECKING:
    from contracts.wire import FailedPrediction

EXPIRED = "expired"


def read_reviews(body: Any) -> list[Review | ReviewError]:
    """The reviews of a request, in order. Raises ReviewError for a body that holds no list of them.

    The body is JSON as bytes, or what TorchServe has parsed already.
    """
    document = _parse(bytes(body)) if isinstance(body, bytes | bytearray | memoryview) else body
    if not isinstance(document, dict) or not isinstance(document.get("reviews"), list):
        raise ReviewError('the body must be {"reviews": [{"text": …}, …]}', kind="malformed")
    until = document.get("deadline")
    if isinstance(until, int | float) and until < time.time():
        raise ReviewError("nobody waits for this answer any more: its deadline has passed", kind=EXPIRED)
    reviews = document["reviews"]
    if not 1 <= len(reviews) <= REVIEWS_LIMIT:
        raise ReviewError(f"{len(reviews)} reviews in one request: send 1 to {REVIEWS_LIMIT}", kind="malformed")
    return [alone(_read, each) for each in reviews]


def failed(error: ReviewError) -> FailedPrediction:
    """The answer for a review or a request that cannot be predicted on."""
    return {"error": {"type": error.kind, "message": str(error)}}


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError too
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ReviewError(f"the body is not JSON in UTF-8{where}", kind="malformed") from None


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _read(item: Any) -> Review:
    if not isinstance(item, dict):
        raise ReviewError("a review must be an object with a text")
    fields = {"text": item.get("text"), "title": item.get("title", ""), "category": item.get("category", "")}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ReviewError(f"the {name} must be a string")
        if len(value) > TEXT_LIMIT:
            raise ReviewError(f"the {name} has more than {TEXT_LIMIT} characters: shorten it", kind="text_too_long")
        if not _is_unicode(value):
            raise ReviewError(f"the {name} holds half a surrogate pair, which is no character: encode it again")
    if not fields["text"].strip():
        raise ReviewError("the text is empty or blank: send the review's text", kind="blank_text")
    return Review(fields["text"], fields["title"], fields["category"])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
