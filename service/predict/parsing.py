"""From a request's JSON to reviews, each of them or the reason why it is none. The handler trusts what comes out."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from contracts.errors import ReviewError
from contracts.review import Review
from contracts.validation import what_is_wrong
from service.errors import InvalidRequest
from service.predict.schemas import ReviewIn
from service.settings import Limits


def parse_review(item: Any, limits: Limits) -> Review:
    """One review as it was sent. Raises ReviewError for one that cannot be predicted on."""
    if not isinstance(item, dict):
        raise ReviewError("a review must be an object with a text")
    try:
        sent = ReviewIn.model_validate(item)
    except ValidationError as error:
        raise ReviewError(what_is_wrong(error, ReviewIn, "the review")) from None
    title, category = sent.title or "", sent.category or ""
    for name, value, limit in (
        ("text", sent.text, limits.text_characters),
        ("title", title, limits.title_characters),
        ("category", category, limits.category_characters),
    ):
        if len(value) > limit:
            raise ReviewError(f"the {name} has more than {limit} characters: shorten it", kind="text_too_long")
    if not sent.text.strip():
        raise ReviewError("the text is empty or blank: send the review's text", kind="blank_text")
    return Review(review_body=sent.text, review_headline=title, product_category=category)


def parse_batch(body: dict[str, Any], limits: Limits) -> list[Review | ReviewError]:
    """The reviews of a batch, each with its own error where it is bad. Raises InvalidRequest for the batch itself."""
    items = body["reviews"]
    if len(body) > 1:
        raise InvalidRequest("beside reviews there is another field: put text, title and category inside the reviews")
    if not isinstance(items, list) or not items:
        raise InvalidRequest("reviews must be a list of at least one review")
    if len(items) > limits.reviews:
        raise InvalidRequest(f"{len(items)} reviews are over the limit of {limits.reviews}: send several requests")
    reviews: list[Review | ReviewError] = []
    for item in items:
        try:
            reviews.append(parse_review(item, limits))
        except ReviewError as error:
            reviews.append(error)
    return reviews
