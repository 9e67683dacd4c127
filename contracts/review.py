"""Contract 1: the review record, and the one function that turns a review into the text the model sees.

Spark preparation, evaluation and the TorchServe handler all call `segments`. Nothing else may clean or join text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

STARS = (1, 2, 3, 4, 5)

# The 15 columns of the Amazon Customer Reviews TSV files, in their order.
TSV_COLUMNS = (
    "marketplace",
    "customer_id",
    "review_id",
    "product_id",
    "product_parent",
    "product_title",
    "product_category",
    "star_rating",
    "helpful_votes",
    "total_votes",
    "vine",
    "verified_purchase",
    "review_headline",
    "review_body",
    "review_date",
)

# Each blank can match in one place only, so that a text of nothing but blanks takes linear time.
_LINE_BREAK = re.compile(r"<\s*(?:/\s*)?br\s*(?:/\s*)?>", re.IGNORECASE)
_COUNT = r"(?:one|two|three|four|five|[1-5](?:\.[05])?)"
_STAR_NAME = re.compile(
    rf"[\W_]*(?:an?\W+|solid\W+)?{_COUNT}[\W_]*(?:(?:out\W+of|of|/)\W*(?:five|5)[\W_]*)?"
    rf"stars?[\W_]*(?:ratings?|reviews?)?[\W_]*"
    rf"|[\W_]*{_COUNT}\W*(?:/|out\W+of)\W*(?:five|5)[\W_]*"
    rf"|[\W_]*[★☆⭐*][\s★☆⭐*\ufe0f.!]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Review:
    """One customer review. `star_rating` is None where nobody rated it yet: that is what we predict."""

    review_body: str
    review_headline: str = ""
    product_category: str = ""
    star_rating: int | None = None
    review_id: str = ""


class Segments(NamedTuple):
    """The model's two text segments. The first may be empty."""

    first: str
    second: str


def clean(text: str) -> str:
    """Text as a reader would see it: entities unescaped, line breaks as blanks, NFC, no control characters.

    Idempotent for text without entities. Lone surrogates go too, because no encoder can write them.
    """
    text = _LINE_BREAK.sub(" ", html.unescape(text))
    text = unicodedata.normalize("NFC", text)
    # Cc and Cs only: Cf holds the joiners of emoji and of Indic and Arabic scripts, which are text.
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in {"Cc", "Cs"})
    return " ".join("".join(kept).split())


def names_the_star(headline: str) -> bool:
    """Whether a headline says nothing but the star rating ("Five Stars", "1 star", "Three Stars!", "5/5", "★★★").

    Such headlines give the label away in 8 % of the Amazon rows, and a client who asks for stars has none.
    """
    # The bound keeps the pattern linear on hostile input; no headline that only names a star is that long.
    return len(headline) <= 60 and _STAR_NAME.fullmatch(headline) is not None


def segments(body: str, headline: str = "", category: str = "") -> Segments:
    """A review as the model's text: category and headline first, the body second."""
    headline = clean(headline)
    if names_the_star(headline):
        headline = ""
    category = clean(category.replace("_", " "))
    return Segments(" : ".join(part for part in (category, headline) if part), clean(body))
