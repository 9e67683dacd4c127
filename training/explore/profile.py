"""What is in the columns of a data set, found by DuckDB in bounded memory: no value of a review's text is among it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from contracts.errors import DataError
from training.data.dataset import REVIEW_SCHEMA
from training.explore.lake import open_lake


@dataclass(frozen=True)
class Column:
    """One column: how many rows have a value, about how many different ones, and what lies between which bounds."""

    name: str
    kind: str
    filled: int
    distinct: int
    """To about two in a hundred: HyperLogLog."""
    shortest: int | None = None
    """In characters; None where the values are no text."""
    mean: float | None = None
    """The mean length, or the mean of numbers."""
    longest: int | None = None
    lowest: str | None = None
    """Of numbers and dates."""
    highest: str | None = None


def profile(folder: Path) -> tuple[int, list[Column]]:
    """The rows of a data set and its columns. Raises DataError where there is none, or it cannot be read."""
    asked = ", ".join(part for field in REVIEW_SCHEMA for part in _asked(field))
    with open_lake(folder) as lake:
        try:
            [(rows, *rest)] = lake.execute(f"SELECT count(*), {asked} FROM reviews").fetchall()  # noqa: S608
        except duckdb.Error as error:
            raise DataError(f"{folder} cannot be read, a file in it is damaged: make it anew") from error
    values = iter(rest)
    return int(rows), [_column(field, [next(values) for _ in _asked(field)]) for field in REVIEW_SCHEMA]


def _asked(field: pa.Field) -> list[str]:
    name = f'"{field.name}"'
    always = [f"count({name})", f"approx_count_distinct({name})"]
    if pa.types.is_string(field.type):
        return [*always, f"min(length({name}))", f"avg(length({name}))", f"max(length({name}))"]
    mean = [] if pa.types.is_date(field.type) else [f"avg({name})"]
    return [*always, f"min({name})", f"max({name})", *mean]


def _column(field: pa.Field, values: list[Any]) -> Column:
    filled, distinct, *rest = values
    distinct = min(distinct, filled)
    if pa.types.is_string(field.type):
        shortest, mean, longest = rest
        return Column(field.name, "text", filled, distinct, shortest, mean, longest)
    kind = "date" if pa.types.is_date(field.type) else "number"
    lowest, highest = (None if value is None else str(value) for value in rest[:2])
    return Column(
        field.name, kind, filled, distinct, mean=rest[2] if rest[2:] else None, lowest=lowest, highest=highest
    )
