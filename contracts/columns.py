"""The names by which people call a review's columns, and how they say which column of theirs is which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.review import TSV_COLUMNS

SHORT_NAMES = {
    "stars": "star_rating",
    "text": "review_body",
    "headline": "review_headline",
    "title": "review_headline",
    "category": "product_category",
    "id": "review_id",
    "date": "review_date",
    "customer": "customer_id",
    "product": "product_id",
    "helpful": "helpful_votes",
    "votes": "total_votes",
    "verified": "verified_purchase",
}
"""What people may write for a column of the review record; its own name does too."""

REQUIRED = ("star_rating", "review_body")

_USUAL = {
    "star_rating": "star_rating stars star rating overall score review_rating overall_rating reviews_rating",
    "review_body": "review_body reviewtext review_text reviews_text review_content body text review content comment",
    "review_headline": "review_headline headline review_title reviews_title title summary",
    "product_category": "product_category category",
    "review_id": "review_id reviews_id",
    "review_date": "review_date reviews_date date",
}
"""How columns are usually called, the surest name first: what is taken where nobody says."""


def parse_columns(said: object) -> dict[str, str]:
    """`stars=rating,text=review`, or such a mapping, as {"star_rating": "rating", …}. Raises ValueError."""
    if isinstance(said, str):
        said = _read(said)
    if not isinstance(said, Mapping) or not all(isinstance(theirs, str) and theirs for theirs in said.values()):
        raise ValueError("must name your columns, as stars=rating,text=review")
    columns: dict[str, str] = {}
    for name, theirs in said.items():
        ours = SHORT_NAMES.get(name, name)
        if ours not in TSV_COLUMNS:
            raise ValueError(f"knows no such column: the names are {', '.join([*SHORT_NAMES, *TSV_COLUMNS])}")
        if ours in columns:
            raise ValueError(f"names {ours} twice")
        columns[ours] = theirs
    return columns


def _read(said: str) -> Any:
    if said.lstrip().startswith("{"):
        return json.loads(said)
    pairs = (pair.partition("=") for pair in said.split(",") if pair.strip())
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def usual_columns(found: Iterable[str]) -> dict[str, str]:
    """Which of a file's columns is which, by what they are usually called."""
    plain = {re.sub(r"\W+", "_", name.strip().casefold()): name for name in found}
    columns = {}
    for ours, usual in _USUAL.items():
        if theirs := next((plain[name] for name in usual.split() if name in plain), None):
            columns[ours] = theirs
    return columns
