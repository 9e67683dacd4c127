"""Questions about the stars: by category, over the years, good against bad."""

from __future__ import annotations

from typing import Any

import pandas as pd

from training.explore.charts import (
    STARS,
    Bar,
    Bars,
    Chart,
    Line,
    Lines,
    Stacked,
    StackRow,
    counted,
    listed,
    readable,
)
from training.explore.question import Question
from training.pages.words import percent

ENOUGH = 30
"""Reviews from which on an average is compared with others in a sentence. Charts show all of them."""


def _best_rated(rows: pd.DataFrame) -> str:
    if len(rows) == 1:
        only = readable(rows.product_category[0])
        return f"The only category, {only}, has {rows.average_stars[0]:.2f} stars on average."
    ranked = rows[rows.reviews >= ENOUGH]
    if len(ranked) < 2:
        return f"No two categories have {ENOUGH} reviews, which it takes to compare their averages."
    best, worst = ranked.iloc[0], ranked.iloc[-1]
    said = (
        f"{readable(best.product_category)} is rated best, with {best.average_stars:.2f} stars on average, and "
        f"{readable(worst.product_category)} worst, with {worst.average_stars:.2f}."
    )
    chance = best.average_stars - best.margin < worst.average_stars + worst.margin
    return f"{said} Their intervals overlap: it may be chance." if chance else said


