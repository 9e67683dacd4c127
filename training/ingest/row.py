"""One review of any source as a row of the data set, or every reason why not: a pure function of its fields."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from contracts.review import clean
from training.data.dataset import UNKNOWN_CATEGORY
from training.ingest.stars import Scale, stars

WRONG_TYPE = "wrong_type"
"""The reason against a list or an object where a value was wanted."""
LONGEST_CATEGORY = 100
_MILLISECONDS = 10**11
"""A time above this is no count of seconds: it would be the year 5138."""
_YES_NO = {"y": "Y", "yes": "Y", "true": "Y", "1": "Y", "n": "N", "no": "N", "false": "N", "0": "N"}
_EPOCH = re.compile(r"\d{9,14}(?:\.\d+)?", re.ASCII)


class ReviewRow(NamedTuple):
    """A row of REVIEW_SCHEMA without where it came from. Every review has stars, a body, an id and a category."""

    marketplace: str | None
    customer_id: str | None
    review_id: str
    product_id: str | None
    product_parent: str | None
    product_title: str | None
    star_rating: int
    helpful_votes: int | None
    total_votes: int | None
    vine: str | None
    verified_purchase: str | None
    review_headline: str | None
    review_body: str
    review_date: date | None
    product_category: str


class Rules(NamedTuple):
    """What is decided for a whole source: its scale, and what a review is given that says no category or has no id."""

    scale: Scale
    category: str
    needs_id: bool


def review_row(fields: Mapping[str, Any], rules: Rules) -> ReviewRow | list[str]:
    """The row of a review whose `fields` have contract 1's names, as a source has them. None is what it does not say.

    An empty id is a reason where the source names every review (`needs_id`), else one is made of what the review says.
    """
    try:
        texts = {name: _text(fields.get(name)) for name in _TEXTS}
    except TypeError:
        return [WRONG_TYPE]
    reasons = _unreadable(texts.values())
    star = stars(fields.get("star_rating"), rules.scale)
    if isinstance(star, str):
        reasons.append(star)
    body, category = texts["review_body"], texts["product_category"].strip()
    if not _says_something(body):
        reasons.append("empty_body")
    if len(category) > LONGEST_CATEGORY:
        reasons.append("bad_category")
    review_id = texts["review_id"].strip()
    if rules.needs_id and not review_id:
        reasons.append("empty_review_id")
    if reasons or isinstance(star, str):
        return reasons
    day = _date(fields.get("review_date"))
    return ReviewRow(
        texts["marketplace"] or None,
        texts["customer_id"] or None,
        review_id or _made_id(texts, star, day),
        texts["product_id"] or None,
        texts["product_parent"] or None,
        texts["product_title"] or None,
        star,
        _count(fields.get("helpful_votes")),
        _count(fields.get("total_votes")),
        _yes_no(fields.get("vine")),
        _yes_no(fields.get("verified_purchase")),
        texts["review_headline"] or None,
        body,
        day,
        category or rules.category or UNKNOWN_CATEGORY,
    )


_TEXTS = (
    "marketplace", "customer_id", "review_id", "product_id", "product_parent", "product_title", "product_category",
    "review_headline", "review_body",
)  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    raise TypeError


def _unreadable(texts: Any) -> list[str]:
    """What no reader can take: half a character, or what decoding put in the place of bytes that are no UTF-8."""
    whole = "\t".join(texts)
    reasons = ["nul_byte"] if "\x00" in whole else []
    if not whole.isascii():
        try:
            whole.encode()
        except UnicodeEncodeError:
            return [*reasons, "invalid_utf8"]
        if "\ufffd" in whole:
            reasons.append("invalid_utf8")
    return reasons


def _says_something(body: str) -> bool:
    """Whether anything is left of a body that is cleaned. A letter that comes first always is."""
    return body[:1].isalnum() or clean(body) != ""


def _made_id(texts: Mapping[str, str], star: int, day: date | None) -> str:
    said = [texts[name] for name in ("customer_id", "product_id", "review_headline", "review_body")]
    digest = hashlib.sha256("\x1f".join([*said, str(star), str(day)]).encode())
    return f"H{digest.hexdigest()[:20]}"


def _count(value: Any) -> int | None:
    if isinstance(value, str):
        digits = value.strip().replace(",", "")
        value = int(digits) if digits.isdecimal() and len(digits) < 11 else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31:
        return int(value)
    return None


def _yes_no(value: Any) -> str | None:
    return _YES_NO.get(str(value).strip().lower()) if isinstance(value, str | bool | int) else None


def _date(value: Any) -> date | None:
    """ISO dates, and seconds or milliseconds since 1970 in UTC. What else there is stays unsaid rather than guessed."""
    try:
        if isinstance(value, str):
            if not _EPOCH.fullmatch(value):
                return date.fromisoformat(value.strip()[:10])
            value = float(value)
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / (1000 if value > _MILLISECONDS else 1), UTC).date()
    except (ValueError, OverflowError, OSError):
        pass
    return None
