"""What a review becomes on its way into a split: pure functions of the review, whoever calls them and wherever.

Splitting hashes the text, so one text is never in two splits; leaving out categories hashes the review id under another
salt, because the same salt would tie the two choices together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from contracts.errors import ReviewError
from contracts.isolation import alone
from contracts.review import Segments
from contracts.stages import PrepareConfig
from contracts.tokens import ReviewEncoder
from training.data.dataset import REVIEW_SCHEMA
from training.data.labelled import LabelledReview
from training.data.splits import SPLIT_SCHEMA

_OF_REVIEW = ("review_id", "product_category", "star_rating", "review_headline", "review_body")
REVIEW_COLUMNS = ("source", "row", *_OF_REVIEW)
"""The columns of a data set that prepare reads."""

MAPPED_SCHEMA = pa.schema(
    [
        REVIEW_SCHEMA.field("source"),
        REVIEW_SCHEMA.field("row"),
        ("reasons", pa.list_(pa.string())),
        ("text_key", pa.string()),
        ("split", pa.string()),
        *SPLIT_SCHEMA,
    ]
)
"""What is known of every review. A bad one has reasons, and nothing but them and where it came from."""
_LETTERS = re.compile(r"[\W_]+")


def fraction(key: str, salt: str) -> float:
    """A number in [0, 1) that depends on the key and the salt alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8, salt=salt.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_split(text_key: str, config: PrepareConfig) -> str:
    """The split that a text belongs to, for ever."""
    at = fraction(text_key, "split")
    if at < config.test_fraction:
        return "test"
    return "validation" if at < config.test_fraction + config.validation_fraction else "train"


def prepare_reviews(
    reviews: Iterable[Mapping[str, Any]], encoder: ReviewEncoder, config: PrepareConfig
) -> list[dict[str, Any]]:
    """Rows of a data set, by `REVIEW_COLUMNS`, as rows of `MAPPED_SCHEMA`, in order."""
    rows: list[dict[str, Any]] = []
    good: list[dict[str, Any]] = []
    for review in reviews:
        row: dict[str, Any] = {"source": review["source"], "row": review["row"], "reasons": []}
        rows.append(row)
        columns = alone(lambda each: _columns(LabelledReview.of(*(each[name] for name in _OF_REVIEW)), config), review)
        if isinstance(columns, ReviewError):
            row["reasons"] = [columns.kind]
        else:
            row |= columns
            good.append(row)
    texts = [Segments(row["first"], row["second"]) for row in good]
    for row, encoded in zip(good, encoder.encode_each(texts), strict=True):
        if isinstance(encoded, ReviewError):
            row["reasons"] = [encoded.kind]
        else:
            row |= encoded._asdict()
    return rows


def _columns(review: LabelledReview, config: PrepareConfig) -> dict[str, Any]:
    """What is known of a good row before its tokens."""
    text = review.text
    normal = _LETTERS.sub(" ", f"{text.headline}\n{text.body}".casefold()).strip()
    text_key = hashlib.sha256((normal or text.body).encode()).hexdigest()
    split = assign_split(text_key, config)
    if split == "train" and fraction(review.review_id, "category") < config.category_dropout:
        text = text._replace(category="")
    first, second = text.segments()
    return {
        "text_key": text_key,
        "split": split,
        "review_id": review.review_id,
        "product_category": review.product_category,
        "star_rating": review.star_rating,
        "body_words": len(text.body.split()),
        "first": first,
        "second": second,
    }
