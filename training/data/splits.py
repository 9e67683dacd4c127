"""A split of a finished prepare stage, as a table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DataError

SPLITS = ("train", "validation", "test")

SPLIT_SCHEMA = pa.schema(
    [
        ("review_id", pa.string()),
        ("product_category", pa.string()),
        ("star_rating", pa.int8()),
        ("input_ids", pa.list_(pa.int32())),
        ("second_start", pa.int16()),
        ("truncated", pa.bool_()),
        ("body_words", pa.int32()),
        ("first", pa.string()),
        ("second", pa.string()),
    ]
)
"""One row of a split. The clean segments stay beside the ids for the TF-IDF baseline."""


def read_split(prepare: Path, split: str, columns: list[str] | None = None) -> pa.Table:
    """One split in its stored order. Raises DataError when it is not there, or holds no row."""
    try:
        table = pq.read_table(prepare / split, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"no readable {split} split in {prepare}: run prepare first ({error})") from error
    if len(table) == 0:
        raise DataError(f"the {split} split in {prepare} is empty: prepare more data")
    return table
