"""The rows of a query as a table for a person, or as CSV or JSON for a program."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN = 100
"""Rows that a table shows. CSV and JSON have all."""
CELL = 300
"""Characters of a cell that a table shows."""
NARROWEST = 11
"""Characters of a terminal that a column needs to be read."""


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO) -> None:
    """A header and a line a row; what is null is empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO) -> None:
    """One array with an object a row, each on a line. Dates are text; what is no finite number is null.

    A name that an earlier column has too gets the column's number.
    """
    separator = "["
    names = [name if name not in columns[:at] else f"{name}_{at}" for at, name in enumerate(columns)]
    for row in rows:
        record = {
            name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
            for name, cell in zip(names, row, strict=True)
        }
        out.write(f"{separator}\n{json.dumps(record, ensure_ascii=False, default=_plain)}")
        separator = ","
    out.write("[]\n" if separator == "[" else "\n]\n")


def _plain(value: Any) -> float | str:
    return float(value) if isinstance(value, Decimal) else str(value)


def write_table(columns: Sequence[str], rows: Iterator[Sequence[Any]], console: Console) -> bool:
    """The first rows, numbers to the right; many columns under each other. Answers whether there are more rows."""
    first = list(islice(rows, SHOWN))
    if len(columns) * NARROWEST > console.width:
        table = Table("column", "value")
        for row in first:
            for name, value in zip(columns, row, strict=True):
                table.add_row(escape(name), _cell(value))
            table.add_section()
    else:
        table = Table()
        for at, name in enumerate(columns):
            numbers = any(isinstance(row[at], int | float) and not isinstance(row[at], bool) for row in first)
            table.add_column(escape(name), justify="right" if numbers else "left", overflow="fold")
        for row in first:
            table.add_row(*map(_cell, row))
    console.print(table)
    return next(rows, None) is not None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
    # What a review holds must not command the terminal.
    text = "".join(character if character.isprintable() else " " for character in text)
    return escape(text if len(text) <= CELL else f"{text[: CELL - 1]}…")
