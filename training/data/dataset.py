"""The data set that ingest writes and everything after it reads: typed reviews in Parquet, quarantine beside them.

    <folder>/reviews/product_category=<category>/<source>-<n>.parquet     rows of REVIEW_SCHEMA, zstd
    <folder>/quarantine/<source>-<n>.parquet                              rows of QUARANTINE_SCHEMA
    <folder>/reviews_tsv/<source>.tsv.gz                                  as TSV, where somebody wants it
    <folder>/facts.json                                                   counts, sources, provenance: the data card

The columns are contract 1's (contracts/review.py), typed as the Athena table types them, and where each row came from.
Of them `star_rating`, `review_body`, `review_id`, `product_category`, `source` and `row` are never null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts.data_set import PARTITION as PARTITION
from contracts.data_set import REVIEWS as REVIEWS
from contracts.errors import DataError
from training.running.folder import FACTS, read_facts

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from pyspark.sql import DataFrame, SparkSession

REVIEWS_TSV = "reviews_tsv"
QUARANTINE = "quarantine"
UNKNOWN_CATEGORY = "unknown"
"""The partition of reviews whose source says no category. The model sees none."""

MADE_ID = r"H[0-9a-f]{20}"
"""A review_id that ingest has made of the text, as a regular expression."""

REVIEW_SCHEMA = pa.schema(
    [
        ("marketplace", pa.string()),
        ("customer_id", pa.string()),
        pa.field("review_id", pa.string(), nullable=False),  # made of the text where the source has none
        ("product_id", pa.string()),
        ("product_parent", pa.string()),
        ("product_title", pa.string()),
        pa.field("star_rating", pa.int8(), nullable=False),  # 1 to 5
        ("helpful_votes", pa.int32()),
        ("total_votes", pa.int32()),
        ("vine", pa.string()),  # Y or N
        ("verified_purchase", pa.string()),  # Y or N
        ("review_headline", pa.string()),
        pa.field("review_body", pa.string(), nullable=False),  # as the source has it: contracts/review.py cleans
        ("review_date", pa.date32()),
        pa.field("source", pa.string(), nullable=False),  # the file's name
        pa.field("row", pa.int64(), nullable=False),  # 1 is the first record after the header
        pa.field(PARTITION, pa.string(), nullable=False),  # in the folder's name, not in the files
    ]
)

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("line", pa.binary(), nullable=False),  # the record as it lay in the source
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
    ]
)


def read_card(folder: Path) -> dict[str, Any]:
    """A data set's facts. Raises DataError for one that is not finished."""
    if not (folder / FACTS).is_file():
        raise DataError(
            f"{folder} is being filled, or something has ended that: run stars data fetch once more, with --to {folder}"
        )
    return read_facts(folder)


def published(source: Mapping[str, Any]) -> dict[str, Any]:
    """What a release says of a source: where it came from, unless that is a folder of this machine."""
    told = {name: source[name] for name in ("file", "sha256", "rows", "bytes", "licence", "downloaded")}
    return told | {"url": source["location"] if "://" in source["location"] else ""}


def open_reviews(folder: Path) -> ds.Dataset:
    """The reviews of a data set, in whatever pieces. Raises DataError where there is none."""
    import pyarrow.dataset as ds  # it loads pandas

    reviews = folder / REVIEWS
    if not reviews.is_dir():
        raise DataError(f"{folder} is no data set: make one with stars data fetch SOURCE --to {folder}")
    partitioning = ds.partitioning(pa.schema([REVIEW_SCHEMA.field(PARTITION)]), flavor="hive")
    return ds.dataset(reviews, schema=REVIEW_SCHEMA, partitioning=partitioning, format="parquet")


def open_quarantine(folder: Path) -> ds.Dataset:
    """What was put aside while a data set was made."""
    import pyarrow.dataset as ds

    return ds.dataset(folder / QUARANTINE, schema=QUARANTINE_SCHEMA, format="parquet")


def read_reviews(spark: SparkSession, folder: Path) -> DataFrame:
    """The same for Spark."""
    from pyspark.sql.pandas.types import from_arrow_schema

    # Without a schema Spark would take a category such as 2014 for a number.
    return spark.read.schema(from_arrow_schema(REVIEW_SCHEMA)).parquet(str(folder / REVIEWS))


def count_stars(folder: Path) -> dict[str, Counter[int]]:
    """How many reviews have each star, by category. Raises DataError where there is no data set."""
    counts: dict[str, Counter[int]] = {}
    for batch in open_reviews(folder).to_batches(columns=[PARTITION, "star_rating"]):
        pairs = zip(batch[PARTITION].to_pylist(), batch["star_rating"].to_pylist(), strict=True)
        for (category, star), count in Counter(pairs).items():
            counts.setdefault(category, Counter())[star] += count
    return dict(sorted(counts.items()))
