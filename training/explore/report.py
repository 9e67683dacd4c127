"""All answers about a data set as one HTML page that needs nothing else: `stars data explore`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_float_dtype, is_integer_dtype

from contracts.errors import DataError
from training.explore.charts import counted
from training.explore.lake import ask, open_lake
from training.explore.question import Question
from training.explore.questions import DRAWN, QUESTIONS, drawable
from training.pages.page import write_page
from training.pages.words import percent

PAGE = Path(__file__).with_name("page")
LISTED = 500
"""Rows of an answer that its table has room for."""
OVERVIEW = """
SELECT count(*) AS reviews, count(DISTINCT product_category) AS categories, avg(star_rating) AS stars,
    count(DISTINCT product_id) AS products, count(DISTINCT customer_id) AS customers,
    min(review_date) AS first_date, max(review_date) AS last_date
FROM reviews
"""


@dataclass(frozen=True)
class ReportColumn:
    """A column of a table: what stands over it, and whether it is set to the right."""

    label: str
    numeric: bool


def write_report(lake: Path, out: Path, title: str, progress: Callable[[float, str], None]) -> None:
    """Answer all questions and write the page. `progress` hears the share that is done and what is asked next.

    Raises DataError where there is no review, and MachineError when there is no room for the page.
    """
    answers = []
    with open_lake(lake) as connection:
        overview = ask(connection, OVERVIEW).iloc[0]
        if not overview.reviews:
            raise DataError(f"{lake} holds no review: fill it with stars data fetch SOURCE --to {lake}")
        for number, question in enumerate(QUESTIONS.values()):
            progress(number / len(QUESTIONS), question.title)
            rows = ask(connection, question.sql)
            answers.append(_answered(question, rows, drawable(connection, rows)))
    write_page(
        out,
        PAGE / "report.html.j2",
        style=PAGE / "report.css",
        over="Reviews and their stars",
        title=title,
        tiles=_tiles(overview),
        reviews=counted(overview.reviews, "review"),
        answers=answers,
        duckdb=duckdb.__version__,
    )
    progress(1.0, "")


def _answered(question: Question, rows: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, Any]:
    """What the page shows of a question."""
    empty, shown = rows.empty, rows.head(LISTED)
    return {
        "name": question.name,
        "title": question.title,
        "sql": question.sql,
        "finding": question.nothing if empty else question.finding(rows),
        "chart": None if empty else question.chart(drawn),
        "left_out": f"the {DRAWN} largest of {rows.product_category.nunique():,} categories"
        if len(drawn) < len(rows)
        else "",
        "told": ("" if len(shown) == len(rows) else f"the first {LISTED} of ") + counted(len(rows), "row"),
        "columns": [ReportColumn(str(name).replace("_", " "), _numeric(rows[name])) for name in rows],
        "rows": [[_cell(*cell) for cell in zip(rows, row, strict=True)] for row in shown.itertuples(index=False)],
    }


def _numeric(column: Any) -> bool:
    return bool(is_integer_dtype(column) or is_float_dtype(column) or is_datetime64_any_dtype(column))


def _cell(name: str, value: Any) -> str:
    """A value as a person reads it; a year is no number of something."""
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return percent(value) if name.endswith("share") else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and name != "review_year" else str(value)


def _tiles(overview: Any) -> list[tuple[str, str, str]]:
    tiles = {
        "reviews": f"{overview.reviews:,}",
        "categories": f"{overview.categories:,}",
        "average stars": f"{overview.stars:.2f}",
        "products": f"{overview.products:,}" if overview.products else "not said",
        "customers": f"{overview.customers:,}" if overview.customers else "not said",
        "years": "not said",
    }
    if not pd.isna(overview.first_date):
        years = sorted({f"{overview.first_date:%Y}", f"{overview.last_date:%Y}"})
        tiles["years"] = "\N{EN DASH}".join(years)
    return [(label, value, "") for label, value in tiles.items()]
