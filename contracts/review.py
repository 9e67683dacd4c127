"""Contract 1: the review record, and the one way that turns a review into the text the model sees.

Spark preparation, evaluation and the TorchServe handler all go by `segments`, or by the `Cleaned` that it is made of,
where they need the parts too. Nothing else may clean or join text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

STARS = (1, 2, 3, 4, 5)

LANGUAGE = "English"
"""What the gateway's help says that the model knows. A release's manifest says it of that release (`language`)."""

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

# What html.unescape looks for. One by one, because it raises ValueError where a number has thousands of digits.
_ENTITY = re.compile(r"&(?:#(?:[0-9]+|[xX][0-9a-fA-F]+)|[^\t\n\f <&#;]{1,32});?")
# Each blank can match in one place only, so that a text of nothing but blanks takes linear time.
_LINE_BREAK = re.compile(r"<\s*(?:/\s*)?br\s*(?:/\s*)?>", re.IGNORECASE)
# Unicode's Cc, less the blanks among them, and Cs: lone surrogates, which no encoder can write. Cf stays: it holds the
# joiners of emoji and of Indic and Arabic scripts, which are text.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]+")
MARKS_LIMIT = 30
"""Combining marks that one letter may carry: the stream-safe text format of Unicode (UAX 15, section 13)."""
# Where more marks than that may follow each other. No mark is alphanumeric, and none is below U+0300.
_MANY_MARKS = re.compile(rf"[^\w\s\x00-\u02ff]{{{MARKS_LIMIT + 1},}}")
_COUNT = r"(?:one|two|three|four|five|[1-5](?:\.[05])?)"
STAR_NAME = re.compile(
    rf"[\W_]*(?:an?\W+|solid\W+)?{_COUNT}[\W_]*(?:(?:out\W+of|of|/)\W*(?:five|5)[\W_]*)?"
    rf"stars?[\W_]*(?:ratings?|reviews?)?[\W_]*"
    rf"|[\W_]*{_COUNT}\W*(?:/|out\W+of)\W*(?:five|5)[\W_]*"
    rf"|[\W_]*[★☆⭐*][\s★☆⭐*\ufe0f.!]*",
    re.IGNORECASE,
)
LONGEST_STAR_NAME = 60
"""No headline that only names a star is longer, and the bound keeps the pattern linear on hostile input."""


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

    Takes any string and linear time. Idempotent for text without entities. An entity that is no character's stays the
    text that it is; of marks upon one letter the first `MARKS_LIMIT` are kept.
    """
    text = _LINE_BREAK.sub(" ", _ENTITY.sub(_character, text))
    text = _CONTROL.sub("", text)
    if not text.isascii():
        # Marks are sorted pairwise while normalising. Normalising can make two marks of one, hence the second time.
        text = _MANY_MARKS.sub(_bounded, unicodedata.normalize("NFC", _MANY_MARKS.sub(_bounded, text)))
    return " ".join(text.split())


def _character(entity: re.Match[str]) -> str:
    try:
        found = html.unescape(entity[0])
    except ValueError:  # int() takes no more than 4,300 digits
        return entity[0]
    return entity[0] if found == "\ufffd" else found


def _bounded(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run[0]:
        # Three Tibetan vowels are starters whose decomposition begins with a mark.
        marks = marks + 1 if unicodedata.combining(character) or character in "\u0f73\u0f75\u0f81" else 0
        if marks <= MARKS_LIMIT:
            kept.append(character)
    return "".join(kept)


def names_the_star(headline: str) -> bool:
    """Whether a headline says nothing but the star rating ("Five Stars", "1 star", "Three Stars!", "5/5", "★★★").

    Such headlines give the label away in 8 % of the Amazon rows, and a client who asks for stars has none.
    """
    return len(headline) <= LONGEST_STAR_NAME and STAR_NAME.fullmatch(headline) is not None


class Cleaned(NamedTuple):
    """A review's texts as a reader would see them. The headline may still name the star."""

    body: str
    headline: str
    category: str

    @classmethod
    def of(cls, body: str, headline: str = "", category: str = "") -> Cleaned:
        return cls(clean(body), clean(headline), clean(category.replace("_", " ")))

    def segments(self) -> Segments:
        """The model's text: category and headline first, without a headline that names the star; the body second."""
        headline = "" if names_the_star(self.headline) else self.headline
        return Segments(" : ".join(part for part in (self.category, headline) if part), self.body)


def segments(body: str, headline: str = "", category: str = "") -> Segments:
    """A review as the model's text: category and headline first, the body second."""
    return Cleaned.of(body, headline, category).segments()
