"""Reviews to splits with Spark: map each, put the bad ones aside, drop duplicates, balance, write Parquet.

What a review becomes is decided by `rows`, so the result does not depend on how Spark cuts the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts.errors import DataError
from contracts.review import STARS
from contracts.stages import PrepareConfig
from contracts.tokens import ReviewEncoder
from training.data.neighbours import keep_together
from training.data.rows import MAPPED_SCHEMA, REVIEW_COLUMNS, prepare_reviews
from training.data.splits import SPLIT_SCHEMA, SPLITS
from training.running.reporting import Reporter

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROWS_PER_TASK = 5000


def map_reviews(reviews: DataFrame, count: int, tokenizer: Path, config: PrepareConfig) -> DataFrame:
    """The `count` reviews of a data set as rows of `MAPPED_SCHEMA`."""
    from pyspark import SparkFiles
    from pyspark.sql.pandas.types import from_arrow_schema

    name = tokenizer.name
    context = reviews.sparkSession.sparkContext
    context.addFile(str(tokenizer))

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = ReviewEncoder(Path(SparkFiles.get(name)), config.token_limit, config.truncation)
        for batch in batches:
            yield pa.RecordBatch.from_pylist(prepare_reviews(batch.to_pylist(), encoder, config), schema=MAPPED_SCHEMA)

    # Files may be few and large, so their rows are spread before the work begins; each task costs a Python worker.
    tasks = max(1, min(4 * context.defaultParallelism, count // ROWS_PER_TASK))
    return reviews.select(*REVIEW_COLUMNS).repartition(tasks).mapInArrow(rows, from_arrow_schema(MAPPED_SCHEMA))


def flag_duplicates(mapped: DataFrame) -> DataFrame:
    """Rows of `MAPPED_SCHEMA`; of good ones that share an id or a text all but the first get a reason."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    bad = f.size("reasons") > 0
    # Bad rows have no id and no text. With one key for all of them one task would get them all, so each is spread by
    # where it came from; and a key that no good row has keeps it from making one a duplicate.
    mapped = mapped.withColumn("apart", f.when(bad, f.xxhash64("source", "row")))
    # Of rows that are alike in both it is the same one that stays, in whatever files they lie.
    said = f.xxhash64("star_rating", "product_category", "first", "second")

    def flag(rows: DataFrame, key: str, order: str, reason: str) -> DataFrame:
        window = Window.partitionBy(key, "apart").orderBy(bad, order, said, "source", "row")
        again = ~bad & (f.row_number().over(window) > 1)
        return rows.withColumn("reasons", f.when(again, f.array(f.lit(reason))).otherwise(f.col("reasons")))

    rows = flag(flag(mapped, "review_id", "text_key", "duplicate_review_id"), "text_key", "review_id", "duplicate_text")
    return rows.drop("apart")


def write_splits(
    mapped: DataFrame, config: PrepareConfig, outputs: Path, report: Reporter
) -> tuple[int, dict[str, Any]]:
    """Write a Parquet folder per split, and the quarantine. Returns how many reviews came out, and the facts.

    Raises DataError when no row is good, or when a star is missing from a split.
    """
    from pyspark import StorageLevel
    from pyspark.sql import functions as f

    bad = f.size("reasons") > 0
    rows = flag_duplicates(mapped).persist(StorageLevel.MEMORY_AND_DISK)
    quarantined, reasons = _write_quarantine(rows.filter(bad), outputs / "quarantine")
    report.progress(0.7, f"{quarantined:,} rows to the quarantine")
    kept = rows.filter(~bad)
    facts: dict[str, Any] = {}
    if config.near_duplicates:
        kept, near = keep_together(kept, config.likeness)
        facts["near_duplicates"] = near
        report.progress(0.75, f"{near['rows']:,} near-duplicates in {near['groups']:,} groups")
    available = {
        (row["split"], row["star_rating"]): row["count"]
        for row in kept.groupBy("split", "star_rating").count().collect()
    }
    if not available:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        raise DataError(f"all {quarantined} rows are bad ({listed}): see {outputs / 'quarantine'}")
    splits: dict[str, dict[str, Any]] = {}
    for at, split in enumerate(SPLITS):
        counts = {star: available.get((split, star), 0) for star in STARS}
        if absent := [str(star) for star, count in counts.items() if count == 0]:
            raise DataError(
                f"the {split} split has no review with {' or '.join(absent)} stars: bring more data of that rating"
            )
        of_split = kept.filter(f.col("split") == split)
        stars = _write_split(of_split, split, most_of_each_star(split, counts, config), outputs)
        splits[split] = {"rows": sum(stars.values()), "stars": stars, "available": sum(counts.values())}
        report.progress(0.8 + 0.06 * (at + 1), f"{split}: {splits[split]['rows']:,} rows")
    facts |= {"put_aside": quarantined, "put_aside_reasons": reasons, "splits": splits}
    return sum(available.values()) + quarantined, facts


def most_of_each_star(split: str, counts: Mapping[int, int], config: PrepareConfig) -> dict[int, int]:
    """How many rows of each star a split may hold.

    In train by the rarest star's count and `max_ratio`, and with `limit` equally many of each. Validation and test
    hold the stars as customers give them, with `limit` fewer of each in proportion.
    """
    share = {"validation": config.validation_fraction, "test": config.test_fraction}
    wanted = config.limit and config.limit * share.get(split, 1 - sum(share.values()))
    if split == "train":
        most = min(counts.values()) * config.max_ratio
        return dict.fromkeys(counts, max(1, int(min(most, wanted / len(STARS) if wanted else most))))
    kept = min(1.0, wanted / sum(counts.values())) if wanted else 1.0
    return {star: max(1, round(count * kept)) for star, count in counts.items()}


def _write_quarantine(bad: DataFrame, folder: Path) -> tuple[int, dict[str, int]]:
    """How many reviews are in it, and how many have each reason."""
    from pyspark.sql import functions as f

    counted = bad.select(f.explode("reasons").alias("reason")).groupBy("reason").count().collect()
    quarantine = bad.select("source", "row", "reasons")
    rows = quarantine.count()
    quarantine.coalesce(1).write.mode("overwrite").parquet(str(folder))
    return rows, {row["reason"]: row["count"] for row in counted}


def _write_split(rows: DataFrame, split: str, most: Mapping[int, int], outputs: Path) -> dict[str, int]:
    """Write of each star at most so many rows, chosen by the hash of their ids. Returns how many of each there are."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    salted = f.xxhash64(f.lit("balance"), "review_id")
    window = Window.partitionBy("star_rating").orderBy(salted, "review_id")
    ranked = rows.withColumn("rank", f.row_number().over(window))
    of_star = f.create_map(*(f.lit(each) for pair in most.items() for each in pair))
    chosen = ranked.filter(f.col("rank") <= of_star[f.col("star_rating")]).select(*SPLIT_SCHEMA.names)
    files = 1 if split != "train" else 4
    ordered = chosen.repartition(files, "review_id").sortWithinPartitions(f.xxhash64("review_id"), "review_id")
    ordered.write.mode("overwrite").parquet(str(outputs / split))
    written = chosen.groupBy("star_rating").count().collect()
    return {str(row["star_rating"]): row["count"] for row in sorted(written, key=lambda row: int(row["star_rating"]))}
