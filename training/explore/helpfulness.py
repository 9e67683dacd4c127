"""Questions about the votes that readers gave to reviews."""

from __future__ import annotations

from typing import Any

import pandas as pd

from contracts.review import clean
from training.explore.charts import Bar, Bars, Chart, counted
from training.explore.question import Question
from training.explore.ratings import star_bar
from training.pages.words import percent

TITLE = 80
"""Characters of a product's title that are shown."""


def _helpful_stars(rows: pd.DataFrame) -> str:
    most, agreed = rows.iloc[rows.helpful_votes_per_review.argmax()], rows.iloc[rows.helpful_share.argmax()]
    said = (
        f"Of the reviews that were voted on, those with {counted(most.star_rating, 'star')} got the most helpful "
        f"votes, {most.helpful_votes_per_review:.1f} each."
    )
    if len(rows) == 1:
        return said
    return (
        f"{said} Readers agree most with those of {counted(agreed.star_rating, 'star')}: "
        f"{percent(agreed.helpful_share)} of their votes say helpful."
    )


def _helpful_stars_chart(rows: pd.DataFrame) -> Chart:
    def bar(row: Any) -> Bar:
        text = f"{row.helpful_votes_per_review:.1f}, {100 * row.helpful_share:.0f} %"
        return star_bar(row, row.helpful_votes_per_review, text)

    return Bars("helpful votes a review, and their share of all votes", tuple(map(bar, rows.itertuples())))


def _helpful_products(rows: pd.DataFrame) -> str:
    words = (rows.average_words * rows.helpful_reviews).sum() / rows.helpful_reviews.sum()
    everywhere = rows.average_words_of_all[0]
    return (
        f"Readers found the reviews of {_title(rows.iloc[0])} most helpful, with "
        f"{counted(rows.helpful_votes[0], 'helpful vote')}. Helpful reviews of the {counted(len(rows), 'product')} "
        f"listed here have {words:.0f} words on average, all helpful ones {everywhere:.0f}."
    )


def _title(row: Any) -> str:
    title = clean(row.product_title) if isinstance(row.product_title, str) else f"product {row.product}"
    return title if len(title) <= TITLE else title[: TITLE - 1].rstrip() + "…"


def _helpful_products_chart(rows: pd.DataFrame) -> Chart:
    def bar(row: Any) -> Bar:
        text = f"{row.helpful_votes:,} votes, {counted(row.average_words, 'word')}"
        return Bar(_title(row), row.helpful_votes, text)

    return Bars("helpful votes, and average words of the reviews", tuple(map(bar, rows.itertuples())), long_labels=True)


NO_VOTES = "No review got a helpful vote."
HELPFUL_STARS = Question(
    "most_helpful_stars", "Which stars are found most helpful?", _helpful_stars, _helpful_stars_chart, NO_VOTES
)
HELPFUL_PRODUCTS = Question(
    "most_helpful_products",
    "Which products have the most helpful reviews, and how long are these?",
    _helpful_products,
    _helpful_products_chart,
    NO_VOTES,
)
