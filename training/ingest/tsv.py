"""A data set as TSV beside its Parquet, as Athena's external table reads it: no quotes, one review a line, gzip.

    <folder>/reviews_tsv/<source>.tsv.gz     a header, then the columns of contract 1

A tab or a line end in a value becomes a blank, since nothing else can stand for it there. Empty is null.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from contracts.review import TSV_COLUMNS
from training.data.dataset import PARTITION, REVIEW_SCHEMA, REVIEWS, REVIEWS_TSV
from training.ingest.card import finished
from training.ingest.sources import prefix
from training.running.reporting import Reporter

ROWS = 4096
_ENDS = re.compile(r"[\t\n\r]+")
_KEY = ".key"
"""What a file was made of stands in a file beside it, which Athena and DuckDB pass over."""


def write_tsv(folder: Path, report: Reporter) -> None:
    """Bring the TSV of a data set up to date: what is new is written, what has changed is written anew."""
    place = folder / REVIEWS_TSV
    place.mkdir(exist_ok=True)
    sources = finished(folder)
    for number, (name, entry) in enumerate(sorted(sources.items())):
        file, key = place / f"{prefix(name)}.tsv.gz", folder / ".ingest" / REVIEWS_TSV / f"{prefix(name)}{_KEY}"
        if file.is_file() and key.is_file() and key.read_text(encoding="utf-8") == entry["key"]:
            continue
        report.progress(number / len(sources), f"{name} as TSV")
        key.parent.mkdir(parents=True, exist_ok=True)
        partial = key.with_suffix(".partial")
        with gzip.open(partial, "wt", compresslevel=6, encoding="utf-8", newline="") as lines:
            lines.write("\t".join(TSV_COLUMNS) + "\n")
            for row in _rows(folder, prefix(name)):
                lines.write("\t".join(map(_cell, row)) + "\n")
        partial.replace(file)
        key.write_text(entry["key"], encoding="utf-8")


def _rows(folder: Path, begin: str) -> Iterator[tuple[Any, ...]]:
    """The reviews of one source, a category after the other."""
    own = re.compile(rf"{re.escape(begin)}-\d+-\d+\.parquet")
    files = sorted(str(file) for file in folder.glob(f"{REVIEWS}/*/*.parquet") if own.fullmatch(file.name))
    if not files:
        return
    partitioning = ds.partitioning(pa.schema([REVIEW_SCHEMA.field(PARTITION)]), flavor="hive")
    dataset = ds.dataset(files, schema=REVIEW_SCHEMA, partitioning=partitioning, format="parquet")
    for batch in dataset.to_batches(columns=list(TSV_COLUMNS), batch_size=ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _cell(value: Any) -> str:
    return "" if value is None else _ENDS.sub(" ", str(value))
