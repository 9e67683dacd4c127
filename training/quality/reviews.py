"""The rows that are measured: a data set's reviews without their texts, and what ingest put aside."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import DataError
from contracts.review import LONGEST_STAR_NAME, STAR_NAME
from training.data.dataset import MADE_ID, QUARANTINE, QUARANTINE_SCHEMA, REVIEW_SCHEMA, REVIEWS, read_reviews
from training.quality.analysis import DEFAULT_HEADLINE, GIVEN_ID, TEXT_KEY, TEXTS, MetricName

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EXAMPLES = 5
"""Rows that are named for what is wrong."""
_BLANKS = "".join(filter(str.isspace, map(chr, range(sys.maxunicode))))

Row = Mapping[str, Any]
"""Where a row came from: {"source", "row"}."""


def read_frame(spark: SparkSession, folder: Path) -> DataFrame:
    """The reviews of a data set, a length in characters in each text's place. No engine can show what it never had.

    Raises DataError where there is no data set.
    """
    from pyspark.sql import functions as f

    if not (folder / REVIEWS).is_dir():
        raise DataError(f"{folder} is no data set: make one with stars data fetch SOURCE --to {folder}")
    kept = [f.col(name) for name in REVIEW_SCHEMA.names if name not in TEXTS]
    # Not by a regular expression, which takes a minute over a hundred thousand blanks inside a text.
    lengths = [f.length(f.btrim(f.col(text), f.lit(_BLANKS))).alias(text) for text in TEXTS]
    given = f.when(~f.col("review_id").rlike(f"^{MADE_ID}$"), f.col("review_id"))
    said = f.lower(f.regexp_replace(f.concat_ws("\n", "review_headline", "review_body"), r"[^\p{L}\p{N}]+", " "))
    # In Java and before it is cleaned, for which Spark would have to ask Python row by row. (?U): \w is Python's.
    star = f.rlike("review_headline", f.lit(rf"(?iU)\A(?:{STAR_NAME.pattern})\z"))
    default = f.coalesce((f.length("review_headline") <= LONGEST_STAR_NAME) & star, f.lit(False))
    return read_reviews(spark, folder).select(
        *kept, *lengths, given.alias(GIVEN_ID), f.xxhash64(said).alias(TEXT_KEY), default.alias(DEFAULT_HEADLINE)
    )


def examples_of(frame: DataFrame, broken: str) -> tuple[int, list[Row]]:
    """How many rows satisfy a condition, and where the first of them came from."""
    rows = frame.filter(broken)
    return rows.count(), _first(rows)


def examples_of_repeated(frame: DataFrame, column: str) -> tuple[int, list[Row]]:
    """How many rows have a value that an earlier row has already, and where the first of them came from."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    again = f.row_number().over(Window.partitionBy(column).orderBy("source", "row")) > 1
    rows = frame.dropna(subset=[column]).select("source", "row", again.alias("again")).filter("again")
    return rows.count(), _first(rows)


def _first(rows: DataFrame) -> list[Row]:
    found = rows.select("source", "row").orderBy("source", "row").limit(EXAMPLES).collect()
    return [row.asDict() for row in found]


def read_quarantine(spark: SparkSession, folder: Path, size: float) -> tuple[dict[MetricName, float], dict[str, Any]]:
    """The rows that ingest put aside, as shares of all `size` + quarantined rows, and by reason how many and which.

    The second is {reason: {"rows", "examples"}}, with "*" for all of them. A row may have several reasons.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    if not (folder / QUARANTINE).is_dir():
        return {MetricName("Quarantined"): 0.0}, {}
    rows = spark.read.schema(from_arrow_schema(QUARANTINE_SCHEMA)).parquet(str(folder / QUARANTINE))
    spread = rows.select("source", "row", f.explode(f.array_union(f.array(f.lit("*")), "reasons")).alias("reason"))
    counts = {row["reason"]: row["count"] for row in spread.groupBy("reason").count().collect()}
    found = {
        reason: {"rows": count, "examples": _first(spread.filter(f.col("reason") == reason))}
        for reason, count in sorted(counts.items())
    }
    total = size + counts.get("*", 0)
    shares = {MetricName("Quarantined", "*", reason.strip("*")): count / total for reason, count in counts.items()}
    return {MetricName("Quarantined"): 0.0} | shares, found
