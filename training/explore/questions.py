"""The sixteen questions in the order of the report, and their answers as data frames."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd

from contracts.errors import ConfigError
from training.explore import coverage, helpfulness, ratings, texts
from training.explore.lake import ask, open_lake
from training.explore.question import Question

ORIGINAL = (
    ratings.BEST_RATED,
    coverage.MOST_REVIEWED,
    coverage.FIRST_REVIEW,
    ratings.STAR_BREAKDOWN,
    ratings.REVIEWS_PER_STAR,
    ratings.RATINGS_OVER_TIME,
    helpfulness.HELPFUL_STARS,
    helpfulness.HELPFUL_PRODUCTS,
    ratings.POSITIVE_TO_NEGATIVE,
    coverage.REPEAT_REVIEWERS,
    texts.LENGTHS,
)
"""What was asked of these data from the beginning."""

FURTHER = (texts.HEADLINES, texts.LANGUAGES, texts.DUPLICATES, texts.WORDS, coverage.STALE)

QUESTIONS: dict[str, Question] = {question.name: question for question in ORIGINAL + FURTHER}

DRAWN = 40
"""Categories that a chart has room for: the largest."""
LARGEST = "SELECT product_category FROM reviews GROUP BY product_category ORDER BY count(*) DESC, product_category"


def question(name: str) -> Question:
    """Raises ConfigError for a name that none has."""
    if name not in QUESTIONS:
        raise ConfigError(f"there is no question {name!r}: ask one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def answer(lake: Path | str, name: str) -> pd.DataFrame:
    """The rows that answer a question of a data set. Raises DataError where there is none."""
    asked = question(name)
    with open_lake(Path(lake)) as connection:
        return ask(connection, asked.sql)


def drawable(lake: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> pd.DataFrame:
    """Of an answer the rows that a chart has room for."""
    if "product_category" not in rows or rows.product_category.nunique() <= DRAWN:
        return rows
    largest = ask(lake, LARGEST).product_category.head(DRAWN)
    return rows[rows.product_category.isin(largest)].reset_index(drop=True)
