"""The rules about one data set that a person may write in rules.yaml."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from contracts.review import STARS
from training.quality.analysis import (
    DEFAULT_HEADLINE,
    GIVEN_ID,
    REPEATED_TEXTS,
    SIZE,
    TEXT_KEY,
    Analysis,
    MetricName,
    Metrics,
    compliance,
    rows_by_star,
)
from training.quality.rule import AtLeast, AtMost, Measured, Outcome, Rule

Column = Literal[
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
]
Reason = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
Marketplace = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]


class SizeRule(Rule):
    """How many reviews there are."""

    check: Literal["size"]
    at_least: int = Field(ge=0)
    at_most: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"at_least {self.at_least} and at_most {self.at_most} leave nothing between them")
        return self

    def judge(self, measured: Measured) -> Outcome:
        rows = measured.now.get(SIZE.metric(), 0.0)
        most = f", at most {self.at_most:,}" if self.at_most is not None else ""
        kept = self.at_least <= rows and (self.at_most is None or rows <= self.at_most)
        return Outcome(kept, rows, f"at least {self.at_least:,}{most}")


class RowsPerStarRule(Rule):
    """How many reviews the rarest star has."""

    check: Literal["rows_per_star"]
    at_least: int = Field(ge=0)

    def judge(self, measured: Measured) -> Outcome:
        star, rows = min(rows_by_star(measured.now).items(), key=lambda item: item[1])
        return Outcome(rows >= self.at_least, rows, f"at least {self.at_least:,} with {star} stars, the rarest")


class CompletenessRule(AtLeast):
    """A column has a value."""

    check: Literal["completeness"]
    column: Column

    @property
    def measured_by(self) -> Analysis:
        return Analysis("Completeness", (self.column,))

    @property
    def holds(self) -> str:
        return f"{self.column} is not null"


class UniquenessRule(AtLeast):
    """A column's values occur once. Of review_ids those count that the source gave."""

    check: Literal["uniqueness"]
    column: Column

    @property
    def measured_by(self) -> Analysis:
        return Analysis("Uniqueness", (self.repeated,))

    @property
    def repeated(self) -> str:
        return GIVEN_ID if self.column == "review_id" else self.column


class StarsRule(AtLeast):
    """Stars lie between two bounds."""

    check: Literal["stars"]
    lowest: int = Field(STARS[0], ge=STARS[0], le=STARS[-1])
    highest: int = Field(STARS[-1], ge=STARS[0], le=STARS[-1])

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.highest < self.lowest:
            raise ValueError(f"lowest {self.lowest} and highest {self.highest} leave nothing between them")
        return self

    @property
    def holds(self) -> str:
        return f"star_rating between {self.lowest} and {self.highest}"


class BodyRule(AtLeast):
    """A review says something."""

    check: Literal["body_not_blank"]

    @property
    def holds(self) -> str:
        return "review_body > 0"


class MarketplaceRule(AtLeast):
    """A marketplace, where one is named, is one of these."""

    check: Literal["known_marketplace"]
    known: tuple[Marketplace, ...] = Field(min_length=1)

    @property
    def holds(self) -> str:
        listed = ", ".join(f"'{name}'" for name in self.known)
        return f"marketplace is null or marketplace in ({listed})"


class DatesRule(AtLeast):
    """A review's date, where it has one, lies between two. `today` allows for the time zone that is ahead."""

    check: Literal["dates"]
    earliest: date
    latest: date | Literal["today"] = "today"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        latest = datetime.now(UTC).date() if self.latest == "today" else self.latest
        if latest < self.earliest:
            raise ValueError(f"earliest {self.earliest} and latest {self.latest} leave nothing between them")
        return self

    @property
    def holds(self) -> str:
        latest = "date_add(current_date(), 1)" if self.latest == "today" else f"date'{self.latest}'"
        return f"review_date is null or review_date between date'{self.earliest}' and {latest}"


class DefaultHeadlinesRule(AtMost):
    """Headlines that only name the star, which give the label away. They are blanked before training."""

    check: Literal["default_headlines"]

    @property
    def broken(self) -> str:
        return DEFAULT_HEADLINE

    def share(self, metrics: Metrics) -> float | None:
        return metrics.get(compliance(DEFAULT_HEADLINE).metric())


class DuplicatesRule(AtMost):
    """Reviews that say what another one says, but for case, blanks and punctuation."""

    check: Literal["duplicates"]

    @property
    def repeated(self) -> str:
        return TEXT_KEY

    def share(self, metrics: Metrics) -> float | None:
        distinct = metrics.get(REPEATED_TEXTS.metric())
        return None if distinct is None else 1 - distinct


class QuarantinedRule(AtMost):
    """Rows that ingest put aside, for any reason or for one."""

    check: Literal["quarantined"]
    reason: Reason | None = None

    @property
    def title(self) -> str:
        return f"{self.check}, {self.reason}" if self.reason else self.check

    def share(self, metrics: Metrics) -> float | None:
        return metrics.get(MetricName("Quarantined", "*", self.reason or ""), 0.0)


RULES: tuple[type[Rule], ...] = (
    SizeRule,
    RowsPerStarRule,
    CompletenessRule,
    UniquenessRule,
    StarsRule,
    BodyRule,
    MarketplaceRule,
    DatesRule,
    DefaultHeadlinesRule,
    DuplicatesRule,
    QuarantinedRule,
)
