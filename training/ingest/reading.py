"""A source's records one after the other: its lines, its CSV rows, its JSON objects, its Parquet rows."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DataError, ReviewError
from contracts.isolation import alone
from contracts.stages import LayoutName
from training.ingest.layouts import COLUMNS, LAYOUTS, Layout, mapped_layout
from training.ingest.opening import LINE_BYTES, Blocks, lines
from training.ingest.row import ReviewRow, Rules, review_row
from training.ingest.stars import Scale

HEADER_LINE = "header_line"
"""The reason against a header that is not the first line: files were put together by cat."""
TOO_LONG = "too_long"
"""The reason against a line of LINE_BYTES and more, and against a quote that ends nowhere."""
PARQUET_ROWS = 4096
MOST_LINES = 1 << 20
"""In one CSV row."""

_BOM = b"\xef\xbb\xbf"


class RawRecord(NamedTuple):
    """One record: its number, from 1 after the header, its bytes, and its values or every reason why it has none."""

    row: int
    raw: bytes
    values: Mapping[str, Any] | list[str]


@dataclass(frozen=True)
class Reading:
    """How a source is read: all that is decided before its first record. It can be sent to another process."""

    kind: Literal["tsv", "csv", "json", "parquet"]
    columns: tuple[str, ...]
    """The names in its header, in their order; for JSON those of its first objects."""
    layout: LayoutName
    named: tuple[tuple[str, str], ...] = ()
    """Which of its columns is which, where the layout is `columns`."""
    delimiter: str = "\t"
    scale: Scale = "5"
    category: str = ""

    @property
    def known(self) -> Layout:
        if self.layout == COLUMNS:
            return mapped_layout(dict(self.named))
        [layout] = [layout for layout in LAYOUTS if layout.name == self.layout]
        return layout

    @property
    def rules(self) -> Rules:
        return Rules(self.scale, self.category, self.known.needs_id and "review_id" in self.columns)


class Read(NamedTuple):
    """A record as the data set takes it: a row of it, or the record's bytes and the reasons why it is none."""

    row: int
    raw: bytes
    review: ReviewRow | list[str]


def read_rows(reading: Reading, records: Iterator[RawRecord]) -> Iterator[Read]:
    """Every record as a row or as reasons. Where our own code fails over one, that is its reason."""
    layout, rules = reading.known, reading.rules

    def made(values: Mapping[str, Any]) -> ReviewRow | list[str]:
        return review_row(layout.fields(values), rules)

    for row, raw, values in records:
        found = values if isinstance(values, list) else alone(made, values)
        yield Read(row, raw, [found.kind] if isinstance(found, ReviewError) else found)


def text_records(reading: Reading, blocks: Blocks, first_row: int = 0) -> Iterator[RawRecord]:
    """The records of a text, or of a part of it whose first line is not the file's: its number is `first_row` then."""
    if reading.kind == "csv":
        return csv_records(lines(blocks), reading.columns, reading.delimiter)
    numbered = enumerate(lines(blocks), first_row or (1 if reading.kind == "json" else 0))
    if reading.kind == "json":
        return (RawRecord(row, line, _json_values(line)) for row, line in numbered if line.strip())
    header = reading.delimiter.join(reading.columns).encode()
    return (RawRecord(row, line, _cells(line, reading.columns, header)) for row, line in numbered if row > 0 and line)


def bare(line: bytes) -> bytes:
    """A line without the byte order mark and the carriage return that editors put around a header."""
    return line.rstrip(b"\r").removeprefix(_BOM)


def _cells(line: bytes, columns: Sequence[str], header: bytes) -> dict[str, str] | list[str]:
    """A line without quoting: cells and tabs, as the Amazon files have it."""
    if len(line) >= LINE_BYTES:
        return [TOO_LONG]
    text = line.decode("utf-8", "replace")
    cells = text.rstrip("\r").split("\t")
    if len(cells) != len(columns):
        reasons = ["nul_byte"] if "\x00" in text else []
        reasons += ["invalid_utf8"] if "\ufffd" in text else []
        return [*reasons, "too_few_columns" if len(cells) < len(columns) else "too_many_columns"]
    if cells[-1] == columns[-1] and bare(line) == header:
        return [HEADER_LINE]
    return dict(zip(columns, cells, strict=True))


def csv_records(from_lines: Iterator[bytes], columns: Sequence[str], delimiter: str) -> Iterator[RawRecord]:
    """Rows with quoting, in which a value may hold line ends. The first is the header, whose names `columns` are."""
    taken: list[bytes] = []

    def texts() -> Iterator[str]:
        size = 0
        for line in from_lines:
            size = len(line) + 1 + (size if taken else 0)
            taken.append(line)
            if size > 2 * LINE_BYTES or len(taken) > MOST_LINES:
                raise csv.Error  # a row of quoted line ends would go on for ever
            yield line.decode("utf-8", "replace") + "\n"

    csv.field_size_limit(LINE_BYTES)
    rows = csv.reader(texts(), delimiter=delimiter)
    number, more = -1, True
    while more:
        taken.clear()
        cells: list[str] | None = None
        try:
            cells = next(rows, None)
        except csv.Error:  # a field or a row that is longer than any review
            cells = [""]
            values: dict[str, str] | list[str] = [TOO_LONG]
        else:
            values = _csv_values(cells or [], columns, taken)
        more = cells is not None
        if cells:
            number += 1
        if cells and number > 0:
            yield RawRecord(number, b"\n".join(taken), values)


def _csv_values(cells: list[str], columns: Sequence[str], taken: list[bytes]) -> dict[str, str] | list[str]:
    if len(taken) > 1 and sum(line.count(b'"') for line in taken) % 2:
        return ["unclosed_quote"]
    if len(cells) != len(columns):
        return ["too_few_columns" if len(cells) < len(columns) else "too_many_columns"]
    if cells == list(columns):
        return [HEADER_LINE]
    return dict(zip(columns, cells, strict=True))


def _json_values(line: bytes) -> dict[str, Any] | list[str]:
    if len(line) >= LINE_BYTES:
        return [TOO_LONG]
    text = line.removeprefix(_BOM).decode("utf-8", "replace")
    try:
        # The first McAuley files are no JSON: each line is a dictionary as Python writes it.
        values = ast.literal_eval(text.strip()) if text.lstrip().startswith("{'") else json.loads(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ["bad_json"]
    return values if isinstance(values, dict) else ["bad_json"]


def parquet_records(path: Path, columns: Sequence[str] | None = None) -> Iterator[RawRecord]:
    """The rows of a Parquet file. Raises DataError for one that is damaged."""
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(PARQUET_ROWS, columns=columns):
                for values in batch.to_pylist():
                    row += 1
                    yield RawRecord(row, b"", values)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is cut short or damaged, or no Parquet file: copy it again") from error
