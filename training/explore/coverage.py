"""Questions about what the data set covers: which categories, from when, by whom, and what of it is old."""

from __future__ import annotations

from typing import Any

import pandas as pd

from training.explore.charts import (
    Bar,
    Bars,
    Chart,
    Span,
    Spans,
    Stacked,
    StackRow,
    counted,
    listed,
    readable,
)
from training.explore.question import Question
from training.pages.words import percent


def _most_reviewed(rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    if len(rows) == 1:
        return f"All {counted(first.reviews, 'review')} are of one category, {readable(first.product_category)}."
    return (
        f"{readable(first.product_category)} has {percent(first.share)} of all {rows.reviews.sum():,} reviews, and "
        f"{readable(last.product_category)}, the smallest of {len(rows)} categories, has {last.reviews:,}."
    )


def _most_reviewed_chart(rows: pd.DataFrame) -> Chart:
    bars = (Bar(readable(row.product_category), row.reviews, f"{row.reviews:,}") for row in rows.itertuples())
    return Bars("reviews", tuple(bars))


def _first_review(rows: pd.DataFrame) -> str:
    first, newest = rows.iloc[0], rows.iloc[rows.first_review.argmax()]
    said = f"{readable(first.product_category)} was reviewed first, on {_day(first.first_review)}"
    if len(rows) == 1:
        return f"{said}, and last on {_day(first.last_review)}."
    return f"{said}; the youngest category is {readable(newest.product_category)}, of {_day(newest.first_review)}."


def _day(date: pd.Timestamp) -> str:
    return f"{date.day} {date:%B %Y}"


def _first_review_chart(rows: pd.DataFrame) -> Chart:
    def span(row: Any) -> Span:
        start, end = (date.year + (date.dayofyear - 1) / 366 for date in (row.first_review, row.last_review))
        text = f"{row.first_review:%Y}–{row.last_review:%Y}"
        return Span(readable(row.product_category), start, end, text)

    return Spans("from the first to the last review", tuple(map(span, rows.itertuples())))


def _repeat_reviewers(rows: pd.DataFrame) -> str:
    again = rows[rows.times > 1]
    if again.empty:
        return "No customer reviewed a product more than once."
    pairs = again.customers_and_products.sum()
    share = pairs / rows.customers_and_products.sum()
    average = (again.average_stars * again.customers_and_products).sum() / pairs
    said = (
        f"It happened {counted(pairs, 'time')} that a customer reviewed one product more than once, {percent(share)} "
        f"of all pairs of customer and product, {again.most_reviews.max()} times at most. They gave {average:.2f} "
        "stars on average"
    )
    once = rows[rows.times == 1]
    return f"{said}, those who wrote once {once.average_stars.iloc[0]:.2f}." if len(once) else f"{said}."


def _repeat_reviewers_chart(rows: pd.DataFrame) -> Chart | None:
    def bar(row: Any) -> Bar:
        label = "5 times or more" if row.times == 5 else f"{row.times} times"
        return Bar(label, row.customers_and_products, f"{row.customers_and_products:,}")

    bars = tuple(map(bar, rows[rows.times > 1].itertuples()))
    return Bars("pairs of a customer and a product", bars) if bars else None


AGES = {
    "under_1_year": ("under 1 year", "star5"),
    "from_1_to_5_years": ("1 to 5 years", "star4"),
    "from_5_to_10_years": ("5 to 10 years", "star2"),
    "over_10_years": ("over 10 years", "star1"),
    "undated": ("no date", "star3"),
}


def _stale(rows: pd.DataFrame) -> str:
    dated = rows[rows.years_behind.notna()]
    if dated.empty:
        return "No review has a date, so nothing can be said of its age."
    newest = rows.newest_review.max()
    counts = rows[list(AGES)].sum()
    old = counts.over_10_years / (counts.sum() - counts.undated)
    said = f"Of the dated reviews {percent(old)} are over ten years older than the newest, which is of {_day(newest)}."
    ended = [readable(category) for category in dated[dated.years_behind >= 5].product_category]
    if ended:
        said += f" {listed(ended)} {'has' if len(ended) == 1 else 'have'} no review of the last five years."
    if counts.undated:
        said += f" {percent(counts.undated / counts.sum())} of all reviews have no date."
    return said


def _stale_chart(rows: pd.DataFrame) -> Chart:
    def stack(row: Any) -> StackRow:
        text = "no date" if pd.isna(row.newest_review) else f"{row.newest_review:%Y}"
        return StackRow(readable(row.product_category), tuple(getattr(row, age) / row.reviews for age in AGES), text)

    unit = "share of a category's reviews by age; at the end the year of the newest"
    return Stacked(unit, tuple(AGES.values()), tuple(map(stack, rows.itertuples())))


MOST_REVIEWED = Question(
    "most_reviewed_categories", "Which categories have the most reviews?", _most_reviewed, _most_reviewed_chart
)
FIRST_REVIEW = Question(
    "first_review_dates",
    "When was each category first reviewed?",
    _first_review,
    _first_review_chart,
    "No review has a date.",
)
REPEAT_REVIEWERS = Question(
    "repeat_reviewers",
    "Who reviews one product again and again?",
    _repeat_reviewers,
    _repeat_reviewers_chart,
    "No review says both who wrote it and of which product.",
)
STALE = Question("stale_categories", "What is stale?", _stale, _stale_chart)