def _best_rated_chart(rows: pd.DataFrame) -> Chart:
    def bar(row: Any) -> Bar:
        known = not pd.isna(row.margin)
        low, high = (row.average_stars - row.margin, row.average_stars + row.margin) if known else (None, None)
        return Bar(readable(row.product_category), row.average_stars, f"{row.average_stars:.2f}", low=low, high=high)

    return Bars("average stars, with 95 % intervals", tuple(map(bar, rows.itertuples())), 1, 5, dots=True)


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a category, a column a star; the best categories first."""
    table = rows.pivot(index="product_category", columns="star_rating", values="share")
    table = table.reindex(columns=range(1, 6)).fillna(0.0)
    return table.loc[(table * range(1, 6)).sum(axis=1).sort_values(ascending=False).index]


def _star_breakdown(rows: pd.DataFrame) -> str:
    shares = _shares(rows)
    most = shares.idxmax(axis=1).value_counts()
    said = f"The most frequent rating is {counted(most.index[0], 'star')}"
    if len(shares) == 1:
        return f"{said}, in {percent(shares.max(axis=None))} of the reviews."
    stars = shares.columns.to_numpy()
    spread = ((shares * stars**2).sum(axis=1) - (shares * stars).sum(axis=1) ** 2).clip(lower=0) ** 0.5
    return (
        f"{said} in {most.iloc[0]} of {len(shares)} categories. Opinions differ most in {readable(spread.idxmax())}, "
        f"where the standard deviation is {spread.max():.2f} stars, and least in {readable(spread.idxmin())}, with "
        f"{spread.min():.2f}."
    )


def _star_breakdown_chart(rows: pd.DataFrame) -> Chart:
    stacks = (StackRow(readable(str(name)), tuple(row), percent(row[5])) for name, row in _shares(rows).iterrows())
    return Stacked("share of a category's reviews; at the end that of 5 stars", STARS, tuple(stacks))


def _reviews_per_star(rows: pd.DataFrame) -> str:
    ordered = rows.sort_values("reviews", ascending=False)
    most, least = ordered.iloc[0], ordered.iloc[-1]
    said = f"{percent(most.share)} of all reviews give {counted(most.star_rating, 'star')}"
    if len(rows) == 1:
        return f"{said}: no model can learn from them what another star is."
    times = most.reviews / least.reviews
    as_many = f"{times:.1f} times as many as" if times >= 1.05 else "hardly more than" if times > 1 else "as many as"
    return f"{said}, {as_many} give {counted(least.star_rating, 'star')}, the rarest."


def _reviews_per_star_chart(rows: pd.DataFrame) -> Chart:
    return Bars("reviews", tuple(star_bar(row, row.reviews, f"{row.reviews:,}") for row in rows.itertuples()))


def star_bar(row: Any, value: float, text: str) -> Bar:
    """A bar in the colour of its star."""
    return Bar(counted(row.star_rating, "star"), value, text, f"star{row.star_rating}")


def _over_time(rows: pd.DataFrame) -> str:
    changes = []
    for category, years in rows[rows.reviews >= ENOUGH].groupby("product_category"):
        first, last = years.iloc[0], years.iloc[-1]
        course = (
            f"from {first.average_stars:.1f} in {first.review_year} to {last.average_stars:.1f} in {last.review_year}"
        )
        if len(years) > 1:
            changes.append((last.average_stars - first.average_stars, readable(str(category)), course))
    if not changes:
        return f"No category has two years with {ENOUGH} reviews, which it takes to speak of a change."
    most = " most" if len(changes) > 1 else ""
    rise, fall = max(changes), min(changes)
    told = [f"{rise[1]} rose{most}, {rise[2]}"] if rise[0] > 0 else []
    told += [f"{fall[1]} fell{most}, {fall[2]}"] if fall[0] < 0 else []
    said = "; ".join(told) or "no average changed"
    return f"Between their first and their last year with {ENOUGH} reviews, {said}."


def _over_time_chart(rows: pd.DataFrame) -> Chart:
    def line(category: str, years: pd.DataFrame) -> Line:
        points = tuple(zip(years.review_year.astype(float), years.average_stars, strict=True))
        return Line(readable(category), points, f"{years.average_stars.iloc[-1]:.1f} in {years.review_year.iloc[-1]}")

    lines = tuple(line(str(category), years) for category, years in rows.groupby("product_category"))
    return Lines("average stars a year", lines, 1, 5)


def _positive_to_negative(rows: pd.DataFrame) -> str:
    positive, negative = rows.positive.sum(), rows.negative.sum()
    if not negative:
        return f"All {counted(positive, 'review')} have 4 or 5 stars: there is no negative one."
    said = f"There are {positive / negative:.2f} positive reviews (4 and 5 stars) for each negative one (1 to 3 stars)."
    worse = [readable(category) for category in rows[rows.negative > rows.positive].product_category]
    return f"{said} The negative ones prevail in {listed(worse)}." if worse and len(rows) > 1 else said


def _positive_to_negative_chart(rows: pd.DataFrame) -> Chart:
    def stack(row: Any) -> StackRow:
        whole = row.positive + row.negative
        text = f"{row.ratio:.1f} : 1" if row.negative else "no negative"
        return StackRow(readable(row.product_category), (row.negative / whole, row.positive / whole), text)

    parts = (("negative, 1 to 3 stars", "star1"), ("positive, 4 and 5 stars", "star5"))
    unit = "share of a category's reviews; at the end positive ones for each negative one"
    return Stacked(unit, parts, tuple(map(stack, rows.itertuples())))


BEST_RATED = Question("best_rated_categories", "Which categories are rated best?", _best_rated, _best_rated_chart)
STAR_BREAKDOWN = Question(
    "star_breakdown", "How are the stars of each category spread?", _star_breakdown, _star_breakdown_chart
)
REVIEWS_PER_STAR = Question(
    "reviews_per_star", "How many reviews has each star?", _reviews_per_star, _reviews_per_star_chart
)
RATINGS_OVER_TIME = Question(
    "ratings_over_time",
    "How did the ratings change over the years?",
    _over_time,
    _over_time_chart,
    "No category has five dated reviews in one year.",
)
POSITIVE_TO_NEGATIVE = Question(
    "positive_to_negative",
    "How many positive reviews are there for each negative one?",
    _positive_to_negative,
    _positive_to_negative_chart,
)
