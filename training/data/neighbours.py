"""Near-duplicates on one side of the split: the same review under another id or category, lightly edited.

Spark finds texts that share a band of their MinHash (training/data/shingles.py), compares those pairs exactly, and
makes groups of what hangs together. spark.ml's MinHashLSH has no bands: each of its hashes alone makes candidates, so
texts that share "this is a" and nothing else meet too. Of 97,565 reviews that is 6.3 million pairs instead of 2,500.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from training.data.shingles import BANDS, bands, likeness, shingles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LOOK_BACK = 20
"""Each text of a bucket is compared with so many before it: thousands of one template are chained, not squared."""
TEXTS_AT_ONCE = 200
"""Bounds the memory of a Python worker, whatever the length of the texts."""


def keep_together(rows: DataFrame, threshold: float) -> tuple[DataFrame, dict[str, int]]:
    """Rows with `text_key`, `split` and `second`; each `split` becomes that of the group that its text is in.

    Texts whose bodies share `threshold` of their shingles or more are of one group, and so is whatever either of them
    is alike to. A group goes where the text with the smallest hash in it goes; whatever is in none stays where it is.
    Give it rows that are persisted and of different `text_key`. The session needs a checkpoint folder. Also returns the
    counts: groups, the rows in them, the largest, the pairs that would have been on two sides, the rows that moved.
    """
    from pyspark import StorageLevel
    from pyspark.sql import functions as f

    texts = rows.select(f.xxhash64("text_key").alias("id"), "split", "second")
    pairs = _pairs(texts, threshold).persist(StorageLevel.MEMORY_AND_DISK)
    members = _members(pairs).persist(StorageLevel.MEMORY_AND_DISK)
    moves = f.sum((f.col("split") != f.col("of_group")).cast("long")).alias("moved")
    by_group = members.groupBy("group").agg(f.count("*").alias("rows"), moves)
    counted = by_group.agg(f.count("*"), f.sum("rows"), f.max("rows"), f.sum("moved")).first()
    groups, grouped, largest, moved = ((each or 0) for each in counted or (0, 0, 0, 0))
    crossing = pairs.filter(f.col("split") != f.col("other_split")).count()
    of_group = members.select("id", "of_group")
    together = (
        rows.join(of_group, f.xxhash64("text_key") == f.col("id"), "left")
        .withColumn("split", f.coalesce("of_group", "split"))
        .select(*rows.columns)
    )
    return together, {
        "groups": groups,
        "rows": grouped,
        "largest": largest,
        "pairs_on_two_sides": crossing,
        "rows_moved": moved,
    }


def _pairs(texts: DataFrame, threshold: float) -> DataFrame:
    """(id, other, split, other_split) of texts that are alike, `id` being the smaller."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    def keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in _slices(batches):
            some, found = bands(shingles(batch.column(1).to_pylist()))
            ids = batch.column(0).to_numpy()[some]
            yield pa.RecordBatch.from_arrays([pa.array(np.repeat(ids, BANDS)), pa.array(found.ravel())], ["id", "band"])

    def alike(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in _slices(batches):
            ones, others = (shingles(batch.column(at).to_pylist()) for at in (2, 5))
            found = [likeness(one, other) >= threshold for one, other in zip(ones, others, strict=True)]
            yield batch.filter(pa.array(found)).select(["id", "other", "split", "other_split"])

    bucket = Window.partitionBy("band").orderBy("id").rowsBetween(-LOOK_BACK, -1)
    candidates = (
        texts.select("id", "second")
        .mapInArrow(keys, "id long, band long")
        .withColumn("before", f.collect_list("id").over(bucket))
        .select(f.explode("before").alias("id"), f.col("id").alias("other"))
        .distinct()
    )
    others = texts.toDF("other", "other_split", "other_second")
    compared = candidates.join(texts, "id").join(others, "other")
    compared = compared.select("id", "split", "second", "other", "other_split", "other_second")
    return compared.mapInArrow(alike, "id long, other long, split string, other_split string")


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, TEXTS_AT_ONCE):
            yield batch.slice(start, TEXTS_AT_ONCE)


def _members(pairs: DataFrame) -> DataFrame:
    """(id, split, group, of_group): the least id that each one hangs together with, and the split of that one.

    Labels are passed on along pairs, then labels of labels, until none changes: a chain of n takes about log n rounds.
    """
    from pyspark.sql import functions as f

    other = pairs.select(f.col("other").alias("id"), f.col("id").alias("other"), f.col("other_split").alias("split"))
    both = pairs.select("id", "other", "split").union(other)
    splits = both.select("id", "split").distinct()
    labels = splits.select("id", f.col("id").alias("group"))
    changed = 1
    while changed:
        passed = both.join(labels.toDF("other", "passed"), "other").groupBy("id").agg(f.min("passed").alias("passed"))
        lower = labels.join(passed, "id").withColumn("next", f.least("group", "passed"))
        further = lower.select(f.col("id").alias("next"), f.col("next").alias("further"))
        new = lower.join(further, "next").select("id", f.least("next", "further").alias("new"), "group").checkpoint()
        changed = new.filter(f.col("new") < f.col("group")).count()
        labels = new.select("id", f.col("new").alias("group"))
    of_group = splits.toDF("group", "of_group")
    return labels.join(splits, "id").join(of_group, "group").select("id", "split", "group", "of_group")
