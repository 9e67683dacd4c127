"""The SQL is Athena's as well as DuckDB's: sqlglot reads it as Athena does, and translates it to hold both together."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from training.data.dataset import PARTITION, REVIEW_SCHEMA
from training.explore.lake import SQL, open_lake, select
from training.explore.questions import QUESTIONS

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


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_means_the_same_in_athena(examples_lake: Path, name: str) -> None:
    """Read as Athena reads it and translated by sqlglot, it has the answer that DuckDB gives to it as it stands."""
    asked = sqlglot.parse(QUESTIONS[name].sql, dialect="athena")
    assert len(asked) == 1 and isinstance(asked[0], exp.Select)
    assert not list(asked[0].find_all(exp.Command, exp.Anonymous)), "a function that Athena may not have"
    translated = asked[0].sql("duckdb")
    for function in MACROS[1:]:  # the translation means DuckDB's own, not ours of that name
        translated = re.sub(rf"\b{function}\(", f"system.main.{function}(", translated, flags=re.IGNORECASE)
    assert rounded(rows(examples_lake, translated)) == rounded(rows(examples_lake, QUESTIONS[name].sql))


MACROS = ("regexp_like", "regexp_replace", "regexp_extract")


def rounded(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sums of floats depend on the order in which threads add them."""
    return [tuple(float(f"{cell:.9g}") if isinstance(cell, float) else cell for cell in each) for each in found]


@pytest.mark.parametrize(
    ("sql", "athena", "native"),
    [
        ("SELECT regexp_replace('a b c', ' ', '_')", "a_b_c", "a_b c"),
        ("SELECT regexp_extract('abc', '[0-9]')", None, ""),
        ("SELECT regexp_extract('abc', 'x(b)', 1)", None, ""),
        ("SELECT regexp_like('a1', '[0-9]')", True, duckdb.CatalogException),
        ("SELECT 7 / 2", 3, 3.5),  # so questions divide by 1e0 * …
        ("SELECT typeof(sum(n)) FROM (SELECT 1 AS n)", "bigint", "HUGEINT"),  # so questions cast it
        ("SELECT typeof(1.5)", "decimal(2,1)", "DECIMAL(2,1)"),  # so questions say 1.5e0
    ],
)
def test_where_athena_and_duckdb_differ(examples_lake: Path, sql: str, athena: Any, native: Any) -> None:
    """What Athena answers is from Trino's documentation. A macro mends it, or that no question relies on it."""
    if isinstance(native, type):
        with pytest.raises(native):
            duckdb.sql(sql)
    else:
        assert duckdb.sql(sql).fetchall() == [(native,)]
    function = sql.removeprefix("SELECT ").partition("(")[0]
    if function in MACROS:
        assert rows(examples_lake, sql) == [(athena,)]


def test_no_question_relies_on_what_differs() -> None:
    for question in QUESTIONS.values():
        parsed = sqlglot.parse_one(question.sql, dialect="athena")
        for division in parsed.find_all(exp.Div):
            assert "e0" in division.sql("athena") or division.find(exp.Sqrt), f"{question.name}: {division.sql()}"
        for number in parsed.find_all(exp.Literal):
            assert number.is_string or "." not in number.this or "e" in number.this, f"{question.name}: {number.sql()}"
