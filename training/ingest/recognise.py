"""What a file is: its kind, its columns, its layout and its scale, told from its beginning."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.ingest.layouts import COLUMNS, layout_of
from training.ingest.opening import BLOCK, opened
from training.ingest.reading import RawRecord, Reading, bare, parquet_records, text_records
from training.ingest.stars import Scale, guess_scale

LOOKED_AT = 1000
"""Records that tell a JSON file's columns and a source's scale."""
MOST_DAMAGED = 5
MOST_DAMAGED_SHARE = 0.05
"""Of the lines that are looked at. A file of which more are no UTF-8 is in another encoding."""

_DELIMITERS = "\t,;|"
# Digital_Music_5.json.gz, reviews_Digital_Music.json.gz, Gift_Cards.jsonl: as McAuley's files are called.
_CATEGORY = re.compile(r"(?:reviews_)?([A-Z][A-Za-z]*(?:_[A-Za-z]+)*?)(?:_5)?\.jsonl?(?:\.gz|\.zst)?")


def recognise(path: Path, config: IngestConfig) -> Reading:
    """How a file of reviews is to be read. Raises DataError for one that is no such file, with what it looks like."""
    with opened(path) as blocks:
        start = blocks.read(BLOCK)
    if start.startswith(b"PAR1"):
        try:
            columns = tuple(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path.name} is cut short or damaged: copy it again") from error
        return _decided(path, Reading("parquet", columns, COLUMNS), config)
    _refuse(path.name, start)
    _refuse_encoding(path.name, start.split(b"\n")[:-1])
    if bare(start).lstrip().startswith(b"{"):
        found = Reading("json", (), COLUMNS)
        with opened(path) as blocks:
            names = _names(text_records(found, blocks))
        if not names:
            raise DataError(f"{path.name} holds no JSON object a line: bring JSON lines, one review a line")
        return _decided(path, Reading("json", tuple(names), COLUMNS), config)
    return _decided(path, _delimited(path.name, start.split(b"\n")[0]), config)


def _names(records: Iterator[RawRecord]) -> dict[str, None]:
    """What the first JSON objects name, in the order in which they do."""
    names: dict[str, None] = {}
    for record in islice(records, LOOKED_AT):
        if isinstance(record.values, dict):
            names |= dict.fromkeys(record.values)
    return names


def _refuse(name: str, start: bytes) -> None:
    """Raises DataError for what can be told to be no reviews."""
    text = bare(start).lstrip()
    if not text:
        raise DataError(f"{name} is empty: copy it again")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or 3 * start[:200].count(b"\x00") > len(start[:200]):
        raise DataError(f"{name} is UTF-16: make it UTF-8, for example with iconv -f UTF-16 -t UTF-8")
    if text.startswith(b"<"):
        said = re.search(rb"\b(?:401|403|404|429|50[0-4])\b|AccessDenied", text[:5000])
        what = f", which says {said[0].decode()}" if said else ""
        raise DataError(f"{name} is a web page{what}, and no reviews: download it again")
    if text.startswith(b"["):
        raise DataError(f"{name} is one JSON list: make a line of each review, for example with jq -c '.[]'")


def _refuse_encoding(name: str, first: Sequence[bytes]) -> None:
    """Raises DataError for another encoding than UTF-8; a few damaged lines are put aside, and no reason for that."""
    bad = sum("\ufffd" in line.decode("utf-8", "replace") for line in first)
    if bad > MOST_DAMAGED and bad > MOST_DAMAGED_SHARE * len(first):
        raise DataError(
            f"{name} is not UTF-8, {bad} of its first {len(first)} lines are not: make it UTF-8, for example with "
            "iconv -f WINDOWS-1252 -t UTF-8"
        )


def _delimited(name: str, first: bytes) -> Reading:
    """By the header: tabs without quotes, as Amazon writes them, else the delimiter that it has most of."""
    header = bare(first).decode("utf-8", "replace")
    if "\t" in header and '"' not in header:
        found = Reading("tsv", tuple(header.split("\t")), COLUMNS)
    else:
        delimiter = max(_DELIMITERS, key=header.count)
        columns = tuple(next(csv.reader([header], delimiter=delimiter), []))
        found = Reading("csv", columns, COLUMNS, delimiter=delimiter)
    if twice := next((column for column in found.columns if found.columns.count(column) > 1), None):
        raise DataError(f"the first line of {name} names the column {twice[:30]} twice: give each its own name")
    return found


def _decided(path: Path, found: Reading, config: IngestConfig) -> Reading:
    layout, named = layout_of(path.name, found.columns, config.layout, config.columns)
    reading = replace(found, layout=layout, named=tuple(sorted(named.items())))
    category = config.category
    if not category and reading.known.category_in_name and (told := _CATEGORY.fullmatch(path.name)):
        category = told[1]
    if config.scale != "auto":
        scale: Scale = config.scale
    elif layout == COLUMNS:
        scale = guess_scale(_ratings(path, reading))
    else:
        scale = reading.known.scale
    return replace(reading, category=category, scale=scale)


def _ratings(path: Path, reading: Reading) -> Iterator[Any]:
    """The first ratings, as the source has them."""
    with opened(path) as blocks:
        records = parquet_records(path) if reading.kind == "parquet" else text_records(reading, blocks)
        for record in islice(records, LOOKED_AT):
            if not isinstance(record.values, list):
                yield reading.known.fields(record.values).get("star_rating")
