"""A part of a source as Parquet files: the one function that does the work, in whatever process it is called."""

from __future__ import annotations

import re
import shutil
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DataError, GateError, MachineError
from contracts.review import STARS
from training.data.dataset import PARTITION, QUARANTINE, QUARANTINE_SCHEMA, REVIEW_SCHEMA, REVIEWS
from training.ingest.opening import opened
from training.ingest.reading import Read, Reading, parquet_records, read_rows, text_records
from training.ingest.row import ReviewRow
from training.ingest.sources import Cut

BUFFER_BYTES = 64 << 20
"""What waits to be written."""
ROW_BYTES = 1000
"""What Python needs for a row besides its text."""
OPEN_FILES = 256
MOST_CATEGORIES = 10_000
KEPT_LINE = 64 << 10
"""Bytes of a bad record that the quarantine keeps."""
TOLD_EVERY = 2000
FREE_BYTES = 256 << 20
"""Ingest ends before the disk is full: what runs on this machine besides needs some."""

_STORED = pa.schema([each for each in REVIEW_SCHEMA if each.name != PARTITION])
# What Hive, Spark, DuckDB and Arrow all read back from a folder's name.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{}\[\]^]")


@dataclass(frozen=True)
class Part:
    """A part of a source, and where what comes of it goes. It can be sent to another process."""

    path: str
    source: str
    reading: Reading
    cut: Cut
    folder: str
    prefix: str
    """Its files are called so, with a number behind it."""


@dataclass
class PartFacts:
    """What became of a part's records. rows = reviews + quarantined."""

    rows: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    categories: dict[str, list[int]] = field(default_factory=dict)
    """How many reviews of each category have 1 to 5 stars."""

    @property
    def reviews(self) -> int:
        return sum(map(sum, self.categories.values()))

    def add(self, other: PartFacts) -> None:
        self.rows += other.rows
        self.quarantined += other.quarantined
        self.reasons = dict(sorted((Counter(self.reasons) + Counter(other.reasons)).items()))
        for category, stars in other.categories.items():
            before = self.categories.setdefault(category, [0] * len(STARS))
            self.categories[category] = [a + b for a, b in zip(before, stars, strict=True)]


def ingest_part(part: Part, progress: Callable[[int, int], None]) -> PartFacts:
    """Read a part and write its reviews and its quarantine. `progress` is told how many bytes and rows are done.

    It writes into part.folder only, over what an interrupted run has left there. Raises DataError for a source that is
    damaged, MachineError when the disk is nearly full.
    """
    facts, writer = PartFacts(), _Writer(part)
    with writer, opened(Path(part.path), part.cut.start, part.cut.end) as blocks:
        parquet = part.reading.kind == "parquet"
        records = (
            parquet_records(Path(part.path)) if parquet else text_records(part.reading, blocks, part.cut.first_row)
        )
        reasons: Counter[str] = Counter()
        for row, raw, review in read_rows(part.reading, records):
            facts.rows += 1
            if isinstance(review, ReviewRow):
                stars = facts.categories.setdefault(review.product_category, [0] * len(STARS))
                stars[review.star_rating - 1] += 1
                writer.keep(row, review)
            else:
                facts.quarantined += 1
                reasons.update(review)
                writer.put_aside(row, raw, review)
            if facts.rows % TOLD_EVERY == 0:
                progress(blocks.position - part.cut.start, facts.rows)
        progress(blocks.position - part.cut.start, facts.rows)
    facts.reasons = dict(sorted(reasons.items()))
    if facts.rows != facts.reviews + facts.quarantined or facts.rows != writer.written:
        raise GateError(
            f"{facts.rows} rows of {part.source} went in and {writer.written} came out: report this as a bug"
        )
    return facts


def folder_name(category: str) -> str:
    """A category's partition."""
    return f"{PARTITION}={_ESCAPED.sub(lambda found: f'%{ord(found[0]):02X}', category)}"


class _Writer:
    """Rows by category into Parquet files, with so much in memory and so many files open and no more."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._waiting: dict[str, list[tuple[object, ...]]] = {}
        self._aside: list[tuple[object, ...]] = []
        self._categories: set[str] = set()
        self._files: OrderedDict[str, pq.ParquetWriter] = OrderedDict()
        self._opened: Counter[str] = Counter()
        self._bytes = 0
        self.written = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            while self._files:
                self._files.popitem()[1].close()

    def keep(self, row: int, review: ReviewRow) -> None:
        category = review.product_category
        self._categories.add(category)
        if len(self._categories) > MOST_CATEGORIES:
            raise DataError(
                f"{self._part.source} names more than {MOST_CATEGORIES:,} categories: name another column as "
                "category, or none"
            )
        self._waiting.setdefault(category, []).append((*review[:-1], self._part.source, row))
        self._weigh(len(review.review_body))

    def put_aside(self, row: int, raw: bytes, reasons: list[str]) -> None:
        self._aside.append((self._part.source, row, raw[:KEPT_LINE], reasons))
        self._weigh(min(len(raw), KEPT_LINE))

    def _weigh(self, text: int) -> None:
        self._bytes += text + ROW_BYTES
        if self._bytes >= BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        folder = Path(self._part.folder)
        if shutil.disk_usage(folder).free < FREE_BYTES:
            raise MachineError(f"the disk of {folder} is nearly full: free some space, then run it again: it goes on")
        for category, rows in self._waiting.items():
            self._write(f"{REVIEWS}/{folder_name(category)}", _STORED, rows)
        if self._aside:
            self._write(QUARANTINE, QUARANTINE_SCHEMA, self._aside)
        self._waiting, self._aside, self._bytes = {}, [], 0

    def _write(self, place: str, schema: pa.Schema, rows: list[tuple[object, ...]]) -> None:
        columns = [pa.array(values, each.type) for values, each in zip(zip(*rows, strict=True), schema, strict=True)]
        writer = self._files.pop(place, None) or self._open(place, schema)
        self._files[place] = writer
        writer.write_table(pa.table(columns, schema=schema))
        self.written += len(rows)

    def _open(self, place: str, schema: pa.Schema) -> pq.ParquetWriter:
        if len(self._files) >= OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        folder = Path(self._part.folder, place)
        folder.mkdir(parents=True, exist_ok=True)
        number = self._opened[place]
        self._opened[place] += 1
        return pq.ParquetWriter(folder / f"{self._part.prefix}-{number}.parquet", schema, compression="zstd")


def rows_of(reading: Reading, path: Path) -> Iterator[Read]:
    """All rows of a source, in this process and in no file."""
    with opened(path) as blocks:
        yield from read_rows(
            reading, parquet_records(path) if reading.kind == "parquet" else text_records(reading, blocks)
        )
