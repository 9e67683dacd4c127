"""The SQL is Athena's as well as DuckDB's: sqlglot reads it as Athena does, and translates it to hold both together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from training.data.dataset import PARTITION, REVIEW_SCHEMA
from training.explore.lake import SQL, open_lake, select

TYPES = {"string": "VARCHAR", "int8": "TINYINT", "int32": "INT", "int64": "BIGINT", "date32[day]": "DATE"}


def statement(table: str, engine: str) -> exp.Expression:
    """One statement that makes a table, understood to the last word."""
    parsed = sqlglot.parse_one((SQL / "tables" / f"{table}.{engine}.sql").read_text(encoding="utf-8"), dialect=engine)
    assert isinstance(parsed, exp.Create)
    assert not list(parsed.find_all(exp.Command, exp.Anonymous))
    return parsed


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_lake(folder) as lake:
        return list(select(lake, sql)[1])


def test_both_external_tables_have_the_same_columns_of_the_same_types(examples_lake: Path) -> None:
    """Athena's are those of the statement, DuckDB's those that it says."""
    columns = statement("reviews_tsv", "athena").find_all(exp.ColumnDef)
    athena = [(each.name, each.kind.sql("duckdb").replace("TEXT", "VARCHAR")) for each in columns if each.kind]
    described = rows(examples_lake, "DESCRIBE reviews_tsv")
    assert [(name, kind.replace("INTEGER", "INT")) for name, kind, *_ in described] == athena


def test_both_tables_of_reviews_have_the_columns_of_a_data_set_in_their_order(examples_lake: Path) -> None:
    """Only ingest knows which file and row a review came from."""
    ours = [(each.name, TYPES[str(each.type)]) for each in REVIEW_SCHEMA]
    described = [(name, kind.replace("INTEGER", "INT")) for name, kind, *_ in rows(examples_lake, "DESCRIBE reviews")]
    assert sorted(described) == sorted(ours)
    names = [each.alias_or_name for each in statement("reviews", "athena").expression.selects]
    assert names == [name for name, _ in described if name not in ("source", "row")]
    assert names[-1] == PARTITION, "Athena wants the partition last"


def test_what_athena_puts_into_reviews_is_what_ingest_does_but_for_rows_that_only_ingest_refuses(
    examples_lake: Path,
) -> None:
    made = statement("reviews", "athena").expression
    athena = Counter(rows(examples_lake, made.sql("duckdb")))
    ours = Counter(rows(examples_lake, made.select().from_("reviews").where("true", append=False).sql("duckdb")))
    assert not ours - athena
    headlines = [dict(zip(made.named_selects, each, strict=True))["review_headline"] for each in athena - ours]
    assert sorted(headlines) == [
        "Decent recorder",  # a NUL byte in its text
        "Great for date night",  # cells too many
        "Not sure yet",  # a text of blanks
    ]
