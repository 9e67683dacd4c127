"""Small data sets, good and with planted faults, as ingest leaves them: training/data/dataset.py."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.data.dataset import PARTITION, QUARANTINE, QUARANTINE_SCHEMA, REVIEW_SCHEMA, REVIEWS

SECRET = "confidential"
"""A word in every text of these data sets: no report may hold it."""
STAR_NAMES = (
    "Five Stars",
    "★★★",
    "4/5",
    " 3 out of 5 stars!",
    "ONE STAR.",
    "_two_stars_",
    "⭐️⭐️",
    "4.5 stars rating",
    "Starfish",
)
"""Headlines that only name the star, and at the end one that does not."""
CATEGORIES = ("Books", "Gift_Card", "Video|Games")


def review(number: int, **changes: Any) -> dict[str, Any]:
    """A good review, unlike all others. Row numbers begin with 1; stars go round."""
    made: dict[str, Any] = {
        "marketplace": "US" if number % 3 else None,
        "customer_id": ["10", "2.5", "true", "Ann", None, "-7", "1e5"][number % 7],
        "review_id": f"R{number}",
        "product_id": f"B{number % 10}",
        "product_parent": f"{number % 9}",
        "product_title": f"A {SECRET} thing",
        "star_rating": number % 5 + 1,
        "helpful_votes": number % 4,
        "total_votes": number % 4 + number % 3 if number % 11 else None,
        "vine": "N",
        "verified_purchase": "Y" if number % 2 else "N",
        "review_headline": f"{SECRET} {number}" if number % 6 else STAR_NAMES[number // 6 % len(STAR_NAMES)],
        "review_body": f"What is {SECRET} number {number} worth? " + "Much. " * (number % 13),
        "review_date": datetime.date(2015, 1, 1) + datetime.timedelta(days=number),
        "source": "reviews.tsv",
        "row": number,
        PARTITION: CATEGORIES[number % 3],
    }
    return made | changes


def write_lake(
    folder: Path, reviews: Sequence[dict[str, Any]], quarantined: Sequence[tuple[int, list[str]]] = ()
) -> Path:
    """A data set of these reviews, and of row numbers and reasons in quarantine."""
    (folder / REVIEWS).mkdir(parents=True)
    # Planted faults may be null where the schema allows none.
    schema = pa.schema([pa.field(field.name, field.type) for field in REVIEW_SCHEMA if field.name != PARTITION])
    for category in sorted({each[PARTITION] for each in reviews}):
        part = folder / REVIEWS / f"{PARTITION}={category}"
        part.mkdir()
        rows = [each for each in reviews if each[PARTITION] == category]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), part / "reviews-0.parquet")
    if quarantined:
        (folder / QUARANTINE).mkdir()
        rows = [
            {"source": "reviews.tsv", "row": row, "line": SECRET.encode(), "reasons": reasons}
            for row, reasons in quarantined
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), folder / QUARANTINE / "reviews-0.parquet")
    return folder


def good(folder: Path) -> Path:
    """400 reviews and a single bad row: what the default rules let pass."""
    return write_lake(folder, [review(n) for n in range(1, 401)], [(401, ["empty_body"])])


def faulty(folder: Path) -> Path:
    """Every fault that rows can have, each in rows of its own; nobody gives 2 stars."""
    rows = [review(n) for n in range(1, 401) if n % 5 != 1]

    def plant(numbers: range, change: Callable[[int], dict[str, Any]]) -> None:
        for at, each in enumerate(rows):
            if each["row"] in numbers:
                rows[at] = each | change(each["row"])

    plant(range(10, 20), lambda _: {"star_rating": 7})
    plant(range(20, 30), lambda _: {"review_id": None})
    plant(range(30, 130), lambda n: {"review_id": f"R{n // 20}"})
    plant(range(130, 140), lambda _: {"review_body": " \u00a0\t"})
    plant(range(140, 150), lambda _: {"marketplace": "Mars"})
    plant(range(150, 160), lambda _: {"review_date": datetime.date(2090, 1, 1)})
    plant(range(160, 300), lambda _: {"review_headline": "Just so", "review_body": "Same again, SAME again!"})
    plant(range(300, 400), lambda n: {"review_headline": ["Five Stars", "★", "1 star"][n % 3]})
    bad = [(1000 + n, ["empty_body"] if n % 2 else ["bad_star_rating", "invalid_utf8"]) for n in range(200)]
    return write_lake(folder, rows, bad)


def one_category(folder: Path) -> Path:
    """All of one category, one star and one number of votes: correlations are not defined."""
    return write_lake(folder, [review(n, **{PARTITION: "Books"}, star_rating=5, total_votes=1) for n in range(1, 101)])


def empty(folder: Path) -> Path:
    """A data set without a review, as when every row was bad."""
    return write_lake(folder, [], [(1, ["empty_body"])])
