"""What is measured of a data set, whichever engine does it: the analyses asked for, and the names of their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from contracts.review import STARS

Kind = Literal[
    "Size",
    "Completeness",
    "Uniqueness",
    "Distinctness",
    "Mean",
    "Compliance",
    "Correlation",
    "ApproxQuantiles",
    "DataType",
    "Entropy",
    "Histogram",
]
"""Deequ's own names."""

QUANTILES = (0.05, 0.5, 0.95, 0.99)
QUANTILE_ERROR = 0.001
"""How far a quantile's rank may be off, as a share of all rows."""
HISTOGRAM_VALUES = 1000
"""A histogram holds so many values, the most frequent."""
DATA_TYPES = ("Boolean", "Fractional", "Integral", "String", "Unknown")
NULL = "NullValue"
"""What a histogram calls the rows that have no value."""
GIVEN_ID = "given_id"
"""The column that is the review_id where the source gave one. What ingest made of the text is as unique as that is."""
TEXT_KEY = "text_key"
"""The column that is equal where two reviews say the same."""
DEFAULT_HEADLINE = "default_headline"
"""The column that says whether a headline only names the star."""
TEXTS = ("product_title", "review_headline", "review_body")
"""The columns that hold text. What is measured sees their length in characters, without blanks around it, instead."""


class MetricName(NamedTuple):
    """`column` is "*" for the whole data set; `part` is a quantile, a data type or a value of a histogram."""

    analyzer: str
    column: str = "*"
    part: str = ""

    def __str__(self) -> str:
        return f"{self.analyzer}({self.column})" + (f" {self.part}" if self.part else "")


Metrics = Mapping[MetricName, float]
"""Measured values, all finite. What no row defines, such as the mean of none, is not there."""


@dataclass(frozen=True)
class Analysis:
    """One thing to measure. `predicate` is SQL over a row; a compliance is known by it."""

    kind: Kind
    columns: tuple[str, ...] = ()
    predicate: str = ""

    @property
    def column(self) -> str:
        return self.predicate or ",".join(self.columns) or "*"

    def metric(self, part: str = "") -> MetricName:
        return MetricName(self.kind, self.column, part)


def compliance(predicate: str) -> Analysis:
    """The share of rows that satisfy it."""
    return Analysis("Compliance", predicate=predicate)


OF_STARS = Analysis("Histogram", ("star_rating",))
OF_CATEGORIES = Analysis("Histogram", ("product_category",))
SIZE = Analysis("Size")
MEAN_STARS = Analysis("Mean", ("star_rating",))
REPEATED_TEXTS = Analysis("Distinctness", (TEXT_KEY,))
OPTIONAL = (
    *("marketplace", "customer_id", "product_id", "product_parent", "product_title", "helpful_votes"),
    *("total_votes", "vine", "verified_purchase", "review_headline", "review_date"),
)
"""The columns that a source may leave empty."""

ALWAYS: tuple[Analysis, ...] = (
    SIZE,
    *(Analysis("Completeness", (column,)) for column in ("review_id", "star_rating", "review_body", *OPTIONAL)),
    Analysis("Uniqueness", (GIVEN_ID,)),
    *(Analysis("Distinctness", (column,)) for column in (GIVEN_ID, "product_id", "customer_id")),
    REPEATED_TEXTS,
    *(Analysis("Mean", (column,)) for column in ("star_rating", "helpful_votes", "total_votes")),
    compliance(DEFAULT_HEADLINE),
    Analysis("Correlation", ("total_votes", "star_rating")),
    Analysis("Correlation", ("total_votes", "helpful_votes")),
    Analysis("ApproxQuantiles", ("review_body",)),
    Analysis("ApproxQuantiles", ("review_headline",)),
    *(Analysis("DataType", (column,)) for column in ("review_id", "customer_id", "product_id", "product_parent")),
    Analysis("Entropy", ("star_rating",)),
    OF_STARS,
    OF_CATEGORIES,
)
"""What is measured of every data set. Rules may add to it."""


def rows_by_star(metrics: Metrics) -> dict[int, float]:
    """How many rows each star has, 0 for one that nobody gave."""
    return {star: metrics.get(OF_STARS.metric(str(star)), 0.0) for star in STARS}
