"""A data set as tables in DuckDB, the stand-in for Athena on a laptop. Nothing can be written through it.

`reviews` is the Parquet, `reviews_tsv` the TSV beside it where there is one. The statements that make them lie in
sql/tables, each beside the one that makes the same table in Athena.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from contracts.errors import ConfigError, DataError, MachineError
from training.data.dataset import REVIEW_SCHEMA, REVIEWS, REVIEWS_TSV
from training.running.interrupt import ended_by

if TYPE_CHECKING:
    import pandas as pd

SQL = Path(__file__).with_name("sql")
MEMORY = "1GB"

_TABLES = (REVIEWS, REVIEWS_TSV)


@contextmanager
def open_lake(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows the tables of this data set and no other file. Raises DataError where there is none."""
    if not (folder / REVIEWS).is_dir():
        raise DataError(f"{folder} is no data set: make one with stars data fetch SOURCE --to {folder}")
    if not any((folder / REVIEWS).glob("*/*.parquet")):
        raise DataError(f"{folder} holds no review: fill it with stars data fetch SOURCE --to {folder}")
    place = str(folder.absolute())
    with tempfile.TemporaryDirectory(prefix="stars-sql-") as scratch, duckdb.connect() as lake:
        # A pattern is compared with the allowed folders as it stands, so a folder with a * in its name is named twice.
        folders = [f"{path}/{table}" for path in (place, escape(place)) for table in _TABLES]
        links = [str(path.resolve()) for path in (folder / REVIEWS_TSV).glob("*")]
        for setting in (
            f"memory_limit = '{MEMORY}'",
            f"temp_directory = {_quoted(scratch)}",  # for what is larger than that
            f"allowed_directories = [{', '.join(map(_quoted, folders))}]",
            f"allowed_paths = [{', '.join(map(_quoted, links))}]",
            "python_enable_replacements = false",  # else a name in SQL finds this program's variables
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            lake.execute(f"SET {setting}")
        tables = ["functions", REVIEWS]
        if any((folder / REVIEWS_TSV).glob("*")):
            tables.append(REVIEWS_TSV)
        try:
            for table in tables:
                sql = (SQL / "tables" / f"{table}.duckdb.sql").read_text(encoding="utf-8")
                lake.execute(sql.replace("'LAKE/", _quoted(f"{escape(place)}/")[:-1]))
        except duckdb.Error as error:
            raise DataError(f"{folder} cannot be read as a data set: {_said(error)}") from error
        with ended_by(lake.interrupt):
            yield lake


def select(lake: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and rows of one statement that asks; the rows are found as they are taken.

    Raises ConfigError for any other statement, and for what does not run, and MachineError when that takes more memory
    and disk than there is; both also while the rows are taken.
    """
    with _explained():
        # DuckDB keeps to its allowed folders in writing too, and a SELECT may begin WITH x AS (COPY … TO …). But in
        # query() it takes one SELECT and no such beginning, which it knows at the top of a statement only.
        lake.execute("EXPLAIN FROM query(?)", [sql])
        lake.execute(sql)
    return [str(column[0]) for column in lake.description or ()], _rows(lake)


def ask(lake: duckdb.DuckDBPyConnection, sql: str) -> pd.DataFrame:
    """The rows of a question of ours. Raises as `select` does."""
    with _explained():
        return lake.execute(sql).df()


def _rows(lake: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    with _explained():
        while batch := lake.fetchmany(1000):
            yield from batch


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise MachineError(
            f"this SQL needs more than {MEMORY} of memory, or more disk than {tempfile.gettempdir()} has: free some "
            "space there, or ask for less"
        ) from error
    except duckdb.ConversionException as error:  # whose words quote the cell, which may be a review
        raise ConfigError("this SQL does not run: a cell cannot be cast; TRY_CAST makes null of it") from error
    except duckdb.IOException as error:
        raise DataError(f"the data set cannot be read: {_said(error)}") from error
    except duckdb.Error as error:
        raise ConfigError(f"this SQL does not run: {_said(error)}") from error


def _said(error: duckdb.Error) -> str:
    """DuckDB's words in one line, without its picture of the SQL."""
    text = re.sub(r"^[A-Z]\w+( \w+)* Error: ", "", str(error).split("\n\n")[0])
    text = " ".join(text.partition("\tCandidate functions:")[0].split())
    if "Expected a single SELECT statement" in text or "must be at the top level" in text:
        return "it must be one statement that asks, such as SELECT count(*) FROM reviews, and nothing can be written"
    if f"Table with name {REVIEWS_TSV} does not exist" in text:
        return f"this data set has no TSV: add it with stars data fetch --tsv, or ask {REVIEWS}"
    if text.startswith("Table with name"):
        return f"{text.partition('!')[0]}: the tables are {REVIEWS} and, where there is TSV, {REVIEWS_TSV}"
    if unknown := re.search(r'does not have a column named "(\w+)"', text):
        nearest = difflib.get_close_matches(unknown[1].lower(), REVIEW_SCHEMA.names, 1)
        return f"there is no column {unknown[1]}" + (f": the nearest is {nearest[0]}" if nearest else "")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
